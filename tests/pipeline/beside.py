"""A clinic beside the model: one history through both, and everything compared row for row after every run.

A run is the notebooks' own calls in this process, on a real warehouse. Great Expectations would take most of its time:
here a plain gate judges the same four rules about what was delivered. One engine serves all runs, emptied after each
use; opening a new one would take a quarter of the time.
"""

from __future__ import annotations

import atexit
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow.parquet as pq
import pytest

from lib import commit, extract, load, pipeline, sql, validate, warehouse
from lib.clock import instant_text, parse_instant, short_instant
from lib.config import Engine, Settings
from lib.content import differing_parts
from lib.decisions import discard_delivery, reinstate_delivery
from lib.engines.duckdb import open_database
from lib.files import read_json
from lib.layout import Layout
from lib.quarantine import waive_entries
from lib.run import Options
from lib.verify import value_counts_that_differ
from lib.warehouse import reading
from tests.histories import (
    BASE,
    Decide,
    Deliver,
    Dies,
    Run,
    Step,
    Waive,
    decide,
    ends,
    survives,
    text_of,
    to_csv,
    waive,
)
from tests.model import Model, Result
from tests.model_rows import COLUMNS, Line, Row, Version
from tests.model_tables import Change, Metrics
from tests.pipeline.clinic import Clinic, RunResult
from tests.pipeline.plain_gate import plain_gate

MEMORY = Path("/dev/shm")
"""Where a run's many small synced files cost nothing; elsewhere the usual temporary folder."""
STAMPLESS = {name: None if name == "last_updated" else name for name in COLUMNS}
NAMES = {name: name for name in COLUMNS}
ANY_SHARE = {"max_missing_share": 1.0, "max_invalid_visit_date_share": 1.0, "max_refused_share": 1.0}
"""A gate that holds nothing but deliveries without any row."""
END = datetime(2026, 3, 1, tzinfo=UTC)
COUNTS = (
    "rows_read", "outside_held", "outside_missed", "outside_invalid", "refused", "known_refused", "newly_refused",
    "newly_missing", "newly_invalid_visit_date", "superseded", "staged", "inserted", "updated", "unchanged",
    "null_cost", "same_stamp_changes",
)  # fmt: skip
USUAL = ("expected_rows", "row_count_deviation")
OF_VISITS = ("absent_visits", "visits_deleted", "visits_restored")
METRICS = ("visit_count", "patient_count", "total_visit_cost_cents", "avg_visit_cost_cents", "missing_cost_count")
EFFECTS = ("inserted", "late", "corrected", "moved_in", "moved_out", "removed", "deleted", "restored")
FACT = (
    "source", "visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost_cents",
    "last_updated", "row_hash", "delivery_seq", "source_line", "deleted_at", "deleted_seq",
)  # fmt: skip


class Died(BaseException):
    """A run's death: no `except` of the pipeline's holds it."""


@dataclass(frozen=True)
class Source:
    """What kind of source a history is of."""

    stamped: bool = True
    full: bool = False
    marks_deletes: bool = False
    lookback_hours: float = 24
    any_share: bool = False

    def model(self) -> Model:
        return Model(
            names=NAMES if self.stamped else STAMPLESS,
            full=self.full,
            marks_deletes=self.marks_deletes,
            lookback_hours=self.lookback_hours,
            max_share=Fraction(1) if self.any_share else Fraction(5, 100),
        )

    def config(self) -> dict[str, Any]:
        deliveries = {"deliveries": "full"} if self.full else {}
        deletes = {"deletes": "mark"} if self.marks_deletes else {}
        return {
            "engine": {"threads": 1},
            "window": {"lookback_hours": self.lookback_hours},
            "source": {**deliveries, **deletes},
            "columns": {} if self.stamped else {"last_updated": None},
            "gate": ANY_SHARE if self.any_share else {},
        }


INCREMENTS = Source()
STAMPLESS_FULL = Source(stamped=False, full=True)


