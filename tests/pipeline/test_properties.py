"""Random histories through the pipeline's stages, beside the independent model, compared row for row after every run.

One run is the notebooks' own calls in this process, on a real warehouse. Great Expectations would take most of its
time: here a plain gate judges the same four rules about what was delivered. The real suites are tested in
tests/expectations, and at work in test_history.py. PROPERTY_EXAMPLES sets how many histories the master property tries,
the same ones in every run of the suite; with PROPERTY_SEEK set, new ones.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import stage, validate
from lib.clock import instant_text, parse_instant, short_instant
from lib.files import read_json
from tests.histories import BASE, HOUR, Deliver, Item, Run, Step, histories, items, text_of, to_csv
from tests.model import Change, Metrics, Model, Result
from tests.model_rows import COLUMNS, Version
from tests.pipeline.clinic import Clinic, RunResult
from tests.pipeline.plain_gate import plain_gate

MEMORY = Path("/dev/shm")
"""Where a run's many small synced files cost nothing; elsewhere the usual temporary folder."""
EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "30"))
STAMPLESS = {name: None if name == "last_updated" else name for name in COLUMNS}
NAMES = {name: name for name in COLUMNS}
END = datetime(2026, 3, 1, tzinfo=UTC)
LATE = BASE + 6 * HOUR
ANY_SHARE = {"max_missing_share": 1.0, "max_invalid_visit_date_share": 1.0, "max_refused_share": 1.0}
"""A gate that holds nothing but deliveries without any row."""
GOOD: tuple[Item, ...] = (
    {"visit_id": "good", "patient_id": "p", "visit_date": "2025-12-01", "last_updated": "2025-12-06T12:00:00Z"},
)
COUNTS = (
    "rows_read", "outside_held", "outside_missed", "outside_invalid", "refused", "known_refused", "newly_refused",
    "newly_missing", "newly_invalid_visit_date", "superseded", "staged", "inserted", "updated", "unchanged",
    "null_cost", "same_stamp_changes",
)  # fmt: skip
METRICS = ("visit_count", "patient_count", "total_visit_cost_cents", "avg_visit_cost_cents", "missing_cost_count")
EFFECTS = ("visits_inserted", "visits_corrected", "visits_moved_in", "visits_moved_out", "visits_removed")


