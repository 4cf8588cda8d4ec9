"""why and as-of: every change of a day's metrics with its cause, small groups untold; the table as any run left it."""

from __future__ import annotations

import csv
import os
import pty
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from lib import validate
from lib.clock import instant_text
from lib.errors import UsageError
from lib.files import read_lines
from lib.layout import Layout
from lib.published import change_lines, changes_of_day, metrics_as_of, safe_cell, write_csv
from lib.run import Run
from tests.histories import Deliver, Step, histories, text_of
from tests.histories import Run as RunStep
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.plain_gate import plain_gate

DAY = "2025-03-01"


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def layout(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def load(clinic: Clinic, rows: list[dict[str, str]], day: int, **how: bool) -> str:
    """Deliver and run; the run's id."""
    clinic.deliver(rows)
    result = clinic.run(f"2025-03-{day:02d}T00:00:00Z", **how)
    assert result.exit_code == 0 and result.run is not None, result.message
    return result.run.run_id


def many(count: int, prefix: str = "V", **cells: str) -> list[dict[str, str]]:
    return [row(f"{prefix}{n}", patient_id=f"P{n}", **cells) for n in range(count)]


def causes(clinic: Clinic, day: str = DAY) -> list[dict[str, int]]:
    return [each.causes for each in changes_of_day(layout(clinic), day)]


def lines(clinic: Clinic, day: str = DAY, minimum: int = 8) -> str:
    return "\n".join(change_lines(changes_of_day(layout(clinic), day), minimum))


def test_each_change_of_a_day_has_its_run_and_its_cause(quick: Clinic) -> None:
    first = load(quick, many(9), 2)
    stamp = "2025-03-02T01:00:00Z"
    second = load(
        quick,
        [
            row("V0", patient_id="P0", visit_cost="5.00", last_updated=stamp),
            row("V1", patient_id="P1", visit_date="2025-02-27", last_updated=stamp),
            row("L1", last_updated="2025-03-01T11:00:00Z"),
            row("N1", last_updated=stamp),
        ],
        3,
    )
    changes = changes_of_day(layout(quick), DAY)
    assert [each.run_id for each in changes] == [first, second]
    assert causes(quick) == [{"new": 9}, {"new": 1, "late": 1, "corrected": 1, "moved out": 1}]
    assert causes(quick, "2025-02-27") == [{"moved in": 1}]
    assert (changes[1].before.visits, changes[1].after.visits) == (9, 10)
    assert (changes[0].before.visits, changes[0].before.total_cents, changes[0].after.total_cents) == (0, 0, 90_000)


def test_deleted_and_restored_visits_are_causes(quick: Clinic) -> None:
    quick.config = {"source": {"deliveries": "full", "deletes": "mark"}}
    for number, rows in enumerate((many(2), many(1), many(2))):
        load(quick, rows, 2 + number)
    assert causes(quick) == [{"new": 2}, {"deleted": 1}, {"restored": 1}]


def test_a_refresh_says_whether_the_rules_changed(quick: Clinic) -> None:
    load(quick, [*many(9), row("dear", visit_cost="900.00")], 2)
    quick.config = {"rules": {"max_visit_cost": 500}, "gate": {"max_refused_share": 1.0}}
    load(quick, [*many(9), row("dear", visit_cost="900.00")], 3, full_refresh=True)
    changes = changes_of_day(layout(quick), DAY)
    assert [each.note for each in changes] == [None, "full refresh, rule change"]
    assert causes(quick)[1] == {"removed": 1}


def test_small_groups_and_small_changes_are_not_told(quick: Clinic) -> None:
    load(quick, many(7), 2)
    load(quick, [*many(8, "W", last_updated="2025-03-02T01:00:00Z"), *many(7)], 3)
    load(quick, many(1, "X", last_updated="2025-03-03T01:00:00Z"), 4)
    load(quick, many(8, "Y", last_updated="2025-03-04T01:00:00Z"), 5)
    told = lines(quick).splitlines()
    few = "the rest is not told: fewer than 8 visits, patients or changes"
    assert told[0].endswith("fewer than 8 new") and told[1] == f"    visits 0 → fewer than 8; {few}"
    assert told[2].endswith("8 new") and told[3] == f"    visits fewer than 8 → 15; {few}"
    assert told[4].endswith(" 1 new") and told[5] == f"    visits 15 → 16; {few}"
    assert "total not told → 2,400.00" in told[7] and "average not told → 100.00" in told[7], "X's cost is between"
    assert "7 new" not in lines(quick) and "700.00" not in lines(quick)
    assert "7 new" in lines(quick, minimum=1) and "total 0.00 → 700.00" in lines(quick, minimum=1)


def test_a_change_of_many_visits_of_which_few_have_a_cost_tells_no_total(quick: Clinic) -> None:
    load(quick, many(9), 2)
    stamp = "2025-03-02T01:00:00Z"
    load(quick, [*many(9, "W", visit_cost="", last_updated=stamp), row("C", last_updated=stamp)], 3)
    assert lines(quick).splitlines()[3].startswith("    visits 9 → 19; the rest is not told")


def test_few_visits_with_a_cost_hide_the_average(quick: Clinic) -> None:
    load(quick, [*many(9, visit_cost=""), *many(1, "C")], 2)
    assert "not told" in lines(quick) and "average" not in lines(quick)


def test_a_day_without_history_and_what_is_no_day(quick: Clinic) -> None:
    load(quick, many(1), 2)
    assert changes_of_day(layout(quick), "2025-03-09") == []
    for text in ("2025-3-1", "20250301", "yesterday", "2025-02-30", "２０２５-03-01"):
        with pytest.raises(UsageError, match="write a date"):
            changes_of_day(layout(quick), text)


def test_the_commands(clinic: Clinic) -> None:
    clinic.deliver(many(9))
    clinic.run()
    shown = clinic.command("why", DAY)
    assert shown.returncode == 0 and "9 new" in shown.stdout and "total 0.00 → 900.00" in shown.stdout
    never = clinic.command("why", "2025-03-09")
    assert never.returncode == 0 and "was never published" in never.stdout
    assert clinic.command("why", "soon").returncode == 2
    piped = clinic.command("why", DAY, "--reveal")
    assert piped.returncode == 2 and "only on a terminal" in piped.stderr and not read_lines(layout(clinic).decisions)
    unknown = clinic.command("as-of", "000009-20250101T000000Z")
    assert unknown.returncode == 2 and "no run with this id was loaded" in unknown.stderr
    [(run_id,)] = clinic.query("SELECT run_id FROM runs")
    shown = clinic.command("as-of", run_id)
    assert shown.returncode == 0 and "2025-03-01" in shown.stdout and "900" in shown.stdout
    target = clinic.folder / "days.csv"
    assert clinic.command("as-of", run_id, "--to", str(target)).returncode == 0
    assert list(csv.reader(target.open())) == [
        ["visit_date", "visit_count", "patient_count", "total_visit_cost", "avg_visit_cost", "missing_cost_count"],
        ["2025-03-01", "9", "9", "900.00", "100.00", "0"],
    ]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    again = clinic.command("as-of", run_id, "--to", str(target))
    assert again.returncode == 2 and "is there already" in again.stderr and target.stat().st_size > 100


def test_reveal_on_a_terminal_shows_all_and_is_noted(clinic: Clinic) -> None:
    clinic.deliver(many(3))
    clinic.run()
    config = clinic.folder / "config.yaml"
    config.write_text("source: {name: clinic}\n")
    ours, theirs = pty.openpty()
    words = ["why", DAY, "--reveal", "--config", str(config), "--data-dir", str(clinic.data_dir)]
    done = subprocess.Popen(
        [sys.executable, str(ROOT / "run_pipeline.py"), *words], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # how a closed terminal ends
        pass
    assert done.wait(60) == 0, text
    assert b"3 new" in text and b"300.00" in text
    [entry] = read_lines(layout(clinic).decisions)
    assert (entry["decision"], entry["scope"]) == ("reveal", f"why {DAY}")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_exported_cell_is_a_formula(cell: str, tmp_path: Path) -> None:
    assert safe_cell(cell) == f"'{cell}" and safe_cell("2025-03-01") == "2025-03-01"
    write_csv(pd.DataFrame({"a": [cell, None]}), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_bytes().startswith(f"a\n'{cell}\n".encode())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "none" / "x.csv")


@settings(
    max_examples=max(int(os.environ.get("PROPERTY_EXAMPLES", "20")) // 5, 1),
    derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(history=histories())
def test_as_of_every_run_is_the_table_as_saved_right_after_it(
    history: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        clinic = Clinic(Path(folder), {"engine": {"threads": 1}})
        saved: dict[str, pd.DataFrame] = {}
        for step in history:
            if isinstance(step, Deliver):
                clinic.deliver(text_of(step), step.path)
                continue
            assert isinstance(step, RunStep)
            result = clinic.run(
                instant_text(step.as_of), source=clinic.input.parent, full_refresh=step.full_refresh, accept=step.accept
            )
            if result.exit_code == 0 and result.run is not None:
                saved[result.run.run_id] = Run.existing(clinic.data_dir, result.run.run_id).daily()
        for run_id, frame in saved.items():
            pd.testing.assert_frame_equal(metrics_as_of(layout(clinic), run_id), frame)