@contextmanager
def quick_pipeline() -> Iterator[None]:
    """The pipeline with a plain gate, one engine for all, and without pages and what only tells who ran which code."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(validate, "evaluate_gate", plain_gate))
        for name in ("code_hashes", "git_state", "packages"):
            patches.enter_context(patch(f"lib.provenance.{name}", dict))
        patches.enter_context(patch.object(pipeline, "_make_pages"))
        patches.enter_context(patch("lib.quarantine.now", lambda: BASE - timedelta(days=5)))  # a waiver ends later
        for module in ("engines.duckdb", "warehouses.sqlite_arrow"):
            patches.enter_context(patch(f"lib.{module}.open_database", _one_database))
        yield


@cache
def _database() -> duckdb.DuckDBPyConnection:
    opened = ExitStack()
    atexit.register(_database.cache_clear)
    atexit.register(opened.close)
    return opened.enter_context(open_database(Engine(threads=1), MEMORY))


@contextmanager
def _one_database(settings: Engine, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = _database()
    try:
        yield connection
    finally:
        for kind in ("view", "table"):
            made = f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE NOT internal"
            for (name,) in connection.execute(made).fetchall():
                connection.execute(f'DROP {kind} IF EXISTS "{name}"')


@contextmanager
def dying(dies: Dies | None) -> Iterator[None]:
    """The pipeline dies where the history says, if it comes there."""

    def die(*_: Any, **__: Any) -> Any:
        raise Died

    def die_at_step(name: str, *words: Any, **pieces: Any) -> str:
        if name == doomed:
            raise Died
        return statement(name, *words, **pieces)

    @contextmanager
    def die_before_commit(connection: Any) -> Iterator[None]:
        with transaction(connection):
            yield
            if doomed is None:
                raise Died

    def die_committed(*words: Any, **named: Any) -> Any:
        commit_load(*words, **named)
        raise Died

    if dies is None:
        yield
        return
    steps = [*(f"warehouse/load/{step}" for step in commit.STEPS), None]
    doomed = steps[dies.step % len(steps)]
    statement, transaction, commit_load = sql.statement, warehouse.transaction, commit.commit_load
    with ExitStack() as patches:
        if dies.at == "taken":
            patches.enter_context(patch.object(extract, "choose_run_batch", die))
        elif dies.at == "staged":
            patches.enter_context(patch.object(validate, "judge_batch", die))
        elif dies.at == "commit":
            patches.enter_context(patch.object(commit, "statement", die_at_step))
            patches.enter_context(patch.object(commit, "transaction", die_before_commit))
        else:
            patches.enter_context(patch.object(load, "commit_load", die_committed))
        yield


@dataclass
class Pair:
    """A clinic and a model that go through the same history."""

    clinic: Clinic
    model: Model
    folder: dict[str, tuple[str, list[Row]]] = field(default_factory=dict)
    fates: Counter[str] = field(default_factory=Counter)
    """Rows that were outside the window, and those of them that were missed, over all loads so far."""

    @property
    def layout(self) -> Layout:
        return self.clinic.layout

    def play(self, history: Iterable[Step]) -> Iterator[tuple[Run, RunResult, Result]]:
        """Each run of the history that ends, through the pipeline and through the model; those that die are compared
        here: the old tables or the new, healed by what the next run does first."""
        for step in history:
            if isinstance(step, Deliver):
                self.clinic.deliver(text_of(step, self.model.names), step.path)
                self.folder[step.path] = to_csv(step.items, self.model.names)
            elif isinstance(step, Decide):
                self._decide(step)
            elif isinstance(step, Waive):
                self._waive(step)
            else:
                yield from self._run(step)

    def last_runs(self) -> Iterator[Run]:
        """A run, and others while it held only some of what waited."""
        yield Run(END)
        while any(each.status == "pending" for each in self.model.deliveries.values()):
            yield Run(END)

    def _decide(self, step: Decide) -> None:
        sequence = decide(step, self.model)
        if sequence is not None:
            act = discard_delivery if step.word == "discard" else reinstate_delivery
            act(self.layout, self.model.source, sequence, "a test")

    def _waive(self, step: Waive) -> None:
        first = waive(step, self.model)
        if first is not None:
            place = f"{first[0]}:{first[1]}"
            waive_entries(self.layout, self.model.source, [place], "a test", step.until.isoformat())

    def _run(self, step: Run) -> Iterator[tuple[Run, RunResult, Result]]:
        before = self.clinic.tables() if self.clinic.warehouse.exists() else None
        self.model.take(self.folder, step.as_of)
        if not self.model.batch(step.full_refresh, step.accept):
            assert self.run_clinic(replace(step, dies=None)).exit_code in (2, 3)
            same("tables before", before and self.clinic.tables(), before)
            return
        would_be = deepcopy(self.model)
        expected = would_be.run(step.as_of, full_refresh=step.full_refresh, accept=step.accept)
        if survives(step, expected):
            self.model.__dict__.update(would_be.__dict__)
            counts = expected.counts
            self.fates["missed"] += counts.outside_missed
            self.fates["outside"] += counts.outside_missed + counts.outside_held + counts.outside_invalid
        if ends(step, expected):
            yield step, self.run_clinic(step), expected
        else:
            self._die(step, expected, before)

    def _die(self, step: Run, expected: Result, before: dict[str, Any] | None) -> None:
        with pytest.raises(Died):
            self.run_clinic(step)
        survived = survives(step, expected)
        if not survived and before is not None:
            same("tables before", self.clinic.tables(), before)
        self.same_tables()
        self.heal()
        self.same_tables()
        run_id = self.layout.run_ids()[-1]
        manifest = read_json(self.layout.record(run_id) / "manifest.json")
        ended = manifest["outcome"], manifest["recovered"]
        same("record of the dead run", ended, ("loaded" if survived else "killed", True))
        same("metric_changes", changes(self.clinic, run_id), changes_of(expected if survived else None))
        same("lateness", lateness(self.clinic, run_id), lateness_of(expected if survived else None))
        if survived or before is not None:
            self.same_copy()

    def run_clinic(self, step: Run) -> RunResult:
        """The run in the pipeline, alone; Died when it dies."""
        with dying(step.dies):
            return self.clinic.run(
                instant_text(step.as_of),
                source=self.clinic.input.parent,
                full_refresh=step.full_refresh,
                accept=step.accept,
            )

    def heal(self) -> None:
        """What every run does first."""
        pipeline._prepare(self.layout, Settings(), Options(), _Silent())

    # Comparisons

    def same_run(self, result: RunResult, expected: Result) -> None:
        """Exit code, window, counts of every scope, reasons, what failed, changes and lateness."""
        same("exit code", (result.exit_code, result.message), (0 if expected.passed else 4, result.message))
        assert result.run is not None
        same("cutoff", result.run.window.cutoff, expected.cutoff)
        counted = {0: expected.counts, **expected.by_delivery}
        found = profile(result)
        same("scopes", found.keys(), counted.keys())
        for scope, each in counted.items():
            names = (*COUNTS, *OF_VISITS) if scope == 0 else COUNTS
            same(f"counts of {scope or 'the batch'}", picked(found[scope], names), picked(vars(each), names))
            far = each.row_count_deviation
            usual = dict(zip(USUAL, (each.expected_rows, far and pytest.approx(float(far))), strict=True))
            same(f"usual rows of {scope or 'the batch'}", picked(found[scope], USUAL), usual)
        conserves(found)
        same("reasons", result.reasons, dict(expected.counts.reasons))
        needs = expected.counts.missed_needs
        same(
            "lookback needed",
            result.run.manifest["missed_needs_hours"],
            needs and pytest.approx(needs.total_seconds() / 3600),
        )
        same("failed rules", result.failed_rules, expected.held_for)
        loaded = expected if expected.passed else None
        same("metric_changes", changes(self.clinic, result.run.run_id), changes_of(loaded))
        same("lateness", lateness(self.clinic, result.run.run_id), lateness_of(loaded))
        if expected.passed:
            self.same_copy()

    def same_tables(self) -> None:
        """Facts with lineage and deletes, metrics, watermark, standings, quarantine."""
        model, clinic = self.model, self.clinic
        visits = [fact_row(fact, model.deleted.get(key)) for key, fact in sorted(model.facts.items())]
        same("fact_visits", facts(clinic), visits)
        same("daily", daily(clinic), [(day.isoformat(), *metrics_row(each)) for day, each in model.daily().items()])
        same("daily as GROUP BY", daily(clinic), grouped(clinic))
        same("watermark", watermark(clinic), model.watermark)
        same("statuses", clinic.statuses(), [each.status for each in model.deliveries.values()])
        entries = {at: model.entries[each.identity] for at, each in model.quarantine.items()}
        words = {at: (" ".join(each.reasons), each.status) for at, each in entries.items()}
        same("quarantine", quarantine(clinic), words)
        same("links of closed entries", [at for at, link in links(clinic).items() if link not in self._answers(at)], [])
        with reading(self.layout) as connection:
            same("content hashes that are not the rows'", dict(differing_parts(connection)), {})
            same("counts of values that are not the facts'", value_counts_that_differ(connection), 0)

    def _answers(self, at: Line) -> set[Line]:
        """The versions that may have closed the entry of a refused row."""
        entry = self.model.entries[self.model.quarantine[at].identity]
        return {version.at for version in self.model.loaded.values() if entry.is_answered_by(version)}

    def same_copy(self) -> None:
        """state.json says what the warehouse says."""
        copy = read_json(self.layout.state_file)
        mark = self.model.watermark
        same("state.json", copy.get("watermark_last_updated"), mark and short_instant(mark))


class _Silent:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@contextmanager
def new_pair(source: Source = INCREMENTS, kind: str = "sqlite") -> Iterator[Pair]:
    with quick_pipeline(), tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Pair(Clinic(Path(folder), source.config(), kind), source.model())


def check_history(source: Source, history: Iterable[Step], kind: str = "sqlite") -> None:
    """AssertionError unless every run of the history, and of those that take what still waits, is what the model says.

    And unless the master property holds: a full refresh gives the same visits, present or deleted, where nothing was
    missed; and the same lineage and quarantine, where nothing was even outside the window.
    """
    with new_pair(source, kind) as pair:
        for _, result, expected in pair.play(chain(history, pair.last_runs())):
            pair.same_run(result, expected)
            pair.same_tables()
        if not pair.clinic.warehouse.exists():
            return
        fates, visits, published = dict(pair.fates), states(pair.clinic), daily(pair.clinic)
        whole = rows_read(pair.clinic)
        for _, result, expected in pair.play([Run(END, full_refresh=True)]):
            pair.same_run(result, expected)
            pair.same_tables()
        if not fates.get("missed"):
            same("visits after a full refresh", states(pair.clinic), visits)
            same("metrics after a full refresh", daily(pair.clinic), published)
        if not fates.get("outside"):
            same("lineage and quarantine after a full refresh", rows_read(pair.clinic), whole)


def same(what: str, found: Any, expected: Any) -> None:
    """AssertionError that names what differs, and how."""
    if found == expected:
        return
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [key for key in found.keys() | expected.keys() if found.get(key, "none") != expected.get(key, "none")]
        found, expected = picked(found, keys), picked(expected, keys)
    elif isinstance(found, list) and isinstance(expected, list):
        shared = [each for each in found if each in expected]
        found, expected = ([each for each in rows if each not in shared] for rows in (found, expected))
    raise AssertionError(f"{what} differs: the pipeline has {found}, the model {expected}")


def picked(found: Mapping[Any, Any], names: Iterable[Any]) -> dict[Any, Any]:
    return {name: found[name] for name in names if name in found}


# What the tables hold, in the model's words and in SQL's


def fact_row(fact: Version, deleted: tuple[datetime, int] | None = None) -> tuple[Any, ...]:
    return (
        fact.source, fact.visit_id, fact.patient_id, fact.provider_id, fact.diagnosis_code, fact.visit_date.isoformat(),
        fact.visit_cost_cents, instant_text(fact.last_updated), fact.row_hash, *fact.at,
        *((instant_text(deleted[0]), deleted[1]) if deleted else (None, None)),
    )  # fmt: skip


def facts(clinic: Clinic) -> list[tuple[Any, ...]]:
    return clinic.query(f"SELECT {', '.join(FACT)} FROM fact_visits ORDER BY source, visit_id")


def rows_read(clinic: Clinic) -> list[Any]:
    """Which row each visit is of, and which rows were refused."""
    return [*facts(clinic), *sorted(quarantine(clinic))]


def states(clinic: Clinic) -> list[tuple[Any, ...]]:
    """Each visit's values, and whether and since when it is deleted."""
    return clinic.query(
        "SELECT source, visit_id, row_hash, deleted_at, deleted_seq FROM fact_visits ORDER BY source, visit_id"
    )


