"""The rules over a source's last runs, as 05 shows them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lib import run_records
from lib.files import read_json
from lib.history_plots import plot_rules
from lib.layout import Layout
from lib.rule_trends import recent_rules, rules_frame
from lib.run import Run
from tests.unit.test_rule_history import entry, record


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path, None)


def run_of(layout: Layout, run_id: str, source: str = "clinic") -> Run:
    return cast(Run, SimpleNamespace(layout=layout, run_id=run_id, source=source))


def rows(frame: Any) -> list[list[Any]]:
    found: list[list[Any]] = frame.to_numpy().tolist()
    return found


def test_the_last_runs_of_this_source_up_to_this_one(layout: Layout) -> None:
    ids = [record(layout, number, entry("refused_share", number / 1000)) for number in range(1, 6)]
    recent = recent_rules(run_of(layout, ids[3]), most=3)
    assert recent["run"].tolist() == ids[1:4]
    assert recent["used"].tolist() == pytest.approx([0.04, 0.06, 0.08])


def test_no_more_records_are_read_than_are_shown(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [record(layout, number, entry("refused_share", 0.01)) for number in range(1, 21)]
    read: list[str] = []

    def noted(path: Path) -> Any:
        read.append(path.parent.name)
        return read_json(path)

    monkeypatch.setattr(run_records, "read_json", noted)
    assert recent_rules(run_of(layout, ids[-1]), most=3)["run"].tolist() == ids[-3:]
    assert set(read) == set(ids[-3:])


def test_neither_the_runs_of_other_sources_nor_those_that_never_reached_the_gate(layout: Layout) -> None:
    first = record(layout, 1, entry("refused_share", 0.01))
    record(layout, 2, entry("refused_share", 0.02), source="another")
    record(layout, 3)
    last = record(layout, 4, entry("refused_share", 0.03))
    assert recent_rules(run_of(layout, last))["run"].tolist() == [first, last]


def test_a_row_a_rule_with_its_failures_and_what_the_newest_run_found(layout: Layout) -> None:
    record(layout, 1, entry("refused_share", 0.04), entry("absent_visits", None, 0, unit="visits"))
    record(layout, 2, entry("refused_share", 0.20, overridden=True), entry("absent_visits", None, 0, unit="visits"))
    last = record(layout, 3, entry("refused_share", 0.01, 0.10), entry("absent_visits", None, 0, unit="visits"))
    recent = recent_rules(run_of(layout, last))
    assert list(rules_frame(recent).columns) == [
        "rule", "severity", "judged", "failed", "accepted", "most_used", "newest", "limit",
    ]  # fmt: skip
    assert rows(rules_frame(recent)) == [
        ["refused_share", "critical", 3, 1, 1, "80 %", "1.00 %", "≤ 10.00 %"],
        ["absent_visits", "critical", 0, 0, 0, "", "none", "≤ 0"],
    ]


def test_a_run_whose_gate_left_nothing_is_no_failure(layout: Layout) -> None:
    recent = recent_rules(run_of(layout, record(layout, 1)))
    assert recent.empty and rules_frame(recent).empty
    assert plot_rules(recent).get_label().startswith("Empty chart (no run has reached the gate)")  # type: ignore[attr-defined]
