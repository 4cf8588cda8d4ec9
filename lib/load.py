"""What notebook 04 does: check that the gate passed exactly these staged files, then commit them."""

from __future__ import annotations

import os

import pandas as pd

from lib.clock import instant_text, stored_instant
from lib.commit import Load, LoadResult, commit_load
from lib.deliveries import Standing, standings
from lib.errors import StoredDataChanged, UsageError
from lib.extract import run_batch
from lib.lock import HELD_BY_PARENT, hold_warehouse
from lib.provenance import actor
from lib.run import Run
from lib.stage import newest_loaded
from lib.validate import check_staged
from lib.warehouse import open_warehouse, plain_errors
from lib.window import next_watermark

ACTIONS = ("inserted", "updated", "unchanged")


def require_passed_gate(run: Run) -> str:
    """The decision that lets this batch in. Raises UsageError without a passed gate, StoredDataChanged when the staged
    files, or the tables' version, are not those that the gate judged."""
    gate = run.manifest.get("gate")
    if gate is None:
        raise UsageError(f"run {run.run_id} has not been before the gate; run 03_validate first.")
    if gate["decision"] == "FAILED":
        raise UsageError(f"run {run.run_id} failed the gate; nothing may be loaded.")
    if gate["staged"] != run.manifest["staged"] or gate["version"] != run.manifest["version"]:
        raise StoredDataChanged(f"run {run.run_id}: the gate judged other staged files; run 03_validate again.")
    check_staged(run)
    decision: str = gate["decision"]
    return decision


def load_visits(run: Run) -> LoadResult:
    """Commit the staged batch and write the outcome into the manifest. One transaction; see lib/commit.py.

    Raises WarehouseLocked when another run holds the warehouse or has loaded since this one began.
    """
    require_passed_gate(run)
    if os.environ.get(HELD_BY_PARENT) == run.run_id:
        return _commit(run)
    with hold_warehouse(run.layout.lock_file, f"run {run.run_id} (04_load by hand)"):
        return _commit(run)


def _commit(run: Run) -> LoadResult:
    before = run.window.watermark
    committed = run.manifest["committed_watermark"]
    refresh = run.options.full_refresh
    after = next_watermark(None if refresh else stored_instant(committed), newest_loaded(run), run.as_of)
    connection = open_warehouse(run.layout)
    try:
        with plain_errors(run.layout.warehouse):
            load = Load(
                run_id=run.run_id,
                settings=run.settings,
                batch_kind=run.manifest["batch"]["kind"],
                deliveries=_members(run, standings(connection, run.source)),
                visits=run.staging / "visits.parquet",
                rejected=run.staging / "rejected.parquet",
                counts=run.counts,
                rows_read={int(sequence): rows for sequence, rows in run.manifest["rows_read"].items()},
                headers={int(sequence): each["header"] for sequence, each in run.manifest["readings"].items()},
                as_of=run.as_of,
                watermark_before=before,
                watermark_after=after,
                version=run.manifest["version"],
                actor=actor(),
            )
            result = commit_load(connection, load, run.staging / "scratch.db")
    finally:
        connection.close()
    run.manifest.record(
        load={
            "version": result.version,
            "days_touched": result.days_touched,
            "days_restated": result.days_restated,
            "watermark_after": after and instant_text(after),
        },
        marks=[{"sequence": each.sequence, "status": "loaded"} for each in run_batch(run).deliveries],
    )
    return result


def load_frame(run: Run) -> pd.DataFrame:
    """What loading did to the table: one row per action, rows of the staged batch."""
    counts = run.counts
    return pd.DataFrame({"action": list(ACTIONS), "visits": [counts[action] for action in ACTIONS]})


def _members(run: Run, all_standings: list[Standing]) -> tuple[Standing, ...]:
    members = {each.sequence for each in run_batch(run).deliveries}
    return tuple(each for each in all_standings if each.delivery.sequence in members)