def daily(clinic: Clinic) -> list[tuple[Any, ...]]:
    return clinic.query(f"SELECT visit_date, {', '.join(METRICS)} FROM daily_visit_metrics ORDER BY visit_date")


def grouped(clinic: Clinic) -> list[tuple[Any, ...]]:
    """The facts' own GROUP BY; the average by another route than the pipeline's, through fractions."""
    rows = clinic.query(
        "SELECT visit_date, count(*), count(DISTINCT patient_id), sum(visit_cost_cents), count(visit_cost_cents)"
        " FROM fact_visits WHERE deleted_at IS NULL GROUP BY visit_date ORDER BY visit_date"
    )
    return [
        (
            day,
            visits,
            patients,
            cents or 0,
            int(Fraction(cents, known) + Fraction(1, 2)) if known else None,
            visits - known,
        )
        for day, visits, patients, cents, known in rows
    ]


def changes(clinic: Clinic, run_id: str) -> list[tuple[Any, ...]]:
    sides = ", ".join(f"{name}_{side}" for side in ("before", "after") for name in METRICS)
    effects = ", ".join(f"visits_{name}" for name in EFFECTS)
    return clinic.query(
        f"SELECT visit_date, {sides}, {effects} FROM metric_changes WHERE run_id = ? ORDER BY visit_date", run_id
    )


