"""Where a warehouse on a server is: what its URL says. Who may come in is never in it: drivers have places of their own
for that, and configs and records are read by many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from lib.errors import UsageError

SERVERS = {"postgresql": "postgres"}
"""The kinds of warehouse that are on a server, by the first word of their URL."""
DEFAULT_SCHEMA = "patient_visits"
"""Of the tables, where the URL names none: they share no schema with other programs' tables unless somebody says so."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_USER = re.compile(r"[^/?#]*@")


@dataclass(frozen=True)
class Address:
    """A server's database and the schema of the tables in it. No host or port: the driver's own defaults."""

    scheme: str
    host: str | None
    port: int | None
    database: str
    schema: str

    @property
    def kind(self) -> str:
        return SERVERS[self.scheme]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        place = host + (f":{self.port}" if self.port else "")
        return f"{self.scheme}://{place}/{self.database}?schema={self.schema}"

    @property
    def file_name(self) -> str:
        """What it is called in a data folder and in messages."""
        own = "" if self.schema == DEFAULT_SCHEMA else f".{self.schema}"
        return f"{self.database}{own}.{self.kind}"


def read_address(url: str) -> Address:
    """`postgresql://host:port/database?schema=name`; host, port and schema may be left out. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    if _USER.match(rest):
        raise UsageError(
            "warehouse: its URL holds a user or password; leave them out and give them as PGUSER and PGPASSWORD or in "
            "~/.pgpass."
        )
    usage = UsageError(
        f"warehouse: must be written {scheme}://host/database?schema=name, names in lower case, letters, digits and _."
    )
    try:
        parts = urlsplit(url)
        database, port = unquote(parts.path.removeprefix("/")), parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise usage from None
    schema = options.pop("schema", DEFAULT_SCHEMA)
    if options or parts.fragment or not _NAME.fullmatch(database) or not _NAME.fullmatch(schema):
        raise usage
    return Address(scheme, parts.hostname, port, database, schema)
