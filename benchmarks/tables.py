"""What a contender's tables hold, in one form: so that two that say the same are seen to."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

_FETCH_ROWS = 50_000


@dataclass(frozen=True)
class Tables:
    """Counts and sums to show, and SHA-256 of every row of the facts (by visit_id) and of the metrics (by day)."""

    visits: int
    cost_cents: int
    days: int
    refused: int
    facts_hash: str
    days_hash: str

    def told(self) -> dict[str, Any]:
        """As a plain dict."""
        return asdict(self)


@dataclass(frozen=True)
class Queries:
    """How to ask one kind of database: facts and metrics in the common form and order, and how many were refused.

    A fact: visit_id, patient_id, provider_id, diagnosis_code, day as text, cents, stamp as 2025-12-06T12:00:00.000000.
    A day: day as text, visits, patients, total cents, average cents, visits without a cost."""

    facts: str
    days: str
    refused: str


def read_tables(path: Path, queries: Queries) -> Tables:
    """Every row of the tables in the SQLite or DuckDB database at `path`."""
    with path.open("rb") as stream:
        is_sqlite = stream.read(15) == b"SQLite format 3"
    connection: Any = sqlite3.connect(path) if is_sqlite else duckdb.connect(str(path), read_only=True)
    try:
        facts, days = hashlib.sha256(), hashlib.sha256()
        visits = cents = day_count = 0
        for row in _rows(connection, queries.facts):
            facts.update(repr(row).encode())
            visits, cents = visits + 1, cents + (row[5] or 0)
        for row in _rows(connection, queries.days):
            days.update(repr(row).encode())
            day_count += 1
        refused = connection.execute(queries.refused).fetchone()[0]
    finally:
        connection.close()
    return Tables(visits, cents, day_count, refused, facts.hexdigest(), days.hexdigest())


def _rows(connection: Any, query: str) -> Iterator[tuple[Any, ...]]:
    cursor = connection.execute(query)
    while rows := cursor.fetchmany(_FETCH_ROWS):
        yield from rows


def differences(ours: Tables, theirs: Tables, *, same_refused: bool) -> list[str]:
    """What differs, in words; nothing when facts and metrics are equal to the last row."""
    found = [
        f"{name} {getattr(ours, name):,} and {getattr(theirs, name):,}"
        for name in ("visits", "cost_cents", "days")
        if getattr(ours, name) != getattr(theirs, name)
    ]
    found += ["a fact"] if ours.facts_hash != theirs.facts_hash and not found else []
    found += ["a day's metrics"] if ours.days_hash != theirs.days_hash and not found else []
    if same_refused and ours.refused != theirs.refused:
        found.append(f"refused {ours.refused:,} and {theirs.refused:,}")
    return found