def changes_of(expected: Result | None) -> list[tuple[Any, ...]]:
    return [(day.isoformat(), *change_row(each)) for day, each in expected.changes.items()] if expected else []


def change_row(change: Change) -> tuple[Any, ...]:
    effects = (getattr(change, name) for name in EFFECTS)
    return (*metrics_row(change.before), *metrics_row(change.after), *effects)


def metrics_row(metrics: Metrics | None) -> tuple[Any, ...]:
    return tuple(getattr(metrics, name) for name in METRICS) if metrics else (None,) * len(METRICS)


def lateness(clinic: Clinic, run_id: str) -> list[tuple[Any, ...]]:
    return clinic.query("SELECT hours, loaded, missed FROM lateness WHERE run_id = ? ORDER BY hours", run_id)


def lateness_of(expected: Result | None) -> list[tuple[Any, ...]]:
    return [(hours, *each) for hours, each in expected.lateness.items()] if expected else []


def quarantine(clinic: Clinic) -> dict[tuple[int, int], tuple[str, str]]:
    """Where a refused row stood → its reasons and its entry's status."""
    rows = clinic.query(
        "SELECT r.delivery_seq, r.source_line, q.reasons, q.status FROM quarantine_rows AS r JOIN quarantine AS q"
        " USING (identity, source)"
    )
    return {(seq, line): (reasons, status) for seq, line, reasons, status in rows}


