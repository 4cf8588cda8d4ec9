"""What a reader of the tables must know beside the gate's word: on the terminal, in a plan, on a run's first screen."""

from __future__ import annotations

import math
from typing import Any

from lib.counted import counted
from lib.loads import COVERED_SHARE


def caveats(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    """A word and a line for each: rows missed, visits gone, deliveries staged under other settings."""
    counts, told = manifest.get("counts") or {}, []
    if missed := counts.get("outside_missed"):
        needs = math.ceil(manifest.get("missed_needs_hours") or 0)
        covering = (manifest.get("load") or {}).get("covering_lookback_hours")
        covers = f"; {covering:,} h cover {COVERED_SHARE:.1%} of all lateness seen" if covering is not None else ""
        caught = f"a lookback of {needs:,} h would have caught them, a full refresh will"
        told.append(("missed", f"{counted(missed, 'row')}: {caught}{covers}"))
    if counts.get("visits_deleted") or counts.get("visits_restored"):
        deleted, restored = counts["visits_deleted"], counts["visits_restored"]
        told.append(("deletes", f"{counted(deleted, 'visit')} newly marked deleted, {restored:,} came back"))
    if others := counts.get("changed_rules"):
        were = counted(others, "loaded delivery was", "loaded deliveries were")
        told.append(("rules", f"{were} staged under other settings: run --full-refresh"))
    return told


def in_columns(told: list[tuple[str, str]]) -> list[str]:
    """One text a caveat, its word in a column of the summary's width."""
    return [f"{word:<11}{text}" for word, text in told]


def behind_text(behind: dict[str, Any]) -> str:
    """Of a warehouse that was copied back or lost: where it ends, and what is done about it."""
    ends = f"ends with run {behind['last_run']}" if behind["last_run"] else "holds no run"
    again = ", by a full refresh, as one of them was" if behind["refresh"] else ""
    count = len(behind["lost_runs"])
    loads = counted(count, "recorded load is", "recorded loads are")
    return f"the warehouse is older than the records: it {ends}; {loads} caught up from the snapshots{again}"
