"""The warehouse: opened, checked, created, migrated. What the kinds of it do each in their way is in lib/warehouses;
the statements that change tables are run by lib/load.py."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from lib.clock import file_stamp, now
from lib.content import write_all_hashes
from lib.errors import StoredDataChanged, UsageError
from lib.files import sync_folder
from lib.layout import Layout
from lib.sql import identifier, statements
from lib.warehouses import amiss
from lib.warehouses.choose import kind_named, kind_of, server_kind
from lib.warehouses.interface import Connection, transacting

SCHEMA_VERSION = 4
TABLES = {
    "warehouse", "fact_visits", "daily_visit_metrics", "metric_changes", "deliveries", "quarantine", "quarantine_rows",
    "runs", "state", "lateness", "content_hashes", "visit_value_counts",
}  # fmt: skip
MADE_FROM_DELIVERIES = {"fact_visits", "daily_visit_metrics", "visit_value_counts"}


def open_warehouse(layout: Layout, *, rebuild: bool = False) -> Connection:
    """A connection that may write, to a warehouse of this schema version; made or migrated when needed.

    Raises StoredDataChanged when the file is missing or empty although runs were recorded, or lacks a table that is
    made from deliveries (unless `rebuild`, which a full refresh may ask for); when it is no database, belongs to
    another program, has a newer schema, or lacks another table. TemporaryFailure when another program holds it.
    """
    layout.require_lasting_warehouse()
    path, kind = layout.warehouse, kind_named(layout.kind)
    absent = not extent(layout)
    may_begin = rebuild or not _loaded_before(layout)
    if absent and not may_begin:
        raise amiss.lost(layout)
    with kind.plain_errors(path):
        connection: Connection = kind.connect(layout)
        try:
            if not may_begin and not kind.table_names(connection):
                raise amiss.lost(layout)  # SQLite takes a file of one byte for an empty one
            _migrate(connection, layout, _our_version(connection, path))
            _check_tables(connection, path, rebuild)
        except BaseException:
            connection.close()
            raise
    return connection


def read_warehouse(layout: Layout) -> Connection:
    """A read-only connection to an existing warehouse of this schema version.

    Raises StoredDataChanged, TemporaryFailure."""
    layout.require_lasting_warehouse()
    path, kind = layout.warehouse, kind_named(layout.kind)
    if not extent(layout):
        if not layout.data_dir.is_dir():
            raise UsageError(f"{layout.data_dir}: there is no such data folder; name yours with --data-dir.")
        raise StoredDataChanged(f"{path.name}: there is no warehouse yet; run python run_pipeline.py first.")
    with kind.plain_errors(path):
        connection: Connection = kind.connect(layout, read_only=True)
        try:
            if _our_version(connection, path) != SCHEMA_VERSION:
                raise StoredDataChanged(f"{path.name}: has an older schema; the next run migrates it.")
        except BaseException:
            connection.close()
            raise
    return connection


def writing(layout: Layout, *, rebuild: bool = False) -> AbstractContextManager[Connection]:
    """`open_warehouse` for a block, its errors as ours."""
    return _for_a_block(open_warehouse(layout, rebuild=rebuild), layout)


def reading(layout: Layout) -> AbstractContextManager[Connection]:
    """`read_warehouse` for a block, its errors as ours."""
    return _for_a_block(read_warehouse(layout), layout)


@contextmanager
def _for_a_block(connection: Connection, layout: Layout) -> Iterator[Connection]:
    with kind_of(connection).plain_errors(layout.warehouse):
        try:
            yield connection
        finally:
            connection.close()


def extent(layout: Layout) -> int | None:
    """How much there is of the warehouse, bytes or tables: 0 when it is empty, None when there is none."""
    path = layout.warehouse
    if not layout.server:
        return path.stat().st_size if path.exists() else None
    kind = server_kind(layout.kind)
    with kind.plain_errors(path):
        return kind.count_tables(layout) or None


def transaction(connection: Connection) -> AbstractContextManager[None]:
    """One write transaction: committed when the block ends well, rolled back otherwise."""
    return transacting(connection, kind_of(connection).BEGIN)


def changing_schema(connection: Connection) -> AbstractContextManager[None]:
    """One transaction for changes of tables; none where each commits by itself. There every statement makes only
    what is missing, and the version that says it is all there is noted last."""
    return nullcontext() if kind_of(connection).DDL_COMMITS else transaction(connection)


def fact_columns(connection: Connection) -> list[str]:
    """The names of fact_visits' stored columns, carried ones included."""
    return kind_of(connection).stored_columns(connection, "fact_visits")


