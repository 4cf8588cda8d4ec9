"""DuckDB: one file, columns, all cores. What the statements of lib/sql leave open.

The file belongs to one process that writes, or to any number that read: a connection is held for as short as may be,
and waits a while for its turn. What is committed is in the file or its log (`.wal`), which a connection that closes
takes in; a reader finds what a killed writer had committed, and nothing else.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from lib.config import Engine
from lib.errors import PipelineError, TemporaryFailure
from lib.files import CHUNK_BYTES, TEMPORARY_PREFIX
from lib.layout import Layout
from lib.sql import identifier, literal, statement
from lib.warehouses import amiss, interface
from lib.warehouses.duckdb_content import BEGIN as BEGIN
from lib.warehouses.duckdb_content import count_content as count_content
from lib.warehouses.duckdb_content import keeping_content as keeping_content
from lib.warehouses.duckdb_content import keeping_load as keeping_load
from lib.warehouses.duckdb_content import stored_columns as stored_columns
from lib.warehouses.duckdb_driver import LIVE, Connection, marked
from lib.warehouses.interface import STAGED, Parameters

if TYPE_CHECKING:
    import pyarrow as pa

IS_NOT = "IS DISTINCT FROM"
TAKES_IN_ORDER = False
ONE_CORE = False
DDL_COMMITS = False
OURS = "patient visits, schema "
"""The comment on the table `warehouse`, with the schema's version: tells our file from any other DuckDB database."""
MAGIC, MAGIC_AT = b"DUCK", 8
FOREIGN = (b"SQLite format 3\0",)
WAIT_SECONDS = 0.05
COMPRESSED = re.compile(r" USING COMPRESSION \w+")


