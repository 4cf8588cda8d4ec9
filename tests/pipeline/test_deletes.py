"""Case 19 with `source.deletes: mark`: what a full delivery no longer holds. Random histories: test_properties.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import validate
from lib.config import settings_from
from lib.errors import PipelineError
from tests.pipeline.clinic import Clinic, RunResult, row
from tests.pipeline.plain_gate import plain_gate

FIRST, SECOND, THIRD, FOURTH = (f"2025-03-0{day}T00:00:00Z" for day in (2, 3, 4, 5))
V1, V2 = row("V1"), row("V2", visit_date="2025-02-28")
NEWER = row("V1", visit_cost="9", last_updated="2025-03-01T13:00:00Z")


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


@pytest.fixture
def marking(quick: Clinic) -> Clinic:
    """A clinic that marks deletes, with V1 and V2 of two days loaded."""
    quick.config = {"source": {"deliveries": "full", "deletes": "mark"}}
    load(quick, [V1, V2], FIRST)
    return quick


def load(clinic: Clinic, rows: list[dict[str, str]], as_of: str) -> RunResult:
    clinic.deliver(rows)
    result = clinic.run(as_of)
    assert result.exit_code == 0, result.message
    return result


def deleted(clinic: Clinic) -> dict[str, tuple[str, int]]:
    """visit_id → since when, by which delivery."""
    rows = clinic.query("SELECT visit_id, deleted_at, deleted_seq FROM fact_visits WHERE deleted_at IS NOT NULL")
    return {visit: (since[:10], sequence) for visit, since, sequence in rows}


def effects(clinic: Clinic, result: RunResult) -> list[tuple[object, ...]]:
    assert result.run is not None
    return clinic.query(
        "SELECT visit_date, visit_count_before, visit_count_after, visits_inserted, visits_deleted, visits_restored"
        " FROM metric_changes WHERE run_id = ? ORDER BY visit_date", result.run.run_id,
    )  # fmt: skip


def test_19_what_is_gone_is_marked_leaves_the_metrics_and_stays_in_the_facts(marking: Clinic) -> None:
    result = load(marking, [V1], SECOND)
    assert deleted(marking) == {"V2": ("2025-03-03", 2)}
    assert sorted(marking.facts()) == ["V1", "V2"] and list(marking.daily()) == ["2025-03-01"]
    assert (result.counts["visits_deleted"], result.counts["visits_restored"]) == (1, 0)
    assert effects(marking, result) == [("2025-02-28", 1, None, 0, 1, 0)]


@pytest.mark.parametrize(
    "again",
    [V2, {**V2, "visit_cost": "?"}, {**V2, "last_updated": "2025-01-01T00:00:00Z"}, {**V2, "visit_id": " V2\t"}],
    ids=["unchanged", "refused", "older than the window", "with spaces"],
)
def test_19_what_reappears_comes_back_however_it_does(marking: Clinic, again: dict[str, str]) -> None:
    load(marking, [V1], SECOND)
    result = load(marking, [V1, again], THIRD)
    assert deleted(marking) == {} and sorted(marking.daily()) == ["2025-02-28", "2025-03-01"]
    assert result.counts["visits_restored"] == 1
    assert effects(marking, result) == [("2025-02-28", None, 1, 0, 0, 1)]


@pytest.mark.parametrize(
    "unreadable",
    [row(""), row("V\u200b2"), "V2,P1"],
    ids=["blank id", "forbidden character", "malformed row"],
)
def test_19_an_id_that_cannot_be_read_implies_no_delete(marking: Clinic, unreadable: dict[str, str] | str) -> None:
    line = unreadable if isinstance(unreadable, str) else ",".join(unreadable.values())
    header, first = ",".join(V1), ",".join(V1.values())
    marking.deliver(f"{header}\n{first}\n{line}\n")
    result = marking.run(SECOND)
    assert result.exit_code == 0 and deleted(marking) == {}
    assert "absent_visits" not in result.counts


def test_19_a_delivery_accepted_late_takes_its_own_place_and_a_refresh_agrees(quick: Clinic) -> None:
    quick.config = {"source": {"deliveries": "full", "deletes": "mark"}}
    load(quick, [V1, V2, row("V3")], FIRST)
    quick.deliver([V1, V2, *(row(f"B{n}", visit_cost="?") for n in range(3))])  # V3 is gone first here
    assert quick.run(SECOND).exit_code == 4
    load(quick, [NEWER], THIRD)
    assert deleted(quick) == {"V2": ("2025-03-04", 3), "V3": ("2025-03-04", 3)}
    assert quick.run(FOURTH, accept=("refused_share",)).exit_code == 0
    assert deleted(quick) == {"V2": ("2025-03-04", 3), "V3": ("2025-03-03", 2)}
    before = quick.facts(), quick.daily(), deleted(quick)
    assert quick.run(FOURTH, full_refresh=True).exit_code == 0
    assert (quick.facts(), quick.daily(), deleted(quick)) == before


def test_19_marked_and_run_again_changes_nothing(marking: Clinic) -> None:
    load(marking, [V1], SECOND)
    before = marking.tables()
    result = marking.run(THIRD)
    assert (result.exit_code, result.counts["visits_deleted"], result.counts["visits_restored"]) == (0, 0, 0)
    assert {**marking.tables(), "state": None} == {**before, "state": None}


def test_19_marking_needs_full_deliveries() -> None:
    with pytest.raises(PipelineError, match="deletes: mark needs deliveries: full"):
        settings_from({"source": {"deletes": "mark"}}, "config.yaml")


def test_marked_deletes_go_through_the_notebooks(tmp_path: Path) -> None:
    """The checks of 04 and 05 count the visits that stand; by the real command."""
    clinic = Clinic(tmp_path, {"source": {"deliveries": "full", "deletes": "mark"}})
    for rows in ([row("V1"), row("V2"), row("V3")], [row("V1"), row("V3")]):
        clinic.deliver(rows)
        done = clinic.command("run")
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 visit newly marked deleted" in done.stdout
    assert clinic.query("SELECT count(*), count(deleted_at) FROM fact_visits") == [(3, 1)]
    assert clinic.command("verify").returncode == 0


def test_a_visit_that_comes_back_as_an_older_version_counts_on_the_tables_day(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, {"source": {"deliveries": "full", "deletes": "mark"}})
    older = row("V1", visit_date="2025-02-04", last_updated="2025-03-01T11:00:00Z")
    newer = row("V1", visit_date="2025-02-03")
    for rows in ([older, row("V2")], [newer, row("V2")], [row("V2")], [older, row("V2")]):
        clinic.deliver(rows)
        result = clinic.run()
        assert result.exit_code == 0, result.message
    assert clinic.query("SELECT visit_date, deleted_at FROM fact_visits WHERE visit_id = 'V1'") == [
        ("2025-02-03", None)
    ]
    assert set(clinic.daily()) == {"2025-02-03", "2025-03-01"}
    assert result.run is not None
    changes = "SELECT visit_date, visits_restored, visit_count_after FROM metric_changes WHERE run_id = ?"
    assert clinic.query(changes, result.run.run_id) == [("2025-02-03", 1, 1)]
    assert (result.counts["visits_restored"], result.counts["unchanged"], result.counts["restated_days"]) == (1, 2, 0)
