"""history --older-than: which records a retention policy may move away. The pipeline itself deletes and moves none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lib.clock import now, parse_instant, short_instant
from lib.counted import counted
from lib.errors import UsageError
from lib.layout import Layout
from lib.record import read_manifests

AGE = re.compile(r"([1-9]\d{0,3})(y|mo|d)")
NEEDED = (
    "Snapshots stay: a full refresh and verify --rebuild read those of every loaded delivery again. Move these folders "
    "whole, and verify with --archive DIR."
)


@dataclass(frozen=True)
class OldRecord:
    """A record that may be moved: when its run ended, its bytes, and how many of the snapshots that it read a full
    refresh needs still."""

    run_id: str
    ended: datetime
    outcome: str
    bytes: int
    snapshots_needed: int


def before_age(text: str, today: datetime) -> datetime:
    """The instant that is `6y`, `18mo` or `90d` before `today`, by the calendar. Raises UsageError."""
    found = AGE.fullmatch(text)
    if not found:
        raise UsageError("--older-than: write years, months or days, like 6y, 18mo or 90d.")
    count, unit = int(found[1]), found[2]
    try:
        if unit == "d":
            return today - timedelta(days=count)
        months = today.year * 12 + today.month - 1 - count * (12 if unit == "y" else 1)
        year, month = months // 12, months % 12 + 1
        last = (datetime(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
        return today.replace(year=year, month=month, day=min(today.day, last))
    except (ValueError, OverflowError):
        raise UsageError(f"--older-than {text}: is longer ago than the calendar reaches.") from None


def old_records(layout: Layout, limit: datetime) -> Iterator[OldRecord]:
    """The records that ended before `limit`, oldest first, up to the first that did not: what is left must be a chain.
    The newest record is none of them: the next run takes its number from it."""
    manifests = read_manifests(layout)
    for manifest in manifests[:-1]:
        if not manifest.get("ended") or parse_instant(manifest["ended"]) >= limit:
            return
        folder = layout.record(manifest["run_id"])
        yield OldRecord(
            run_id=manifest["run_id"],
            ended=parse_instant(manifest["ended"]),
            outcome=manifest["outcome"],
            bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
            snapshots_needed=len(set(_loaded_snapshots(manifest))),
        )


def print_old_records(out: Console, layout: Layout, age: str) -> None:
    """Print a line a record, and what must stay. Raises UsageError for what is no age."""
    limit = before_age(age, now())
    found = list(old_records(layout, limit))
    if not found:
        out.print(f"no record ended before {short_instant(limit)}, the newest one aside")
        return
    table = Table(box=None, padding=(0, 1))
    for name in ("run", "ended", "outcome", "KB", "snapshots that stay"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("KB", "snapshots that stay") else "left")
    for each in found:
        cells = [each.run_id, short_instant(each.ended), each.outcome, f"{each.bytes / 1000:,.0f}"]
        table.add_row(*map(Text, [*cells, f"{each.snapshots_needed:,}"]))
    out.print(table)
    size = sum(each.bytes for each in found) / 1e6
    out.print(
        f"{counted(len(found), 'record')}, {size:,.1f} MB, ended before {short_instant(limit)}. {NEEDED}",
        soft_wrap=True,
    )


def _loaded_snapshots(manifest: dict[str, Any]) -> Iterator[str]:
    if manifest["outcome"] == "loaded":
        yield from (each["snapshot"] for each in (manifest.get("batch") or {}).get("deliveries") or ())
