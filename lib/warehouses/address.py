"""Where a warehouse on a server is: what its URL says. Who may come in is never in it: drivers have places of their own
for that, and configs and records are read by many."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from lib.errors import UsageError

SERVERS = {"postgresql": "postgres", "snowflake": "snowflake", "bigquery": "bigquery"}
"""The kinds of warehouse that are on a server, by the first word of their URL."""
DEFAULT_SCHEMA = "patient_visits"
"""Of the tables, where the URL names none: they share no schema with other programs' tables unless somebody says so."""
WRITTEN = {
    "postgresql": "postgresql://host/database?schema=name",
    "snowflake": "snowflake://account/database?schema=name",
    "bigquery": "bigquery://project/dataset",
}
PARTS = {"postgresql": ("host", "database"), "snowflake": ("account", "database"), "bigquery": ("project", "dataset")}
CREDENTIALS = {
    "postgresql": "give them as PGUSER and PGPASSWORD or in ~/.pgpass",
    "snowflake": "give them as SNOWFLAKE_USER and SNOWFLAKE_PASSWORD or in connections.toml",
    "bigquery": "let the driver find its own (gcloud auth application-default login, GOOGLE_APPLICATION_CREDENTIALS)",
}
OPTIONS = {
    "postgresql": "takes no option but schema: give others as libpq's own variables, PGSSLMODE and the like",
    "snowflake": "takes no option but schema: give others in connections.toml",
    "bigquery": "takes no option",
}
NAMES = "in lower-case letters, digits and _, at most 63"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ACCOUNT = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,254}")
_USER = re.compile(r"[^/?#]*@")


@dataclass(frozen=True)
class Address:
    """A server's database and the schema of the tables in it. No host or port: the driver's own defaults. Of Snowflake
    `host` is the account; of BigQuery it is the project, and `database` and `schema` are the dataset."""

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
        option = "" if self.scheme == "bigquery" else f"?schema={self.schema}"
        return f"{self.scheme}://{place}/{self.database}{option}"

    @property
    def file_name(self) -> str:
        """What it is called in a data folder and in messages."""
        own = "" if self.schema in (DEFAULT_SCHEMA, self.database) else f".{self.schema}"
        return f"{self.database}{own}.{self.kind}"


def read_address(url: str) -> Address:
    """A URL as WRITTEN; PostgreSQL's host and port and every schema may be left out. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    if _USER.match(rest):
        raise UsageError(f"warehouse: its URL holds a user or password; leave them out and {CREDENTIALS[scheme]}.")
    try:
        parts = urlsplit(url)
        database, port = unquote(parts.path.removeprefix("/")), parts.port
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _wrong(scheme, "its URL cannot be read: the port must be a number, every option have a value") from None
    place, within = PARTS[scheme]
    schema = database if scheme == "bigquery" else options.pop("schema", DEFAULT_SCHEMA)
    if options or parts.fragment:
        raise _wrong(scheme, f"its URL {OPTIONS[scheme]}")
    if scheme != "postgresql" and (port or not _ACCOUNT.fullmatch(parts.hostname or "")):
        raise _wrong(scheme, f"its URL must name the {place} first, and no port")
    if not _NAME.fullmatch(database):
        raise _wrong(scheme, f"its URL must name a {within} {NAMES}")
    if not _NAME.fullmatch(schema):
        raise _wrong(scheme, f"its URL must name a schema {NAMES}")
    return Address(scheme, parts.hostname, port, database, schema)


def _wrong(scheme: str, what: str) -> UsageError:
    return UsageError(f"warehouse: {what}; it is written {WRITTEN[scheme]}.")
