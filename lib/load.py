"""What notebook 04 does: check that the gate passed exactly these staged files, then commit them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import pandas as pd

from lib import day_checks
from lib.clock import short_instant, stored_instant
from lib.commit import Load, commit_load
from lib.deliveries import Standing, standings
from lib.errors import StoredDataChanged, UsageError
from lib.extract import run_batch
from lib.journal import read_entries
from lib.loads import Loaded, told_load
from lib.lock import HELD_BY_PARENT, hold_warehouse
from lib.parts import scanned
from lib.provenance import actor
from lib.run import Run
from lib.sql import statement
from lib.stage import newest_loaded, read_headers
from lib.state import State, read_state, write_state_copy
from lib.validate import check_staged
from lib.warehouse import reading, writing
from lib.window import next_watermark

ACTIONS = ("inserted", "updated", "unchanged")


@dataclass(frozen=True)
class Tables:
    """What the tables hold at one instant: rows of each, and the state of the run's source."""

    facts: int
    facts_of_source: int
    facts_deleted: int
    days: int
    visits_in_metrics: int
    quarantine_open: int
    quarantine_closed: int
    quarantine_waived: int
    quarantine_rows: int
    deliveries_loaded: int
    state: State

    @property
    def standing(self) -> int:
        """Visits that count in the metrics: all but those marked deleted."""
        return self.facts - self.facts_deleted


def require_passed_gate(run: Run) -> str:
    """The decision that lets this batch in. Raises UsageError without a passed gate or when the run is loaded already,
    StoredDataChanged when the staged files, or the tables' version, are not those that the gate judged."""
    if run.manifest.get("load") is not None:
        raise UsageError(f"run {run.run_id} is loaded already; begin a new run with 01_extract.")
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


def load_visits(run: Run) -> Loaded:
    """Commit the staged batch and write the outcome into the manifest. One transaction; see lib/commit.py.

    Raises WarehouseLocked when another run holds the warehouse or has loaded since this one began.
    """
    require_passed_gate(run)
    if run.layout.store:
        run.layout.store.require_own(run.run_id)
    if os.environ.get(HELD_BY_PARENT) == run.run_id:
        return _commit(run)
    with hold_warehouse(run.layout, f"run {run.run_id} (04_load by hand)"):
        result = _commit(run)
        with reading(run.layout) as connection:
            write_state_copy(connection, run.layout)
    run.end("loaded")
    return result


def _commit(run: Run) -> Loaded:
    before = run.window.watermark
    committed = run.manifest["committed_watermark"]
    refresh = run.options.full_refresh
    after = next_watermark(None if refresh else stored_instant(committed), newest_loaded(run), run.as_of)
    with writing(run.layout) as connection:
        load = Load(
            run_id=run.run_id,
            settings=run.settings,
            batch_kind=run.manifest["batch"]["kind"],
            deliveries=_members(run, standings(connection, run.source)),
            visits=scanned(run.staging / "visits.parquet"),
            rejected=scanned(run.staging / "rejected.parquet"),
            deletions=scanned(run.staging / "deletions.parquet"),
            answers=scanned(run.staging / "answers.parquet"),
            lateness=scanned(run.staging / "lateness.parquet"),
            counts=run.counts,
            rows_read={int(sequence): rows for sequence, rows in run.manifest["rows_read"].items()},
            headers=read_headers(run),
            as_of=run.as_of,
            watermark_before=before,
            committed_watermark=stored_instant(committed),
            watermark_after=after,
            version=run.manifest["version"],
            actor=actor(),
            decisions=tuple(read_entries(run.layout.decisions)),
        )
        commit_load(connection, load, run.staging)
        loaded = told_load(connection, run.run_id)
    assert loaded is not None
    run.manifest.record(
        load=loaded.to_json(),
        marks=[{"sequence": each.sequence, "status": "loaded"} for each in run_batch(run).deliveries],
    )
    return loaded


def load_frame(run: Run) -> pd.DataFrame:
    """What loading did to the table: one row per action, rows of the staged batch."""
    counts = run.counts
    return pd.DataFrame({"action": list(ACTIONS), "visits": [counts[action] for action in ACTIONS]})


def count_tables(run: Run) -> Tables:
    """Count every table now, by SQL; the counts before and after a load are two calls of this. The facts as the loads
    counted them, which is for `verify` to hold against the rows; a full refresh counts the rows."""
    counted = statement("checks/facts_counted" if run.options.full_refresh else "checks/facts_kept")
    with reading(run.layout) as connection:
        query = statement("checks/table_counts", counted=counted)
        counts = dict(connection.execute(query, {"source": run.source}).fetchone())
        return Tables(**counts, state=read_state(connection, run.source))


def tables_frame(before: Tables, after: Tables) -> pd.DataFrame:
    """Grain: one row per thing counted, before and after the load."""
    things = {
        "visits in fact_visits": "facts",
        "of them marked deleted": "facts_deleted",
        "days in daily_visit_metrics": "days",
        "visits counted in daily_visit_metrics": "visits_in_metrics",
        "deliveries loaded": "deliveries_loaded",
    }
    return _before_after(things, before, after)


