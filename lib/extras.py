"""Packages that not everyone needs, so that they are extras: what each is, and how it comes into this environment."""

from __future__ import annotations

import sys
from pathlib import Path

from lib.errors import UsageError

REQUIREMENTS = {
    "postgres": "psycopg[binary]>=3.2,<4",
    "snowflake": "snowflake-connector-python>=4.8,<5",
    "bigquery": "google-cloud-bigquery>=3.30,<4",
    "sql": "sqlalchemy>=2,<3",
    "s3": "s3fs>=2026.9",
    "gs": "gcsfs>=2026.9",
    "abfs": "adlfs>=2026.8",
    "spark": "pyspark>=4.3,<5",
}
"""By extra, as pyproject.toml has them."""


def lacking(what: str, extra: str) -> UsageError:
    """The error for a package that is not there: with the command that installs it where this very process looks. The
    environment need not have pip; another Python's does it."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return UsageError(
        f"{what} is not installed; it is the extra {extra}: python3 -m pip --python {shown} install "
        f"'{REQUIREMENTS[extra]}'"
    )
