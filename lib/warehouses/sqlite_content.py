"""Content hashes in SQLite: the hash of a set of rows is the sum of their SHA-256 modulo 2^256.

Whichever statement writes a row, a temporary trigger sees it: only touched rows are read. A row is hashed as its stored
columns, less the nulls at the end: a column carried from today on changes no old hash.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lib.sql import identifier
from lib.warehouses.interface import PARTS, Sums
from lib.warehouses.sqlite_counts import ValueCounts, add_counts, replace_counts, watch_values

MODULUS = 1 << 256
MOST_ARGUMENTS = 100
"""Of an SQL function: SQLite takes 127."""


@contextmanager
def keeping_content(connection: sqlite3.Connection, tables: Iterable[str], afresh: str | None) -> Iterator[None]:
    """See lib.content.keeping_content."""
    if connection.execute("SELECT 1 FROM sqlite_temp_master WHERE name = 'content_is_kept'").fetchone():
        yield
        return
    changes: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    values = ValueCounts()

    def changed(sign: int, part: str, key: str, text: bytes) -> None:
        counted = changes[part, key]
        counted[0] += sign
        counted[1] += sign * _row_hash(text)

    connection.create_function("content_changed", 4, changed)
    tables = list(tables)
    connection.execute("SAVEPOINT content")
    try:
        connection.execute("CREATE TEMP VIEW content_is_kept AS SELECT 1")
        triggers = [name for table in tables for name in _watch(connection, table, forget=afresh)]
        if "fact_visits" in tables:
            triggers += watch_values(connection, values, deletes=not afresh)
        if afresh:
            forget(connection, afresh)
            replace_counts(connection, afresh, [])
        yield
        for name in triggers:
            connection.execute(f"DROP TRIGGER temp.{name}")
        connection.execute("DROP VIEW temp.content_is_kept")
        add(connection, {part: (rows, total) for part, (rows, total) in changes.items()})
        add_counts(connection, values)
        connection.execute("RELEASE content")
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
            connection.execute("ROLLBACK TO content")
            connection.execute("RELEASE content")
        raise


def count_content(connection: sqlite3.Connection) -> Sums:
    """The rows that are there now, counted and summed by part and key."""
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for table, keys in PARTS.items():
        cursor = connection.cursor()
        cursor.row_factory = None
        text = _row_text(stored_columns(connection, table), "")
        for key, row in cursor.execute(f"SELECT {_key(keys, '')}, {text} FROM {table}"):
            counted = sums[table, key]
            counted[0] += 1
            counted[1] += _row_hash(row)
    return {part: (rows, total % MODULUS) for part, (rows, total) in sums.items()}


def _row_hash(text: bytes) -> int:
    return int.from_bytes(hashlib.sha256(text).digest())


def forget(connection: sqlite3.Connection, source: str) -> None:
    """Take away what is stored of the source's facts."""
    connection.execute(
        "DELETE FROM content_hashes WHERE part = 'fact_visits' AND substr(key, 1, ?) = ?",
        [len(source) + 1, f"{source}|"],
    )


def add(connection: sqlite3.Connection, changes: Sums) -> None:
    """Add to the stored sums; a part without rows has none. One row stays when its hash says that rows are amiss."""
    for (part, key), (rows, total) in changes.items():
        before = connection.execute(
            "SELECT row_count, hash FROM content_hashes WHERE part = ? AND key = ?", [part, key]
        ).fetchone()
        rows += before[0] if before else 0
        total = (total + (int(before[1], 16) if before else 0)) % MODULUS
        if rows == 0 and total == 0:
            connection.execute("DELETE FROM content_hashes WHERE part = ? AND key = ?", [part, key])
        else:
            connection.execute(
                "INSERT OR REPLACE INTO content_hashes (part, key, row_count, hash) VALUES (?, ?, ?, ?)",
                [part, key, rows, f"{total:064x}"],
            )


def _watch(connection: sqlite3.Connection, table: str, forget: str | None) -> list[str]:
    """Triggers on what is written to the table; their names."""
    columns = stored_columns(connection, table)

    def change(sign: int, row: str) -> str:
        text = f"'{table}', {_key(PARTS[table], row)}, {_row_text(columns, row)}"
        return f"SELECT content_changed({sign}, {text});"

    events = {"INSERT": change(1, "NEW."), "UPDATE": change(-1, "OLD.") + change(1, "NEW.")}
    if not (forget and table == "fact_visits"):
        events["DELETE"] = change(-1, "OLD.")
    for event, body in events.items():
        connection.execute(
            f"CREATE TEMP TRIGGER content_{table}_{event} AFTER {event} ON main.{table} BEGIN {body} END"
        )
    return [f"content_{table}_{event}" for event in events]


def stored_columns(connection: sqlite3.Connection, table: str, database: str | None = None) -> list[str]:
    """In the table's order, added ones last; without the generated ones, which are no content of their own."""
    prefix = f"{database}." if database else ""
    return [row[1] for row in connection.execute(f"PRAGMA {prefix}table_info({table})")]


def _key(columns: tuple[str, ...], row: str) -> str:
    return " || '|' || ".join(f"{row}{name}" for name in columns)


def _row_text(columns: list[str], row: str) -> str:
    """SQL of a row as bytes in which no two rows are alike: JSON arrays less the nulls at their end. No text ends like
    one of them, and no number."""
    values = [f"{row}{identifier(name)}" for name in columns]
    arrays = (values[start : start + MOST_ARGUMENTS] for start in range(0, len(values), MOST_ARGUMENTS))
    text = " || ".join(f"json_array({', '.join(each)})" for each in arrays)
    return f"CAST(rtrim({text}, ',nul[]') AS BLOB)"
