"""A warehouse copied back from a backup is caught up from raw: the tables become those of the undisturbed history."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib import validate
from lib.backup import back_up
from lib.decisions import discard_delivery, reinstate_delivery
from lib.layout import Layout
from lib.run import Run
from lib.terminal import behind_text
from lib.verify import find_changes
from tests.pipeline.clinic import Clinic, RunResult, row
from tests.pipeline.plain_gate import plain_gate

BAD = [row(f"bad{number}", patient_id="") for number in range(4)]
RULES = ("missing_required_share", "refused_share")


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic with the plain gate, one delivery loaded, and a backup of that."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    assert load(clinic, 1, on(1, "V1")).exit_code == 0
    back_up(layout_of(clinic), clinic.folder / "backup")
    return clinic


def on(day: int, visit_id: str, **cells: str) -> dict[str, str]:
    return row(visit_id, visit_date=f"2025-03-{day:02}", last_updated=f"2025-03-{day:02}T12:00:00Z", **cells)


def load(clinic: Clinic, day: int, *rows: dict[str, str], **how: Any) -> RunResult:
    """Deliver the rows and run on the evening of that day."""
    if rows:
        clinic.deliver(list(rows))
    return clinic.run(f"2025-03-{day:02}T20:00:00Z", **how)


def layout_of(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def give_back_warehouse(clinic: Clinic) -> None:
    shutil.copy2(clinic.folder / "backup" / "warehouse.db", clinic.warehouse)


def content(clinic: Clinic) -> dict[str, Any]:
    """What a history must give, however its runs were cut."""
    entries = "SELECT identity, reasons, status, superseded_by_seq, first_delivery_seq FROM quarantine ORDER BY 1"
    return {
        "facts": clinic.facts(),
        "daily": clinic.daily(),
        "quarantine": clinic.query(entries),
        "rows": clinic.query("SELECT * FROM quarantine_rows ORDER BY 1, 2, 3"),
        "statuses": clinic.statuses(),
    }


def discard(clinic: Clinic, sequence: int) -> None:
    discard_delivery(layout_of(clinic), "clinic", sequence, "a test file")


def reinstate(clinic: Clinic, sequence: int) -> None:
    reinstate_delivery(layout_of(clinic), "clinic", sequence, "no test file")


def two_loads(clinic: Clinic) -> None:
    load(clinic, 2, on(2, "V2"), on(2, "V1", visit_cost="7"))
    load(clinic, 3, on(3, "V3"), on(3, "V4", visit_cost="?"))


def a_move_a_correction_and_a_refusal(clinic: Clinic) -> None:
    load(clinic, 2, on(2, "V2", visit_cost="?"), on(2, "V1"))
    load(clinic, 3, on(3, "V2"), on(2, "V9"))


def a_held_delivery(clinic: Clinic) -> None:
    load(clinic, 2, on(2, "V2"))
    assert load(clinic, 3, on(3, "V3"), *BAD).exit_code == 4
    load(clinic, 4, on(4, "V4"))


def a_held_delivery_last(clinic: Clinic) -> None:
    load(clinic, 2, on(2, "V2"))
    assert load(clinic, 3, on(3, "V3"), *BAD).exit_code == 4


def a_discarded_delivery(clinic: Clinic) -> None:
    assert load(clinic, 2, on(2, "V2"), *BAD).exit_code == 4
    discard(clinic, 2)
    load(clinic, 3, on(3, "V3"))


def discarded_and_reinstated(clinic: Clinic) -> None:
    assert load(clinic, 2, on(2, "V2"), *BAD).exit_code == 4
    discard(clinic, 2)
    load(clinic, 3, on(3, "V3"))
    reinstate(clinic, 2)
    discard(clinic, 2)


def a_refused_delivery(clinic: Clinic) -> None:
    clinic.deliver("canary\n")
    assert load(clinic, 2).exit_code == 3
    load(clinic, 3, on(3, "V3"))


def an_accepted_delivery(clinic: Clinic) -> None:
    assert load(clinic, 2, on(2, "V2"), *BAD).exit_code == 4
    assert load(clinic, 3, accept=RULES).exit_code == 0
    load(clinic, 4, on(4, "V4"))


def accepted_after_the_backup(clinic: Clinic) -> None:
    """Held before it: what it was held for is in the warehouse that is copied back."""
    assert load(clinic, 2, on(2, "V2"), *BAD).exit_code == 4
    shutil.rmtree(clinic.folder / "backup")
    back_up(layout_of(clinic), clinic.folder / "backup")
    assert load(clinic, 3, accept=RULES).exit_code == 0


def a_full_refresh(clinic: Clinic) -> None:
    load(clinic, 5, on(5, "V5"))
    load(clinic, 6, row("missed", last_updated="2025-02-20T12:00:00Z"), on(6, "V6"))
    assert "missed" not in clinic.facts()
    load(clinic, 7, full_refresh=True)
    assert "missed" in clinic.facts()


HISTORIES = [
    two_loads, a_move_a_correction_and_a_refusal, a_held_delivery, a_held_delivery_last, a_discarded_delivery,
    discarded_and_reinstated, a_refused_delivery, an_accepted_delivery, accepted_after_the_backup, a_full_refresh,
]  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES)
def test_the_next_run_gives_the_tables_of_the_undisturbed_history(
    history: Callable[[Clinic], None], quick: Clinic
) -> None:
    history(quick)
    before = content(quick)
    lost = [each[0] for each in quick.query("SELECT run_id FROM runs ORDER BY run_id")][1:]
    give_back_warehouse(quick)
    assert set(quick.facts()) == {"V1"}
    assert load(quick, 8).exit_code == 0
    assert content(quick) == before
    behind = Run.existing(quick.data_dir).manifest["behind"]
    assert (behind["last_run"][:7], behind["lost_runs"]) == ("000001-", lost)
    assert find_changes(layout_of(quick)) == []
    load(quick, 8)
    assert Run.existing(quick.data_dir).manifest["behind"] is None, "it is caught up"
    assert content(quick) == before


def test_a_delivery_discarded_after_the_backup_is_not_loaded_though_no_load_is_lost(quick: Clinic) -> None:
    assert load(quick, 2, on(2, "V2"), *BAD).exit_code == 4
    discard(quick, 2)
    give_back_warehouse(quick)
    quick.config = {"gate": {"min_failing_rows": 9}}  # it would pass now
    assert load(quick, 3).exit_code == 0
    assert (set(quick.facts()), quick.statuses()) == ({"V1"}, ["loaded", "discarded"])
    assert quick.query("SELECT reason FROM deliveries WHERE sequence = 2") == [("a test file",)]
    assert Run.existing(quick.data_dir).manifest["behind"] is None


def test_what_was_accepted_is_accepted_again_for_what_it_was_given_for(quick: Clinic) -> None:
    an_accepted_delivery(quick)
    give_back_warehouse(quick)
    result = load(quick, 8, on(8, "V8"), on(8, "V9"), *(on(8, f"bad{n}", patient_id="") for n in range(4)))
    assert (result.exit_code, quick.statuses()) == (0, ["loaded", "loaded", "loaded", "pending"])
    assert result.message.startswith("PASSED BY OVERRIDE")
    assert set(quick.facts()) == {"V1", "V2", "V4"}
    assert (load(quick, 8).exit_code, quick.statuses()[3]) == (4, "held"), "nobody accepted it"


def test_an_acceptance_is_of_what_was_seen_and_no_worse(quick: Clinic) -> None:
    an_accepted_delivery(quick)
    give_back_warehouse(quick)
    quick.config = {"rules": {"max_visit_cost": 9}}  # all rows of both deliveries are refused now
    assert (load(quick, 8).exit_code, set(quick.facts())) == (4, {"V1"})


def test_it_is_behind_until_a_run_has_loaded(quick: Clinic) -> None:
    two_loads(quick)
    before = quick.facts()
    give_back_warehouse(quick)
    snapshot = sorted((quick.data_dir / "raw" / "clinic").glob("000003_*"))[0]
    kept = snapshot.rename(quick.folder / "kept")
    result = load(quick, 8)
    assert (result.exit_code, set(quick.facts())) == (6, {"V1"})
    assert result.message == f"raw/clinic/{snapshot.name}: the snapshot is missing; restore it from a backup."
    kept.rename(snapshot)
    assert load(quick, 8).exit_code == 0
    assert len(Run.existing(quick.data_dir).manifest["behind"]["lost_runs"]) == 2
    assert quick.facts() == before


def test_the_whole_folder_copied_back_goes_on_from_there(quick: Clinic) -> None:
    two_loads(quick)
    before = quick.facts()
    shutil.rmtree(quick.data_dir)
    shutil.copytree(quick.folder / "backup", quick.data_dir)
    assert find_changes(layout_of(quick)) == []
    assert load(quick, 3).exit_code == 0, "what the source offers now is a new delivery"
    assert Run.existing(quick.data_dir).manifest["behind"] is None
    assert quick.facts().keys() == {"V1", "V3"} != before.keys()


def test_an_older_ledger_is_told(quick: Clinic) -> None:
    two_loads(quick)
    shutil.copy2(quick.folder / "backup" / "raw" / "clinic" / "deliveries.jsonl", quick.data_dir / "raw" / "clinic")
    before = quick.tables()
    quick.deliver([on(4, "V4")])
    result = load(quick, 4)
    assert (result.exit_code, quick.tables()) == (6, before)
    assert result.message.startswith("raw/clinic/deliveries.jsonl: lacks delivery 2 as the warehouse knows it; restore")
    give_back_warehouse(quick)
    result = load(quick, 4)
    assert (result.exit_code, set(quick.facts())) == (6, {"V1"})
    assert result.message.startswith("raw/clinic/deliveries.jsonl: lacks delivery 2, which run 000002-")


def test_another_data_folder_than_the_warehouses_is_told(quick: Clinic) -> None:
    two_loads(quick)
    before = quick.tables()
    other = quick.folder / "other"
    other.mkdir()
    (quick.data_dir / "warehouse.db").rename(other / "warehouse.db")
    shutil.rmtree(quick.data_dir)
    other.rename(quick.data_dir)
    result = load(quick, 4)
    assert (result.exit_code, quick.tables()) == (6, before)
    assert result.message == (
        "raw/clinic/deliveries.jsonl: is not there, and the warehouse has 3 deliveries of clinic; name the data folder "
        "that they were taken in (--data-dir), or restore raw from the backup that the warehouse is from."
    )


def test_the_announcement_is_one_line() -> None:
    behind = {"last_run": "000001-x", "lost_runs": ["000002-x"], "refresh": False}
    told = "the warehouse is older than the records: it"
    assert behind_text(behind) == f"{told} ends with run 000001-x; 1 recorded load is caught up from the snapshots"
    behind = {"last_run": None, "lost_runs": ["a", "b"], "refresh": True}
    assert behind_text(behind) == (
        f"{told} holds no run; 2 recorded loads are caught up from the snapshots, by a full refresh, as one of them was"
    )


def test_a_lost_warehouse_is_built_again_with_its_marks(quick: Clinic) -> None:
    a_discarded_delivery(quick)
    before = content(quick)
    Path(quick.warehouse).unlink()
    assert load(quick, 8, full_refresh=True).exit_code == 0
    assert content(quick) == before
