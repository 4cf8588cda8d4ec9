"""verify: snapshots, records and tables against what the runs left."""

from __future__ import annotations

import sqlite3

from lib.deliveries import read_ledger
from lib.errors import StoredDataChanged
from lib.layout import Layout
from lib.raw import check_snapshot
from lib.record import Finding, verify_records
from lib.sql import statement
from lib.terminal import consoles
from lib.warehouse import reading


def print_verification(layout: Layout) -> None:
    """Print what was checked. Raises StoredDataChanged when anything is not what it was, after naming each."""
    out, _ = consoles()
    findings = [*verify_snapshots(layout), *verify_records(layout), *verify_tables(layout)]
    for finding in findings:
        out.print(f"{finding.where}: {finding.what}", markup=False, soft_wrap=True)
    if findings:
        raise StoredDataChanged(
            f"{len(findings)} things are not what they were; restore them from a backup, or ask who changed them."
        )
    out.print("snapshots, records and tables are what the runs left")


def verify_snapshots(layout: Layout) -> list[Finding]:
    """Every snapshot of every source hashed again, and files in raw that no delivery names."""
    findings = []
    for folder in sorted(each for each in layout.raw.iterdir() if each.is_dir()) if layout.raw.is_dir() else []:
        ledger = read_ledger(layout, folder.name)
        for delivery in {each.snapshot: each for each in ledger}.values():
            try:
                check_snapshot(layout, delivery)
            except StoredDataChanged as changed:
                where, _, what = str(changed).partition(": ")
                findings.append(Finding(where, what))
        known = {each.snapshot for each in ledger}
        strangers = [path for path in sorted(folder.iterdir()) if path.name not in known and path.suffix != ".jsonl"]
        findings += [Finding(f"raw/{folder.name}/{path.name}", "no delivery names it") for path in strangers]
    return findings


def verify_tables(layout: Layout) -> list[Finding]:
    """The database's own check, and daily_visit_metrics against the GROUP BY of fact_visits."""
    with reading(layout) as connection:
        return [*_sound(connection, layout), *_consistent(connection, layout)]


def _sound(connection: sqlite3.Connection, layout: Layout) -> list[Finding]:
    answers = connection.execute("PRAGMA integrity_check(1)").fetchone()
    return [] if answers[0] == "ok" else [Finding(layout.warehouse.name, "the database's own integrity check fails")]


def _consistent(connection: sqlite3.Connection, layout: Layout) -> list[Finding]:
    days = connection.execute(statement("sqlite/days_that_differ")).fetchone()[0]
    return [Finding(layout.warehouse.name, f"{days} days of daily_visit_metrics differ from the facts")] if days else []
