"""Frames of a run: Arrow types, and identifiers that only a person at a keyboard may see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from lib import confidential, day_checks, extract, frames, load, stage
from lib.config import settings_from
from lib.disclosure import MASK
from lib.errors import UsageError
from lib.lock import HELD_BY_PARENT
from lib.run import Run
from lib.warehouse import open_warehouse
from lib.warehouses.interface import Connection

DELIVERY = """\
visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated,remark
V1,P1,D1,J06.9,2025-03-01,100.05,2025-03-01T12:00:00Z,told Anna
V2,P2,,I10,2025-03-03,,2025-03-03T12:00:00.000001Z,
V3,P3,D1,I10,2025-03-04,20.00,2025-03-03T12:00:00Z,
V4,P4,D1,I10,someday,31.31,2025-03-03T12:00:00Z,told Bert
V5,P5,D1,I10 "x,2025-03-03,31.31,2025-03-03T12:00:00Z
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A loaded run of the delivery above; the gate's word is given, not asked for."""
    before = os.umask(0o077)
    folder = tmp_path_factory.mktemp("frames")
    source = folder / "visits.csv"
    source.write_text(DELIVERY)
    settings = settings_from({"source": {"path": str(source)}, "carry": {"remark": "remark"}}, "test")
    run = Run.begin(settings, data_dir=folder / "data", as_of="2025-03-04T00:00:00Z")
    offers = extract.look_at_source(run)
    extract.take_deliveries(run, offers)
    extract.choose_run_batch(run, offers)
    stage.stage_batch(run)
    run.manifest.record(
        gate={"decision": "PASSED", "staged": run.manifest["staged"], "version": run.manifest["version"]}
    )
    load.load_visits(run)
    yield run
    os.umask(before)


@pytest.fixture
def at_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, "is_interactive", lambda: True)


def shown(frame: pd.DataFrame, name: str) -> list[object]:
    return [None if pd.isna(value) else value for value in frame[name].tolist()]


def test_staged_visits_are_masked_and_typed(run: Run) -> None:
    frame = run.visits()
    assert shown(frame, "visit_id") == shown(frame, "patient_id") == shown(frame, "row_hash") == [MASK] * 3
    assert shown(frame, "provider_id") == [MASK, None, MASK]
    assert shown(frame, "remark") == [MASK, None, None]
    assert shown(frame, "diagnosis_code") == ["J06.9", "I10", "I10"]
    assert str(frame["visit_cost"].dtype) == "decimal128(18, 2)[pyarrow]"
    assert str(frame["visit_date"].dtype) == "date32[day][pyarrow]"


def test_of_a_refused_row_every_original_text_is_masked(run: Run) -> None:
    frame = run.rejected()
    assert [list(reasons) for reasons in frame["reasons"]] == [["invalid_visit_date"], ["malformed_row"]]
    assert shown(frame, "source_line") == [5, 6]
    assert shown(frame, "visit_date") == shown(frame, "visit_key") == shown(frame, "visit_cost") == [MASK, None]
    assert shown(frame, "malformed") == [None, MASK]
    told = frame.to_csv()
    assert not [text for text in ("V4", "V5", "P4", "D1", "someday", "31.31", "Bert") if text in told]


def test_facts_and_daily_have_exact_costs_and_arrow_types(run: Run) -> None:
    facts, daily = run.facts(), run.daily()
    assert shown(facts, "visit_cost") == [Decimal("100.05"), None, Decimal("20.00")]
    assert str(facts["last_updated"].dtype) == "timestamp[us, tz=UTC][pyarrow]"
    assert facts["last_updated"][1].isoformat() == "2025-03-03T12:00:00.000001+00:00"
    assert shown(facts, "visit_id") == shown(facts, "row_hash") == [MASK] * 3
    assert shown(facts, "remark") == [MASK, None, None]
    assert shown(facts, "source") == ["clinic"] * 3
    assert shown(daily, "total_visit_cost") == [Decimal("100.05"), Decimal("0.00"), Decimal("20.00")]
    assert shown(daily, "avg_visit_cost") == [Decimal("100.05"), None, Decimal("20.00")]
    assert shown(daily, "missing_cost_count") == [0, 1, 0]


@pytest.mark.parametrize("name", ["visits", "rejected", "facts"])
def test_reveal_is_refused_where_nobody_sits(run: Run, name: str) -> None:
    with pytest.raises(UsageError, match="rows are shown only in the JupyterLab of make lab"):
        getattr(run, name)(reveal=True)


@pytest.mark.usefixtures("at_the_keyboard")
def test_reveal_shows_a_person_the_texts_as_they_are(run: Run) -> None:
    assert shown(run.visits(reveal=True), "visit_id") == ["V1", "V2", "V3"]
    assert shown(run.facts(reveal=True), "remark") == ["told Anna", None, None]
    assert shown(run.rejected(reveal=True), "visit_date") == ["someday", None]
    assert shown(run.visits(), "visit_id") == [MASK] * 3, "masked unless asked for"