def examples(share: float = 1.0) -> Callable[[Any], Any]:
    """Hypothesis's profile here: no deadline, no database, the same examples every time."""
    return settings(
        max_examples=max(int(EXAMPLES * share), 1),
        derandomize="PROPERTY_SEEK" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@pytest.fixture(autouse=True)
def plainly_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    constants = ("code_hashes", "git_state", "packages")  # they tell who ran what, and cost half of what remains
    for name in constants:
        monkeypatch.setattr(f"lib.provenance.{name}", dict)


@contextmanager
def new_clinic(stamped: bool = True, lookback_hours: float = 24, **gate: float) -> Iterator[Clinic]:
    config: dict[str, Any] = {"engine": {"threads": 1}, "window": {"lookback_hours": lookback_hours}}
    if gate:
        config["gate"] = gate
    if not stamped:
        config |= {"columns": {"last_updated": None}, "source": {"deliveries": "full"}}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Clinic(Path(folder), config)


def run_folder(clinic: Clinic, step: Run) -> RunResult:
    return clinic.run(
        instant_text(step.as_of), source=clinic.input.parent, full_refresh=step.full_refresh, accept=step.accept
    )


def deliver(clinic: Clinic, step: Deliver, stamped: bool = True) -> None:
    clinic.deliver(text_of(step, NAMES if stamped else STAMPLESS), step.path)


# What the tables hold, in the model's words and in SQL's


def fact_row(fact: Version) -> tuple[Any, ...]:
    return (
        fact.source, fact.visit_id, fact.patient_id, fact.provider_id, fact.diagnosis_code, fact.visit_date.isoformat(),
        fact.visit_cost_cents, instant_text(fact.last_updated), fact.row_hash, *fact.at,
    )  # fmt: skip


def facts(clinic: Clinic) -> list[tuple[Any, ...]]:
    return clinic.query(
        "SELECT source, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, last_updated,"
        " row_hash, delivery_seq, source_line FROM fact_visits ORDER BY source, visit_id"
    )


def daily(clinic: Clinic) -> list[tuple[Any, ...]]:
    return clinic.query(f"SELECT visit_date, {', '.join(METRICS)} FROM daily_visit_metrics ORDER BY visit_date")


def grouped(clinic: Clinic) -> list[tuple[Any, ...]]:
    """The facts' own GROUP BY; the average by another route than the pipeline's, through exact decimal text."""
    return clinic.query(
        "SELECT visit_date, count(*), count(DISTINCT patient_id), total(visit_cost_cents),"
        " CAST(sum(visit_cost_cents) * 1.0 / count(visit_cost_cents) + 0.5 AS INTEGER), sum(visit_cost_cents IS NULL)"
        " FROM fact_visits GROUP BY visit_date ORDER BY visit_date"
    )


def changes(clinic: Clinic, run_id: str) -> list[tuple[Any, ...]]:
    sides = ", ".join(f"{name}_{side}" for side in ("before", "after") for name in METRICS)
    return clinic.query(
        f"SELECT visit_date, {sides}, {', '.join(EFFECTS)} FROM metric_changes WHERE run_id = ? ORDER BY visit_date",
        run_id,
    )


def metrics_row(metrics: Metrics | None) -> tuple[Any, ...]:
    return tuple(getattr(metrics, name) for name in METRICS) if metrics else (None,) * len(METRICS)


def change_row(change: Change) -> tuple[Any, ...]:
    effects = change.inserted, change.corrected, change.moved_in, change.moved_out, 0
    return (*metrics_row(change.before), *metrics_row(change.after), *effects)


def quarantine(clinic: Clinic) -> dict[tuple[int, int], tuple[str, str]]:
    """Where a refused row stood → its reasons and its entry's status."""
    rows = clinic.query(
        "SELECT r.delivery_seq, r.source_line, q.reasons, q.status FROM quarantine_rows AS r JOIN quarantine AS q"
        " USING (identity, source)"
    )
    return {(seq, line): (reasons, status) for seq, line, reasons, status in rows}


def watermark(clinic: Clinic) -> datetime | None:
    found = clinic.query("SELECT watermark_last_updated FROM state")
    return parse_instant(found[0][0]) if found and found[0][0] else None


def profile(result: RunResult) -> dict[int, dict[str, int]]:
    """Delivery (0: the batch) → its counts."""
    assert result.run is not None
    rows = stage.read_profile(result.run).to_dict("records")
    return {0 if row["is_batch"] else row["delivery_seq"]: {name: row[name] for name in COUNTS} for row in rows}


def same_tables(clinic: Clinic, model: Model) -> None:
    assert facts(clinic) == [fact_row(fact) for _, fact in sorted(model.facts.items())]
    assert daily(clinic) == [(day.isoformat(), *metrics_row(each)) for day, each in model.daily().items()]
    assert daily(clinic) == grouped(clinic)
    assert watermark(clinic) == model.watermark
    assert clinic.statuses() == [each.status for each in model.deliveries.values()]
    assert quarantine(clinic) == {
        at: (" ".join(entry.reasons), "open" if entry.is_open else "superseded")
        for at, entry in ((at, model.entries[each.identity]) for at, each in model.quarantine.items())
    }


def same_run(clinic: Clinic, result: RunResult, expected: Result) -> None:
    assert result.exit_code == (0 if expected.passed else 4), result.message
    assert result.run is not None
    assert result.run.window.cutoff == expected.cutoff
    counted = {0: expected.counts, **expected.by_delivery}
    assert profile(result) == {scope: {name: getattr(each, name) for name in COUNTS} for scope, each in counted.items()}
    assert result.reasons == dict(expected.counts.reasons)
    needs = expected.counts.missed_needs
    assert result.run.manifest["missed_needs_hours"] == (needs and pytest.approx(needs.total_seconds() / 3600))
    assert result.failed_rules == set(expected.failures)
    assert changes(clinic, result.run.run_id) == [
        (day.isoformat(), *change_row(each)) for day, each in expected.changes.items()
    ]


def conserves(result: RunResult) -> None:
    for counts in profile(result).values():
        outside = counts["outside_held"] + counts["outside_missed"] + counts["outside_invalid"]
        assert counts["rows_read"] == outside + counts["refused"] + counts["superseded"] + counts["staged"]
        assert counts["staged"] == counts["inserted"] + counts["updated"] + counts["unchanged"]


def play_both(history: Iterable[Step], clinic: Clinic, model: Model) -> Iterator[tuple[Run, RunResult, Result]]:
    """Each run of the history, through the pipeline and through the model."""
    folder = {}
    for step in history:
        if isinstance(step, Deliver):
            deliver(clinic, step, model.stamped)
            folder[step.path] = to_csv(step.items, model.names)
            continue
        model.take(folder, step.as_of)
        if not model.batch(step.full_refresh, step.accept):
            before = clinic.tables() if clinic.warehouse.exists() else {}
            assert run_folder(clinic, step).exit_code in (2, 3)
            assert not before or clinic.tables() == before
            continue
        expected = model.run(step.as_of, full_refresh=step.full_refresh, accept=step.accept)
        yield step, run_folder(clinic, step), expected


# Properties


@given(history=histories(), stamped=st.sampled_from((True, True, True, False)))
@examples()
def test_every_run_is_what_the_model_says(history: list[Step], stamped: bool) -> None:
    """Tables, counts, reasons, changes, quarantine, statuses and state, after every run."""
    model = Model(names=NAMES if stamped else STAMPLESS)
    with new_clinic(stamped) as clinic:
        for _, result, expected in play_both(history, clinic, model):
            conserves(result)
            same_run(clinic, result, expected)
            same_tables(clinic, model)
            copied = read_json(clinic.data_dir / "state" / "state.json") if expected.passed else {}
            assert not expected.passed or copied["watermark_last_updated"] == instant(model.watermark)


@given(history=histories(max_deliveries=5, refreshes=False), lookback_hours=st.sampled_from((24, 87_000)))
@examples(0.4)
def test_increments_are_as_one_full_refresh(history: list[Step], lookback_hours: float) -> None:
    """The master property: row for row, hash, lineage and all; but for rows missed, and for those as the model says."""
    model = Model(lookback_hours=lookback_hours, max_share=Fraction(1))
    with new_clinic(lookback_hours=lookback_hours, **ANY_SHARE) as clinic:
        missed = 0
        for _, _, expected in play_both([*history, Run(END)], clinic, model):  # the last takes what still waits
            missed += expected.counts.outside_missed
        before = facts(clinic), daily(clinic), watermark(clinic), set(quarantine(clinic))
        for _, result, expected in play_both([Run(END, full_refresh=True)], clinic, model):
            same_run(clinic, result, expected)
            same_tables(clinic, model)
        if lookback_hours > 24:
            assert missed == 0
        if not missed and clinic.data_dir.exists():
            assert (facts(clinic), daily(clinic), watermark(clinic), set(quarantine(clinic))) == before


@given(history=histories(max_deliveries=3), last=st.data(), stamped=st.booleans())
@examples(0.3)
def test_what_was_loaded_changes_nothing_when_it_comes_again(
    history: list[Step], last: st.DataObject, stamped: bool
) -> None:
    """Run again: no row changes, lineage neither. The newest delivery's bytes again, by another name: no value does."""
    rows = tuple(last.draw(st.lists(items([]), min_size=1, max_size=6)))
    with new_clinic(stamped, **ANY_SHARE) as clinic:
        for step in [*history, Deliver("x.csv", rows), Run(END)]:
            if isinstance(step, Deliver):
                deliver(clinic, step, stamped)
            else:
                run_folder(clinic, step)
        before = clinic.tables()
        again = run_folder(clinic, Run(END))
        after = clinic.tables()
        if again.run is not None and again.run.manifest["batch"]["kind"] == "repeat":
            assert (again.exit_code, again.counts["inserted"], again.counts["updated"]) == (0, 0, 0)
            assert again.counts["newly_refused"] == 0
        assert {**after, "state": None} == {**before, "state": None}
        deliver(clinic, Deliver("y.csv", rows), stamped)
        run_folder(clinic, Run(END))
        assert [each[:9] for each in facts(clinic)] == [tuple(each) for each in values(before["fact_visits"])]
        assert daily(clinic) == grouped(clinic)
        for name in ("daily_visit_metrics", "metric_changes"):
            assert clinic.tables()[name] == before[name]


@given(rows=st.data(), seed=st.randoms(use_true_random=False))
@examples(0.3)
def test_the_order_of_rows_does_not_matter_where_stamps_differ(rows: st.DataObject, seed: Any) -> None:
    """Rows of distinct stamps a visit, shuffled within their delivery: the same visits, but for their lines."""
    drawn = rows.draw(st.lists(items([], broken=False), min_size=2, max_size=10))
    by_stamp = {(each["visit_id"].strip(), instant_of(each)): each for each in drawn if isinstance(each, dict)}
    distinct = list(by_stamp.values())
    shuffled = seed.sample(distinct, len(distinct))
    found = []
    for order in (distinct, shuffled):
        with new_clinic(**ANY_SHARE) as clinic:
            result = play(clinic, Deliver("1.csv", tuple(order)), Run(LATE))
            found.append((result.exit_code, [each[:9] for each in facts(clinic)], daily(clinic), watermark(clinic)))
    assert found[0] == found[1]


@given(rows=st.data(), stamped=st.booleans())
@examples(0.3)
def test_two_deliveries_together_are_as_one_after_the_other(rows: st.DataObject, stamped: bool) -> None:
    """A and B in one run, and A then B: the same tables, lineage and quarantine too."""
    earlier: list[dict[str, str]] = []
    a, b = (tuple(rows.draw(st.lists(items(earlier), max_size=6))) + GOOD for _ in "ab")
    with new_clinic(stamped, 87_000, **ANY_SHARE) as apart, new_clinic(stamped, 87_000, **ANY_SHARE) as together:
        one, two = Deliver("1.csv", a), Deliver("2.csv", b)
        assert play(apart, one, Run(LATE), two, Run(LATE), stamped=stamped).exit_code == 0
        assert play(together, one, two, Run(LATE), stamped=stamped).exit_code == 0
        tables = [(facts(each), daily(each), watermark(each), quarantine(each)) for each in (apart, together)]
    assert tables[0] == tables[1]


def play(clinic: Clinic, *steps: Step, stamped: bool = True) -> RunResult:
    """The last run's result."""
    result = None
    for step in steps:
        if isinstance(step, Deliver):
            deliver(clinic, step, stamped)
        else:
            result = run_folder(clinic, step)
    assert result is not None
    return result


def values(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """fact_visits as SELECT * gives it, without the generated cost and the lineage."""
    return [(*each[:7], *each[8:10]) for each in rows]


def instant(value: datetime | None) -> str | None:
    return value and short_instant(value)


def instant_of(cells: dict[str, str]) -> datetime | None:
    return Model().read_stamp(cells["last_updated"])
