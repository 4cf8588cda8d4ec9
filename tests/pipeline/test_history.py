"""Watermark and history: the known ways that pipelines of this kind go wrong, one test a case, three to six rows each.

Every test looks at the tables, the quarantine and the state as well as at the message. Those of the gate run the real
suites; the others use the plain gate, which judges the same rules in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lib import load, validate
from lib.clock import parse_instant
from lib.config import Settings
from lib.files import read_json
from lib.layout import KINDS
from lib.pipeline import _prepare
from lib.run import Options, Run
from tests.pipeline.clinic import COLUMNS, Clinic, RunResult, csv_text, row
from tests.pipeline.plain_gate import plain_gate

NOON = "2025-03-01T12:00:00.000000+00:00"
UNSTAMPED = tuple(name for name in COLUMNS if name != "last_updated")
STAMPLESS: dict[str, Any] = {"columns": {"last_updated": None}, "source": {"deliveries": "full"}}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of warehouse passes these tests unchanged."""
    name: str = request.param
    return name


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def good(
    clinic: Clinic, rows: list[dict[str, str]] | str, as_of: str = "2025-03-02T00:00:00Z", **how: Any
) -> RunResult:
    """Deliver and run; it must load."""
    clinic.deliver(rows)
    result = clinic.run(as_of, **how)
    assert result.exit_code == 0, result.message
    return result


def stamps(clinic: Clinic) -> dict[str, str]:
    return {visit_id: fact[3] for visit_id, fact in clinic.facts().items()}


def costs(clinic: Clinic) -> dict[str, int | None]:
    return {visit_id: fact[2] for visit_id, fact in clinic.facts().items()}


def state(clinic: Clinic) -> dict[str, Any]:
    content: dict[str, Any] = read_json(clinic.data_dir / "state" / "state.json")
    return content


def watermark(clinic: Clinic) -> str:
    """The committed watermark, after a look at its copy."""
    [(text,)] = clinic.query("SELECT watermark_last_updated FROM state")
    assert parse_instant(state(clinic)["watermark_last_updated"]) == parse_instant(text)
    return str(text)


def entries(clinic: Clinic) -> list[tuple[Any, ...]]:
    """Each quarantine entry: visit, reasons, status, and the version that answered it."""
    return clinic.query(
        "SELECT visit_key, reasons, status, superseded_by_seq, superseded_by_line FROM quarantine"
        " ORDER BY first_delivery_seq, first_source_line"
    )


def rule(result: RunResult, name: str, scope: str = "batch") -> dict[str, Any]:
    """One rule of the run's dq_report.json."""
    assert result.run is not None
    report = read_json(result.run.record / "dq_report.json")
    return next(each for each in report["rules"] if (each["id"], each["scope"]) == (name, scope))


def daily_is_grouped_facts(clinic: Clinic) -> bool:
    return load.differing_days(Run.existing(clinic.data_dir)) == 0


def test_01_a_stamp_in_the_future_is_quarantined_and_the_watermark_stays_behind_the_clock(quick: Clinic) -> None:
    rows = [row("V1"), row("V2", last_updated="2025-03-02T00:05:00Z"), row("V3", last_updated="2025-03-02T00:05:01Z")]
    result = good(quick, rows)
    assert result.reasons == {"future_last_updated": 1}
    assert set(quick.facts()) == {"V1", "V2"}
    assert watermark(quick) == "2025-03-02T00:00:00.000000+00:00"
    assert entries(quick) == [("V3", "future_last_updated", "open", None, None)]


def test_02_rows_at_the_cutoff_and_at_the_watermark_are_read_again_and_change_nothing(quick: Clinic) -> None:
    at_cutoff = "2025-02-28T12:00:00Z"
    first = [row("V1"), row("V2", last_updated=at_cutoff)]
    good(quick, first)
    before = quick.facts()
    late = [row("V3", last_updated=at_cutoff), row("V4"), row("V5", last_updated="2025-02-28T11:59:59.999999Z")]
    result = good(quick, first + late)
    assert (result.counts["unchanged"], result.counts["inserted"], result.counts["outside_missed"]) == (2, 2, 1)
    assert {key: quick.facts()[key] for key in before} == before
    assert set(quick.facts()) == {"V1", "V2", "V3", "V4"}
    assert watermark(quick) == NOON


