"""Snowflake: a schema of its own in a database of an account. What the statements of lib/sql leave open.

Who may come in is the driver's affair: connections.toml, or SNOWFLAKE_USER, SNOWFLAKE_PASSWORD, SNOWFLAKE_ROLE and the
like. A schema change commits by itself there, so none is ever in a transaction: tables are made one by one, each only
where it is missing, and the comment that says they are whole comes last; a load's temporary tables and newly carried
columns, which hold nothing yet, are made before it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError
from lib.layout import Layout
from lib.warehouses import amiss
from lib.warehouses.cloud import MONEY
from lib.warehouses.cloud_checks import declared, differing, unsound_rows
from lib.warehouses.cloud_content import CloudContent
from lib.warehouses.interface import Parameters
from lib.warehouses.snowflake_driver import Connection, connector, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from lib.config import Engine

BEGIN = "BEGIN"
IS_NOT = "IS DISTINCT FROM"
TAKES_IN_ORDER = True
ONE_CORE = False
DDL_COMMITS = True
OURS = "patient visits, schema "
"""The comment on the table `warehouse`, with the schema's version: tells our schema from any other program's. Version 0
while the tables are being made."""
TYPES = {"VARCHAR": "TEXT"}
"""What the service calls a type that the statements call so."""


def connect(layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> Connection:
    if layout.server is None:
        raise StoredDataChanged(f"{layout.warehouse.name}: is on no server.")
    return opened(layout.server, read_only)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Snowflake's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except connector.errors.Error as error:
        raise _plain(error, path) from error


def _plain(error: Any, path: Path) -> PipelineError:
    errors, number = connector.errors, error.errno or 0
    if number == 625:
        return amiss.busy(path)
    if (
        isinstance(error, errors.ForbiddenError)
        or number in (250001, 251001, 251005, 251006)
        or 390100 <= number < 390400
    ):
        if isinstance(error, errors.OperationalError) and number == 250001 and not _is_refusal(error):
            return TemporaryFailure(f"{path.name}: the service cannot be reached; nothing was changed.")
        return UsageError(
            f"{path.name}: the service lets nobody in with what it was given; set SNOWFLAKE_USER and what it asks, or "
            "a connection in connections.toml."
        )
    if number == 3001:
        return UsageError(
            f"{path.name}: the role may not do that there; grant it USAGE on warehouse and database, and CREATE SCHEMA."
        )
    if number == 606:
        return UsageError(
            f"{path.name}: no virtual warehouse is in use; set SNOWFLAKE_WAREHOUSE, or the user's default."
        )
    if number == 2043 and error.sqlstate == "02000":
        return UsageError(f"{path.name}: there is no such database, or the role may not use it.")
    if isinstance(error, errors.OperationalError | errors.InterfaceError | errors.InternalServerError):
        return TemporaryFailure(f"{path.name}: the service cannot be reached or has gone away; nothing was changed.")
    return PipelineError(f"{path.name}: the warehouse refused a statement ({type(error).__name__} {number}).")


def _is_refusal(error: Any) -> bool:
    return "Incorrect username" in str(error) or "rejected" in str(error)


def unreadable(error: Exception) -> bool:
    return False


def table_names(connection: Connection) -> set[str]:
    query = (
        "SELECT LOWER(table_name) FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'"
    )
    return {row[0] for row in connection.execute(query, [connection.schema])}


def count_tables(layout: Layout) -> int:
    with closing(connect(layout, read_only=True)) as connection:
        return len(table_names(connection))


def stored_types(connection: Connection, table: str) -> dict[str, str]:
    """The table's columns and their types, in its order, added ones last; without those that only repeat others."""
    if not connection.types:
        rows = connection.execute(
            "SELECT LOWER(table_name), LOWER(column_name), data_type FROM information_schema.columns"
            " WHERE table_schema = ? ORDER BY ordinal_position",
            [connection.schema],
        )
        for name, column, kind in rows:
            connection.types.setdefault(name, {})[column] = kind
    types = connection.types.get(table, {})
    return {name: kind for name, kind in types.items() if name not in MONEY.get(table, ())}


