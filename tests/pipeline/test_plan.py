"""plan: every number is the run's, for every kind of run, and nothing but a temporary folder is written."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lib import validate
from lib.clock import instant_text
from lib.config import settings_from
from lib.errors import StoredDataChanged, UsageError
from lib.files import read_json
from lib.interrupts import Terminated
from lib.layout import Layout
from lib.lock import hold_file
from lib.plan import Plan, plan_run
from lib.rehearsal import HELD, PREFIX, scratch_layout
from lib.run import Options
from tests.histories import Deliver, Step, histories, text_of
from tests.histories import Run as RunStep
from tests.pipeline.clinic import Clinic, RunResult, row
from tests.pipeline.plain_gate import plain_gate

DAY = "2025-03-0{}T00:00:00Z"


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def plan(clinic: Clinic, as_of: str = DAY.format(2), **how: Any) -> Plan:
    """The plan of the run that `clinic.run` with the same words is."""
    content = {**clinic.config}
    content["source"] = {**content.get("source", {}), "path": str(how.pop("source", clinic.input))}
    if "lookback_hours" in how:
        content["window"] = {"lookback_hours": how.pop("lookback_hours")}
    accept = how.get("accept", ())
    options = Options(**how, reason="a test" if accept else None)
    checked = settings_from(content, "config.yaml")
    return plan_run(Layout.at(clinic.data_dir, checked.warehouse), checked, as_of=as_of, options=options)


def agreeing(clinic: Clinic, as_of: str = DAY.format(2), **how: Any) -> tuple[Plan, RunResult]:
    """Plan, then run; every number must be the same, and planning must have left no trace."""
    before = listing(clinic)
    planned = plan(clinic, as_of, **how)
    assert listing(clinic) == before
    ran = clinic.run(as_of, **how)
    assert ran.run is not None
    manifest = ran.run.manifest
    assert (planned.exit_code, planned.message) == (ran.exit_code, ran.message if ran.exit_code else None)
    assert planned.counts == ran.counts
    assert planned.reasons == ran.reasons
    assert planned.batch.split()[0] == (manifest.get("batch") or {"kind": "none"})["kind"]
    report = ran.run.record / "dq_report.json"
    judged = read_json(report) if report.exists() else {"rules": []}
    assert [each.to_json() for each in planned.gate.rules if planned.gate] == judged["rules"] if planned.gate else True
    assert (planned.gate is None) == (not report.exists())
    assert [_without_run(each) for each in planned.changes] == changes(clinic, ran.run.run_id)
    load = manifest.get("load") or {}
    if ran.exit_code == 0:
        assert (len(planned.changes), planned.days_restated) == (load["days_touched"], load["days_restated"])
        after = planned.watermark_after
        assert (after and after.isoformat(timespec="microseconds")) == load["watermark_after"]
    return planned, ran


def changes(clinic: Clinic, run_id: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(f"file:{clinic.warehouse}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM metric_changes WHERE run_id = ? ORDER BY visit_date", [run_id]).fetchall()
    connection.close()
    return [_without_run(dict(each)) for each in rows]


def _without_run(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "run_id"}


def listing(clinic: Clinic) -> dict[str, tuple[int, int, str]]:
    """Every file and folder below the clinic: mode, time of the last change, content."""
    found = {}
    for path in sorted(clinic.folder.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


def bad(count: int) -> list[dict[str, str]]:
    return [row(f"B{n}", patient_id="") for n in range(count)]


def test_a_brand_new_data_folder_does_not_come_into_being(quick: Clinic) -> None:
    quick.deliver([row("V1"), row("V2", visit_date="2025-02-28")])
    planned = plan(quick)
    assert planned.counts["inserted"] == 2 and len(planned.changes) == 2 and planned.days_restated == 0
    assert not quick.data_dir.exists()
    agreeing(quick)


def test_new_late_corrected_moved_refused_and_missed_rows(quick: Clinic) -> None:
    quick.deliver([row(f"V{n}") for n in range(9)])
    agreeing(quick)
    quick.deliver(
        [
            row("V1", visit_cost="1.00", last_updated="2025-03-02T01:00:00Z"),
            row("V2", visit_date="2025-02-27", last_updated="2025-03-02T02:00:00Z"),
            row("V10", last_updated="2025-03-01T11:00:00Z"),
            row("V11", last_updated="2025-02-01T11:00:00Z"),
            row("V12", visit_cost="much", last_updated="2025-03-02T02:00:00Z"),
            row("V13", visit_date="2025-03-02", last_updated="2025-03-02T09:00:00Z"),
        ]
    )
    planned, _ = agreeing(quick, DAY.format(3))
    assert planned.counts["outside_missed"] == 1 and planned.reasons == {"invalid_visit_cost": 1}
    assert [planned.visits(each) for each in ("inserted", "corrected", "moved_in", "moved_out")] == [2, 1, 1, 1]
    assert planned.days_restated == 1


def test_the_same_again_and_a_wider_window(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    agreeing(quick)
    planned, _ = agreeing(quick, DAY.format(3))
    assert planned.changes == () and planned.batch.startswith("repeat")
    quick.deliver([row("V2", last_updated="2025-02-20T12:00:00Z"), row("V1")])
    planned, _ = agreeing(quick, DAY.format(4), lookback_hours=1000.0)
    assert planned.counts["inserted"] == 1


def test_a_gate_that_fails_and_the_held_delivery_accepted(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    agreeing(quick)
    quick.deliver([row("V2", last_updated="2025-03-02T01:00:00Z"), *bad(5)])
    planned, _ = agreeing(quick, DAY.format(3))
    assert planned.exit_code == 4 and planned.changes == () and quick.statuses() == ["loaded", "held"]
    assert planned.watermark_after == planned.watermark_before
    rules = ("missing_required_share", "refused_share")
    planned, _ = agreeing(quick, DAY.format(4), accept=rules)
    assert planned.gate is not None and planned.gate.decision == "PASSED BY OVERRIDE"


def test_a_delivery_that_would_be_refused(quick: Clinic) -> None:
    quick.deliver('visit_id,patient_id\n"V1')
    planned, _ = agreeing(quick)
    assert planned.exit_code == 3 and planned.counts == {} and planned.gate is None


def test_a_full_refresh_of_two_deliveries(quick: Clinic) -> None:
    for number, day in ((1, 2), (2, 3)):
        quick.deliver([row(f"V{number}", last_updated=f"2025-03-0{number}T12:00:00Z")])
        agreeing(quick, DAY.format(day))
    planned, _ = agreeing(quick, DAY.format(4), full_refresh=True)
    assert planned.counts["staged"] == 2


def test_deletes_and_restorations(quick: Clinic) -> None:
    quick.config = {"source": {"deliveries": "full", "deletes": "mark"}}
    both = [row("V1"), row("V2", visit_date="2025-02-28")]
    quick.deliver(both)
    agreeing(quick)
    quick.deliver(both[:1])
    planned, _ = agreeing(quick, DAY.format(3))
    assert planned.visits("deleted") == 1
    quick.deliver(both)
    planned, _ = agreeing(quick, DAY.format(4))
    assert planned.visits("restored") == 1


def test_the_real_gate_agrees_rule_by_rule(clinic: Clinic) -> None:
    clinic.deliver([row(f"V{n}", visit_cost="") for n in range(4)])
    planned, _ = agreeing(clinic)
    assert planned.gate is not None and {each.rule for each in planned.gate.warnings} == {"null_cost_share"}


def test_while_a_run_holds_the_lock(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    agreeing(quick)
    with hold_file(quick.data_dir / "warehouse.db.lock", "a test"):
        assert plan(quick, DAY.format(3)).exit_code == 0


def test_while_a_dead_writers_journal_lies_beside_the_warehouse(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    quick.run()
    leave_hot_journal(quick)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        quick.query("SELECT * FROM runs")
    quick.deliver([row("V2", last_updated="2025-03-02T01:00:00Z")])
    before = listing(quick)
    planned = plan(quick, DAY.format(3))
    assert planned.counts["inserted"] == 1 and listing(quick) == before
    assert agreeing(quick, DAY.format(3))[0].counts == planned.counts


def leave_hot_journal(clinic: Clinic) -> None:
    """As a writer leaves it that is killed while its changed pages go to disk."""
    connection = sqlite3.connect(clinic.warehouse, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM fact_visits")
    connection.execute("CREATE TABLE spilled AS SELECT randomblob(100000) FROM fact_visits, runs")
    connection.execute("UPDATE deliveries SET reason = hex(randomblob(100000))")
    for name in ("warehouse.db", "warehouse.db-journal"):
        shutil.copy2(clinic.data_dir / name, clinic.folder / name)
    connection.execute("ROLLBACK")
    connection.close()
    for name in ("warehouse.db", "warehouse.db-journal"):
        shutil.move(clinic.folder / name, clinic.data_dir / name)


def test_a_warehouse_copied_back_is_caught_up_in_the_plan_as_in_the_run(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    quick.run()
    older = quick.warehouse.read_bytes()
    quick.deliver([row("V2", last_updated="2025-03-02T01:00:00Z")])
    quick.run(DAY.format(3))
    quick.warehouse.write_bytes(older)
    planned, _ = agreeing(quick, DAY.format(4))
    assert planned.behind is not None and planned.counts["inserted"] == 1


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda path: path.unlink(), StoredDataChanged),
        (lambda path: path.write_bytes(b""), StoredDataChanged),
        (lambda path: path.write_bytes(b"no database at all" * 300), StoredDataChanged),
    ],
    ids=["missing", "empty", "garbage"],
)
def test_what_stops_the_run_before_it_begins_stops_the_plan(
    quick: Clinic, harm: Callable[[Path], Any], error: type[Exception]
) -> None:
    quick.deliver([row("V1")])
    quick.run()
    harm(quick.warehouse)
    before = listing(quick)
    with pytest.raises(error):
        plan(quick, DAY.format(3))
    assert listing(quick) == before


@settings(
    max_examples=max(int(os.environ.get("PROPERTY_EXAMPLES", "20")) // 6, 1),
    derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(history=histories())
def test_any_history_goes_as_planned(history: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        clinic = Clinic(Path(folder), {"engine": {"threads": 1}})
        for step in history:
            if isinstance(step, Deliver):
                clinic.deliver(text_of(step), step.path)
                continue
            assert isinstance(step, RunStep)
            how = {"full_refresh": step.full_refresh, "accept": step.accept, "source": clinic.input.parent}
            try:
                plan(clinic, instant_text(step.as_of), **how)
            except UsageError as error:
                ran = clinic.run(instant_text(step.as_of), **how)
                assert (ran.exit_code, ran.message) == (error.exit_code, str(error))
                continue
            agreeing(clinic, instant_text(step.as_of), **how)


def test_nothing_to_accept_is_a_usage_error(quick: Clinic) -> None:
    quick.deliver([row("V1")])
    quick.run()
    with pytest.raises(UsageError, match="no delivery is held"):
        plan(quick, DAY.format(3), accept=("refused_share",))


def test_a_scratch_folder_goes_with_its_process(quick: Clinic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quick.deliver([row("V1")])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for name in ("abandoned", "held", "young"):
        (temporary / f"{PREFIX}{name}").mkdir()
        (temporary / f"{PREFIX}{name}" / HELD).touch()
        if name != "young":
            os.utime(temporary / f"{PREFIX}{name}", (0, 0))
    with (temporary / f"{PREFIX}held" / HELD).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        plan(quick)
    assert sorted(each.name for each in temporary.glob(f"{PREFIX}*")) == [f"{PREFIX}held", f"{PREFIX}young"]
    with pytest.raises(Terminated), scratch_layout(Layout.at(quick.data_dir, None)):
        os.kill(os.getpid(), signal.SIGTERM)
    assert len(list(temporary.glob(f"{PREFIX}*"))) == 1, "the held one was abandoned; the terminated one is gone"


def test_the_command_ends_as_the_run_would(clinic: Clinic) -> None:
    clinic.deliver([row("V1"), *bad(5)])
    planned = clinic.command("plan", "--as-of", DAY.format(2))
    assert planned.returncode == 4 and "would hold the delivery" in planned.stdout
    assert not clinic.data_dir.exists()
    clinic.deliver([row(f"V{n}") for n in range(3)])
    planned = clinic.command("plan", "--as-of", DAY.format(2))
    assert planned.returncode == 0, planned.stderr
    assert "1 day would change" in planned.stdout and "V1" not in planned.stdout
    assert not clinic.data_dir.exists()