def quarantine_frame(before: Tables, after: Tables) -> pd.DataFrame:
    """Grain: one row per kind of quarantine entry, before and after the load."""
    things = {
        "open entries": "quarantine_open",
        "closed by a later version": "quarantine_closed",
        "waived by a person, for a time": "quarantine_waived",
        "refused rows of loaded deliveries": "quarantine_rows",
    }
    return _before_after(things, before, after)


def state_frame(before: Tables, after: Tables) -> pd.DataFrame:
    """Grain: one row per fact of the source's state, as text, before and after the load."""
    columns = {"before": _state_texts(before.state), "after": _state_texts(after.state)}
    return pd.DataFrame(
        {"state": list(columns["before"])} | {name: list(texts.values()) for name, texts in columns.items()}
    )


def expected_facts(run: Run, before: Tables) -> int:
    """How many visits fact_visits must hold after the load, worked out from staging's counts."""
    counts = run.counts
    if run.options.full_refresh:
        return before.facts - before.facts_of_source + counts["staged"]
    return before.facts + counts["inserted"]


def checked_days(run: Run) -> str:
    """Which days the checks after a load look at, in words. No other day's visits were written; those that somebody
    alters are found by `verify`, which reads all."""
    return "every day" if run.options.full_refresh else "the days that this run touched"


def differing_days(run: Run) -> int:
    """Of `checked_days`, those on which the metrics are not the GROUP BY of the facts; 0 unless something is broken."""
    return day_checks.count_by_day(run, "warehouse/days_that_differ")


def note_differing_days(run: Run) -> int:
    """`differing_days`, noted in the manifest with the state of the warehouse's file that it was counted in; not in one
    that is closed."""
    file = _file_state(run)
    differing = differing_days(run)
    if not run.is_stepped_by_hand:
        run.manifest.record(days_counted={"differing": differing, "file": file})
    return differing


def differing_days_still(run: Run) -> int:
    """`differing_days`, counted again only when the warehouse's file has changed since it was noted."""
    if not counted_already(run):
        return differing_days(run)
    noted: int = run.manifest["days_counted"]["differing"]
    return noted


def counted_already(run: Run) -> bool:
    """Whether nobody has written the warehouse's file since its days were counted and noted."""
    noted = (run.manifest.get("days_counted") or {}).get("file")
    return noted is not None and noted == _file_state(run)


def days_counted_text(run: Run) -> str:
    """Which count of the days stands behind the check, in words."""
    if counted_already(run):
        return "The days were counted by 04, and nobody has written the warehouse's file since."
    return "The days were counted just now."


def facts_without_delivery(run: Run) -> int:
    """Visits of `checked_days` whose lineage names no delivery of the ledger; 0 unless something is broken."""
    return day_checks.count_once(run, "checks/facts_without_delivery")


def loads_frame(run: Run) -> pd.DataFrame:
    """What each load of the run's source did. Grain: one row per loaded run, oldest first: visits by action."""
    with reading(run.layout) as connection:
        rows = connection.execute(
            "SELECT run_id, counts FROM runs WHERE source = ? ORDER BY run_id", [run.source]
        ).fetchall()
    counted = [{"run": row["run_id"], **json.loads(row["counts"])} for row in rows]
    return pd.DataFrame(counted, columns=["run", *ACTIONS])


def require_loaded(run: Run) -> str:
    """Since which version of the tables this run is loaded, in words. Raises UsageError when it is not."""
    load = run.manifest.get("load")
    if load is None:
        raise UsageError(f"run {run.run_id} has not been loaded; run 04_load first.")
    return f"Run {run.run_id} is loaded: version {load['version']:,} of the tables."


def written_text(run: Run) -> str:
    """What was written, reconciled with what was staged, in a line."""
    counts = run.counts
    return " + ".join(f"{counts[action]:,} {action}" for action in ACTIONS) + f" = {counts['staged']:,} staged visits"


def _file_state(run: Run) -> list[list[int]] | None:
    """Size and times of the warehouse's file and its log: any write, of whatever program, changes them. Of a server's
    there are none to be seen."""
    if run.layout.server:
        return None
    path = run.layout.warehouse
    found = [each.stat() for each in (path, path.with_name(f"{path.name}.wal")) if each.exists()]
    return [[each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in found]


def _before_after(things: dict[str, str], before: Tables, after: Tables) -> pd.DataFrame:
    columns = {
        side: [getattr(tables, name) for name in things.values()]
        for side, tables in (("before", before), ("after", after))
    }
    frame = pd.DataFrame({"count": list(things), **columns})
    return frame.assign(difference=frame["after"] - frame["before"])


def _state_texts(state: State) -> dict[str, str]:
    return {
        "tables' version": f"{state.version:,}",
        "watermark": short_instant(state.watermark) if state.watermark else "none",
        "rows staged by the last load": "none"
        if state.last_staging_row_count is None
        else f"{state.last_staging_row_count:,}",
        "clock of the last load": short_instant(state.last_as_of) if state.last_as_of else "none",
        "last run": state.last_run_id or "none",
    }


def _members(run: Run, all_standings: list[Standing]) -> tuple[Standing, ...]:
    members = {each.sequence for each in run_batch(run).deliveries}
    return tuple(each for each in all_standings if each.delivery.sequence in members)
