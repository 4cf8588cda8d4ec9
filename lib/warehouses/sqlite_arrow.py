"""Rows in and out of SQLite by Arrow: a batch's staged files and wanted keys through a scratch database, results as
tables. Apart from sqlite.py, so that who only asks the warehouse something imports neither driver nor engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi
import pyarrow as pa

from lib.clock import parse_instant
from lib.config import Engine
from lib.engines.duckdb import open_database
from lib.errors import TemporaryFailure
from lib.files import TEMPORARY_PREFIX
from lib.sql import identifier, literal, statement
from lib.warehouses.interface import STAGED, Parameters
from lib.warehouses.sqlite import PAGE_BYTES
from lib.warehouses.sqlite_afresh import Batch

FETCH_ROWS = 50_000
GIVEN_ROWS = 2_048
"""Given to the driver at a time: what is made of a row is still in the processor's cache when it is written."""


@contextmanager
def staged_tables(
    connection: Any,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[None]:
    scratch = folder / f"{TEMPORARY_PREFIX}scratch.db"
    refused = connection.execute("SELECT DISTINCT visit_key FROM quarantine WHERE status IN ('open', 'waived')")
    keys = pa.table({"visit_key": pa.array([row[0] for row in refused], pa.string())})
    _write_scratch(files, carried, engine, scratch, keys, refresh)
    with spilling(connection, folder):
        connection.execute("ATTACH ? AS scratch", [str(scratch)])
        connection.staged = Batch(files, engine, folder)
        try:
            yield
        finally:
            connection.staged = None
            connection.execute("DETACH scratch")
            scratch.unlink(missing_ok=True)


@contextmanager
def spilling(connection: sqlite3.Connection, folder: Path) -> Iterator[None]:
    """What SQLite sorts may go to files of `folder`, which have no name there. Held in memory it is one list, in whose
    sorting every step is a miss of the processor's cache: that takes three times as long.

    The environment's SQLITE_TMPDIR is read before there is a run. The pragma is deprecated, and a library may be built
    without it: what is sorted then stays in memory, as nobody could say where it goes.
    """
    connection.execute(f"PRAGMA temp_store_directory = {literal(str(folder))}")
    is_known = connection.execute("PRAGMA temp_store_directory").fetchone() is not None
    connection.execute(f"PRAGMA temp_store = {'FILE' if is_known else 'MEMORY'}")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA temp_store_directory = ''")


@contextmanager
def wanted_visits(connection: sqlite3.Connection, keys: pa.RecordBatchReader, scratch: Path) -> Iterator[None]:
    """Through a scratch database, so that one join answers for any number of keys."""
    bulk_load(scratch, "wanted", keys)
    connection.execute("ATTACH ? AS scratch", [str(scratch)])
    try:
        yield
    finally:
        connection.execute("DETACH scratch")
        scratch.unlink()


def fetch_table(connection: sqlite3.Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    rows = connection.execute(sql, parameters)
    return pa.Table.from_batches(_batches(rows, schema), schema)


def bulk_load(scratch: Path, table: str, rows: pa.RecordBatchReader | pa.Table) -> None:
    """Write Arrow rows into a new table of a scratch database, in bulk. Never the warehouse: the driver has its own
    SQLite library, and the locks of one file in one process are shared between libraries without their knowing.
    Raises TemporaryFailure when it cannot be written."""
    try:
        with adbc_driver_sqlite.dbapi.connect(f"file:{scratch}", autocommit=True) as bulk, bulk.cursor() as cursor:
            cursor.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            cursor.execute("PRAGMA journal_mode = OFF")
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.adbc_ingest(table, rows, mode="create")
    except adbc_driver_sqlite.dbapi.Error as error:  # its text holds no errno: a scratch file fails for want of a disk
        raise TemporaryFailure(
            f"{scratch.parent.name}: a scratch database could not be written (disk full or failing?)."
        ) from error


def _write_scratch(
    files: Mapping[str, Path], carried: Sequence[str], engine: Engine, scratch: Path, refused: pa.Table, refresh: bool
) -> None:
    """Staged and refused rows, deletions and lateness in the warehouse's own types: cents, day text, stamp text. Only
    what the load reads: not what it leaves as it is, versions only of visits that were `refused` (one column,
    visit_key) before or now. In the order of the files: rows come to their places one after the other."""
    pieces = {name: literal(str(path)) for name, path in files.items()}
    pieces["carried"] = "".join(f",\n    {identifier(name)}" for name in carried)
    scratch.unlink(missing_ok=True)
    pieces["read"] = "true" if refresh else "is_written OR action <> 'unchanged'"
    with open_database(engine, scratch.parent) as opened:
        opened.execute("SET preserve_insertion_order = true")
        opened.register("refused", refused)
        for name in (*STAGED, "versions"):
            query = statement(f"warehouse/staged/{name}", "sqlite", **pieces)
            table = "staged" if name == "visits" else name
            bulk_load(scratch, table, opened.sql(query).to_arrow_reader(GIVEN_ROWS))


def _batches(rows: sqlite3.Cursor, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while chunk := rows.fetchmany(FETCH_ROWS):
        columns = zip(*(tuple(row) for row in chunk), strict=True)
        yield pa.record_batch(
            [_array(cells, field) for cells, field in zip(columns, schema, strict=True)], schema=schema
        )


def _array(cells: Iterable[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_date(field.type):
        return pa.array(cells, pa.string()).cast(field.type)
    if pa.types.is_timestamp(field.type):
        return pa.array([each and parse_instant(each) for each in cells], field.type)
    return pa.array(cells, field.type)
