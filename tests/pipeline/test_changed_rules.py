"""Changed rules: what was staged under other settings stays as it is, and every run says so until a full refresh."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lib import validate
from lib.decisions import discard_delivery
from lib.layout import Layout
from lib.pipeline import Ended
from lib.terminal import show_summary
from tests.pipeline.clinic import COLUMNS, Clinic, RunResult, csv_text, row
from tests.pipeline.plain_gate import plain_gate

FULL = {"source": {"deliveries": "full"}}

COUNTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mapping": ({}, {"columns": {"provider_id": "Ward"}}),
    "column left out": ({}, {"columns": {"provider_id": None}}),
    "carried column": ({}, {"carry": {"ward": "Ward"}}),
    "format": ({}, {"formats": {"visit_date": ["iso", "%m/%d/%Y"]}}),
    "order of formats": (
        {"formats": {"visit_date": ["%d/%m/%Y", "%m/%d/%Y"]}},
        {"formats": {"visit_date": ["%m/%d/%Y", "%d/%m/%Y"]}},
    ),
    "rule": ({}, {"rules": {"max_visit_cost": 150}}),
    "first day": ({}, {"rules": {"min_visit_date": "2000-01-01"}}),
    "null marker": ({}, {"null_markers": {"diagnosis_code": ["?"]}}),
    "time zone": ({}, {"source": {"timezone": "Europe/Berlin"}}),
    "kind of deliveries": ({}, FULL),
    "deletes": (FULL, {"source": {"deliveries": "full", "deletes": "mark"}}),
    "encoding": ({}, {"source": {"encoding": "cp1252"}}),
}
NOT_COUNTED: dict[str, dict[str, Any]] = {
    "thresholds": {"gate": {"max_refused_share": 0.9, "min_failing_rows": 9}},
    "engine": {"engine": {"memory_limit": "2GiB", "threads": 1}},
    "lookback": {"window": {"lookback_hours": 48}},
    "size of groups": {"min_group_size": 5},
    "the default written out": {"rules": {"max_visit_cost": 10_000_000}, "formats": {"visit_date": ["iso"]}},
}


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def load(clinic: Clinic, *visit_ids: str, **how: Any) -> RunResult:
    """Deliver these visits, a further column beside them, and load."""
    visit_date = how.pop("visit_date", "2025-03-01")
    rows = [{**row(each, visit_date=visit_date), "Ward": "W1"} for each in visit_ids]
    if rows:
        clinic.deliver(csv_text(rows, (*COLUMNS, "Ward")))
    result = clinic.run(**how)
    assert result.exit_code == 0, result.message
    return result


def others(result: RunResult) -> int:
    return result.counts["changed_rules"]


def told(result: RunResult) -> str:
    """The summary on the terminal."""
    assert result.run is not None
    text = io.StringIO()
    ended = Ended(0, "loaded", None, result.run.manifest.content, result.run.record)
    show_summary(Console(file=text, width=160), ended)
    return text.getvalue()


@pytest.mark.parametrize("what", COUNTED)
def test_deliveries_loaded_under_other_settings_are_counted_until_a_full_refresh(what: str, quick: Clinic) -> None:
    quick.config, changed = COUNTED[what]
    when = {"visit_date": "03/01/2025"} if what == "order of formats" else {}
    assert others(load(quick, "V1", **when)) == 0
    assert others(load(quick, "V1", "V2", **when)) == 0
    quick.config = changed
    result = load(quick, "V1", "V2", "V3", **when)
    assert others(result) == 2
    assert "2 loaded deliveries were staged under other settings: run --full-refresh" in told(result)
    assert others(load(quick)) == 2, "the last batch again mends nothing"
    refreshed = load(quick, full_refresh=True)
    assert others(refreshed) == 0 and "other settings" not in told(refreshed)
    after = load(quick, "V1", "V2", "V3", "V4", **when)
    assert others(after) == 0 and "other settings" not in told(after)


@pytest.mark.parametrize("what", NOT_COUNTED)
def test_settings_that_judge_no_row_do_not_count(what: str, quick: Clinic) -> None:
    load(quick, "V1")
    quick.config = NOT_COUNTED[what]
    assert others(load(quick, "V2")) == 0


def test_the_same_settings_from_another_place_do_not_count(quick: Clinic) -> None:
    load(quick, "V1")
    quick.deliver([row("V2")], "elsewhere.csv")
    assert others(load(quick, source=quick.input.with_name("elsewhere.csv"))) == 0


def test_settings_that_come_back_count_what_was_loaded_between(quick: Clinic) -> None:
    load(quick, "V1")
    load(quick, "V2")
    quick.config = {"rules": {"max_visit_cost": 150}}
    assert others(load(quick, "V3")) == 2
    quick.config = {}
    result = load(quick, "V4")
    assert others(result) == 1
    assert "1 loaded delivery was staged under other settings" in told(result)


def test_only_loaded_deliveries_count(quick: Clinic) -> None:
    load(quick, "V1")
    quick.deliver([row(f"bad{number}", patient_id="") for number in range(4)])
    assert quick.run().exit_code == 4
    discard_delivery(Layout.at(quick.data_dir, None), "clinic", 2, "a test file")
    quick.config = {"rules": {"max_visit_cost": 150}}
    assert others(load(quick, "V3")) == 1


def test_the_gate_warns_and_the_rows_stay_as_they_were_staged(clinic: Clinic) -> None:
    load(clinic, "V1", "V2")
    clinic.config = {"rules": {"min_visit_date": "2025-03-01"}}
    result = load(clinic, "V3")
    assert result.message.startswith("PASSED WITH WARNINGS: ") and "changed_rules 1 " in result.message
    assert set(clinic.facts()) == {"V1", "V2", "V3"}
    clinic.config = {"rules": {"min_visit_date": "2025-03-02"}, "gate": {"min_failing_rows": 99}}
    assert "changed_rules 2 " in load(clinic).message
