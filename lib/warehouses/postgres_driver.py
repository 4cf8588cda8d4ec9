"""PostgreSQL's driver, psycopg, with the manners of Python's other ones: marks, rows, values.

Every connection reads and writes in UTC, and commits by itself outside a transaction. Statements are made whole here
(psycopg's client-side binding): the server need not guess the type of a mark that is compared with nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import cache
from typing import Any

from lib.extras import lacking
from lib.sql import identifier, literal
from lib.warehouses import interface
from lib.warehouses.address import Address
from lib.warehouses.rows import Row, row_of

try:
    import psycopg as psycopg
    from psycopg.adapt import Loader
    from psycopg.pq import TransactionStatus
except ImportError:
    raise lacking("warehouse: PostgreSQL's driver", "postgres") from None

CONNECT_SECONDS = 10
MARK = re.compile(r":([a-z_][a-z0-9_]*)|'(?:[^']|'')*'|--[^\n]*|::|\?|%|\b(?:scratch|temp)\.")
SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
    "lock_timeout": f"{interface.BUSY_SECONDS:.0f}s",
}


class _Number(Loader):
    """Sums of whole numbers are NUMERIC there and int here; money is float, for reading by eye."""

    def load(self, data: Any) -> int | float:
        value = Decimal(bytes(data).decode())
        return int(value) if value == value.to_integral_value() and b"." not in bytes(data) else float(value)


class _Day(Loader):
    def load(self, data: Any) -> str:
        return bytes(data).decode()


class _Stamp(Loader):
    """UTC, as every session of ours has it, at a fixed width."""

    def load(self, data: Any) -> str:
        whole, _, fraction = bytes(data).decode().removesuffix("+00").partition(".")
        return f"{whole.replace(' ', 'T')}.{fraction:0<6}+00:00"


class _Truth(Loader):
    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


LOADERS: dict[str, Any] = {"numeric": _Number, "date": _Day, "timestamptz": _Stamp, "bool": _Truth}


class Connection:
    """psycopg's connection with the manners of Python's others."""

    kind = "postgres"

    def __init__(self, inner: psycopg.Connection[Any]) -> None:
        self.inner = inner
        self.keeps_content = False

    @property
    def in_transaction(self) -> bool:
        return self.inner.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @property
    def is_lost(self) -> bool:
        return self.inner.closed or self.inner.broken or self.inner.info.transaction_status == TransactionStatus.INERROR

    def execute(self, sql: str, parameters: Any = (), /) -> psycopg.Cursor[Row]:
        text, names = _marked(sql)
        cursor: psycopg.Cursor[Row] = self.inner.cursor()
        return cursor.execute(text.encode(), _bound(parameters, names))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> psycopg.Cursor[Row]:
        done = self.inner.cursor()
        for each in parameters:
            done = self.execute(sql, each)
        return done

    def copy(self, sql: str, parameters: Any = ()) -> AbstractContextManager[psycopg.Copy]:
        """A COPY's stream."""
        text, names = _marked(sql)
        return self.inner.cursor().copy(text.encode(), _bound(parameters, names))

    def close(self) -> None:
        self.inner.close()


def opened(address: Address, read_only: bool) -> Connection:
    """A connection to the schema of the address, which is made where it is missing unless `read_only`: then none but
    temporary tables can be written. Raises psycopg.Error."""
    place: dict[str, Any] = {"host": address.host, "port": address.port, "dbname": address.database}
    inner = psycopg.connect(
        **{name: value for name, value in place.items() if value},
        autocommit=True,
        cursor_factory=psycopg.ClientCursor,
        row_factory=_row_factory,
        connect_timeout=CONNECT_SECONDS,
        application_name="patient visits",
        client_encoding="utf8",
    )
    try:
        for name, loader in LOADERS.items():
            inner.adapters.register_loader(name, loader)
        settings = {**SESSION, "default_transaction_read_only": "on" if read_only else "off"}
        inner.execute("".join(f"SET {name} = {literal(value)};" for name, value in settings.items()).encode())
        schema = identifier(address.schema)
        if not read_only and not inner.execute("SELECT to_regnamespace(%s)", [schema]).fetchone()[0]:  # type: ignore[index]
            inner.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        inner.execute(f"SET search_path = {schema}, pg_temp".encode())  # a temporary table hides none of ours
    except BaseException:
        inner.close()
        raise
    return Connection(inner)


def _row_factory(cursor: psycopg.Cursor[Any]) -> Any:
    return row_of(column.name for column in cursor.description or ())


def _bound(parameters: Any, names: tuple[str, ...]) -> Any:
    if isinstance(parameters, Mapping):
        return {name: parameters[name] for name in names}
    return list(parameters)


@cache
def _marked(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with its marks as psycopg has them, their names; temporary tables under the name that they have
    there. Texts and comments stay, but for the sign of a mark."""
    names: dict[str, None] = {}

    def mark(found: re.Match[str]) -> str:
        text = found[0]
        if found[1] is not None:
            names[found[1]] = None
            return f"%({found[1]})s"
        if text == "?":
            return "%s"
        return "pg_temp." if text.endswith(".") and text[0] in "st" else text.replace("%", "%%")

    return MARK.sub(mark, sql), tuple(names)