def connect(layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> Connection:
    """Nothing outside the staged files (and `wider`) may be read or written by a statement, no extension fetched."""
    path, engine = layout.warehouse.resolve(), layout.engine or Engine()
    _check_file(path, read_only)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": engine.memory_limit,
        "temp_directory": str(layout.staging.resolve() / f"{TEMPORARY_PREFIX}warehouse"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    if engine.threads:
        settings["threads"] = engine.threads
    inner = _opened(path, read_only, settings)
    if inner.sql("SELECT current_setting('enable_external_access')").fetchall()[0][0]:
        folders = ", ".join(literal(f"{each.resolve()}{os.sep}") for each in (layout.staging, wider) if each)
        inner.execute(f"SET allowed_directories = [{folders}]")
        inner.execute("SET enable_external_access = false")  # from here on, for all connections to it in this process
    return Connection(inner, path)


def _check_file(path: Path, read_only: bool) -> None:
    """What is no DuckDB file is told apart before DuckDB sees it: it would look for an extension that can read it. Not
    where this process has it open already: closing a file gives up all locks that the process has on it."""
    if not path.exists() or any(each.path == path for each in LIVE):
        return
    if not path.stat().st_size and not read_only:
        path.unlink()  # DuckDB takes no empty file for a new one
        return
    with path.open("rb") as stream:
        head = stream.read(MAGIC_AT + len(MAGIC))
    if head.startswith(tuple(each[: len(head)] for each in FOREIGN)) and len(head) > 1:
        raise amiss.foreign(path)
    if head[MAGIC_AT:] != MAGIC:
        raise amiss.unsound(path, "DuckDB")


def _opened(path: Path, read_only: bool, settings: Any) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + interface.BUSY_SECONDS
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=settings)
        except duckdb.IOException as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
        time.sleep(WAIT_SECONDS)


def _is_busy(error: BaseException) -> bool:
    return "lock on file" in str(error)


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """DuckDB's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise TemporaryFailure(
            f"{path.name}: the warehouse needs more memory than it may use; raise engine.memory_limit in the config."
        ) from error
    except duckdb.Error as error:
        text = str(error)
        if _is_busy(error):
            raise amiss.busy(path) from error
        if any(
            os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES)
        ):
            raise amiss.unwritable(path) from error
        if any(words in text for words in UNSOUND) or isinstance(error, duckdb.SerializationException):
            raise amiss.unsound(path, "DuckDB") from error
        if isinstance(error, duckdb.IOException):
            raise amiss.unwritable(path) from error
        raise PipelineError(f"{path.name}: the warehouse refused a statement ({type(error).__name__}).") from error
    except UnicodeDecodeError:
        raise amiss.unsound(path, "DuckDB") from None


UNSOUND = ("Corrupt database file", "not a valid DuckDB database", "Could not read enough bytes", "INTERNAL Error")


def unreadable(error: Exception) -> bool:
    return not _is_busy(error)


def table_names(connection: Connection) -> set[str]:
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal"
    return {row[0] for row in connection.execute(query)}


def schema_version(connection: Connection) -> int | None:
    if not table_names(connection):
        return 0
    query = "SELECT comment FROM duckdb_tables() WHERE table_name = 'warehouse' AND database_name = current_database()"
    row = connection.execute(query).fetchone()
    said = (row and row[0]) or ""
    return int(said.removeprefix(OURS)) if re.fullmatch(rf"{OURS}\d+", said) else None


def note_version(connection: Connection, version: int) -> None:
    connection.execute(f"COMMENT ON TABLE warehouse IS '{OURS}{version}'")


def copy_open(connection: Connection, layout: Layout, target: Path) -> None:
    connection.execute("CHECKPOINT")
    shutil.copyfile(layout.warehouse, target)


def copy(layout: Layout, target: Path) -> None:
    """While this process reads it, no other may write it. The files are read once DuckDB has locked them, and closed
    together with its own: a process that closes a file gives up all its locks on it."""
    with plain_errors(layout.warehouse), closing(connect(layout, read_only=True)), ExitStack() as opened:
        for source, copied in ((layout.warehouse, target), (_log(layout.warehouse), _log(target))):
            if source.exists():
                reader, writer = (opened.enter_context(each) for each in (source.open("rb"), copied.open("wb")))
                shutil.copyfileobj(reader, writer, CHUNK_BYTES)


def back_up(layout: Layout, target: Path) -> None:
    try:
        copy(layout, target)
    except OSError:
        _log(target).unlink(missing_ok=True)
        raise
    if _log(target).exists():
        with plain_errors(target), closing(duckdb.connect(str(target))):
            pass  # takes the log in


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def attach(connection: Connection, path: Path, name: str) -> None:
    connection.execute(f"ATTACH {literal(str(path))} AS {identifier(name)}")


@contextmanager
def staged_tables(
    connection: Connection,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[None]:
    """Views on the files where they lie: nothing is written twice."""
    connection.execute("ATTACH ':memory:' AS scratch")
    try:
        pieces = {name: literal(str(path.resolve())) for name, path in files.items()}
        pieces["carried"] = "".join(f",\n    {identifier(name)}" for name in carried)
        for name in STAGED:
            view = "staged" if name == "visits" else name
            connection.execute(
                f"CREATE VIEW scratch.{view} AS {statement(f'warehouse/staged/{name}', 'duckdb', **pieces)}"
            )
        yield
    finally:
        connection.execute("DETACH scratch")


@contextmanager
def wanted_visits(connection: Connection, keys: pa.RecordBatchReader, scratch: Path) -> Iterator[None]:
    """The keys are read from the engine while they are joined."""
    connection.inner.register("wanted", keys)
    try:
        yield
    finally:
        connection.inner.unregister("wanted")


def fetch_table(connection: Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    text, _ = marked(sql)
    table: pa.Table = connection.inner.sql(text, params=list(parameters) or None).to_arrow_table()
    return table.cast(schema)


def known_identities(connection: Connection, identities: list[str]) -> set[str]:
    import pyarrow as pa

    connection.inner.register("asked", pa.table({"identity": pa.array(identities, pa.string())}))
    try:
        rows = connection.execute(
            "SELECT DISTINCT identity FROM quarantine WHERE identity IN (SELECT identity FROM asked)"
        )
        return {row[0] for row in rows}
    finally:
        connection.inner.unregister("asked")


def unsound(connection: Connection) -> list[str]:
    """Nothing more: every block has a checksum that is looked at when it is read, and the other checks read all."""
    return []


def declared_otherwise(connection: Connection, statements: list[str]) -> list[str]:
    with closing(Connection(duckdb.connect(":memory:"))) as fresh:
        for text in statements:
            fresh.execute(text)
        expected = _declarations(fresh)
    there = _declarations(connection)
    carried = [part for part in there.get("fact_visits", []) if re.fullmatch(r'"?[a-z][a-z0-9_]*"? VARCHAR', part)]
    expected["fact_visits"] = sorted({*expected["fact_visits"], *carried})
    wrong = sorted(name for name, parts in expected.items() if there.get(name) != parts)
    return [f"{name} is not declared as this release declares it" for name in wrong]


def _declarations(connection: Connection) -> dict[str, list[str]]:
    """Each table's declaration in its parts: a column that was added stands where it was added. How a column is
    compressed is no part of it: a file keeps what it was made with."""
    rows = connection.execute("SELECT table_name, sql FROM duckdb_tables() WHERE database_name = current_database()")
    return {
        name: sorted(COMPRESSED.sub("", part).strip(" ;)") for part in sql.split("(", 1)[1].split(","))
        for name, sql in rows
    }
