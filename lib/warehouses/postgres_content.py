"""Content hashes in PostgreSQL, by difference (lib/warehouses/by_difference.py), computed by the server.

A row is hashed as its stored columns, less the nulls at the end: a column carried from today on changes no old hash.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from lib.sql import identifier, literal, statement
from lib.warehouses.by_difference import keeping, own_transaction
from lib.warehouses.interface import PARTS, DoStep, Sums

BEGIN = "BEGIN"
ALONE = "LOCK TABLE content_hashes IN SHARE ROW EXCLUSIVE MODE"
"""Until the transaction ends: rows that another writer commits between the two readings would be hashed by both."""
MOST_ARGUMENTS = 50
"""Of a function: PostgreSQL takes 100."""
GROWING = {"05_merge_facts": "fact_visits", "11_quarantine": "quarantine"}
TOUCHED = "visit_id IN (SELECT visit_id FROM temp.touched_visits)"
_SELF: Any = sys.modules[__name__]


@contextmanager
def keeping_content(connection: Any, tables: Iterable[str], afresh: str | None) -> Iterator[None]:
    """See lib.content.keeping_content. Reads the tables whole, twice: `keeping_load` is for large ones."""
    places = dict.fromkeys(tables, "true")
    if afresh and "fact_visits" in places:
        places["fact_visits"] = f"source = {literal(afresh)}"
    with own_transaction(connection, _SELF):
        connection.execute(ALONE)
        with keeping(connection, _SELF, places, {}, forget=afresh):
            yield


@contextmanager
def keeping_load(connection: Any, values: Mapping[str, Any]) -> Iterator[DoStep]:
    """Of the facts, only the rows that the batch writes or marks are read; of tables by run, only this run's."""
    refresh = bool(values["refresh"])
    connection.execute(ALONE)
    is_first = connection.execute("SELECT 1 FROM fact_visits WHERE source = :source LIMIT 1", values).fetchone() is None
    for name in ("touched_entries", "touched_visits"):
        connection.execute(statement(f"warehouse/load/00_{name}", "postgres"), values)
        connection.execute(f"ANALYZE temp.{name}")
    places = {
        "fact_visits": "source = :source" if refresh or is_first else f"source = :source AND {TOUCHED}",
        "metric_changes": "run_id = :run_id",
        "lateness": "run_id = :run_id",
        "runs": "run_id = :run_id",
        "quarantine": "identity IN (SELECT identity FROM temp.touched_entries)",
        "quarantine_rows": "source = :source AND delivery_seq IN (SELECT delivery_seq FROM scratch.rejected)",
        "deliveries": "source = :source",
        "state": "source = :source",
    }
    facts_before = None if refresh or is_first else "fact_visits"
    forget = values["source"] if refresh else None
    with keeping(connection, _SELF, places, values, forget=forget, facts_before=facts_before):
        yield partial(_do, connection, values, refresh or is_first)


def _do(connection: Any, values: Mapping[str, Any], all_is_new: bool, step: str, text: str) -> Any:
    """The server plans by what it knows of a table, and of rows that are new in this transaction it knows nothing: one
    that grew from empty is looked at before the next step joins it."""
    done = connection.execute(text, values)
    if step in GROWING and (all_is_new or step == "11_quarantine") and done.rowcount:
        connection.execute(f"ANALYZE {GROWING[step]}")
    return done


def count_content(connection: Any) -> Sums:
    """The rows that are there now, counted and summed by part and key."""
    found: Sums = {}
    for table in PARTS:
        found |= sums(connection, table, "true", {})
    return found


def stored_columns(connection: Any, table: str, database: str | None = None) -> list[str]:
    """In the table's order, added ones last; without the generated ones, which are no content of their own."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(current_schema() || '.' || ?) AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        [table],
    )
    return [row[0] for row in rows]


def sums(connection: Any, table: str, where: str, values: Mapping[str, Any], among: str | None = None) -> Sums:
    """See lib.warehouses.by_difference.Hashing."""
    key = " || '|' || ".join(f"CAST({name} AS TEXT)" for name in PARTS[table])
    sha256 = f"encode(sha256(convert_to({_text(stored_columns(connection, table))}, 'UTF8')), 'hex')"
    rows = connection.execute(
        f"SELECT {key} AS key, count(*) AS rows, CAST(bit_xor(CAST('x' || {sha256} AS BIT(256))) AS TEXT) AS hash"
        f" FROM {among or table} AS hashed WHERE {where} GROUP BY {', '.join(PARTS[table])}",
        values,
    )
    return {(table, row["key"]): (row["rows"], int(row["hash"], 2)) for row in rows}


def stored_sums(connection: Any, parts: Collection[tuple[str, str]]) -> Sums:
    rows = connection.execute(
        "SELECT part, key, row_count, hash FROM content_hashes"
        " JOIN unnest(CAST(? AS TEXT[]), CAST(? AS TEXT[])) AS asked (part, key) USING (part, key)",
        _columns(parts),
    )
    return {(part, key): (count, int(text, 16)) for part, key, count, text in rows}


def store_sums(connection: Any, sums: Sums) -> None:
    connection.execute(
        "DELETE FROM content_hashes WHERE (part, key) IN"
        " (SELECT part, key FROM unnest(CAST(? AS TEXT[]), CAST(? AS TEXT[])) AS changed (part, key))",
        _columns(sums),
    )
    kept = {part: each for part, each in sums.items() if each != (0, 0)}
    connection.execute(
        "INSERT INTO content_hashes (part, key, row_count, hash)"
        " SELECT * FROM unnest(CAST(? AS TEXT[]), CAST(? AS TEXT[]), CAST(? AS BIGINT[]), CAST(? AS TEXT[])) AS kept",
        [*_columns(kept), [rows for rows, _ in kept.values()], [f"{total:064x}" for _, total in kept.values()]],
    )


def _columns(parts: Collection[tuple[str, str]]) -> list[list[str]]:
    return [[part for part, _ in parts], [key for _, key in parts]]


def _text(columns: list[str]) -> str:
    """SQL of a row as a text in which no two rows of a table are alike: JSON arrays less the nulls at their end. No
    text ends like one of them, and no number."""
    names = [identifier(name) for name in columns]
    pieces = (names[start : start + MOST_ARGUMENTS] for start in range(0, len(names), MOST_ARGUMENTS))
    arrays = " || ".join(f"CAST(json_build_array({', '.join(piece)}) AS TEXT)" for piece in pieces)
    return f"rtrim({arrays}, ', nul[]')"
