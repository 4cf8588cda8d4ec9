"""The gate's rules over time, from the records alone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.layout import Layout
from lib.rule_history import limit_text, rule_history, used_share, value_text
from lib.run_records import newest_records


def entry(rule: str, observed: float | None, threshold: float | None = 0.05, **more: Any) -> dict[str, Any]:
    return {
        "id": rule,
        "suite": "batch_profile",
        "severity": "critical",
        "scope": "batch",
        "observed": observed,
        "comparison": "<=",
        "threshold": threshold,
        "unit": "share",
        "passed": observed is None or threshold is None or observed <= threshold,
        "overridden": False,
        "reason": "a test",
        **more,
    }


def record(layout: Layout, number: int, *rules: dict[str, Any], **manifest: Any) -> str:
    """A run's record: manifest and dq_report.json."""
    run_id = f"{number:06d}-20250301T{number:06d}Z"
    folder = layout.record(run_id)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"source": "clinic", "outcome": "loaded", **manifest}))
    if rules:
        (folder / "dq_report.json").write_text(json.dumps({"rules": rules}))
    return run_id


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path, None)


def test_each_run_keeps_its_own_limit_and_runs_come_in_order(layout: Layout) -> None:
    second = record(layout, 2, entry("refused_share", 0.06, 0.10))
    first = record(layout, 1, entry("refused_share", 0.06, 0.05, overridden=True))
    (found,) = rule_history(newest_records(layout))
    assert [(each.run_id, each.threshold, each.passed) for each in found.points] == [
        (first, 0.05, False),
        (second, 0.10, True),
    ]
    assert [each.used for each in found.points] == [pytest.approx(1.2), pytest.approx(0.6)]
    assert found.failed == found.overridden == found.points[:1] and found.judged == found.points


def test_a_rule_is_told_at_its_worst_scope(layout: Layout) -> None:
    worse = entry("refused_share", 0.30, scope="delivery 000002")
    record(layout, 1, entry("refused_share", 0.02), entry("refused_share", 0.20, scope="delivery 000001"), worse)
    least = {"comparison": ">=", "unit": "rows", "passed": False}
    record(
        layout, 2, entry("rows", 0, 1, scope="delivery 000001", **least), entry("rows", 0, 1, **least),
        entry("refused_share", 0.40, overridden=True), entry("refused_share", 0.30, scope="delivery 000003"),
    )  # fmt: skip
    found = rule_history(newest_records(layout))
    told = {each.rule: [(point.scope, point.observed) for point in each.points] for each in found}
    # What stops the batch is worse than what was accepted, whatever was observed; of equals the first is told.
    assert told == {
        "rows": [("delivery 000001", 0)],
        "refused_share": [("delivery 000002", 0.30), ("delivery 000003", 0.30)],
    }


def test_rules_stand_as_in_the_newest_report_then_those_it_lacks(layout: Layout) -> None:
    record(layout, 1, entry("gone", 0.01), entry("kept", 0.01))
    record(layout, 2, entry("new", None), entry("kept", 0.01, severity="warning"))
    found = rule_history(newest_records(layout))
    assert [each.rule for each in found] == ["new", "kept", "gone"]
    assert [(len(each.points), len(each.judged), each.severity) for each in found] == [
        (1, 0, "critical"), (2, 2, "warning"), (1, 1, "critical"),
    ]  # fmt: skip
    assert found[0].points[0].used is None


def test_only_the_runs_of_a_source(layout: Layout) -> None:
    record(layout, 1, entry("kept", 0.01), source="north")
    south = record(layout, 2, entry("kept", 0.01), source="south")
    assert [each.run_id for each in rule_history(newest_records(layout), "south")[0].points] == [south]
    assert len(rule_history(newest_records(layout))[0].points) == 2
    assert rule_history(newest_records(layout), "east") == ()


BROKEN = {
    "no report": None,
    "not JSON": "{",
    "no rules": "{}",
    "a list": "[]",
    "a rule without its limit": json.dumps({"rules": [{"id": "kept", "passed": True}]}),
    "a rule without its suite": json.dumps({"rules": [{k: v for k, v in entry("kept", 0).items() if k != "suite"}]}),
    "a rule that is a text": json.dumps({"rules": ["kept"]}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_read_is_passed_over(case: str, layout: Layout) -> None:
    whole = record(layout, 1, entry("kept", 0.01))
    broken = layout.record(record(layout, 2, entry("kept", 0.02)))
    content = BROKEN[case]
    (broken / "dq_report.json").unlink()
    if content is not None:
        (broken / "dq_report.json").write_text(content)
    record(layout, 3)
    (layout.record(record(layout, 4, entry("kept", 0.02))) / "manifest.json").unlink()
    (found,) = rule_history(newest_records(layout))
    assert [each.run_id for each in found.points] == [whole]


def test_before_the_first_run_there_is_no_history(layout: Layout) -> None:
    assert rule_history(newest_records(layout)) == ()


@pytest.mark.parametrize(
    ("observed", "comparison", "threshold", "passed", "used"),
    [
        (0.02, "<=", 0.05, True, 0.4),
        (0, "<=", 0, True, 0),
        (3, "<=", 0, False, math.inf),
        (0.98, ">=", 0.95, True, 0.4),
        (0.90, ">=", 0.95, False, 2.0),
        (4, ">=", 1, True, 0.25),
        (0, ">=", 1, False, math.inf),
        (7, "==", 7, True, 0),
        (6, "==", 7, False, math.inf),
    ],
)
def test_how_much_of_a_limit_was_used(
    observed: float, comparison: str, threshold: float, passed: bool, used: float
) -> None:
    assert used_share(observed, comparison, threshold, passed) == pytest.approx(used)


def test_numbers_for_people() -> None:
    told = [value_text(*each) for each in ((0.031, "share"), (18, "hours"), (2.44, "deviations"), (1204, "rows"))]
    assert told == ["3.10 %", "18.0 h", "2.4", "1,204"] and value_text(None, "rows") == "none"
    assert limit_text("<=", 0.05, "share") == "≤ 5.00 %" and limit_text("<=", None, "days") == "no limit"


def test_it_needs_the_standard_library_only() -> None:
    code = "import sys, lib.rule_history; print({'pandas', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "set()"
