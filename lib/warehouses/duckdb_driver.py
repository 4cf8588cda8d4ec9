"""DuckDB's driver with the manners of Python's other ones: marks, rows, values, and when a transaction is open."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from lib.clock import instant_text
from lib.warehouses.duckdb_content import BEGIN
from lib.warehouses.rows import Row, row_of

MARK = re.compile(r":([a-z_][a-z0-9_]*)|'(?:[^']|'')*'|--[^\n]*|::")
LIVE: weakref.WeakSet[Connection] = weakref.WeakSet()
"""The connections that this process has not closed."""


class Rows:
    """A result that is at hand whole: the connection takes the next statement at once. Values as SQLite gives them."""

    def __init__(self, description: Any, rows: list[tuple[Any, ...]]) -> None:
        is_count = description is not None and [each[0] for each in description] == ["Count"]
        self.rowcount: int = rows[0][0] if is_count and rows else -1
        self.description = None if is_count else description
        self._rows = iter([] if is_count or not description else _plain(description, rows))

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int, /) -> list[Any]:
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[Any]:
        return list(self._rows)


class Connection:
    """DuckDB's connection with the manners of Python's others."""

    kind = "duckdb"

    def __init__(self, inner: duckdb.DuckDBPyConnection, path: Path | None = None) -> None:
        self.inner = inner
        self.path = path
        self.in_transaction = False
        self.keeps_content = False
        LIVE.add(self)

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:
        text, names = marked(sql)
        if isinstance(parameters, Mapping):
            parameters = {name: parameters[name] for name in names}
        try:
            self.inner.execute(text, parameters or None)
        except BaseException:
            self.in_transaction = self.in_transaction and text != "COMMIT"  # one that fails is rolled back
            raise
        if text in (BEGIN, "COMMIT", "ROLLBACK"):
            self.in_transaction = text == BEGIN
        return Rows(self.inner.description, self.inner.fetchall() if self.inner.description else [])

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows:
        done = Rows(None, [])
        for each in parameters:
            done = self.execute(sql, each)
        return done

    def close(self) -> None:
        self.inner.close()
        LIVE.discard(self)


@cache
def marked(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with its marks as DuckDB has them (`$name`), and their names; texts and comments stay."""
    names: dict[str, None] = {}

    def mark(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        names[found[1]] = None
        return f"${found[1]}"

    return MARK.sub(mark, sql), tuple(names)


def _plain(description: Any, rows: list[tuple[Any, ...]]) -> list[Row]:
    """The rows with days, stamps, money and truth as SQLite has them."""
    kind = row_of(column[0] for column in description)
    changed = [(place, CHANGED[str(column[1]).split("(")[0]]) for place, column in enumerate(description)
               if str(column[1]).split("(")[0] in CHANGED]  # fmt: skip
    if not changed:
        return [kind(row) for row in rows]
    plain = []
    for row in rows:
        cells = list(row)
        for place, change in changed:
            if cells[place] is not None:
                cells[place] = change(cells[place])
        plain.append(kind(cells))
    return plain


CHANGED: dict[str, Callable[[Any], Any]] = {
    "DATE": date.isoformat,
    "TIMESTAMP": lambda stamp: instant_text(datetime.replace(stamp, tzinfo=UTC)),
    "DECIMAL": lambda value: float(Decimal(value)),
    "BOOLEAN": int,
}
