"""What the drivers of Snowflake and BigQuery have in common: marks, values, results.

Statements are made whole here: a value becomes a literal in the one place that escapes it, so nothing need guess the
type of a null, and a list of days is a constant that prunes partitions. Schema changes commit there by themselves; a
table that a load makes for itself is therefore made before its transaction, and inside it filled and emptied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lib.errors import PipelineError
from lib.warehouses.rows import Row, row_of

MARK = re.compile(r""":([a-z_][a-z0-9_]*)|'(?:[^']|'')*'|"(\w+)"|--[^\n]*|::|\?|\b(?:scratch|temp)\.""")
MADE = re.compile(r"^CREATE TEMP TABLE (\w+) AS\b", re.MULTILINE)
DROPPED = re.compile(r"^DROP TABLE temp\.")
SCRATCH = "temp_"
"""Begins the name of a load's own table."""
TEMPORARY = {
    "touched_entries": {"identity": pa.string()},
    "touched_visits": {"visit_id": pa.string()},
    "visit_changes": {
        "visit_id": pa.string(),
        **dict.fromkeys(("is_new", "is_late", "is_removed"), pa.bool_()),
        **dict.fromkeys(("day_before", "day_after"), pa.date32()),
        "is_changed": pa.bool_(),
    },
    "touched_days": {
        "visit_date": pa.date32(),
        **dict.fromkeys(
            (f"visits_{each}" for each in (
                "inserted", "late", "corrected", "moved_in", "moved_out", "removed", "deleted", "restored",
            )),
            pa.int64(),
        ),
    },
    "metrics_before": {
        "visit_date": pa.date32(),
        **dict.fromkeys(("visit_count", "patient_count", "total_visit_cost_cents"), pa.int64()),
        "total_visit_cost": pa.decimal128(18, 2),
        "avg_visit_cost_cents": pa.int64(),
        "avg_visit_cost": pa.decimal128(18, 2),
        "missing_cost_count": pa.int64(),
    },
    "counts_before": dict.fromkeys(("kind", "value", "source"), pa.string()) | {"visits": pa.int64()},
    "count_changes": dict.fromkeys(("kind", "value", "source"), pa.string()) | {"visits": pa.int64()},
}  # fmt: skip
"""The tables that a load makes for itself, in the order of their statements' columns."""
MONEY = {
    "fact_visits": {"visit_cost"},
    "daily_visit_metrics": {"total_visit_cost", "avg_visit_cost"},
}
"""Columns of cents / 100, which no load reads. They are written with the cents: there are no generated columns. That
they are what the cents say is checked by `verify`."""


class Piece(str):
    """A piece of SQL made by lib, where a statement has a mark."""


@dataclass(frozen=True)
class Dialect:
    """`name`: a column's, quoted. `escapes`: of characters in a text's literal, in this order. `words`: what is written
    otherwise there, outside of texts and comments."""

    name: Callable[[str], str]
    escapes: tuple[tuple[str, str], ...]
    words: tuple[tuple[re.Pattern[str], str], ...] = ()

    def literal(self, value: Any) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, Piece):
            return value
        if isinstance(value, bool):
            return str(value).upper()
        if isinstance(value, int | float | Decimal):
            return str(value)
        if isinstance(value, date):
            return f"DATE '{value.isoformat()}'"
        if isinstance(value, str):
            for plain, escaped in self.escapes:
                value = value.replace(plain, escaped)
            return f"'{value}'"
        return ", ".join(map(self.literal, value)) or "NULL"

    def whole(self, sql: str, parameters: Any, scratch: str = SCRATCH) -> str:
        """The statement with values for its marks, its names and texts quoted as they are there, and temporary tables
        under the names that they have there."""
        named = parameters if isinstance(parameters, Mapping) else {}
        placed = iter(()) if named else iter(parameters)

        def mark(found: re.Match[str]) -> str:
            text = found[0]
            if found[1] is not None:
                return self.literal(named[found[1]])
            if found[2] is not None:
                return self.name(found[2])
            if text == "?":
                return self.literal(next(placed))
            if text[0] == "'":
                return self.literal(text[1:-1].replace("''", "'"))
            return scratch if text in ("scratch.", "temp.") else text

        whole, last = [], 0
        for found in MARK.finditer(sql):
            whole += [self._reworded(sql[last : found.start()]), mark(found)]
            last = found.end()
        return "".join([*whole, self._reworded(sql[last:])])

    def _reworded(self, text: str) -> str:
        for word, other in self.words:
            text = word.sub(other, text)
        return text


class Result:
    """A statement's rows, all of them: large results are fetched as Arrow instead."""

    def __init__(self, names: Sequence[str], rows: Iterable[Sequence[Any]], rowcount: int) -> None:
        kind = row_of(names)
        self.description = [(name,) for name in names]
        self.rowcount = rowcount
        self._rows: list[Row] = [kind(map(plain, each)) for each in rows]
        self._next = 0

    def fetchone(self) -> Any:
        return (self.fetchmany(1) or [None])[0]

    def fetchmany(self, size: int, /) -> list[Any]:
        first, self._next = self._next, self._next + size
        return list(self._rows[first : self._next])

    def fetchall(self) -> list[Any]:
        return self.fetchmany(len(self._rows))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())


def plain(value: Any) -> Any:
    """A value as SQLite gives it: days and stamps (UTC) as text of fixed width, whole numbers as int, true as 1."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime):
        stamp = value.astimezone(UTC) if value.tzinfo else value
        return f"{stamp:%Y-%m-%dT%H:%M:%S.%f}+00:00"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    return value


def in_a_transaction(sql: str) -> str:
    """The statement as a transaction takes it: no table is made or dropped in it."""
    text = MADE.sub(r"INSERT INTO temp.\1", sql)
    if DROPPED.match(text):
        return f"{DROPPED.sub('DELETE FROM temp.', text)} WHERE TRUE"
    if first_word(text) in ("CREATE", "ALTER", "DROP", "COMMENT", "TRUNCATE"):
        raise PipelineError("the warehouse: a change of its tables may be in no transaction, which it would commit.")
    return text


def first_word(sql: str) -> str:
    """Of a statement, after its comments, in capitals."""
    return (re.sub(r"--[^\n]*\n|\s+", " ", sql).split() or [""])[0].upper()


def as_text(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows as the driver has them, in the types of the schema, which has a text for each day and stamp."""
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        if pa.types.is_timestamp(column.type) and pa.types.is_string(field.type):
            stamps = column.cast(pa.timestamp("us", column.type.tz))
            if stamps.type.tz:
                stamps = stamps.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
            texts = pa.compute.strftime(stamps, "%Y-%m-%dT%H:%M:%S+00:00")
            columns.append(texts)
        elif pa.types.is_decimal(column.type) and pa.types.is_string(field.type) and column.type.scale == 0:
            columns.append(column.cast(pa.int64()).cast(pa.string()))
        else:
            columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)
