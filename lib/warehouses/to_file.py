"""A server's tables as a DuckDB file of the same schema: for a backup, a rehearsal, doing runs again.

Their content hashes are DuckDB's there. What was amiss on the server stays amiss in the copy: by as much as a part's
stored hash differs from its rows there, it differs here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb as driver
import pyarrow as pa

from lib.errors import TemporaryFailure
from lib.sql import identifier
from lib.warehouse import SCHEMA_VERSION, TABLES, schema_statements
from lib.warehouses import duckdb, duckdb_content, duckdb_driver
from lib.warehouses.interface import Connection, Sums


def copy_tables(
    connection: Connection,
    count_content: Callable[[Any], Sums],
    fetch_table: Callable[[Any, str, Any, pa.Schema], pa.Table],
    target: Path,
) -> None:
    """Copy what the connection's transaction sees. `target` is a new file. Raises TemporaryFailure."""
    try:
        with closing(duckdb_driver.Connection(driver.connect(str(target)))) as copy:
            for _, texts in schema_statements("duckdb"):
                for text in texts:
                    copy.execute(text)
            for table in sorted(TABLES - {"content_hashes"}):
                _copy_table(connection, fetch_table, copy, table)
            duckdb.note_version(copy, SCHEMA_VERSION)
            there, here = count_content(connection), duckdb.count_content(copy)
            rows = connection.execute("SELECT part, key, row_count, hash FROM content_hashes")
            stored = {(part, key): (count, int(text, 16)) for part, key, count, text in rows}
            duckdb_content.store_sums(
                copy, {part: _stored_here(part, stored, there, here) for part in stored.keys() | there}
            )
    except driver.IOException as error:
        raise TemporaryFailure(f"{target.name}: the copy could not be written (disk full or failing?).") from error


def _copy_table(connection: Connection, fetch_table: Any, copy: Any, table: str) -> None:
    names = [name for name in _columns(connection, table)]
    for name in names:
        if name not in duckdb.stored_columns(copy, table):
            copy.execute(f"ALTER TABLE {table} ADD COLUMN {identifier(name)} VARCHAR")
    chosen = ", ".join(map(identifier, names))
    as_text = pa.schema([(name, pa.string()) for name in names])
    rows = fetch_table(connection, f"SELECT {chosen} FROM {table}", [], as_text)
    copy.execute(f"DELETE FROM {table}")
    copy.inner.register("rows", rows)
    copy.execute(f"INSERT INTO {table} ({chosen}) SELECT {chosen} FROM rows")
    copy.inner.unregister("rows")


def _columns(connection: Connection, table: str) -> list[str]:
    from lib.warehouses.choose import kind_of

    return kind_of(connection).stored_columns(connection, table)


def _stored_here(part: tuple[str, str], stored: Sums, there: Sums, here: Sums) -> tuple[int, int]:
    none = (0, 0)
    (rows, total), (rows_there, total_there), (rows_here, total_here) = (
        each.get(part, none) for each in (stored, there, here)
    )
    return rows - rows_there + rows_here, total ^ total_there ^ total_here
