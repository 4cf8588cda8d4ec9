"""Snowflake's driver, with the manners of Python's others: marks, rows, values, transactions.

Every session reads and writes in UTC. Only one transaction at a time writes a warehouse: each begins by taking the one
row of the table `warehouse`, for which the next one waits. What holds it is gone with its session, so nothing stays
locked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from lib.errors import PipelineError
from lib.extras import lacking
from lib.sql import identifier
from lib.warehouses.address import Address
from lib.warehouses.cloud import TEMPORARY, Result, first_word, in_a_transaction
from lib.warehouses.interface import BUSY_SECONDS
from lib.warehouses.snowflake_dialect import DIALECT

try:
    from snowflake import connector as connector
    from snowflake.connector.config_manager import CONFIG_MANAGER
except ImportError:
    raise lacking("warehouse: Snowflake's driver", "snowflake") from None

SECONDS = 30
"""To come in, and for the service's answer to a request; a long statement is asked after again and again."""
SESSION = {
    "TIMEZONE": "UTC",
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "LOCK_TIMEOUT": int(BUSY_SECONDS),
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "QUERY_TAG": "patient visits",
}
FROM_ENVIRONMENT = (
    "user", "password", "role", "warehouse", "authenticator", "token", "token_file_path", "private_key_file",
    "private_key_file_pwd", "host", "port", "protocol",
)  # fmt: skip
"""Of the driver's own settings, those that are taken from SNOWFLAKE_USER, SNOWFLAKE_PASSWORD and so on."""
_TYPES = {
    pa.string(): "VARCHAR",
    pa.int64(): "NUMBER(38, 0)",
    pa.int32(): "NUMBER(38, 0)",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
}
TAKE_TURNS = "UPDATE warehouse SET version = version WHERE id = 1"
READS = ("SELECT", "WITH", "BEGIN", "COMMIT", "ROLLBACK")


class Connection:
    """A session."""

    kind = "snowflake"

    def __init__(self, inner: Any, schema: str, read_only: bool) -> None:
        self.inner = inner
        self.schema = schema.upper()
        self.read_only = read_only
        self.keeps_content = False
        self._in_transaction = False
        self.types: dict[str, dict[str, str]] = {}
        """Of tables' columns, as far as they were asked for since they were last changed."""
        self._has_tables = False

    @property
    def in_transaction(self) -> bool:
        return self._in_transaction

    @property
    def is_lost(self) -> bool:
        return bool(self.inner.is_closed())

    def execute(self, sql: str, parameters: Any = (), /) -> Result:
        text = in_a_transaction(sql) if self._in_transaction else sql
        word = first_word(text)
        if self.read_only and word not in READS:
            raise PipelineError("the warehouse: was opened to be read, and takes no changes; nothing was changed.")
        if word == "BEGIN" and not self.read_only:
            self._make_tables()
        done = self.ask(DIALECT.whole(text, parameters))
        if word in ("CREATE", "ALTER", "DROP"):
            self.types.clear()
        if word in ("BEGIN", "COMMIT", "ROLLBACK"):
            self._in_transaction = word == "BEGIN"
        if word == "BEGIN" and not self.read_only:
            self.ask(TAKE_TURNS)
        return done

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Result:
        done = Result([], [], 0)
        for each in parameters:
            done = self.execute(sql, each)
        return done

    def ask(self, text: str) -> Result:
        """Do a whole statement, whatever it does."""
        with self.inner.cursor() as cursor:
            cursor.execute(text)
            names = [each.name.lower() for each in cursor.description or []]
            return Result(names, cursor.fetchall(), cursor.rowcount if cursor.rowcount is not None else -1)

    def fetch_arrow(self, sql: str, parameters: Any) -> pa.Table | None:
        """A query's rows; None where there are none."""
        with self.inner.cursor() as cursor:
            cursor.execute(DIALECT.whole(sql, parameters))
            return cursor.fetch_arrow_all()

    def make_table(self, name: str, columns: dict[str, pa.DataType]) -> None:
        """A temporary one, empty, seen by nobody else. Not in a transaction, which it would commit."""
        parts = ", ".join(f"{identifier(column)} {_type(kind)}" for column, kind in columns.items())
        self.ask(DIALECT.whole(f"CREATE OR REPLACE TEMPORARY TABLE temp.{name} ({parts})", ()))

    def _make_tables(self) -> None:
        if not self._has_tables:
            for name, columns in TEMPORARY.items():
                self.make_table(name, columns)
            self._has_tables = True

    def close(self) -> None:
        self.inner.close()


def opened(address: Address, read_only: bool) -> Connection:
    """A session in the schema of the address, which is made where it is missing unless `read_only`."""
    inner = connector.connect(
        **_credentials(),
        account=address.host,
        database=address.database.upper(),
        login_timeout=SECONDS,
        network_timeout=SECONDS,
        session_parameters=SESSION,
        application="PatientVisits",
    )
    try:
        connection = Connection(inner, address.schema, read_only)
        schema = DIALECT.name(address.schema)
        query = "SELECT schema_name FROM information_schema.schemata WHERE schema_name = ?"
        is_there = connection.execute(query, [address.schema.upper()]).fetchone()
        if not read_only and not is_there:
            connection.ask(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        if is_there or not read_only:
            connection.ask(f"USE SCHEMA {schema}")
    except BaseException:
        inner.close()
        raise
    return connection


def _credentials() -> dict[str, Any]:
    """As the driver itself finds them (a connection of connections.toml, `default` or the one that
    SNOWFLAKE_DEFAULT_CONNECTION_NAME names), else from the environment."""
    name = os.environ.get("SNOWFLAKE_DEFAULT_CONNECTION_NAME", "default")
    try:
        if name in CONFIG_MANAGER["connections"]:
            return {"connection_name": name}
    except connector.errors.Error:
        pass
    given = {each: os.environ.get(f"SNOWFLAKE_{each.upper()}") for each in FROM_ENVIRONMENT}
    return {name: value for name, value in given.items() if value}


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_NTZ(6)"
    return f"NUMBER({kind.precision}, {kind.scale})" if pa.types.is_decimal(kind) else _TYPES[kind]