def test_03_microseconds_are_kept_and_the_watermark_is_never_rounded_up(quick: Clinic) -> None:
    good(quick, [row("V1", last_updated="2025-03-01T12:00:00.123456999Z")], lookback_hours=0)
    assert watermark(quick) == stamps(quick)["V1"] == "2025-03-01T12:00:00.123456+00:00"
    again = [
        row("V2", last_updated="2025-03-01T12:00:00.123456Z"),
        row("V3", last_updated="2025-03-01T12:00:00.123455Z"),
    ]
    result = good(quick, again, lookback_hours=0)
    assert set(quick.facts()) == {"V1", "V2"} and result.counts["outside_missed"] == 1


def test_04_an_empty_run_leaves_the_watermark_and_lost_facts_are_never_loaded_in_silence(quick: Clinic) -> None:
    good(quick, [row("V1"), row("V2")])
    before = quick.tables()
    assert quick.run("2025-03-03T00:00:00Z").counts["unchanged"] == 2
    quick.deliver([])
    held = quick.run("2025-03-04T00:00:00Z")
    assert (held.exit_code, quick.statuses()) == (4, ["loaded", "held"])
    assert watermark(quick) == NOON and quick.tables()["fact_visits"] == before["fact_visits"]

    quick.change("DELETE FROM fact_visits")
    emptied = quick.tables()
    lost = quick.run("2025-03-05T00:00:00Z")
    assert lost.exit_code == 6 and "--full-refresh" in lost.message
    assert quick.tables() == emptied
    assert quick.run("2025-03-05T00:00:00Z", full_refresh=True).exit_code == 0
    assert quick.tables()["fact_visits"] == before["fact_visits"] and daily_is_grouped_facts(quick)


def test_05_rows_later_than_the_lookback_are_missed_aloud_and_a_full_refresh_heals(clinic: Clinic) -> None:
    good(clinic, [row("V1"), row("V2", last_updated="2025-02-27T12:00:00Z")])
    late = [
        row("V1", visit_cost="110"),
        row("V2", last_updated="2025-02-28T00:00:00Z", visit_cost="120"),  # 36 h behind the watermark
        row("V2", last_updated="2025-02-27T00:00:00Z"),  # older than what is held
        row("V3", last_updated="2025-02-26T12:00:00Z"),  # 72 h
        row("V4", last_updated="2025-02-26T12:00:00Z", visit_cost="?"),
    ]
    result = good(clinic, late)
    counts = result.counts
    assert (counts["outside_missed"], counts["outside_held"], counts["outside_invalid"]) == (2, 1, 1)
    assert result.run is not None and result.run.manifest["missed_needs_hours"] == 72
    assert rule(result, "missed_rows")["observed"] == 2 and "WARNINGS" in result.message
    assert costs(clinic) == {"V1": 11000, "V2": 10000} and entries(clinic) == []
    clinic.run("2025-03-02T00:00:00Z", full_refresh=True)
    assert costs(clinic) == {"V1": 11000, "V2": 12000, "V3": 10000}
    assert [each[:2] for each in entries(clinic)] == [("V4", "invalid_visit_cost")]
    assert watermark(clinic) == NOON and daily_is_grouped_facts(clinic)


def test_05_a_longer_lookback_catches_them_without_a_refresh(quick: Clinic) -> None:
    good(quick, [row("V1")])
    good(quick, [row("V1"), row("V2", last_updated="2025-02-26T12:00:00Z")])
    assert set(quick.facts()) == {"V1"}
    assert quick.run("2025-03-02T00:00:00Z", lookback_hours=72).counts["inserted"] == 1
    assert set(quick.facts()) == {"V1", "V2"}


def test_06_the_lookback_is_measured_from_the_watermark_so_a_week_of_outage_loses_nothing(quick: Clinic) -> None:
    good(quick, [row("V1")])
    week = [row(f"V{day}", last_updated=f"2025-03-0{day}T12:00:00Z") for day in range(2, 8)]
    result = good(quick, week, "2025-03-09T00:00:00Z")
    assert (result.counts["inserted"], result.counts["outside_missed"]) == (6, 0)
    assert watermark(quick) == "2025-03-07T12:00:00.000000+00:00"


def test_07_spellings_of_one_instant_are_equal_and_a_clock_change_moves_no_visit_date(quick: Clinic) -> None:
    spellings = ("2025-03-01 12:00:00", "2025-03-01T12:00:00Z", "2025-03-01T14:00:00+02:00", "2025-03-01T06:30:00-0530")
    good(quick, [row(f"V{number}", last_updated=text) for number, text in enumerate(spellings)])
    assert set(stamps(quick).values()) == {NOON}
    before = quick.tables()
    shifted = [row(f"V{number}", last_updated=spellings[number - 1]) for number in range(4)]
    assert good(quick, shifted).counts["unchanged"] == 4
    assert quick.tables()["fact_visits"] == before["fact_visits"]


