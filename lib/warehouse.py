"""The SQLite warehouse: opened, checked, created, migrated. The statements that change tables are in lib/load.py."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lib.clock import file_stamp, now
from lib.content import write_all_hashes
from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError
from lib.files import sync_folder
from lib.layout import Layout
from lib.sql import identifier, statements

APPLICATION_ID = 0x50564954  # "PVIT": tells our file from any other SQLite database
SCHEMA_VERSION = 3
TABLES = {
    "warehouse", "fact_visits", "daily_visit_metrics", "metric_changes", "deliveries", "quarantine", "quarantine_rows",
    "runs", "state", "lateness", "content_hashes",
}  # fmt: skip
MADE_FROM_DELIVERIES = {"fact_visits", "daily_visit_metrics"}
BUSY_SECONDS = 10.0
CACHE_KIB = 256 * 1024  # large enough not to spill: a spilling transaction blocks readers


def open_warehouse(layout: Layout, *, rebuild: bool = False) -> sqlite3.Connection:
    """A connection that may write, to a warehouse of this schema version; made or migrated when needed.

    Raises StoredDataChanged when the file is missing or empty although runs were recorded, or lacks a table that is
    made from deliveries (unless `rebuild`, which a full refresh may ask for); when it is no database, belongs to
    another program, has a newer schema, or lacks another table.
    """
    path = layout.warehouse
    absent = not path.exists() or path.stat().st_size == 0
    may_begin = rebuild or not _loaded_before(layout)
    if absent and not may_begin:
        raise _lost(path)
    with plain_errors(path):
        connection = _connect(path)
        try:
            if not may_begin and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                raise _lost(path)  # SQLite takes a file of one byte for an empty one
            _check_ours(connection, path, absent)
            _migrate(connection, path)
            _check_tables(connection, path, rebuild)
        except BaseException:
            connection.close()
            raise
    return connection


def read_warehouse(layout: Layout) -> sqlite3.Connection:
    """A read-only connection to an existing warehouse of this schema version. Raises StoredDataChanged."""
    path = layout.warehouse
    if not path.exists() or path.stat().st_size == 0:
        if not layout.data_dir.is_dir():
            raise UsageError(f"{layout.data_dir}: there is no such data folder; name yours with --data-dir.")
        raise StoredDataChanged(f"{path.name}: there is no warehouse yet; run python run_pipeline.py first.")
    with plain_errors(path):
        connection = _connect(path, read_only=True)
        try:
            _check_ours(connection, path, absent=False)
            if _pragma(connection, "user_version") != SCHEMA_VERSION:
                raise StoredDataChanged(f"{path.name}: has an older schema; the next run migrates it.")
        except BaseException:
            connection.close()
            raise
    return connection


def writing(layout: Layout, *, rebuild: bool = False) -> AbstractContextManager[sqlite3.Connection]:
    """`open_warehouse` for a block, its errors as ours."""
    return _for_a_block(open_warehouse(layout, rebuild=rebuild), layout)


def reading(layout: Layout) -> AbstractContextManager[sqlite3.Connection]:
    """`read_warehouse` for a block, its errors as ours."""
    return _for_a_block(read_warehouse(layout), layout)


@contextmanager
def _for_a_block(connection: sqlite3.Connection, layout: Layout) -> Iterator[sqlite3.Connection]:
    try:
        with plain_errors(layout.warehouse):
            yield connection
    finally:
        connection.close()


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            message = (
                f"{path.name}: another program holds the warehouse for over {BUSY_SECONDS:.0f} s; run again later."
            )
            raise TemporaryFailure(message) from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            message = f"{path.name}: cannot be written (disk full, read-only or failing); nothing was changed."
            raise TemporaryFailure(message) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise _unsound(path) from error
        raise PipelineError(f"{path.name}: the warehouse refused a statement ({type(error).__name__}).") from error
    except UnicodeDecodeError:  # raised for SQLite's own message, when it quotes a damaged schema
        raise _unsound(path) from None


def _unsound(path: Path) -> StoredDataChanged:
    return StoredDataChanged(
        f"{path.name}: is not a sound SQLite database; restore it from a backup, "
        "or move it away and run with --full-refresh."
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: committed when the block ends well, rolled back otherwise."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def fact_columns(connection: sqlite3.Connection) -> list[str]:
    """The names of fact_visits' stored columns, carried ones included."""
    return [row[1] for row in connection.execute("PRAGMA table_info(fact_visits)")]


