"""BigQuery: a dataset of its own in a project. What the statements of lib/sql leave open.

Who may come in is the driver's affair: application default credentials. A transaction takes no change of permanent
tables there, so none is ever in one: tables are made one by one, each only where it is missing, and the description
that says they are whole comes last; a load's own tables and newly carried columns, which hold nothing yet, are made
before it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError
from lib.layout import Layout
from lib.warehouses import amiss
from lib.warehouses.bigquery_driver import Connection, exceptions, failures, opened, refused
from lib.warehouses.cloud import MONEY, SCRATCH
from lib.warehouses.cloud_checks import declared, differing, unsound_rows
from lib.warehouses.cloud_content import CloudContent
from lib.warehouses.interface import Parameters

if TYPE_CHECKING:
    import pyarrow as pa

    from lib.config import Engine

BEGIN = "BEGIN TRANSACTION"
IS_NOT = "IS DISTINCT FROM"
TAKES_IN_ORDER = True
ONE_CORE = False
DDL_COMMITS = True
OURS = "patient visits, schema "
"""The description of the table `warehouse`, with the schema's version: tells our schema from any other program's.
Version 0 while the tables are being made."""
TYPES = {"INT64": "INTEGER"}
"""What the service calls a type that the statements call so."""


def connect(layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> Connection:
    if layout.server is None:
        raise StoredDataChanged(f"{layout.warehouse.name}: is on no server.")
    return opened(layout.server, read_only)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """BigQuery's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except failures as error:
        raise _plain(error, path) from error


def _plain(error: Exception, path: Path) -> PipelineError:
    if isinstance(error, exceptions.ClientError) and "concurrent update" in str(error):
        return amiss.busy(path)
    if refused(error):
        return UsageError(
            f"{path.name}: no credentials were found, or they are not taken; gcloud auth application-default login, or "
            "set GOOGLE_APPLICATION_CREDENTIALS."
        )
    if isinstance(error, exceptions.Forbidden | exceptions.Unauthorized):
        return UsageError(
            f"{path.name}: who came in may not do that there; grant BigQuery Job User on the project and BigQuery Data "
            "Owner on the dataset."
        )
    if isinstance(error, exceptions.ClientError) and not isinstance(error, exceptions.TooManyRequests):
        return PipelineError(f"{path.name}: the warehouse refused a statement ({type(error).__name__}).")
    return TemporaryFailure(f"{path.name}: the service cannot be reached or has gone away; nothing was changed.")


def unreadable(error: Exception) -> bool:
    return False


def table_names(connection: Connection) -> set[str]:
    try:
        found = {each.table_id for each in connection.client.list_tables(connection.dataset)}
    except exceptions.NotFound:  # no dataset yet
        return set()
    return {name for name in found if not name.startswith(SCRATCH)}


def count_tables(layout: Layout) -> int:
    with closing(connect(layout, read_only=True)) as connection:
        return len(table_names(connection))


def stored_types(connection: Connection, table: str) -> dict[str, str]:
    """The table's columns and their types, in its order, added ones last; without those that only repeat others."""
    columns = connection.types(table)
    return {name: kind for name, kind in columns.items() if name not in MONEY.get(table, ())}


def stored_columns(connection: Connection, table: str, database: str | None = None) -> list[str]:
    return list(stored_types(connection, table))


def _text_of(name: str, kind: str) -> str:
    """SQL of a column as text, the same whatever a session's formats are."""
    column = f'"{name}"'
    if kind == "TIMESTAMP":
        return f"CAST(UNIX_MICROS({column}) AS STRING)"
    return column if kind == "STRING" else f"CAST({column} AS STRING)"


CONTENT = CloudContent(
    stored_types=stored_types,
    text_of=_text_of,
    sha256="TO_HEX(SHA256({}))",
    number_of="CAST(CONCAT('0x', {0}) AS INT64)",
    xor="BIT_XOR",
    text_type="STRING",
    prunes=True,
    BEGIN=BEGIN,
)
count_content = CONTENT.count_content
keeping_content = CONTENT.keeping_content
keeping_load = CONTENT.keeping_load


def schema_version(connection: Connection) -> int | None:
    names = table_names(connection)
    if "warehouse" not in names:
        return None if names else 0
    said = connection.client.get_table(connection.reference("warehouse")).description or ""
    return int(said.removeprefix(OURS)) if re.fullmatch(rf"{OURS}\d+", said) else None


def note_version(connection: Connection, version: int) -> None:
    table = connection.client.get_table(connection.reference("warehouse"))
    table.description = f"{OURS}{version}"
    connection.client.update_table(table, ["description"])


def copy_open(connection: Connection, layout: Layout, target: Path) -> None:
    from lib.warehouses.to_file import copy_tables

    copy_tables(connection, count_content, fetch_table, target)


def copy(layout: Layout, target: Path) -> None:
    """All tables as of the instant at which the transaction began."""
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
    from lib.warehouses.bigquery_arrow import staged_tables

    return staged_tables(connection, files, carried, engine, folder, refresh)


def wanted_visits(connection: Connection, keys: pa.RecordBatchReader, scratch: Path) -> AbstractContextManager[None]:
    from lib.warehouses.bigquery_arrow import wanted_visits

    return wanted_visits(connection, keys, scratch)


def fetch_table(connection: Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    from lib.warehouses.bigquery_arrow import fetch_table

    return fetch_table(connection, sql, parameters, schema)


def known_identities(connection: Connection, identities: list[str]) -> set[str]:
    rows = connection.execute("SELECT identity FROM quarantine WHERE identity IN (?)", [identities])
    return {row[0] for row in rows}


def unsound(connection: Connection) -> list[str]:
    """What the service does not hold true by itself: keys, and costs that are what the cents say."""
    return unsound_rows(connection)


def declared_otherwise(connection: Connection, statements: list[str]) -> list[str]:
    """Names, types and nulls of the columns."""
    there = {
        name: {
            each.name: (each.field_type, each.mode != "REQUIRED")
            for each in connection.client.get_table(connection.reference(name)).schema
        }
        for name in table_names(connection)
    }
    return differing(declared(statements, TYPES), there, text="STRING")


@contextmanager
def hold_server(layout: Layout, holder: str) -> Iterator[None]:
    """Nothing is held between transactions: the service has no such lock. Of two transactions that write at once one is
    aborted (bigquery_driver), and of two runs on one version of the tables, the version's compare-and-swap lets the
    first one load; the other changes nothing."""
    yield
