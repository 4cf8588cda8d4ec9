"""Rules over time through real runs: the number of rows that is unusual, and what `history --rules` tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lib.cli import app
from lib.config import settings_from
from lib.errors import UsageError
from lib.files import read_json
from lib.layout import Layout
from lib.plan import plan_run
from lib.rule_history import rule_history
from lib.run import Options
from lib.run_records import newest_records
from tests.histories import Deliver, Run, Step
from tests.pipeline.beside import new_pair, quick_pipeline
from tests.pipeline.clinic import Clinic, RunResult, row


@dataclass
class Days:
    """A clinic that delivers an increment a day: visits that no other day has, updated at noon."""

    clinic: Clinic
    day: int = 0
    results: list[RunResult] = field(default_factory=list)

    def deliver(self, count: int, name: str = "visits.csv", **cells: str) -> None:
        self.day += 1
        stamp = f"2025-03-{self.day:02d}T12:00:00Z"
        rows = [row(f"D{self.day}-{number}", last_updated=stamp, **cells) for number in range(count)]
        self.clinic.deliver(rows, name)

    @property
    def clock(self) -> str:
        return f"2025-03-{self.day:02d}T18:00:00Z"

    def quickly(self, *counts: int, **cells: str) -> None:
        """A run a count, by the plain gate, which judges the critical rules alone."""
        with quick_pipeline():
            for count in counts:
                self.deliver(count, **cells)
                self.results.append(self.clinic.run(self.clock))

    def judged(self, count: int) -> RunResult:
        """A run by the real gate."""
        self.deliver(count)
        return self.clinic.run(self.clock)


@pytest.fixture
def days(clinic: Clinic) -> Days:
    return Days(clinic)


def profile(result: RunResult) -> dict[str, dict[str, Any]]:
    """Scope → its row of the profile."""
    assert result.run is not None
    rows = pq.read_table(result.run.staging / "batch_profile.parquet").to_pylist()
    return {each["scope"]: each for each in rows}


def unusual(result: RunResult) -> list[tuple[str, float | None, bool]]:
    """The rule's results in the run's report: scope, observed, passed."""
    assert result.run is not None
    rules = read_json(result.run.record / "dq_report.json")["rules"]
    found = [each for each in rules if each["id"] == "unusual_row_count"]
    return [(each["scope"], each["observed"], each["passed"]) for each in found]


USUAL = (60, 6, 5, 7, 6, 6, 5, 7, 6)
"""The first load of a source, and eight increments."""


def test_far_more_rows_than_ever_is_a_warning_and_loads_and_plan_says_the_same(days: Days) -> None:
    days.quickly(*USUAL)
    assert [profile(each)["batch"]["row_count_deviation"] for each in days.results] == [None] * 9
    before = len(days.clinic.facts())
    days.deliver(40)
    settings = settings_from({"source": {"path": str(days.clinic.input)}}, "config.yaml")
    planned = plan_run(Layout.at(days.clinic.data_dir, None), settings, as_of=days.clock, options=Options())
    result = days.clinic.run(days.clock)
    # Six is the median of the increments, their median absolute deviation 0.5: the scale is one row.
    assert unusual(result) == [("batch", 34, False), ("delivery 000010", 34, False)]
    assert result.exit_code == 0 and len(days.clinic.facts()) == before + 40
    assert "unusual_row_count 34.0 (limit ≤ 6.0, batch)" in result.message
    assert planned.gate is not None and result.run is not None
    report = read_json(result.run.record / "dq_report.json")["rules"]
    assert [each.to_json() for each in planned.gate.rules] == report


def test_a_usual_number_and_a_drop(days: Days) -> None:
    days.quickly(600, *[100] * 8)
    assert unusual(days.judged(105)) == [("batch", 0.5, True)]
    fewer = days.judged(20)
    assert unusual(fewer) == [("batch", 8, False), ("delivery 000011", 8, False)] and fewer.exit_code == 0


def test_seven_increments_are_too_few(days: Days) -> None:
    days.quickly(*USUAL[:-1])
    assert unusual(days.judged(40)) == [("batch", None, True)]


def test_what_was_held_or_discarded_teaches_nothing(days: Days) -> None:
    days.quickly(*USUAL[:-1])
    days.quickly(*[500] * 3, visit_cost="?")
    assert days.clinic.statuses()[-3:] == ["held"] * 3
    assert unusual(days.judged(7)) == [("batch", None, True)]  # still seven
    assert unusual(days.judged(6)) == [("batch", 0, True)]
    assert unusual(days.judged(50)) != []


def test_several_deliveries_of_a_batch_are_judged_alone_and_together(days: Days) -> None:
    days.quickly(*USUAL)
    for name, count in (("a.csv", 1), ("b.csv", 6), ("c.csv", 20)):
        days.deliver(count, name)
    with quick_pipeline():
        result = days.clinic.run(days.clock, source=days.clinic.input.parent)
    deviations = {scope: each["row_count_deviation"] for scope, each in profile(result).items()}
    assert deviations == {
        "batch": 3, "delivery 000010": 5, "delivery 000011": 0, "delivery 000012": 14,
    }  # fmt: skip


def test_neither_a_full_refresh_nor_the_last_batch_again_is_judged(days: Days) -> None:
    days.quickly(*USUAL, 6)
    with quick_pipeline():
        refreshed, again = days.clinic.run(days.clock, full_refresh=True), days.clinic.run(days.clock)
    for result in (refreshed, again):
        assert {each["row_count_deviation"] for each in profile(result).values()} == {None}


def test_the_model_reckons_the_same_over_a_long_history() -> None:
    """With a first load, batches of two, one delivery that is held and one that a full refresh loads."""
    sizes, history = Random(5), list[Step]()
    for day in range(1, 19):
        for name in ("a.csv", "b.csv")[: 1 + (day % 5 == 0)]:
            cells = {"visit_cost": "?"} if day == 7 else {}
            stamp = f"2025-03-{day:02d}T12:00:00Z"
            rows = [row(f"{day}{name}{number}", last_updated=stamp, **cells) for number in range(sizes.randint(3, 9))]
            history.append(Deliver(name, tuple(rows)))
        history.append(Run(datetime(2025, 3, day, 18, tzinfo=UTC), full_refresh=day == 4))
    with new_pair() as pair:
        judged = []
        for _, result, expected in pair.play(history):
            pair.same_run(result, expected)
            judged.append(expected.counts.row_count_deviation)
    assert [each is None for each in judged] == [*[True] * 10, *[False] * 8] and max(each or 0 for each in judged) > 1


# --- history --rules


def told(data_dir: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["history", *words, "--data-dir", str(data_dir)], catch_exceptions=False)
    assert done.exit_code == 0
    return str(done.stdout)


def lines_of(text: str, word: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip().startswith(word)]


def test_history_tells_every_rule_and_one_rule_by_run(clinic: Clinic) -> None:
    good = [row(f"V{number}") for number in range(20)]
    with quick_pipeline():
        clinic.deliver(good)
        first = clinic.run()
        clinic.deliver([*good, *(row(f"B{number}", visit_cost="?") for number in range(5))])
        held = clinic.run("2025-03-02T01:00:00Z")
        accepted = clinic.run("2025-03-02T02:00:00Z", accept=("refused_share",))
        clinic.config["gate"] = {"max_refused_share": 0.25}
        again = clinic.run("2025-03-02T03:00:00Z")
    assert [each.exit_code for each in (first, held, accepted, again)] == [0, 4, 0, 0]
    every = told(clinic.data_dir, "--rules")
    assert every.splitlines()[0].startswith("clinic: 4 runs judged, 000001-")
    [line] = lines_of(every, "refused_share")
    assert line == ["refused_share", "critical", "4", "2", "1", "0.00", "%", "≤", "25.00", "%", "▁██▁"]
    assert lines_of(every, "zero_row_load")[0][2:5] == ["3", "0", "0"]
    assert lines_of(every, "zero_row_load")[0][-1] == "▁▁▁"
    one = told(clinic.data_dir, "--rules", "refused_share")
    by_run = [line[2:-2] + line[-1:] for line in lines_of(one, "0000")]
    assert by_run == [
        ["0.00", "%", "≤", "5.00", "%", "yes", "batch", "▁"],
        ["20.00", "%", "≤", "5.00", "%", "NO", "batch", "█"],
        ["20.00", "%", "≤", "5.00", "%", "by", "override", "batch", "█"],
        ["0.00", "%", "≤", "25.00", "%", "yes", "batch", "▁"],
    ]
    assert [line[-2] for line in lines_of(one, "0000")][1] == "held"
    assert one.splitlines()[-1] == "4 runs judged by it; it failed in 2, accepted in 1 of them"
    newest = told(clinic.data_dir, "--rules", "refused_share", "--limit", "2")
    assert [line[0][:6] for line in lines_of(newest, "0000")] == ["000003", "000004"]
    assert lines_of(told(clinic.data_dir, "--rules", "--limit", "2"), "refused_share")[0][-1] == "█▁"


def test_sources_of_one_data_folder_are_told_apart(clinic: Clinic) -> None:
    with quick_pipeline():
        for name in ("north", "south"):
            clinic.config = {"source": {"name": name}}
            clinic.deliver([row("V1")])
            assert clinic.run().exit_code == 0
    said = told(clinic.data_dir, "--rules")
    heads = [line.split(", ")[0] for line in said.splitlines() if " judged, " in line]
    assert heads == ["north: 1 run judged", "south: 1 run judged"]
    assert len(rule_history(newest_records(Layout.at(clinic.data_dir, None)), "north")[0].points) == 1


def test_an_unknown_rule_is_told_with_those_there_are(clinic: Clinic) -> None:
    with quick_pipeline():
        clinic.deliver([row("V1")])
        clinic.run()
    for words, message in ((["--rules", "refused"], "rules are zero_row_load, "), (["refused"], "goes with --rules")):
        done = CliRunner().invoke(app, ["history", *words, "--data-dir", str(clinic.data_dir)])
        assert isinstance(done.exception, UsageError) and message in str(done.exception)
        assert "\n" not in str(done.exception) and done.stdout == ""


def test_before_any_run_there_is_nothing_to_tell(clinic: Clinic) -> None:
    assert told(clinic.data_dir, "--rules").startswith("no run yet")