def add_carried_columns(connection: sqlite3.Connection, carried: list[str]) -> None:
    """Give fact_visits a text column for each newly carried name. Inside the caller's transaction."""
    for name in sorted(set(carried) - set(fact_columns(connection))):
        connection.execute(f"ALTER TABLE fact_visits ADD COLUMN {identifier(name)} TEXT")


def _connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _loaded_before(layout: Layout) -> bool:
    """Whether any run of this data folder got as far as a manifest."""
    return any((layout.record(run_id) / "manifest.json").exists() for run_id in layout.run_ids())


def _lost(path: Path) -> StoredDataChanged:
    return StoredDataChanged(
        f"{path.name}: the warehouse is {'empty' if path.exists() else 'missing'} although runs were recorded; "
        "restore it from a backup, or build it again from the raw snapshots with --full-refresh."
    )


def _check_ours(connection: sqlite3.Connection, path: Path, absent: bool) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not absent and (tables and _pragma(connection, "application_id") != APPLICATION_ID):
        raise StoredDataChanged(f"{path.name}: is another program's database; name another file with --warehouse.")
    version = _pragma(connection, "user_version")
    if version > SCHEMA_VERSION:
        raise StoredDataChanged(
            f"{path.name}: has schema version {version}, this code knows {SCHEMA_VERSION}; use the newer release."
        )


def _check_tables(connection: sqlite3.Connection, path: Path, rebuild: bool) -> None:
    there = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
    gone = TABLES - there
    if not gone:
        return
    if gone <= MADE_FROM_DELIVERIES:
        if rebuild:
            return _create_missing(connection, gone)
        remedy = "restore it from a backup, or build it again with --full-refresh."
    else:
        remedy = "restore it from a backup, or move it away and run with --full-refresh."
    raise StoredDataChanged(f"{path.name}: lacks the table {', '.join(sorted(gone))}; {remedy}")


def _create_missing(connection: sqlite3.Connection, gone: set[str]) -> None:
    """Make the missing tables as the schema's versions made and altered them."""
    with transaction(connection):
        for step in range(1, SCHEMA_VERSION + 1):
            for text in statements(f"sqlite/schema/v{step}"):
                about = re.search(r"^(?:CREATE TABLE|ALTER TABLE|CREATE INDEX \w+ ON) (\w+)", text, re.MULTILINE)
                if about and about[1] in gone:
                    connection.execute(text)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to SCHEMA_VERSION, each version in one transaction; an older warehouse is copied first."""
    version = _pragma(connection, "user_version")
    if version == SCHEMA_VERSION:
        return
    if version:
        copy = path.with_name(f"{path.name}.schema{version}-{file_stamp(now())}")
        with sqlite3.connect(copy) as target:
            connection.backup(target)
        target.close()
        sync_folder(path.parent)
    for step in range(version + 1, SCHEMA_VERSION + 1):
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for text in statements(f"sqlite/schema/v{step}"):
                connection.execute(text)
            if step == 3:
                write_all_hashes(connection)
            connection.execute(f"PRAGMA user_version = {step}")


def copy_aside(path: Path) -> Path:
    """Move a damaged or empty warehouse out of the way of a rebuild, never deleting it."""
    aside = path.with_name(f"{path.name}.aside-{file_stamp(now())}")
    shutil.move(path, aside)
    return aside