def links(clinic: Clinic) -> dict[Line, Line]:
    """Where a row stood whose entry is closed → the version that the entry names."""
    rows = clinic.query(
        "SELECT r.delivery_seq, r.source_line, q.superseded_by_seq, q.superseded_by_line FROM quarantine_rows AS r"
        " JOIN quarantine AS q USING (identity, source) WHERE q.status = 'superseded'"
    )
    return {(seq, line): (by_seq, by_line) for seq, line, by_seq, by_line in rows}


def watermark(clinic: Clinic) -> datetime | None:
    found = clinic.query("SELECT watermark_last_updated FROM state")
    return parse_instant(found[0][0]) if found and found[0][0] else None


def profile(result: RunResult) -> dict[int, dict[str, Any]]:
    """Delivery (0: the batch) → its counts."""
    assert result.run is not None
    rows = pq.read_table(result.run.staging / "batch_profile.parquet").to_pylist()
    return {0 if row["is_batch"] else row["delivery_seq"]: row for row in rows}


def conserves(scopes: dict[int, dict[str, Any]]) -> None:
    for counts in scopes.values():
        outside = counts["outside_held"] + counts["outside_missed"] + counts["outside_invalid"]
        assert counts["rows_read"] == outside + counts["refused"] + counts["superseded"] + counts["staged"]
        assert counts["staged"] == counts["inserted"] + counts["updated"] + counts["unchanged"]
