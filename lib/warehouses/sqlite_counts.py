"""The counts of visits' values in SQLite: kept by temporary triggers as the content hashes are, of the rows that a
statement writes; see lib/sql/warehouse/schema/sqlite/v4."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import Any

from lib.warehouses.interface import VALUES_COUNTED

ValueCounts = Counter[tuple[str, str, str]]
"""(kind, value, source) → visits."""


def watch_values(connection: sqlite3.Connection, counts: ValueCounts, *, deletes: bool) -> list[str]:
    """Triggers on what is written to the facts (`deletes`: and deleted), by which `counts` has the difference; their
    names."""

    def counted(sign: int, source: str, *cells: str | int | None) -> None:
        for kind, cell in zip(VALUES_COUNTED, cells, strict=True):
            counts[kind, "" if cell is None else str(cell), source] += sign

    connection.create_function("value_counted", 2 + len(VALUES_COUNTED), counted)

    def change(sign: int, row: str) -> str:
        cells = ", ".join(f"{row}{name}" for name in ("source", *VALUES_COUNTED))
        return f"SELECT value_counted({sign}, {cells}) WHERE {row}deleted_at IS NULL;"

    old, new = change(-1, "OLD."), change(1, "NEW.")
    events = {"INSERT": new, "UPDATE": old + new} | ({"DELETE": old} if deletes else {})
    for event, body in events.items():
        connection.execute(f"CREATE TEMP TRIGGER values_{event} AFTER {event} ON main.fact_visits BEGIN {body} END")
    return [f"values_{event}" for event in events]


def add_counts(connection: sqlite3.Connection, counts: ValueCounts) -> None:
    """Add to what is stored; a value that no visit has is no row. A count below none stays: it says that rows are
    amiss."""
    changes = [(*key, visits) for key, visits in counts.items() if visits]
    connection.executemany(
        "INSERT INTO visit_value_counts (kind, value, source, visits) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, value, source) DO UPDATE SET visits = visits + excluded.visits",
        changes,
    )
    connection.executemany(
        "DELETE FROM visit_value_counts WHERE kind = ? AND value = ? AND source = ? AND visits = 0",
        [each[:-1] for each in changes],
    )


def replace_counts(connection: sqlite3.Connection, source: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write all counts of a source anew: kind, value, source, visits."""
    connection.execute("DELETE FROM visit_value_counts WHERE source = ?", [source])
    connection.executemany("INSERT INTO visit_value_counts (kind, value, source, visits) VALUES (?, ?, ?, ?)", rows)
