"""The days that the checks after a load look at, and counting in them: where a statement is done by one core, half of
the days by a second one."""

from __future__ import annotations

from typing import Any

from lib.beside import Beside
from lib.layout import Layout
from lib.run import Run
from lib.sql import literal, statement
from lib.warehouse import reading
from lib.warehouses.choose import kind_of
from lib.warehouses.interface import Connection

TOUCHED = "visit_date IN (SELECT visit_date FROM metric_changes WHERE run_id = :run_id)"
SHARED_FROM = 1_000_000
"""Visits: with fewer, a second process costs more than it saves."""


def count_once(run: Run, name: str) -> int:
    """The number that a statement counts in the days (`$checked`), read from one end to the other."""
    with reading(run.layout) as connection:
        return _count(connection, name, run.run_id, _checked(run, connection))


def count_by_day(run: Run, name: str) -> int:
    """The same of a statement that goes day by day, and counts each by itself."""
    with reading(run.layout) as connection:
        checked = _checked(run, connection)
        middle = _middle(connection, run.run_id, checked) if kind_of(connection).ONE_CORE else None
        if middle is None:
            return _count(connection, name, run.run_id, checked)
    # closed before the fork: SQLite bears no connection in two processes
    later = Beside(_count_share, run.layout, name, run.run_id, f"{checked} AND visit_date >= {middle}")
    return _count_share(run.layout, name, run.run_id, f"{checked} AND visit_date < {middle}") + later.result()


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


def _middle(connection: Connection, run_id: str, checked: str) -> str | None:
    """SQL of the day before which there are half of the visits; None for too few."""
    days: list[Any] = connection.execute(
        f"SELECT visit_date, visit_count FROM daily_visit_metrics WHERE {checked} ORDER BY visit_date",
        {"run_id": run_id},
    ).fetchall()
    left = sum(day["visit_count"] for day in days) / 2
    if 2 * left < SHARED_FROM:
        return None
    for day in days:
        if left <= 0:
            return literal(day["visit_date"])
        left -= day["visit_count"]
    return None
