"""A source's facts written anew into SQLite: by a first load, by a full refresh.

What the facts of each day add up to is then known from the staged files alone: the engine counts it beside the
transaction, while SQLite takes in the rows. The content hashes are the same as if each row had been seen
(lib/warehouses/sqlite_content.py). Indexes on an empty table are made when the rows are there: one sort costs less than
finding each row's place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.config import Engine
from lib.engines.duckdb import open_database
from lib.sql import identifier, literal, statement
from lib.warehouses.duckdb_content import without_last_nulls
from lib.warehouses.sqlite_content import MOST_ARGUMENTS, add, forget, stored_columns
from lib.warehouses.sqlite_counts import replace_counts

LANES = 4
"""A hash is added up as four numbers of 64 bits: the engine's whole numbers have 128."""
INDEXES = {
    "fact_visits_by_visit_date": "warehouse/schema/sqlite/v2/01_fact_visits_by_date",
    "fact_visits_by_patient": "warehouse/schema/sqlite/v2/02_fact_visits_by_patient",
}
SPILLS_FROM = 1_000_000
SMALL_CACHE_KIB = 8 * 1024
"""So many rows do not fit into the cache in any case; pages that stay in the processor's are then filled sooner, and an
index is sorted in pieces of this size, at a third of the price of a large one."""
STORED = {
    "visit_date": "strftime(visit_date, '%Y-%m-%d')",
    "last_updated": "stamp_text(utc_clock(last_updated))",
    "deleted_at": "stamp_text(deleted_at)",
    "visit_cost_cents": "CAST(visit_cost * 100 AS BIGINT)",
}
"""The columns that the staged files hold in another type: the value that is stored, in the engine's SQL."""


@dataclass(frozen=True)
class Batch:
    """The staged files by name, and the engine that reads them."""

    files: Mapping[str, Path]
    engine: Engine
    folder: Path


def is_afresh(connection: sqlite3.Connection, values: Mapping[str, Any]) -> bool:
    """Whether the batch will be all that the table holds of its source."""
    return bool(values["refresh"]) or not _holds(connection, "source = ?", values["source"])


@contextmanager
def loading_afresh(connection: sqlite3.Connection, batch: Batch, values: Mapping[str, Any]) -> Iterator[Afresh]:
    """For the block, what does the steps of such a load in its own way."""
    columns = stored_columns(connection, "fact_visits")
    source = values["source"]
    alone = not (_holds(connection, "source < ?", source) or _holds(connection, "source > ?", source))
    with ThreadPoolExecutor(1) as beside:
        yield Afresh(connection, values, alone, beside.submit(_count, batch, columns, values))


@dataclass
class Afresh:
    """`alone`: the table holds no other source's facts. `counted`: the rows of `count_days` and of `count_values`."""

    connection: sqlite3.Connection
    values: Mapping[str, Any]
    alone: bool
    counted: Future[tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]
    _waiting: list[str] = field(default_factory=list)

    def __call__(self, step: str, text: str) -> sqlite3.Cursor:
        """Do a step of the load, whose statement for any other load is `text`."""
        is_first = not self.values["refresh"]
        if is_first and step in ("01_visit_changes", "02_touched_days"):
            return self.connection.cursor()
        if is_first and step == "03_metrics_before":
            self._waiting.append(text)
            return self.connection.cursor()
        if step == "04_clear_facts" and self.alone:
            return self._clear_every_fact(is_first)
        if step == "05_merge_facts" and self.alone:
            return self._fill_empty_table(text)
        if step == "07_clear_metrics":
            self._take_days(is_first)
        if step == "08_rebuild_metrics":
            return self._rebuild_metrics()
        return self.connection.execute(text, self.values)

    def _clear_every_fact(self, is_first: bool) -> sqlite3.Cursor:
        if self.values["staged"] >= SPILLS_FROM:
            self.connection.execute(f"PRAGMA cache_size = -{SMALL_CACHE_KIB}")
        for name in INDEXES:
            self.connection.execute(f"DROP INDEX {name}")
        return self.connection.cursor() if is_first else self.connection.execute("DELETE FROM fact_visits")

    def _fill_empty_table(self, text: str) -> sqlite3.Cursor:
        done = self.connection.execute(text, self.values)
        for name in INDEXES.values():
            self.connection.execute(statement(name))
        return done

    def _take_days(self, is_first: bool) -> None:
        source = self.values["source"]
        days, values = self.counted.result()
        if not is_first:
            forget(self.connection, source)
        add(self.connection, {("fact_visits", f"{source}|{row[0]}"): (row[1], _sum(row[-LANES:])) for row in days})
        replace_counts(self.connection, source, values)
        self.connection.execute("CREATE TEMP TABLE days (visit_date, visits, late, patients, with_cost, cents)")
        self.connection.executemany(
            "INSERT INTO temp.days VALUES (?, ?, ?, ?, ?, ?)", [(row[0], *row[2:-LANES]) for row in days if row[2]]
        )
        if is_first:
            self._execute("touched_days")
        for text in self._waiting:
            self.connection.execute(text, self.values)

    def _rebuild_metrics(self) -> sqlite3.Cursor:
        if not self.alone:
            self._execute("days_of_others")
        return self._execute("rebuild_metrics")

    def _execute(self, name: str) -> sqlite3.Cursor:
        return self.connection.execute(statement(f"warehouse/load/afresh/{name}", "sqlite"), self.values)


