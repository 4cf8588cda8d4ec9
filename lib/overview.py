"""Where things stand, for the terminal: status, history, deliveries. Reads only."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from lib.clock import now, parse_instant, short_instant, stored_instant
from lib.counted import counted
from lib.decisions import sign_offs
from lib.deliveries import Standing, sources_held, standings
from lib.errors import LoadTooOld, UsageError
from lib.layout import Layout
from lib.quarantine import today, waivers_in_force
from lib.record import read_manifests
from lib.restore import lost_loads, lost_text
from lib.sql import statement
from lib.terminal import consoles
from lib.warehouse import reading

AGE = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_age(text: str) -> timedelta:
    """`90m`, `26h` or `2d`. Raises UsageError."""
    found = AGE.fullmatch(text)
    if not found:
        raise UsageError("--max-age: write minutes, hours or days, like 90m, 26h or 2d.")
    return timedelta(**{UNITS[found[2]]: float(found[1])})


def print_status(layout: Layout, max_age: str | None) -> None:
    """Print where the tables stand. Raises LoadTooOld when the last load is older than `max_age`."""
    allowed = parse_age(max_age) if max_age else None
    out, _ = consoles()
    with reading(layout) as connection:
        states = connection.execute("SELECT * FROM state ORDER BY source").fetchall()
        last = connection.execute("SELECT run_id, committed FROM runs ORDER BY run_id").fetchall()
        visits_of = connection.execute(statement("checks/facts_kept")).fetchall()
        facts = {row["source"]: int(row["facts"]) for row in visits_of}
        deleted = {row["source"]: int(row["facts"] - row["standing"]) for row in visits_of}
        days = connection.execute("SELECT count(*) FROM daily_visit_metrics").fetchone()[0]
        waiting = connection.execute(
            "SELECT source, status, count(*) FROM deliveries GROUP BY source, status ORDER BY source, status"
        ).fetchall()
        lost = {source: lost_loads(layout, connection, source) for source in sources_held(layout)}
        waivers = {each["source"]: waivers_in_force(connection, each["source"], today()) for each in states}
    for state in states:
        watermark = stored_instant(state["watermark_last_updated"])
        visits = counted(facts.get(state["source"], 0), "visit")
        out.print(
            f"{state['source']}: {visits}{_deleted(deleted.get(state['source'], 0))}, "
            f"watermark {short_instant(watermark) if watermark else 'none'}, last run {state['last_run_id']}",
            soft_wrap=True,
        )
    for source, run_ids in lost.items():
        if run_ids:
            out.print(f"{source}: the warehouse {lost_text(run_ids)}", soft_wrap=True)
    out.print(f"{counted(days, 'day')} in daily_visit_metrics")
    for source, status, count in waiting:
        out.print(f"{source}: {counted(count, 'delivery', 'deliveries')} {status}")
    for source, in_force in waivers.items():
        if in_force.entries:
            out.print(f"{source}: {in_force.text}")
    if not last:
        out.print("nothing was loaded yet")
        if allowed is not None:
            raise LoadTooOld("nothing was ever loaded; see python run_pipeline.py history.")
        return
    age = now() - parse_instant(last[-1]["committed"])
    out.print(
        f"last load {short_instant(parse_instant(last[-1]['committed']))}, {age.total_seconds() / 3600:,.1f} h ago"
    )
    if allowed is not None and age > allowed:
        raise LoadTooOld(f"the last load is {age.total_seconds() / 3600:,.1f} h old, more than {max_age}; see history.")


def _deleted(visits: int) -> str:
    return f" ({visits:,} of them deleted)" if visits else ""


def print_history(layout: Layout, limit: int) -> None:
    """Print a line a run, newest last."""
    out, _ = consoles()
    manifests = read_manifests(layout, limit)
    if not manifests:
        out.print("no run yet; run python run_pipeline.py")
        return
    signed: dict[str, list[str]] = {}
    for each in sign_offs(layout):
        signed.setdefault(each.run_id, []).append(each.text)
    table = Table(box=None, padding=(0, 1))
    for name in (
        "run",
        "source",
        "outcome",
        "batch",
        "read",
        "staged",
        "new",
        "upd",
        "refused",
        "missed",
        "gate",
        "watermark",
        "signed",
    ):
        justify: JustifyMethod = "right" if name in COUNTED else "left"
        table.add_column(name, no_wrap=name != "signed", overflow="fold", justify=justify)
    for manifest in manifests:
        cells = [*_history_row(manifest), ", ".join(signed.get(manifest["run_id"], []))]
        table.add_row(*map(Text, cells))
    out.print(table)


COUNTED = {"read": "rows_read", "staged": "staged", "new": "inserted", "upd": "updated", "refused": "refused",
           "missed": "outside_missed"}  # fmt: skip


def _history_row(manifest: dict[str, Any]) -> list[str]:
    counts = manifest.get("counts") or {}
    watermark = stored_instant((manifest.get("load") or {}).get("watermark_after"))
    return [
        manifest["run_id"],
        manifest.get("source", ""),
        manifest["outcome"] + _how(manifest),
        (manifest.get("batch") or {}).get("kind", ""),
        *(f"{counts[name]:,}" if name in counts else "" for name in COUNTED.values()),
        (manifest.get("gate") or {}).get("decision", ""),
        short_instant(watermark) if watermark else "",
    ]


def _how(manifest: dict[str, Any]) -> str:
    words = [word for word, told in (("resumed", "attempts"), ("recovered", "recovered")) if manifest.get(told)]
    return f" ({', '.join(words)})" if words else ""


def print_deliveries(layout: Layout, source: str) -> None:
    """Print a line a delivery of `source`, in sequence."""
    out, _ = consoles()
    with reading(layout) as connection:
        known = standings(connection, source)
    if not known:
        out.print(f"{source} has delivered nothing yet")
        return
    table = Table(box=None, padding=(0, 1))
    for name in ("delivery", "file", "bytes", "clock", "status", "rows", "run", "why"):
        table.add_column(name, justify="right" if name in ("delivery", "bytes", "rows") else "left")
    for each in known:
        table.add_row(*(Text(cell) for cell in _delivery_row(each)))
    out.print(table)


def _delivery_row(standing: Standing) -> list[str]:
    delivery = standing.delivery
    failed = ", ".join(sorted(standing.failed_rules))
    return [
        str(delivery.sequence),
        delivery.name,
        f"{delivery.bytes:,}",
        short_instant(parse_instant(delivery.clock)),
        standing.status,
        f"{standing.rows_read:,}" if standing.rows_read is not None else "",
        standing.run_id or "",
        standing.reason or failed,
    ]
