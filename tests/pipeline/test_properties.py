"""Random histories through the pipeline's stages, beside the independent model, compared row for row after every run.

One run is the notebooks' own calls in this process, on a real warehouse. Great Expectations would take most of its time:
here a plain gate judges the same four rules about what was delivered. The real suites are tested in tests/expectations,
and at work in test_history.py. PROPERTY_EXAMPLES sets how many histories the master property tries; it is derandomised,
so that two runs of the suite try the same ones, unless PROPERTY_SEEK is set.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.histories import Deliver, Run, Step, histories, text_of
from tests.model import Change, Metrics, Model, Result
from tests.model_rows import COLUMNS, Version
from tests.pipeline.clinic import Clinic, RunResult
from tests.pipeline.plain_gate import plain_gate

from lib import stage, validate
from lib.clock import instant_text, parse_instant
from lib.files import read_json

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "40"))
STAMPLESS = {name: None if name == "last_updated" else name for name in COLUMNS}
NAMES = {name: name for name in COLUMNS}
END = datetime(2026, 3, 1, tzinfo=UTC)
COUNTS = (
    "rows_read", "outside_held", "outside_missed", "outside_invalid", "refused", "known_refused", "newly_refused",
    "newly_missing", "newly_invalid_visit_date", "superseded", "staged", "inserted", "updated", "unchanged", "null_cost",
    "same_stamp_changes",
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
    with tempfile.TemporaryDirectory() as folder:
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
            from tests.histories import to_csv

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
    """The master property's first half: tables, counts, changes, quarantine and state after every run."""
    model = Model(names=NAMES if stamped else STAMPLESS)
    with new_clinic(stamped) as clinic:
        missed = 0
        for _, result, expected in play_both(history, clinic, model):
            conserves(result)
            same_run(clinic, result, expected)
            same_tables(clinic, model)
            missed += expected.counts.outside_missed
            copy = read_json(clinic.data_dir / "state" / "state.json") if expected.passed else None
            assert copy is None or copy.get("watermark_last_updated") == (
                model.watermark and model.watermark.isoformat()
            )
