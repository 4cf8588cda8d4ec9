"""What a database is asked, and how it is reached: settings that hold no credential, whatever somebody writes there."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

_SECRET = re.compile(r"(?i)pass|pwd|secret|token|credential|odbc_connect|(^|_)key$")


def without_secret(url: str) -> str:
    """The URL; ValueError, which does not repeat it, when it is none or holds a password."""
    try:
        parts = urlsplit(url)
        has_password = parts.password is not None
    except ValueError as error:
        raise ValueError("is not a URL such as postgresql://reader@host/database") from error
    if not re.fullmatch(r"[a-z0-9]+(\+[a-z0-9_]+)?", parts.scheme) or "://" not in url:
        raise ValueError("is not a URL such as postgresql://reader@host/database")
    if has_password or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(
            "must hold no password or other secret: leave it to the driver (for PostgreSQL ~/.pgpass or PGPASSWORD), "
            "or name an environment variable under 'password_from'"
        )
    return url


class Query(BaseModel):
    """A query and the database that answers it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, AfterValidator(without_secret)] | None = None
    sql: str | None = None
    sql_file: str | None = None
    password_from: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
