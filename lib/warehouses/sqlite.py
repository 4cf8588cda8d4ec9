"""SQLite: one file, a rollback journal, writers one after the other. What the statements of lib/sql leave open."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.counted import counted
from lib.errors import PipelineError, TemporaryFailure
from lib.layout import Layout
from lib.sql import identifier
from lib.warehouses import amiss, interface
from lib.warehouses.interface import PARTS, DoStep, Parameters
from lib.warehouses.sqlite_content import count_content as count_content
from lib.warehouses.sqlite_content import keeping_content as keeping_content
from lib.warehouses.sqlite_content import stored_columns as stored_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from lib.config import Engine
    from lib.warehouses.sqlite_afresh import Batch

APPLICATION_ID = 0x50564954  # "PVIT": tells our file from any other SQLite database
BEGIN = "BEGIN IMMEDIATE"
IS_NOT = "IS NOT"
TAKES_IN_ORDER = True
ONE_CORE = True
DDL_COMMITS = False
PAGE_BYTES = 16 * 1024  # of a new file: with SQLite's own 4 KiB a load takes a quarter longer
CACHE_KIB = 256 * 1024  # large enough not to spill: a spilling transaction blocks readers
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
PAGES_A_STEP = 16_384
"""Of the database, copied between two chances for a run to commit; one that does makes the copy begin again."""
JOURNAL = "-journal"


class _Connection(sqlite3.Connection):
    kind = "sqlite"
    staged: Batch | None = None
    """While they are tables of `scratch`, the staged files."""


def connect(layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> sqlite3.Connection:
    uri = f"{layout.warehouse.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=interface.BUSY_SECONDS, isolation_level=None, factory=_Connection
    )
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in BUSY:
            raise amiss.busy(path) from error
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise amiss.unwritable(path) from error
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise amiss.unsound(path, "SQLite") from error
        raise PipelineError(f"{path.name}: the warehouse refused a statement ({type(error).__name__}).") from error
    except UnicodeDecodeError:  # raised for SQLite's own message, when it quotes a damaged schema
        raise amiss.unsound(path, "SQLite") from None


def unreadable(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF not in BUSY


def table_names(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}


def schema_version(connection: sqlite3.Connection) -> int | None:
    if table_names(connection) and _pragma(connection, "application_id") != APPLICATION_ID:
        return None
    return _pragma(connection, "user_version")


def note_version(connection: sqlite3.Connection, version: int) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")


def copy_open(connection: sqlite3.Connection, layout: Layout, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def copy(layout: Layout, target: Path) -> None:
    source = layout.warehouse
    with plain_errors(source):
        if _left_by_a_dead_writer(source):
            _copy_with_journal(source, target)
            return
        uri = f"{source.resolve().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(uri, uri=True, timeout=interface.BUSY_SECONDS)) as there,
            closing(sqlite3.connect(target)) as here,
        ):
            there.backup(here)


def back_up(layout: Layout, target: Path) -> None:
    """By SQLite's own backup. The warehouse is opened for writing, though nothing is written, so that SQLite may undo
    what a killed run left half written."""
    with (
        plain_errors(layout.warehouse),
        closing(sqlite3.connect(f"{layout.warehouse.resolve().as_uri()}?mode=rw", uri=True)) as source,
        closing(sqlite3.connect(target)) as copied,
    ):
        try:
            source.backup(copied, pages=PAGES_A_STEP, progress=_Patience())
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise OSError(errno.ENOSPC, "") from error
            raise


class _Patience:
    """Told after every step of the database's copy. Raises TemporaryFailure when it is locked for BUSY_SECONDS."""

    def __init__(self) -> None:
        self._moved = time.monotonic()

    def __call__(self, status: int, remaining: int, total: int) -> None:
        if status not in BUSY:
            self._moved = time.monotonic()
        elif time.monotonic() - self._moved > interface.BUSY_SECONDS:
            raise TemporaryFailure("another program holds the warehouse; nothing was backed up; try again later.")


def attach(connection: sqlite3.Connection, path: Path, name: str) -> None:
    connection.execute(f"ATTACH ? AS {identifier(name)}", [str(path)])


def staged_tables(
    connection: _Connection,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> AbstractContextManager[None]:
    from lib.warehouses.sqlite_arrow import staged_tables

    return staged_tables(connection, files, carried, engine, folder, refresh)


def wanted_visits(
    connection: sqlite3.Connection, keys: pa.RecordBatchReader, scratch: Path
) -> AbstractContextManager[None]:
    from lib.warehouses.sqlite_arrow import wanted_visits

    return wanted_visits(connection, keys, scratch)


def fetch_table(connection: sqlite3.Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    from lib.warehouses.sqlite_arrow import fetch_table

    return fetch_table(connection, sql, parameters, schema)


def known_identities(connection: sqlite3.Connection, identities: list[str]) -> set[str]:
    find = "SELECT identity FROM quarantine WHERE identity IN (SELECT value FROM json_each(?))"
    return {row[0] for row in connection.execute(find, [json.dumps(identities)])}


@contextmanager
def keeping_load(connection: _Connection, values: Mapping[str, Any]) -> Iterator[DoStep]:
    from lib.warehouses.sqlite_afresh import is_afresh, loading_afresh

    if connection.staged is None or not is_afresh(connection, values):
        with keeping_content(connection, PARTS, None):
            yield lambda step, text: connection.execute(text, values)
        return
    others = [table for table in PARTS if table != "fact_visits"]
    with keeping_content(connection, others, None), loading_afresh(connection, connection.staged, values) as do:
        yield do


def unsound(connection: sqlite3.Connection) -> list[str]:
    answer = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return [] if answer[0] == "ok" else ["the database's own integrity check fails"]


def declared_otherwise(connection: sqlite3.Connection, statements: list[str]) -> list[str]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        for text in statements:
            fresh.execute(text)
        ours = stored_columns(fresh, "fact_visits")
        expected = _declarations(fresh)
    carried = [name for name in stored_columns(connection, "fact_visits") if name not in ours]
    expected["fact_visits"] = sorted([*expected["fact_visits"], *(f"{identifier(name)} TEXT" for name in carried)])
    there = _declarations(connection)
    wrong = sorted(name for name, parts in expected.items() if there.get(name) != parts)
    triggers = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'").fetchone()[0]
    return [f"{name} is not declared as this release declares it" for name in wrong] + (
        [f"{counted(triggers, 'trigger is', 'triggers are')} there that no release made"] if triggers else []
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _declarations(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Each table's and index's declaration in its parts: a column that was added stands where it was added."""
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN ('table', 'index')"
    )
    return {name: sorted(part.strip() for part in sql.split(",")) for name, sql in rows}


def _left_by_a_dead_writer(warehouse: Path) -> bool:
    """Whether the next writer will have to roll back first, which a reader of the original may not."""
    uri = f"{warehouse.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=interface.BUSY_SECONDS)) as there:
        try:
            there.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
                return True
            raise
    return False


def _copy_with_journal(source: Path, target: Path) -> None:
    """The file and its journal as they lie; SQLite rolls the copy back when it is opened."""
    before = _fingerprints(source)
    shutil.copyfile(source, target)
    shutil.copyfile(_journal(source), _journal(target))
    if _fingerprints(source) != before:
        raise TemporaryFailure(f"{source.name}: was written to while it was copied; run again.")


def _journal(warehouse: Path) -> Path:
    return warehouse.with_name(warehouse.name + JOURNAL)


def _fingerprints(warehouse: Path) -> list[tuple[int, int]]:
    return [(each.stat().st_size, each.stat().st_mtime_ns) for each in (warehouse, _journal(warehouse))]
