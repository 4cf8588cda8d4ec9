"""Content hashes in DuckDB, by difference (lib/warehouses/by_difference.py), computed by all cores.

A visit is hashed by its `row_hash`, which is made of its values (a count makes it again), and what
that leaves out: its place, stamp, deletion and carried columns. Any other row is hashed as its stored columns. Nulls at
the end are left out: a column carried from today on changes no old hash.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from lib.sql import identifier, literal, statement
from lib.warehouses.by_difference import keeping, own_transaction
from lib.warehouses.interface import PARTS, DoStep, Sums

BEGIN = "BEGIN TRANSACTION"

IN_ROW_HASH = ("visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost_cents")
ALWAYS = ("row_hash", "delivery_seq", "source_line", "last_updated")
"""Of a visit, never null; joined as they are. The stamp is not in every row_hash: a source may have none."""
_SELF: Any = sys.modules[__name__]
TOUCHED = "visit_id IN (SELECT visit_id FROM temp.touched_visits)"


@contextmanager
def keeping_content(connection: Any, tables: Iterable[str], afresh: str | None) -> Iterator[None]:
    """See lib.content.keeping_content. Reads the tables whole, twice: `keeping_load` is for large ones."""
    places = dict.fromkeys(tables, "true")
    if afresh and "fact_visits" in places:
        places["fact_visits"] = f"source = {literal(afresh)}"
    with own_transaction(connection, _SELF), keeping(connection, _SELF, places, {}, forget=afresh):
        yield


@contextmanager
def keeping_load(connection: Any, values: Mapping[str, Any]) -> Iterator[DoStep]:
    """Of the facts, only the rows that the batch writes or marks are read; of tables by run, only this run's."""
    refresh = bool(values["refresh"])
    is_first = connection.execute("SELECT 1 FROM fact_visits WHERE source = :source LIMIT 1", values).fetchone() is None
    connection.execute(statement("warehouse/load/00_touched_entries", "duckdb"), values)
    if refresh or is_first:
        # that nothing stands must be plain before a statement is planned: a join would hash the whole batch for it
        where = f"source = {literal(values['source'])}" if refresh else "false"
        connection.execute(f"CREATE TEMP VIEW standing AS SELECT rowid AS place, * FROM fact_visits WHERE {where}")
    else:
        connection.execute(statement("warehouse/load/00_touched_visits", "duckdb"), values)
        connection.execute(statement("warehouse/load/00_standing_visits", "duckdb"), values)
    places = {
        "fact_visits": "source = :source" if refresh or is_first else f"source = :source AND {TOUCHED}",
        "metric_changes": "run_id = :run_id",
        "lateness": "run_id = :run_id",
        "runs": "run_id = :run_id",
        "quarantine": "identity IN (SELECT identity FROM temp.touched_entries)",
        "quarantine_rows": (
            "source = :source AND delivery_seq IN (SELECT DISTINCT delivery_seq FROM scratch.rejected)"
        ),
        "deliveries": "source = :source",
        "state": "source = :source",
    }
    standing = None if refresh or is_first else "temp.standing"
    with keeping(
        connection, _SELF, places, values, forget=values["source"] if refresh else None, facts_before=standing
    ):
        yield lambda step, text: connection.execute(text, values)


def count_content(connection: Any) -> Sums:
    """The rows that are there now, counted and summed by part and key; of a visit its values, not what its `row_hash`
    says of them."""
    found: Sums = {}
    by_values = f"({statement('warehouse/verify/facts_by_their_values', 'duckdb')})"
    for table in PARTS:
        found |= sums(connection, table, "true", {}, among=by_values if table == "fact_visits" else None)
    return found


def stored_columns(connection: Any, table: str, database: str | None = None) -> list[str]:
    """In the table's order, added ones last; without the generated ones, which are no content of their own."""
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND NOT is_generated AND schema_name = 'main'"
        " AND database_name = coalesce(?, current_database()) ORDER BY column_index",
        [table, None if database == "main" else database],
    )
    return [row[0] for row in rows]


def sums(connection: Any, table: str, where: str, values: Mapping[str, Any], among: str | None = None) -> Sums:
    """See lib.warehouses.by_difference.Hashing."""
    columns = stored_columns(connection, table)
    key = " || '|' || ".join(f"CAST({name} AS VARCHAR)" for name in PARTS[table])
    rows = connection.execute(
        f"SELECT {key} AS key, count(*) AS rows, CAST(bit_xor(CAST(unhex(sha256({_text(table, columns)})) AS BIT)) AS"
        f" VARCHAR) AS hash FROM {among or table} WHERE {where} GROUP BY {', '.join(PARTS[table])}",
        values,
    )
    return {(table, row["key"]): (row["rows"], int(row["hash"], 2)) for row in rows}


def _text(table: str, columns: list[str]) -> str:
    """SQL of a row as a text in which no two rows of the table are alike."""
    if table != "fact_visits":
        return without_last_nulls(f"json_array({', '.join(map(identifier, columns))})")
    others = [identifier(name) for name in columns if name not in (*IN_ROW_HASH, *ALWAYS, "source")]
    given = " OR ".join(f"{name} IS NOT NULL" for name in others)
    named = without_last_nulls(f"json_array({', '.join(others)})")
    rest = f"CASE WHEN {given} THEN {named} END"
    return f"concat({', '.join(f'{name}, chr(31)' for name in ALWAYS)}, {rest})"


def without_last_nulls(arrays: str) -> str:
    """DuckDB's SQL of JSON arrays, one after the other, less the nulls at their end and what closes them: as rtrim does
    it, at a tenth of its price."""
    return f"regexp_replace({arrays}, '[],nul[]+$', '')"


def stored_sums(connection: Any, parts: Collection[tuple[str, str]]) -> Sums:
    with _registered(connection, dict.fromkeys(parts, (0, 0))):
        rows = connection.execute(
            "SELECT part, key, row_count, hash FROM content_hashes WHERE (part, key) IN (SELECT part, key FROM changed)"
        )
        return {(part, key): (count, int(text, 16)) for part, key, count, text in rows}


def store_sums(connection: Any, sums: Sums) -> None:
    with _registered(connection, sums):
        connection.execute("DELETE FROM content_hashes WHERE (part, key) IN (SELECT part, key FROM changed)")
    with _registered(connection, {part: each for part, each in sums.items() if each != (0, 0)}):
        connection.execute("INSERT INTO content_hashes SELECT part, key, rows, sums FROM changed")


@contextmanager
def _registered(connection: Any, sums: Sums) -> Iterator[None]:
    connection.inner.register(
        "changed",
        pa.table(
            {
                "part": pa.array([part for part, _ in sums], pa.string()),
                "key": pa.array([key for _, key in sums], pa.string()),
                "rows": pa.array([rows for rows, _ in sums.values()], pa.int64()),
                "sums": pa.array([f"{total:064x}" for _, total in sums.values()], pa.string()),
            }
        ),
    )
    try:
        yield
    finally:
        connection.inner.unregister("changed")