def stored_columns(connection: Connection, table: str, database: str | None = None) -> list[str]:
    return list(stored_types(connection, table))


def _text_of(name: str, kind: str) -> str:
    """SQL of a column as text, the same whatever a session's formats are."""
    column = f'"{name}"'
    if kind == "DATE":
        return f"TO_CHAR({column}, 'YYYY-MM-DD')"
    if kind.startswith("TIMESTAMP"):
        return f"CAST(DATE_PART(EPOCH_MICROSECOND, {column}) AS VARCHAR)"
    return column if kind == "TEXT" else f"CAST({column} AS VARCHAR)"


CONTENT = CloudContent(
    stored_types=stored_types,
    text_of=_text_of,
    sha256="SHA2({}, 256)",
    number_of="TO_NUMBER({0}, '{1}')",
    xor="BITXOR_AGG",
    text_type="VARCHAR",
    prunes=False,
)
count_content = CONTENT.count_content
keeping_content = CONTENT.keeping_content
keeping_load = CONTENT.keeping_load


def schema_version(connection: Connection) -> int | None:
    if not table_names(connection):
        return 0
    query = "SELECT comment FROM information_schema.tables WHERE table_schema = ? AND table_name = 'WAREHOUSE'"
    row = connection.execute(query, [connection.schema]).fetchone()
    said = (row and row[0]) or ""
    return int(said.removeprefix(OURS)) if re.fullmatch(rf"{OURS}\d+", said) else None


def note_version(connection: Connection, version: int) -> None:
    connection.execute(f"COMMENT ON TABLE warehouse IS '{OURS}{version}'")


def copy_open(connection: Connection, layout: Layout, target: Path) -> None:
    from lib.warehouses.to_file import copy_tables

    copy_tables(connection, count_content, fetch_table, target)


def copy(layout: Layout, target: Path) -> None:
    """While it reads, writers wait: the service has no snapshot for several statements."""
    with plain_errors(layout.warehouse), closing(connect(layout)) as connection:
        connection.execute(BEGIN)
        copy_open(connection, layout, target)
        connection.execute("ROLLBACK")


def back_up(layout: Layout, target: Path) -> None:
    copy(layout, target)


def attach(connection: Connection, path: Path, name: str) -> None:
    raise TypeError("a server's tables are compared as a copy")


def staged_tables(
    connection: Connection,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> AbstractContextManager[None]:
    from lib.warehouses.snowflake_arrow import staged_tables

    return staged_tables(connection, files, carried, engine, folder, refresh)


def wanted_visits(connection: Connection, keys: pa.RecordBatchReader, scratch: Path) -> AbstractContextManager[None]:
    from lib.warehouses.snowflake_arrow import wanted_visits

    return wanted_visits(connection, keys, scratch)


def fetch_table(connection: Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    from lib.warehouses.snowflake_arrow import fetch_table

    return fetch_table(connection, sql, parameters, schema)


def known_identities(connection: Connection, identities: list[str]) -> set[str]:
    rows = connection.execute("SELECT identity FROM quarantine WHERE identity IN (?)", [identities])
    return {row[0] for row in rows}


def unsound(connection: Connection) -> list[str]:
    """What the service does not hold true by itself: keys, and costs that are what the cents say."""
    return unsound_rows(connection)


def declared_otherwise(connection: Connection, statements: list[str]) -> list[str]:
    """Names, types and nulls of the columns."""
    rows = connection.execute(
        "SELECT LOWER(table_name), LOWER(column_name), data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = ? ORDER BY ordinal_position",
        [connection.schema],
    )
    there: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, column, kind, nullable in rows:
        there.setdefault(table, {})[column] = (kind, nullable == "YES")
    return differing(declared(statements, TYPES), there, text="TEXT")


@contextmanager
def hold_server(layout: Layout, holder: str) -> Iterator[None]:
    """Nothing is held between transactions: a service that forgets its dead holders has no such lock. Transactions of
    other machines wait for each other (snowflake_driver), and of two runs on one version of the tables, the version's
    compare-and-swap lets the first one load; the other changes nothing."""
    yield