def test_07_a_repeated_hour_moves_no_visit_date(quick: Clinic) -> None:
    quick.config = {"source": {"timezone": "Europe/Berlin"}}
    days = ("2025-10-26T00:30", "2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00", "2025-10-26T23:59")
    rows = [row(f"V{number}", visit_date=text, last_updated="2025-10-26T02:30") for number, text in enumerate(days)]
    good(quick, rows, "2025-10-27T00:00:00Z")
    assert {fact[1] for fact in quick.facts().values()} == {"2025-10-26"}
    assert set(stamps(quick).values()) == {"2025-10-26T00:30:00.000000+00:00"}  # the earlier of the two


def test_08_a_machine_s_clock_set_back_unsorts_no_run_and_lowers_no_watermark(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.run.now", lambda: datetime(2025, 3, 2, tzinfo=UTC))
    first = quick_run_now(quick, [row("V1")])
    monkeypatch.setattr("lib.run.now", lambda: datetime(2024, 1, 1, tzinfo=UTC))
    second = quick_run_now(quick, [row("V1", visit_cost="5"), row("V2", last_updated="2025-03-01T18:00:00Z")])
    assert first.run and second.run and first.run.run_id < second.run.run_id
    assert second.run.as_of == first.run.as_of  # so the stamps of the first are in no future
    assert set(quick.facts()) == {"V1", "V2"} and watermark(quick) == "2025-03-01T18:00:00.000000+00:00"
    asked = quick.run("2025-03-01T00:00:00Z")
    assert (
        asked.exit_code == 2 and "earlier" in asked.message and watermark(quick) == "2025-03-01T18:00:00.000000+00:00"
    )


def quick_run_now(clinic: Clinic, rows: list[dict[str, str]]) -> RunResult:
    clinic.deliver(rows)
    result = clinic.run(None)  # type: ignore[arg-type]  # by the machine's clock
    assert result.exit_code == 0, result.message
    return result


def test_09_stamps_are_compared_as_instants_never_as_text(quick: Clinic) -> None:
    quick.config = {"formats": {"last_updated": ["%-m/%-d/%Y"]}}
    good(quick, [row("V1", last_updated="9/30/2025"), row("V2", last_updated="10/1/2025")], "2025-10-02T00:00:00Z")
    newer, older = (
        row("V1", last_updated="10/1/2025", visit_cost="20"),
        row("V2", last_updated="9/30/2025", visit_cost="1"),
    )
    result = good(quick, [newer, older], "2025-10-02T00:00:00Z")
    assert costs(quick) == {"V1": 2000, "V2": 10000} and result.counts["updated"] == 1
    assert watermark(quick) == "2025-10-01T00:00:00.000000+00:00"


def test_10_a_gate_passes_no_column_because_it_is_empty(clinic: Clinic) -> None:
    good(clinic, [row("V1")])
    before = clinic.tables()
    clinic.deliver([row(f"V{number}", visit_cost=text) for number, text in enumerate(("inf", "NaN", "-inf", "1e400"))])
    result = clinic.run()
    assert result.exit_code == 4 and result.reasons == {"invalid_visit_cost": 4}
    assert result.failed_rules == {"refused_share", "zero_row_load"}
    assert clinic.tables() == before
    clinic.deliver([row(f"V{number}", visit_cost="", diagnosis_code="") for number in range(4)])
    all_null = clinic.run()
    assert all_null.exit_code == 0 and rule(all_null, "null_cost_share")["observed"] == 1


def test_11_an_increment_is_compared_with_increments_never_with_a_full_load(clinic: Clinic) -> None:
    def increment(day: int, count: int) -> RunResult:
        rows = [row(f"D{day}-{number}", last_updated=f"2025-03-0{day}T12:00:00Z") for number in range(count)]
        return good(clinic, rows, f"2025-03-0{day}T18:00:00Z")

    good(clinic, [row(f"V{number}") for number in range(60)], "2025-03-01T18:00:00Z")
    assert rule(increment(2, 6), "row_count_drop")["observed"] == 0  # not 6 of 60
    assert rule(increment(3, 6), "row_count_drop")["passed"]
    dropped = increment(4, 2)
    assert rule(dropped, "row_count_drop")["observed"] == pytest.approx(2 / 3) and "row_count_drop" in dropped.message
    assert len(clinic.facts()) == 74


def test_12_an_older_version_changes_nothing_and_of_equal_stamps_the_later_delivered_wins(quick: Clinic) -> None:
    good(quick, [row("V1"), row("V2", last_updated="2025-03-01T10:00:00Z")])
    good(quick, [row("V3", last_updated="2025-03-01T06:00:00Z")])
    assert watermark(quick) == NOON  # it never falls
    older = good(quick, [row("V1", last_updated="2025-03-01T11:00:00Z", visit_cost="1"), row("V2", visit_cost="2")])
    assert (older.counts["unchanged"], older.counts["updated"]) == (1, 1)
    assert costs(quick) == {"V1": 10000, "V2": 200, "V3": 10000}
    tied = good(quick, [row("V1", visit_cost="30"), row("V1", visit_cost="40"), row("V2", visit_cost="2")])
    assert costs(quick) == {"V1": 4000, "V2": 200, "V3": 10000} and quick.facts()["V1"][4:] == (4, 3)
    assert (tied.counts["same_stamp_changes"], tied.counts["superseded"], tied.counts["unchanged"]) == (1, 1, 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_12_rows_of_distinct_stamps_may_be_shuffled(quick: Clinic, order: tuple[int, ...]) -> None:
    hours = [row("V1", last_updated=f"2025-03-01T1{hour}:00:00Z", visit_cost=f"{hour}") for hour in range(3)]
    good(quick, [hours[place] for place in order])
    assert costs(quick) == {"V1": 200} and quick.daily() == {"2025-03-01": (1, 1, 200, 200, 0)}


def test_12_an_older_version_with_another_carried_column_changes_nothing(quick: Clinic) -> None:
    quick.config = {"carry": {"ward": "Ward"}}
    header = (*COLUMNS, "Ward")
    good(quick, csv_text([{**row("V1"), "Ward": "north"}], header))
    older = {**row("V1", last_updated="2025-03-01T11:00:00Z", visit_cost="1"), "Ward": "south"}
    assert good(quick, csv_text([older], header)).counts["unchanged"] == 1
    assert quick.query("SELECT visit_cost_cents, ward, delivery_seq FROM fact_visits") == [(10000, "north", 1)]


def test_12_a_carried_column_alone_makes_a_change(quick: Clinic) -> None:
    quick.config = {"carry": {"ward": "Ward"}}
    header = (*COLUMNS, "Ward")
    good(quick, csv_text([{**row("V1"), "Ward": "north"}, {**row("V2"), "Ward": ""}], header))
    moved = good(quick, csv_text([{**row("V1"), "Ward": "south"}, {**row("V2"), "Ward": ""}], header))
    assert (moved.counts["updated"], moved.counts["unchanged"], moved.counts["same_stamp_changes"]) == (1, 1, 1)
    assert quick.query("SELECT ward, delivery_seq FROM fact_visits ORDER BY visit_id") == [("south", 2), (None, 1)]


def test_12_a_delivery_accepted_late_takes_its_own_place_in_the_order(quick: Clinic) -> None:
    """20, 10, 20 under one stamp: the visit stands since the third delivery, whenever the first was let in."""
    refused = [row(f"B{number}", visit_cost="?") for number in range(3)]
    quick.deliver([row("V1", visit_cost="20"), row("V2", visit_cost="1"), *refused])
    assert quick.run().exit_code == 4
    good(quick, [row("V1", visit_cost="10"), row("V2", visit_cost="2")])
    good(quick, [row("V1", visit_cost="20"), row("V3")])
    accepted = quick.run(accept=("refused_share",))
    assert accepted.exit_code == 0 and accepted.counts["unchanged"] == 2
    assert {key: (fact[2], *fact[4:]) for key, fact in quick.facts().items()} == {
        "V1": (2000, 3, 2), "V2": (200, 2, 3), "V3": (10000, 3, 3),
    }  # fmt: skip
    before = quick.tables()
    assert quick.run(full_refresh=True).exit_code == 0
    for name in ("fact_visits", "daily_visit_metrics"):
        assert quick.tables()[name] == before[name]


def test_13_a_visit_moved_to_another_day_changes_both_and_an_emptied_day_goes(quick: Clinic) -> None:
    good(quick, [row("V1", visit_cost="10.01"), row("V2", visit_date="2025-02-28", patient_id="P2", visit_cost="")])
    moved = [
        row("V1", visit_date="2025-02-28", visit_cost="10.01", last_updated="2025-03-01T13:00:00Z"),
        row("V2", visit_date="2025-02-28", visit_cost="20", last_updated="2025-03-01T13:00:00Z", patient_id="P2"),
    ]
    result = good(quick, moved)
    assert quick.daily() == {"2025-02-28": (2, 2, 3001, 1501, 0)}  # 15.005, half away from zero
    assert result.run is not None
    changes = quick.query(
        "SELECT visit_date, visit_count_before, visit_count_after, avg_visit_cost_cents_before,"
        " avg_visit_cost_cents_after, visits_inserted, visits_corrected, visits_moved_in, visits_moved_out"
        " FROM metric_changes WHERE run_id = ? ORDER BY visit_date", result.run.run_id,
    )  # fmt: skip
    assert changes == [("2025-02-28", 1, 2, None, 1501, 0, 1, 1, 0), ("2025-03-01", 1, None, 1001, None, 0, 0, 0, 1)]


def test_14_a_failed_gate_leaves_everything_and_a_good_delivery_is_neither_blocked_nor_dilutes(clinic: Clinic) -> None:
    good(clinic, [row(f"V{number}") for number in range(3)])
    before, copied = clinic.tables(), (clinic.data_dir / "state" / "state.json").read_bytes()
    bad = [row("B1"), *(row(f"B{number}", patient_id="") for number in range(2, 5))]
    clinic.deliver(bad)
    held = clinic.run("2025-03-03T00:00:00Z")
    assert held.exit_code == 4 and held.failed_rules == {"missing_required_share", "refused_share"}
    assert "held" in held.message and "--accept" in held.message
    assert Run.existing(clinic.data_dir).manifest["outcome"] == "held" and clinic.statuses() == ["loaded", "held"]
    assert clinic.tables() == before and (clinic.data_dir / "state" / "state.json").read_bytes() == copied

    many = good(clinic, [row(f"G{number}") for number in range(200)], "2025-03-04T00:00:00Z")
    assert clinic.statuses() == ["loaded", "held", "loaded"] and "B1" not in clinic.facts()
    assert rule(many, "held_deliveries")["observed"] == 1

    clinic.deliver([row(f"H{number}") for number in range(200)], "a.csv")
    clinic.deliver(bad, "b.csv")  # 3 of 204 together, 3 of 4 by itself
    both = clinic.run("2025-03-05T00:00:00Z", source=clinic.input.parent)
    assert both.exit_code == 4 and clinic.statuses()[3:] == ["pending", "held"]
    assert clinic.run("2025-03-05T00:00:00Z", source=clinic.input.parent).exit_code == 0
    assert clinic.statuses()[3:] == ["loaded", "held"] and len(clinic.facts()) == 403


def test_14_an_accepted_delivery_loads_once_by_override_while_pending_ones_wait(clinic: Clinic) -> None:
    clinic.deliver([row("B1"), *(row(f"B{number}", patient_id="") for number in range(2, 5))])
    assert clinic.run().exit_code == 4
    clinic.deliver([row("V1", visit_cost="7"), row("B1", last_updated="2025-03-01T18:00:00Z")])
    assert clinic.run(accept=("refused_share",)).exit_code == 2  # it failed two rules
    accepted = clinic.run(accept=("refused_share", "missing_required_share"))
    assert accepted.exit_code == 0 and "OVERRIDE" in accepted.message
    assert clinic.statuses() == ["loaded", "pending"] and set(clinic.facts()) == {"B1"}
    assert len(entries(clinic)) == 3
    assert clinic.run().exit_code == 0 and set(clinic.facts()) == {"B1", "V1"}


def test_15_a_refused_version_corrected_later_loads_and_its_entry_closes_with_a_link(quick: Clinic) -> None:
    good(quick, [row("V1", visit_cost="?"), row("V2", visit_cost="?"), row("V3")])
    assert [each[2] for each in entries(quick)] == ["open", "open"] and set(quick.facts()) == {"V3"}
    good(quick, [row("V1", last_updated="2025-03-01T13:00:00Z"), row("V2"), row("V3")])  # V2 without a newer stamp
    assert entries(quick) == [
        ("V1", "invalid_visit_cost", "superseded", 2, 2),
        ("V2", "invalid_visit_cost", "superseded", 2, 3),
    ]
    assert set(quick.facts()) == {"V1", "V2", "V3"}


def test_15_an_entry_stands_where_its_text_was_first_refused(quick: Clinic) -> None:
    broken = [row("V1", visit_cost="?"), row("V2")]
    good(quick, broken)
    quick.deliver([row("V1")], "a.csv")
    quick.deliver(broken, "b.csv")  # the same text once more, after its correction
    assert quick.run(source=quick.input.parent).exit_code == 0
    assert entries(quick) == [("V1", "invalid_visit_cost", "superseded", 2, 2)]
    assert quick.query("SELECT first_delivery_seq, last_delivery_seq FROM quarantine") == [(1, 3)]
    assert [each[1] for each in quick.tables()["quarantine_rows"]] == [1, 3]


def test_16_a_newer_version_refused_leaves_the_older_good_one_and_says_so(quick: Clinic) -> None:
    good(quick, [row("V1"), row("V2")])
    before = quick.facts()
    newer = [row("V1", visit_cost="?", last_updated="2025-03-01T18:00:00Z"), row("V2")]
    good(quick, newer)
    assert quick.facts() == before
    assert entries(quick) == [("V1", "invalid_visit_cost", "open", None, None)]
    assert watermark(quick) == NOON  # a refused row does not move it


class Crash(BaseException):
    """As if the process were killed: nothing catches it."""


def test_17_a_crash_after_the_commit_is_repaired_and_changes_no_row(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise Crash

    quick.deliver([row("V1"), row("V2")])
    with monkeypatch.context() as dying:
        dying.setattr("lib.load.write_state_copy", crash)  # the first thing after the commit
        with pytest.raises(Crash):
            quick.run()
    died = Run.existing(quick.data_dir)
    before = quick.tables()
    assert died.manifest["outcome"] == "running" and not (died.layout.state_file).exists()

    repaired: list[str] = []
    _prepare(died.layout, Settings(), Options(), Watcher(repaired.extend))
    assert repaired == [died.run_id] and quick.tables() == before
    manifest = Run.existing(quick.data_dir).manifest
    assert (manifest["outcome"], manifest["recovered"]) == ("loaded", True)
    assert watermark(quick) == NOON
    assert quick.run().counts["unchanged"] == 2
    assert quick.tables()["fact_visits"] == before["fact_visits"]


class Watcher:
    """A Progress that hears of repairs only."""

    def __init__(self, repaired: Callable[[list[str]], None]) -> None:
        self.repaired = repaired


def test_18_the_same_bytes_again_change_nothing_under_either_name(quick: Clinic) -> None:
    rows = [row("V1"), row("V2", visit_date="2025-02-28"), row("V3", visit_cost="?")]
    good(quick, rows)
    before = quick.tables()
    again = quick.run()
    assert again.run is not None and again.run.manifest["batch"]["kind"] == "repeat"
    quick.deliver(rows, "copy.csv")
    copy = quick.run(source=quick.input.with_name("copy.csv"))
    assert (copy.counts["unchanged"], copy.counts["known_refused"], copy.counts["refused"]) == (2, 1, 1)
    assert len(list((quick.data_dir / "raw" / "clinic").glob("*.csv"))) == 1
    for name in ("fact_visits", "daily_visit_metrics", "metric_changes"):
        assert quick.tables()[name] == before[name]
    assert len(entries(quick)) == 1 and len(quick.tables()["quarantine_rows"]) == 2


def test_18_together_is_as_one_after_the_other(tmp_path: Path, quick: Clinic, kind: str) -> None:
    a, b = [row("V1"), row("V2")], [row("V2", visit_cost="20"), row("V3", visit_cost="?")]
    apart, together = (Clinic(tmp_path / name, kind=kind) for name in ("apart", "together"))
    for rows, name in ((a, "a.csv"), (b, "b.csv")):
        apart.deliver(rows, name)
        assert apart.run(source=apart.input.parent).exit_code == 0
        together.deliver(rows, name)
    assert together.run(source=together.input.parent).exit_code == 0
    for name in ("fact_visits", "daily_visit_metrics", "quarantine", "quarantine_rows"):
        assert apart.tables()[name] == together.tables()[name], name


def test_18_a_b_a_without_stamps_ends_at_a_and_an_equal_row_is_not_restamped(quick: Clinic) -> None:
    quick.config = STAMPLESS
    for day, cost in enumerate(("10", "20", "10"), start=1):
        rows = [{name: each[name] for name in UNSTAMPED} for each in (row("V1", visit_cost=cost), row("V2"))]
        good(quick, csv_text(rows, UNSTAMPED), f"2025-03-0{day}T00:00:00Z")
    assert quick.facts()["V1"][2:] == (1000, "2025-03-03T00:00:00.000000+00:00", 3, 2)
    assert quick.facts()["V2"][2:] == (10000, "2025-03-01T00:00:00.000000+00:00", 1, 3)
    assert quick.statuses() == ["loaded"] * 3 and len(list((quick.data_dir / "raw" / "clinic").glob("*.csv"))) == 2


def test_19_a_visit_missing_from_a_later_full_delivery_is_reported_not_deleted(clinic: Clinic) -> None:
    clinic.config = {"source": {"deliveries": "full"}}
    first = [row("V1"), row("V2"), row("V3"), row("V4", last_updated="2025-02-01T00:00:00Z")]
    good(clinic, first, "2025-03-02T00:00:00Z")
    # V2 is refused now and V4 is outside the window: both are there. V3 is gone.
    second = [row("V1", visit_cost="9", last_updated="2025-03-02T00:00:00Z"), row("V2", visit_cost="?"), first[3]]
    result = good(clinic, second, "2025-03-03T00:00:00Z")
    assert result.counts["absent_visits"] == 1
    assert "absent_visits 1" in result.message
    assert sorted(clinic.facts()) == ["V1", "V2", "V3", "V4"]


def test_19_a_delivery_with_an_unreadable_id_implies_no_absence(clinic: Clinic) -> None:
    clinic.config = {"source": {"deliveries": "full"}}
    good(clinic, [row("V1"), row("V2")], "2025-03-02T00:00:00Z")
    result = good(clinic, [row("V1", visit_cost="9"), row("")], "2025-03-03T00:00:00Z")
    assert "absent_visits" not in result.counts
    assert "absent_visits" not in result.message


def test_19_a_full_refresh_leaves_no_row_that_no_delivery_supports(quick: Clinic) -> None:
    good(quick, [row("V1"), row("V2", visit_date="2025-02-28")])
    before = quick.tables()
    quick.change(
        "UPDATE fact_visits SET visit_id = 'V9', visit_date = '2025-02-27' WHERE visit_id = 'V2'",
        "UPDATE daily_visit_metrics SET patient_count = 77 WHERE visit_date = '2025-03-01'",
    )
    result = quick.run(full_refresh=True)
    assert result.exit_code == 0 and result.run is not None
    for name in ("fact_visits", "daily_visit_metrics"):
        assert quick.tables()[name] == before[name]
    removed = quick.query(
        "SELECT visit_date, patient_count_before, patient_count_after, visits_inserted, visits_removed"
        " FROM metric_changes WHERE run_id = ? ORDER BY visit_date", result.run.run_id,
    )  # fmt: skip
    assert removed == [("2025-02-27", None, None, 0, 1), ("2025-02-28", 1, 1, 1, 0), ("2025-03-01", 77, 1, 0, 0)]


@pytest.mark.parametrize(
    "content", [None, b"", b'{"watermark_last_updated": "20', b'{"version": 99}', b"\xff\xfe", b"[]"]
)
def test_20_a_state_file_that_is_not_right_is_rebuilt_and_never_believed(quick: Clinic, content: bytes | None) -> None:
    good(quick, [row("V1"), row("V2", last_updated="2025-02-27T12:00:00Z")])
    path = quick.data_dir / "state" / "state.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    result = quick.run()
    assert (result.exit_code, result.counts["outside_held"], result.counts["unchanged"]) == (0, 1, 1)  # no full load
    rebuilt = state(quick)
    assert watermark(quick) == NOON
    assert (rebuilt["source"], rebuilt["last_staging_row_count"], rebuilt["version"]) == ("clinic", 1, 2)


def test_21_a_warehouse_that_is_gone_is_no_silent_new_start(quick: Clinic) -> None:
    good(quick, [row("V1")])
    quick.warehouse.rename(quick.warehouse.with_name("elsewhere.db"))
    result = quick.run()
    assert result.exit_code == 6 and "missing" in result.message and "--full-refresh" in result.message
    assert not quick.warehouse.exists()


def test_22_a_column_renamed_or_gone_refuses_the_delivery_and_names_both(quick: Clinic) -> None:
    good(quick, [row("V1")])
    before = quick.tables()
    for text in (
        csv_text([row("V2")]).replace("visit_cost", "cost"),
        csv_text([row("V2")]).replace(",visit_cost", ",x"),
    ):
        quick.deliver(text)
        result = quick.run()
        assert result.exit_code == 3 and "visit_cost" in result.message and "V2" not in result.message
    assert quick.tables() == before and quick.statuses() == ["loaded", "refused", "refused"]
    assert good(quick, [row("V2")]).counts["inserted"] == 1


def test_22_a_column_added_or_dropped_between_deliveries_is_a_warning(clinic: Clinic) -> None:
    good(clinic, [row("V1")])
    added = good(clinic, csv_text([{**row("V2"), "ward": "n"}], (*COLUMNS, "ward")))
    assert rule(added, "schema_drift")["observed"] == 1 and "schema_drift" in added.message
    same = good(clinic, csv_text([{**row("V3"), "ward": "n"}], (*COLUMNS, "ward")))
    assert rule(same, "schema_drift")["passed"]
    gone = good(clinic, [row("V4")])
    assert rule(gone, "schema_drift")["observed"] == 1 and set(clinic.facts()) == {"V1", "V2", "V3", "V4"}


def test_23_a_future_stamp_refused_on_day_1_is_refused_by_a_refresh_on_day_3(quick: Clinic) -> None:
    good(quick, [row("V1"), row("V2", last_updated="2025-03-02T12:00:00Z", visit_date="2025-03-04")])
    assert entries(quick)[0][:3] == ("V2", "visit_date_out_of_range future_last_updated", "open")
    good(quick, [row("V3")], "2025-03-04T00:00:00Z")  # by this one's clock V2 would be good
    before = quick.facts()
    refreshed = quick.run("2025-03-05T00:00:00Z", full_refresh=True)
    assert refreshed.exit_code == 0 and refreshed.counts["refused"] == refreshed.counts["known_refused"] == 1
    assert quick.facts() == before and watermark(quick) == NOON and entries(quick)[0][2] == "open"


def test_24_rows_refused_before_do_not_trip_a_small_increment(clinic: Clinic) -> None:
    broken = [row(f"B{number}", visit_cost="?") for number in range(3)]
    good(clinic, broken + [row(f"V{number}") for number in range(60)])
    result = good(clinic, [*broken, row("V1", visit_cost="5")])
    assert (result.counts["known_refused"], result.counts["newly_refused"]) == (3, 0)
    assert rule(result, "refused_share")["observed"] == 0 and costs(clinic)["V1"] == 500
    fresh = [row(f"N{number}", visit_cost="?") for number in range(3)]
    clinic.deliver([*broken, *fresh, row("V1", visit_cost="6")])
    assert clinic.run().exit_code == 4 and costs(clinic)["V1"] == 500 and len(entries(clinic)) == 3


def test_25_a_full_extract_with_few_rows_in_the_window_is_no_drop(clinic: Clinic) -> None:
    clinic.config = {"source": {"deliveries": "full"}}
    old = [row(f"V{number}") for number in range(20)]
    good(clinic, old)
    good(clinic, [*old, row("N1", last_updated="2025-03-05T12:00:00Z")], "2025-03-06T00:00:00Z")
    few = good(clinic, [*old, row("N1", last_updated="2025-03-06T12:00:00Z")], "2025-03-07T00:00:00Z")
    assert (few.counts["rows_read"], few.counts["staged"], few.counts["outside_held"]) == (21, 1, 20)
    assert rule(few, "row_count_drop")["observed"] == 0 and len(clinic.facts()) == 21


def test_25_a_delivery_of_old_rows_only_is_a_zero_row_load_that_says_so(clinic: Clinic) -> None:
    good(clinic, [row("V1", last_updated="2025-03-10T12:00:00Z")], "2025-03-11T00:00:00Z")
    before = clinic.tables()
    clinic.deliver([row("V1"), row("V2")])
    stale = clinic.run("2025-03-12T00:00:00Z")
    assert stale.exit_code == 4 and stale.failed_rules == {"zero_row_load"}
    assert "older than the window" in stale.message
    assert clinic.tables() == before and clinic.statuses() == ["loaded", "held"]


def test_26_two_sources_with_the_same_visits_do_not_touch_each_other(quick: Clinic) -> None:
    def named(name: str, rows: list[dict[str, str]], **how: Any) -> RunResult:
        quick.config = {"source": {"name": name}}
        return good(quick, rows, **how)

    named("north", [row("V1"), row("V2", visit_cost="?")])
    named("south", [row("V1", visit_cost="50", last_updated="2025-02-01T12:00:00Z"), row("V2", visit_cost="?")])
    found = quick.query("SELECT source, visit_id, visit_cost_cents FROM fact_visits ORDER BY 1, 2")
    assert found == [("north", "V1", 10000), ("south", "V1", 5000)]
    assert quick.daily() == {"2025-03-01": (2, 2, 15000, 7500, 0)}  # the same patient id in two sources is two patients
    marks = dict(quick.query("SELECT source, watermark_last_updated FROM state"))
    assert marks == {"north": NOON, "south": "2025-02-01T12:00:00.000000+00:00"}
    assert {name: each["last_staging_row_count"] for name, each in state(quick)["sources"].items()} == {
        "north": 1,
        "south": 1,
    }
    named("north", [row("V2"), row("V1", visit_cost="1")], full_refresh=True)
    assert quick.query("SELECT source, status FROM quarantine ORDER BY 1") == [
        ("north", "superseded"),
        ("south", "open"),
    ]
    assert quick.daily() == {"2025-03-01": (3, 2, 15100, 5033, 0)}
