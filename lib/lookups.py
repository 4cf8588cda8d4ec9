"""What staging asks of the warehouse: visits and their current versions, published days, known refused texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import adbc_driver_sqlite.dbapi
import pyarrow as pa

from lib.config import Settings
from lib.errors import TemporaryFailure
from lib.sql import identifier, statement
from lib.warehouse import fact_columns

CURRENT_SCHEMA = [
    ("visit_id", pa.string()),
    ("stamp", pa.string()),
    ("delivery_seq", pa.int64()),
    ("source_line", pa.int64()),
    ("row_hash", pa.string()),
    ("visit_date", pa.string()),
    ("deleted_seq", pa.int64()),
]
VISIT_SCHEMA = pa.schema([("visit_id", pa.string()), ("visit_date", pa.string()), ("deleted_seq", pa.int64())])
FETCH_ROWS = 50_000


def find_current_versions(
    connection: sqlite3.Connection, settings: Settings, keys: pa.RecordBatchReader, scratch: Path
) -> pa.Table:
    """The warehouse's current versions of the visits in `keys` (one column, visit_id), stamps as stored text.

    The keys go through a scratch database, so that one join answers for any number of them.
    """
    schema = pa.schema([*CURRENT_SCHEMA, *((name, pa.string()) for name in settings.carry)])
    source = settings.source.name
    is_empty = connection.execute("SELECT 1 FROM fact_visits WHERE source = ? LIMIT 1", [source]).fetchone() is None
    if is_empty:
        for _ in keys:  # the engine takes no further statement until its result is drained
            pass
        return schema.empty_table()
    bulk_load(scratch, "wanted", keys)
    connection.execute("ATTACH ? AS scratch", [str(scratch)])
    try:
        stored = fact_columns(connection)
        carried = "".join(
            f",\n    f.{identifier(name)}" if name in stored else f",\n    NULL AS {identifier(name)}"
            for name in settings.carry
        )
        rows = connection.execute(statement("sqlite/current_versions", carried=carried), [source])
        return _fetch_table(rows, schema)
    finally:
        connection.execute("DETACH scratch")
        scratch.unlink()


def count_visits(connection: sqlite3.Connection, source: str) -> int:
    """How many visits of the source the table holds, deleted ones apart."""
    query = "SELECT count(*) FROM fact_visits WHERE source = ? AND deleted_at IS NULL"
    counted: int = connection.execute(query, [source]).fetchone()[0]
    return counted


def find_visits(connection: sqlite3.Connection, source: str) -> pa.Table:
    """Every visit of the source in the table: its day, and the delivery it was deleted by, null where it stands."""
    rows = connection.execute("SELECT visit_id, visit_date, deleted_seq FROM fact_visits WHERE source = ?", [source])
    return _fetch_table(rows, VISIT_SCHEMA)


def find_published_days(connection: sqlite3.Connection) -> list[str]:
    """The days of daily_visit_metrics."""
    return [row[0] for row in connection.execute("SELECT visit_date FROM daily_visit_metrics")]


def find_known_identities(connection: sqlite3.Connection, identities: Iterable[str]) -> set[str]:
    """Those of `identities` that the quarantine holds."""
    find = "SELECT 1 FROM quarantine WHERE identity = ?"
    return {each for each in identities if connection.execute(find, [each]).fetchone()}


def _fetch_table(rows: sqlite3.Cursor, schema: pa.Schema) -> pa.Table:
    batches = []
    while chunk := rows.fetchmany(FETCH_ROWS):
        columns = zip(*(tuple(row) for row in chunk), strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        batches.append(pa.record_batch(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema)


def bulk_load(scratch: Path, table: str, rows: pa.RecordBatchReader | pa.Table) -> None:
    """Write Arrow rows into a new table of a scratch database, in bulk. Never the warehouse: the driver has its own
    SQLite library, and the locks of one file in one process are shared between libraries without their knowing.
    Raises TemporaryFailure when it cannot be written."""
    try:
        with adbc_driver_sqlite.dbapi.connect(f"file:{scratch}", autocommit=True) as bulk, bulk.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = OFF")
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.adbc_ingest(table, rows, mode="create")
    except adbc_driver_sqlite.dbapi.Error as error:  # its text holds no errno: a scratch file fails for want of a disk
        raise TemporaryFailure(
            f"{scratch.parent.name}: a scratch database could not be written (disk full or failing?)."
        ) from error
