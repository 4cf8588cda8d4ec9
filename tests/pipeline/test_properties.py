"""Random histories through the pipeline's stages, beside the independent model, compared row for row after every run.

`beside.py` says how a run is made quick here. The real suites are tested in tests/expectations, and at work in
test_history.py. PROPERTY_EXAMPLES sets how many histories the master property tries, the same ones in every run of the
suite; PROPERTY_SEED=n tries others, so that several lanes share a large number:

    PROPERTY_EXAMPLES=1000 PROPERTY_SEED=1 python -m pytest tests/pipeline/test_properties.py -k what_the_model_says
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.histories import BASE, HOUR, Deliver, Item, Run, Step, histories, items
from tests.model import Model
from tests.pipeline.beside import (
    END,
    INCREMENTS,
    STAMPLESS_FULL,
    Source,
    check_history,
    daily,
    facts,
    grouped,
    new_pair,
    quarantine,
    watermark,
)  # fmt: skip

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "20"))
SEED = os.environ.get("PROPERTY_SEED")
SHRINKS = "PROPERTY_NO_SHRINK" not in os.environ
LATE = BASE + 6 * HOUR
GOOD: tuple[Item, ...] = (
    {"visit_id": "good", "patient_id": "p", "visit_date": "2025-12-01", "last_updated": "2025-12-06T12:00:00Z"},
)
MARKED = Source(full=True, marks_deletes=True)
SOURCES = (
    INCREMENTS,
    Source(lookback_hours=87_000, any_share=True),
    MARKED,
    replace(MARKED, any_share=True),
    replace(MARKED, any_share=True, stamped=False),
    Source(full=True),
    STAMPLESS_FULL,
)
KINDS = (INCREMENTS, MARKED, STAMPLESS_FULL)
pytestmark = pytest.mark.timeout(300 + 3 * EXAMPLES)


def examples(share: float = 1.0) -> Callable[[Any], Any]:
    """Hypothesis's profile here: no deadline, no database, always the same examples unless a seed asks for others."""
    profile = settings(
        max_examples=max(int(EXAMPLES * share), 1),
        derandomize=SEED is None,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if SHRINKS else [])],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )
    return profile if SEED is None else lambda test: seed(int(SEED))(profile(test))


@st.composite
def source_and_history(draw: st.DrawFn) -> tuple[Source, list[Step]]:
    source = draw(st.sampled_from(SOURCES))
    return source, draw(histories(full=source.full, deaths=True, decisions=True))


@given(drawn=source_and_history())
@examples()
def test_every_run_is_what_the_model_says_and_the_increments_are_as_one_full_refresh(
    drawn: tuple[Source, list[Step]],
) -> None:
    """Tables, counts, reasons, changes, lateness, quarantine, statuses and state, after every run and every death."""
    check_history(*drawn)


@given(drawn=source_and_history())
@examples(0.2)
def test_every_run_on_duckdb_is_what_the_model_says(drawn: tuple[Source, list[Step]]) -> None:
    """The same law on the other warehouse, over fewer histories."""
    check_history(*drawn, kind="duckdb")


@given(
    history=histories(max_deliveries=3), last=st.data(), source=st.sampled_from((INCREMENTS, MARKED, STAMPLESS_FULL))
)
@examples(0.3)
def test_what_was_loaded_changes_nothing_when_it_comes_again(
    history: list[Step], last: st.DataObject, source: Source
) -> None:
    """Run again: no row changes, lineage neither. The newest delivery's bytes again, by another name: no value does."""
    rows = tuple(last.draw(st.lists(items([]), min_size=1, max_size=6)))
    with new_pair(replace(source, any_share=True)) as pair:
        clinic = pair.clinic
        for _ in pair.play([*history, Deliver("x.csv", rows), Run(END)]):
            pass
        before = clinic.tables()
        again = pair.run_clinic(Run(END))
        after = clinic.tables()
        if again.run is not None and again.run.manifest["batch"]["kind"] == "repeat":
            assert (again.exit_code, again.counts["inserted"], again.counts["updated"]) == (0, 0, 0)
            assert (again.counts["visits_deleted"], again.counts["visits_restored"]) == (0, 0)
            assert again.counts["newly_refused"] == 0
        assert {**after, "state": None} == {**before, "state": None}
        visits = without_lineage(facts(clinic))
        for _ in pair.play([Deliver("y.csv", rows), Run(END)]):
            pass
        assert without_lineage(facts(clinic)) == visits
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
        with new_pair(Source(any_share=True)) as pair:
            codes = [result.exit_code for _, result, _ in pair.play([Deliver("1.csv", tuple(order)), Run(LATE)])]
            found.append((codes, without_lineage(facts(pair.clinic)), daily(pair.clinic), watermark(pair.clinic)))
    assert found[0] == found[1]


@given(rows=st.data(), source=st.sampled_from(KINDS))
@examples(0.3)
def test_two_deliveries_together_are_as_one_after_the_other(rows: st.DataObject, source: Source) -> None:
    """A and B in one run, and A then B: the same tables, lineage, deletes and quarantine too."""
    earlier: list[dict[str, str]] = []
    a, b = (tuple(rows.draw(st.lists(items(earlier), max_size=6))) + GOOD for _ in "ab")
    wide = replace(source, lookback_hours=87_000, any_share=True)
    one, two = Deliver("1.csv", a), Deliver("2.csv", b)
    found = []
    orders: tuple[list[Step], ...] = ([one, Run(LATE), two, Run(LATE)], [one, two, Run(LATE)])
    for history in orders:
        with new_pair(wide) as pair:
            assert all(result.exit_code == 0 for _, result, _ in pair.play(history))
            found.append((facts(pair.clinic), daily(pair.clinic), watermark(pair.clinic), quarantine(pair.clinic)))
    assert found[0] == found[1]


def without_lineage(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [(*each[:9], *each[11:]) for each in rows]


def instant_of(cells: dict[str, str]) -> datetime | None:
    return Model().read_stamp(cells["last_updated"])