def add_carried_columns(connection: Connection, carried: list[str]) -> None:
    """Give fact_visits a text column for each newly carried name. Inside the caller's transaction."""
    for name in sorted(set(carried) - set(fact_columns(connection))):
        connection.execute(f"ALTER TABLE fact_visits ADD COLUMN {identifier(name)} TEXT")


def copy_of_warehouse(layout: Layout, target: Path) -> None:
    """Copy the warehouse as of one instant, while others may write; what a killed run left half written is undone when
    the copy is opened. Raises StoredDataChanged, TemporaryFailure."""
    kind_named(layout.kind).copy(layout, target)


def back_up_warehouse(layout: Layout, target: Path) -> None:
    """As `copy_of_warehouse`, into one file that needs nothing undone. Raises OSError where there is no room."""
    kind_named(layout.kind).back_up(layout, target)


def schema_statements(kind: str, first: int = 1) -> list[tuple[int, list[str]]]:
    """What makes the tables of a kind of warehouse, by schema version; a kind begins with that of its first release."""
    every = [(version, statements(f"warehouse/schema/{kind}/v{version}")) for version in range(1, SCHEMA_VERSION + 1)]
    return [(version, texts) for version, texts in every if version >= first and texts]


def copy_aside(path: Path) -> Path:
    """Move a damaged or empty warehouse out of the way of a rebuild, never deleting it."""
    aside = path.with_name(f"{path.name}.aside-{file_stamp(now())}")
    shutil.move(path, aside)
    return aside


def _loaded_before(layout: Layout) -> bool:
    """Whether any run of this data folder got as far as a manifest."""
    return any((layout.record(run_id) / "manifest.json").exists() for run_id in layout.run_ids())


def _our_version(connection: Connection, path: Path) -> int:
    """Its schema's version, 0 when it is new. Raises StoredDataChanged."""
    version = kind_of(connection).schema_version(connection)
    if version is None:
        raise amiss.foreign(path)
    if version > SCHEMA_VERSION:
        raise StoredDataChanged(
            f"{path.name}: has schema version {version}, this code knows {SCHEMA_VERSION}; use the newer release."
        )
    return version


def _check_tables(connection: Connection, path: Path, rebuild: bool) -> None:
    gone = TABLES - kind_of(connection).table_names(connection)
    if not gone:
        return
    if gone <= MADE_FROM_DELIVERIES:
        if rebuild:
            return _create_missing(connection, gone)
        remedy = "restore it from a backup, or build it again with --full-refresh."
    else:
        remedy = "restore it from a backup, or move it away and run with --full-refresh."
    raise StoredDataChanged(f"{path.name}: lacks the table {', '.join(sorted(gone))}; {remedy}")


def _create_missing(connection: Connection, gone: set[str]) -> None:
    """Make the missing tables as the schema's versions made, altered and filled them."""
    with changing_schema(connection):
        for _, texts in schema_statements(connection.kind):
            for text in texts:
                about = re.search(
                    r"^(?:CREATE TABLE(?: IF NOT EXISTS)?|ALTER TABLE|CREATE INDEX \w+ ON|INSERT INTO) (\w+)",
                    text,
                    re.MULTILINE,
                )
                if about and about[1] in gone:
                    connection.execute(text)


def _migrate(connection: Connection, layout: Layout, version: int) -> None:
    """Bring the schema up to SCHEMA_VERSION, each version in one transaction; an older warehouse is copied first."""
    if version == SCHEMA_VERSION:
        return
    kind, path = kind_of(connection), layout.warehouse
    if version:
        kind.copy_open(connection, layout, path.with_name(f"{path.name}.schema{version}-{file_stamp(now())}"))
        sync_folder(path.parent)
    for step, texts in schema_statements(connection.kind, version + 1):
        with changing_schema(connection):
            for text in texts:
                connection.execute(text)
            if step == 3:
                write_all_hashes(connection)
            kind.note_version(connection, step)
