"""The days that the checks after a load look at, and counting in them: where a statement is done by one core, some days
by each."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lib.layout import Layout
from lib.run import Run
from lib.sql import literal, statement
from lib.warehouse import reading
from lib.warehouses.choose import kind_of
from lib.warehouses.interface import Connection

TOUCHED = "visit_date IN (SELECT visit_date FROM metric_changes WHERE run_id = :run_id)"
SHARED_FROM = 1_000_000
"""Visits: with fewer, a second connection costs more than it saves."""
MOST_SHARES = 4
"""Each has the memory of a connection."""


def count_once(run: Run, name: str) -> int:
    """The number that a statement counts in the days (`$checked`), read from one end to the other."""
    with reading(run.layout) as connection:
        return _count(connection, name, run.run_id, _checked(run, connection))


def count_by_day(run: Run, name: str) -> int:
    """The same of a statement that goes day by day, and counts each by itself."""
    with reading(run.layout) as connection:
        checked = _checked(run, connection)
        shares = [checked]
        if kind_of(connection).ONE_CORE:
            shares = _shares(connection, run.run_id, checked)
        if len(shares) == 1:
            return _count(connection, name, run.run_id, checked)
    with ThreadPoolExecutor(len(shares)) as cores:
        return sum(cores.map(lambda share: _count_share(run.layout, name, run.run_id, share), shares))


def _count_share(layout: Layout, name: str, run_id: str, share: str) -> int:
    with reading(layout) as connection:
        return _count(connection, name, run_id, share)


def _count(connection: Connection, name: str, run_id: str, checked: str) -> int:
    text = statement(name, connection.kind, checked=checked)
    count: int = connection.execute(text, {"run_id": run_id}).fetchone()[0]
    return count


def _checked(run: Run, connection: Connection) -> str:
    """The days' SQL. Where they are every day, none is looked for: the table is read from end to end."""
    others = f"SELECT COUNT(*) FROM daily_visit_metrics WHERE NOT ({TOUCHED})"
    if run.options.full_refresh or connection.execute(others, {"run_id": run.run_id}).fetchone()[0] == 0:
        return "true"
    return TOUCHED


def _shares(connection: Connection, run_id: str, checked: str) -> list[str]:
    """The days in as many shares as there are cores, of about as many visits each; every day is in one of them."""
    days: list[Any] = connection.execute(
        f"SELECT visit_date, visit_count FROM daily_visit_metrics WHERE {checked} ORDER BY visit_date",
        {"run_id": run_id},
    ).fetchall()
    visits = sum(day["visit_count"] for day in days)
    if visits < SHARED_FROM:
        return [checked]
    number = min(os.cpu_count() or 1, MOST_SHARES)
    begins, counted = list[str](), 0
    for day in days:
        if counted * number >= visits * (len(begins) + 1):
            begins.append(literal(day["visit_date"]))
        counted += day["visit_count"]
    from_on = ["true", *(f"visit_date >= {day}" for day in begins)]
    before = [*(f"visit_date < {day}" for day in begins), "true"]
    return [f"({checked}) AND {first} AND {end}" for first, end in zip(from_on, before, strict=True)]