def _count(
    batch: Batch, columns: Sequence[str], values: Mapping[str, Any]
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    with open_database(batch.engine, batch.folder) as engine:
        threads = engine.execute("SELECT current_setting('threads')").fetchone()
        engine.execute(f"SET threads = {max(threads[0] - 1, 1) if threads else 1}")  # SQLite has a core of its own
        return count_days(engine, batch, columns, values), count_values(engine, batch, values)


def count_values(engine: Any, batch: Batch, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What the source's visits hold, in the order of visit_value_counts' key: kind, value, source, visits."""
    facts = statement("duckdb/values_of_facts", source=literal(values["source"]), **_facts(batch, values))
    counted = statement("warehouse/visit_values", "duckdb", facts=f"({facts})")
    rows: list[tuple[Any, ...]] = engine.execute(f"{counted} ORDER BY kind, value").fetchall()
    return rows


def count_days(engine: Any, batch: Batch, columns: Sequence[str], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What the facts of each day of the source will be. Grain: one row per day: visit_date, facts, of them not deleted:
    visits, late ones, patients, visits with a cost, cents; then the lanes of the sum of the rows' hashes."""
    lanes = ",\n    ".join(f"sum(CAST('0x' || substr(hash, {1 + 16 * lane}, 16) AS UBIGINT))" for lane in range(LANES))
    watermark = values["committed_watermark"]
    query = statement(
        "duckdb/days_of_facts",
        **_facts(batch, values),
        row_text=row_text(columns, values["source"]),
        lanes=lanes,
        watermark=f"TIMESTAMPTZ {literal(watermark)}" if watermark else "NULL",
    )
    rows: list[tuple[Any, ...]] = engine.execute(query).fetchall()
    return rows


def _facts(batch: Batch, values: Mapping[str, Any]) -> dict[str, str]:
    """Of the staged visits those that will be facts, as pieces of a statement."""
    return {
        "visits": literal(str(batch.files["visits"])),
        "deletions": literal(str(batch.files["deletions"])),
        "written": "true" if values["refresh"] else "is_written",
    }


def row_text(columns: Sequence[str], source: str) -> str:
    """The engine's SQL of the text that SQLite hashes of a row (lib/warehouses/sqlite_content.py)."""
    values = [literal(source) if name == "source" else STORED.get(name, identifier(name)) for name in columns]
    arrays = (values[start : start + MOST_ARGUMENTS] for start in range(0, len(values), MOST_ARGUMENTS))
    text = " || ".join(f"json_array({', '.join(each)})" for each in arrays)
    return without_last_nulls(f"sqlite_json({text})")


def _sum(lanes: Sequence[int]) -> int:
    total = 0
    for lane in lanes:
        total = (total << 64) + int(lane)
    return total


def _holds(connection: sqlite3.Connection, where: str, source: str) -> bool:
    return connection.execute(f"SELECT 1 FROM fact_visits WHERE {where} LIMIT 1", [source]).fetchone() is not None