def test_the_schema_of_a_staged_file_comes_from_its_statistics(run: Run) -> None:
    schema = frames.staged_schema(run, "visits.parquet").set_index("column")
    assert schema.loc["visit_cost"].tolist() == ["decimal128(18, 2)", 3, 1]
    assert schema.loc["provider_id"].tolist() == ["string", 3, 1]
    assert schema.loc["visit_id", "nulls"] == 0
    assert schema.index.tolist()[-3:] == ["source_line", "action", "remark"], "what only the load reads is left out"
    rejected = frames.staged_schema(run, "rejected.parquet").set_index("column")
    assert rejected.loc["malformed"].tolist() == ["string", 2, 1]


def test_the_example_query_counts_every_visit_and_merges_small_weeks(run: Run) -> None:
    result = frames.example_result(run)
    assert result["visits"].sum() == 3
    assert result["cost"].isna().all(), "three visits are too few to tell a cost"
    assert "FROM daily_visit_metrics" in frames.example_query(run)


def test_the_newest_run_is_one_call_away(run: Run) -> None:
    assert Run.latest(str(run.layout.data_dir)).run_id == run.run_id


def test_before_staging_there_is_nothing_to_show(run: Run, tmp_path: Path) -> None:
    begun = Run.begin(run.settings, data_dir=tmp_path)
    with pytest.raises(UsageError, match="has staged nothing yet; run 02_stage first"):
        begun.visits()


def test_a_loaded_run_is_not_loaded_again(run: Run) -> None:
    before = load.count_tables(run)
    with pytest.raises(UsageError, match=f"run {run.run_id} is loaded already; begin a new run with 01_extract."):
        load.load_visits(run)
    assert load.count_tables(run) == before


def test_a_check_of_the_days_stands_until_somebody_writes_the_tables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load.counted_already(run), "nothing is noted yet"
    assert load.days_counted_text(run) == "The days were counted just now."
    closed = Run.existing(run.layout.data_dir, run.run_id).manifest.content
    assert load.note_differing_days(run) == 0
    assert Run.existing(run.layout.data_dir, run.run_id).manifest.content == closed, "a closed record is not written"
    assert not load.counted_already(run)
    monkeypatch.setenv(HELD_BY_PARENT, run.run_id)
    assert load.note_differing_days(run) == 0
    with monkeypatch.context() as patch:
        patch.setattr(load, "differing_days", lambda run: 77)
        assert load.differing_days_still(run) == 0, "not counted again"
    assert "counted by 04" in load.days_counted_text(run)
    with closing(open_warehouse(run.layout)) as connection:
        connection.execute("UPDATE fact_visits SET visit_cost_cents = 1 WHERE visit_id = 'V1'")
    try:
        assert load.differing_days_still(run) == 1
        assert load.days_counted_text(run) == "The days were counted just now."
    finally:
        with closing(open_warehouse(run.layout)) as connection:
            connection.execute("UPDATE fact_visits SET visit_cost_cents = 10005 WHERE visit_id = 'V1'")


def test_the_checks_of_a_load_see_what_is_broken(run: Run) -> None:
    assert (load.differing_days(run), load.facts_without_delivery(run)) == (0, 0)
    before = load.count_tables(run)
    assert (before.facts, before.days, before.quarantine_open, before.deliveries_loaded) == (3, 3, 2, 1)
    assert load.expected_facts(run, before) == 6, "a first load of three more"
    connection = open_warehouse(run.layout)
    try:
        connection.execute("BEGIN")
        connection.execute("UPDATE fact_visits SET visit_cost_cents = 1, delivery_seq = 9 WHERE visit_id = 'V1'")
        connection.execute("COMMIT")
        assert (load.differing_days(run), load.facts_without_delivery(run)) == (1, 1)
        connection.execute("UPDATE fact_visits SET visit_cost_cents = 10005, delivery_seq = 1 WHERE visit_id = 'V1'")
    finally:
        connection.close()


def test_a_second_core_counts_half_of_the_days_and_none_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    count = day_checks._count

    def noted(connection: Connection, name: str, run_id: str, checked: str) -> int:
        counted.append(checked)
        return count(connection, name, run_id, checked)

    monkeypatch.setattr(day_checks, "_count", noted)
    assert load.differing_days(run) == 0
    assert len(counted) == 1, "so few visits are counted by one"
    monkeypatch.setattr(day_checks, "SHARED_FROM", 3)
    with closing(open_warehouse(run.layout)) as connection:
        try:
            connection.execute("UPDATE fact_visits SET patient_id = patient_id || 'x', visit_cost_cents = 1")
            counted.clear()
            assert load.differing_days(run) == 3
            assert len(counted) == 2
            connection.execute("UPDATE metric_changes SET run_id = 'other' WHERE visit_date = '2025-03-01'")
            assert load.differing_days(run) == 2, "of the days that the run touched"
        finally:
            connection.execute("UPDATE metric_changes SET run_id = ?", [run.run_id])
            costs = "CASE visit_id WHEN 'V1' THEN 10005 WHEN 'V3' THEN 2000 END"
            connection.execute(
                f"UPDATE fact_visits SET patient_id = rtrim(patient_id, 'x'), visit_cost_cents = {costs}"
            )
    assert load.differing_days(run) == 0
