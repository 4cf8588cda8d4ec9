"""Content hashes in Snowflake and BigQuery, by difference (lib/warehouses/by_difference.py), computed by the service.

A row is hashed as its stored columns, each with its length, less the nulls at the end: a column carried from today on
changes no old hash. The SHA-256 of a row is cut into numbers that every integer type holds; their exclusive or is taken
over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lib.sql import literal, statement
from lib.warehouses.by_difference import keeping, own_transaction
from lib.warehouses.cloud import Piece
from lib.warehouses.interface import PARTS, DoStep, Sums

CUTS = tuple((start, min(13, 65 - start)) for start in range(1, 65, 13))
"""Of the 64 hexadecimal digits: where each piece starts, and its length. 52 bits fit every number."""
MOST_ROWS = 2_000
"""Of one INSERT: a statement's text may not be of any length."""
MOST_DAYS = 2_000
"""Named one by one."""
TOUCHED = "visit_id IN (SELECT visit_id FROM temp.touched_visits)"


@dataclass(frozen=True)
class CloudContent:
    """One kind's. `text_of`: SQL of a column as text, by its name and type; `sha256`: of a text, in hexadecimal digits;
    `number_of`: of some of those, the number; `prunes`: whether the days that a load touches are named as constants."""

    stored_types: Callable[[Any, str], dict[str, str]]
    text_of: Callable[[str, str], str]
    sha256: str
    number_of: str
    xor: str
    text_type: str
    prunes: bool
    BEGIN: str = "BEGIN"

    @contextmanager
    def keeping_content(self, connection: Any, tables: Iterable[str], afresh: str | None) -> Iterator[None]:
        """See lib.content.keeping_content. Reads the tables whole, twice: `keeping_load` is for large ones."""
        places = dict.fromkeys(tables, "true")
        if afresh and "fact_visits" in places:
            places["fact_visits"] = f"source = {literal(afresh)}"
        with own_transaction(connection, self), keeping(connection, self, places, {}, forget=afresh):
            yield

    @contextmanager
    def keeping_load(self, connection: Any, values: Mapping[str, Any]) -> Iterator[DoStep]:
        """Of the facts, only the rows that the batch writes or marks are read; of tables by run, only this run's."""
        refresh = bool(values["refresh"])
        standing = connection.execute("SELECT 1 FROM fact_visits WHERE source = :source LIMIT 1", values).fetchone()
        for name in ("touched_entries", "touched_visits"):
            connection.execute(statement(f"warehouse/load/00_{name}", connection.kind), values)
        days = self._touched_days(connection, values) if self.prunes and not refresh else Piece("IS NOT NULL")
        of_days = " AND visit_date :days" if self.prunes else ""
        whole = refresh or standing is None
        places = {
            "fact_visits": "source = :source" if whole else f"source = :source AND {TOUCHED}{of_days}",
            "metric_changes": "run_id = :run_id",
            "lateness": "run_id = :run_id",
            "runs": "run_id = :run_id",
            "quarantine": "identity IN (SELECT identity FROM temp.touched_entries)",
            "quarantine_rows": "source = :source AND delivery_seq IN (SELECT delivery_seq FROM scratch.rejected)",
            "deliveries": "source = :source",
            "state": "source = :source",
        }
        facts_before = None if whole else "fact_visits"
        forget = values["source"] if refresh else None
        every = {**values, "days": days}
        with keeping(connection, self, places, every, forget=forget, facts_before=facts_before):
            yield lambda step, text: connection.execute(text, every)

    def count_content(self, connection: Any) -> Sums:
        """The rows that are there now, counted and summed by part and key."""
        found: Sums = {}
        for table in PARTS:
            found |= self.sums(connection, table, "true", {})
        return found

    def sums(
        self, connection: Any, table: str, where: str, values: Mapping[str, Any], among: str | None = None
    ) -> Sums:
        """See lib.warehouses.by_difference.Hashing."""
        columns = self.stored_types(connection, table)
        key = " || '|' || ".join(self.text_of(name, columns[name]) for name in PARTS[table])
        numbers = ", ".join(
            f"{self.xor}({self.number_of.format(f'SUBSTR(sha256, {start}, {length})', 'X' * length)}) AS bits_{start}"
            for start, length in CUTS
        )
        rows = connection.execute(
            f"SELECT part_key, COUNT(*) AS found, {numbers} FROM ("
            f"SELECT {key} AS part_key, {self.sha256.format(self._text(columns))} AS sha256"
            f" FROM {among or table} AS hashed WHERE {where}) AS every_row GROUP BY part_key",
            values,
        )
        return {(table, row[0]): (row[1], _put_together(row[2:])) for row in rows}

    def stored_sums(self, connection: Any, parts: Collection[tuple[str, str]]) -> Sums:
        tables = sorted({part for part, _ in parts})
        rows = connection.execute(
            "SELECT part, key, row_count, hash FROM content_hashes WHERE part IN (:tables)", {"tables": tables}
        )
        wanted = set(parts)
        return {(part, key): (count, int(text, 16)) for part, key, count, text in rows if (part, key) in wanted}

    def store_sums(self, connection: Any, sums: Sums) -> None:
        every = sorted(sums.items())
        for start in range(0, len(every), MOST_ROWS):
            some = every[start : start + MOST_ROWS]
            for table in sorted({part for (part, _), _ in some}):
                keys = [key for (part, key), _ in some if part == table]
                connection.execute("DELETE FROM content_hashes WHERE part = ? AND key IN (?)", [table, keys])
            rows = [(*part, count, f"{total:064x}") for part, (count, total) in some if count or total]
            if rows:
                marks = ", ".join(["(?)"] * len(rows))
                connection.execute(
                    f"INSERT INTO content_hashes (part, key, row_count, hash) VALUES {marks}", list(rows)
                )

    def _text(self, columns: Mapping[str, str]) -> str:
        """SQL of a row as a text in which no two rows of a table are alike."""
        texts = [self.text_of(name, kind) for name, kind in columns.items()]
        pieces = (f"COALESCE(CAST(LENGTH({text}) AS {self.text_type}) || ':' || {text} || ';', 'n')" for text in texts)
        return f"RTRIM({' || '.join(pieces)}, 'n')"

    def _touched_days(self, connection: Any, values: Mapping[str, Any]) -> Piece:
        """What holds for the days under which the visits that the batch may change are, or will be: as constants, by
        which partitions are left out."""
        query = (
            f"SELECT visit_date FROM fact_visits WHERE source = :source AND {TOUCHED}"
            " UNION SELECT visit_date FROM scratch.staged WHERE is_written OR action <> 'unchanged'"
        )
        days = sorted(f"DATE '{row[0]}'" for row in connection.execute(query, values))
        if len(days) > MOST_DAYS:
            return Piece(f"BETWEEN {days[0]} AND {days[-1]}")
        return Piece(f"IN ({', '.join(days) or 'NULL'})")


def _put_together(numbers: Iterable[int | None]) -> int:
    total = 0
    for number, (_, length) in zip(numbers, CUTS, strict=True):
        total = total << 4 * length | int(number or 0)
    return total
