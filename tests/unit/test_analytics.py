"""Each frame against facts small enough to count by hand, and against none at all."""

import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta

import pandas as pd
import pytest

from lib.analytics import (
    cost_distribution,
    cost_per_day,
    cost_per_week,
    cost_summary,
    lateness,
    restated_days,
    top_diagnoses,
    top_providers,
    visits_per_day,
    visits_per_week,
    weekday_pattern,
)
from lib.sql import statements

MONDAY = date(2025, 6, 2)
STAMP = "2025-12-06T12:00:00.000000+00:00"


@pytest.fixture
def warehouse() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for version in ("v1", "v2", "v3", "v4"):
        for each in statements(f"warehouse/schema/sqlite/{version}"):
            connection.execute(each)
    yield connection
    connection.close()


def add(
    warehouse: sqlite3.Connection,
    visits: int,
    day: date = MONDAY,
    cost: float | None = 10,
    code: str | None = "I10",
    source: str = "clinic",
    provider: str | None = "D1",
) -> None:
    """`visits` equal visits; the metrics and the counts of values follow."""
    have = warehouse.execute("SELECT count(*) FROM fact_visits").fetchone()[0]
    warehouse.executemany(
        "INSERT INTO fact_visits (source, visit_id, patient_id, provider_id, diagnosis_code, visit_date,"
        " visit_cost_cents, last_updated, row_hash, delivery_seq, source_line) VALUES (?,?,?,?,?,?,?,?,?,1,2)",
        [
            (source, f"V{have + n}", "P1", provider, code, str(day), cost and round(cost * 100), STAMP, "0" * 64)
            for n in range(visits)
        ],
    )
    warehouse.execute("DELETE FROM daily_visit_metrics")
    warehouse.execute(
        "INSERT INTO daily_visit_metrics (visit_date, visit_count, patient_count, total_visit_cost_cents,"
        " missing_cost_count) SELECT visit_date, count(*), 1, coalesce(sum(visit_cost_cents), 0),"
        " count(*) - count(visit_cost_cents) FROM fact_visits GROUP BY visit_date"
    )
    warehouse.execute("DELETE FROM visit_value_counts")
    warehouse.execute(statements("warehouse/schema/sqlite/v4")[1])


def add_days(warehouse: sqlite3.Connection, *visits: int, start: date = MONDAY) -> None:
    for number, each in enumerate(visits):
        add(warehouse, each, start + timedelta(days=number))


def change(
    warehouse: sqlite3.Connection,
    day: date,
    before: int | None,
    after: int | None,
    inserted: int = 0,
    corrected: int = 0,
    costless: int = 0,
) -> None:
    cents = [None if visits is None else visits * 1000 for visits in (before, after)]
    missing = [None if before is None else 0, None if after is None else costless]
    warehouse.execute(
        "INSERT INTO metric_changes VALUES ('r2',?,?,?,1,1,?,?,1,1,?,?,?,?,0,0,0,0,0,0)",
        (str(day), before, after, *cents, *missing, inserted, corrected),
    )


def told(frame: pd.DataFrame, key: str, value: str) -> dict[str, int]:
    return dict(zip(frame[key], frame[value], strict=True))


@pytest.mark.parametrize(
    "frame",
    [
        visits_per_day,
        visits_per_week,
        cost_per_day,
        cost_per_week,
        weekday_pattern,
        top_diagnoses,
        top_providers,
        cost_distribution,
    ],
)
def test_an_empty_warehouse_gives_an_empty_frame_with_the_same_columns(warehouse: sqlite3.Connection, frame) -> None:  # type: ignore[no-untyped-def]
    empty = frame(warehouse)
    add_days(warehouse, *[9] * 10)
    full = frame(warehouse)
    assert empty.empty and len(full)
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert all(isinstance(kind, pd.ArrowDtype | pd.StringDtype) for kind in full.dtypes)


def test_an_empty_warehouse_has_no_quartiles_and_no_changes(warehouse: sqlite3.Connection) -> None:
    assert cost_summary(warehouse).iloc[0].isna().tolist() == [False, True, True, True]
    assert restated_days(warehouse, "r2").empty


def test_days_without_a_visit_are_zeros_and_count_in_the_average(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, 14, 0, 14, 0, 14, 0, 14)
    frame = visits_per_day(warehouse)
    assert frame["visits"].tolist() == [14, 0, 14, 0, 14, 0, 14]
    assert frame["average_7_days"].dropna().tolist() == [8.0]


def test_the_average_is_made_of_what_is_shown(warehouse: sqlite3.Connection) -> None:
    """Were it made of the true days, its step from Tuesday to Wednesday would tell that Wednesday had one visit."""
    add_days(warehouse, *[10] * 7, 10, 10, 1, 10, 10, 10, 19)
    frame = visits_per_day(warehouse)
    assert frame["period"].tolist()[-1] == "2025-W24"
    assert told(frame, "period", "average_7_days")["2025-W24"] == 10.0
    assert len(frame) == 8


def test_weeks_begin_on_monday_and_the_running_one_is_not_over(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, *[9] * 9)
    frame = visits_per_week(warehouse)
    assert told(frame, "period", "visits") == {"2025-W23": 63, "2025-W24": 18}
    assert frame["is_over"].tolist() == [True, False]


@pytest.mark.parametrize(("as_of", "is_over"), [(date(2025, 6, 8), False), (date(2025, 6, 9), True)])
def test_a_week_is_over_after_its_sunday(warehouse: sqlite3.Connection, as_of: date, is_over: bool) -> None:
    add_days(warehouse, 9, 9, 9, 9, 9)
    assert visits_per_week(warehouse, as_of=as_of)["is_over"].tolist() == [is_over]


def test_what_lies_apart_is_neither_over_nor_not(warehouse: sqlite3.Connection) -> None:
    add(warehouse, 5, MONDAY)
    add(warehouse, 20, MONDAY + timedelta(weeks=10))
    add(warehouse, 5, MONDAY + timedelta(weeks=20))
    assert visits_per_day(warehouse).set_index("period").loc["other periods", ["is_over"]].isna().all()


def test_the_four_week_average_looks_back_beyond_the_weeks_shown(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, *[10] * 28)
    frame = visits_per_week(warehouse, weeks=1)
    assert told(frame, "period", "average_4_weeks") == {"2025-W26": 70.0}


def test_a_source_is_counted_by_itself(warehouse: sqlite3.Connection) -> None:
    add(warehouse, 9)
    add(warehouse, 10, source="other_clinic")
    assert visits_per_day(warehouse)["visits"].tolist() == [19]
    assert visits_per_day(warehouse, source="clinic")["visits"].tolist() == [9]
    assert top_diagnoses(warehouse, source="clinic")["visits"].tolist() == [9]
    assert cost_summary(warehouse, source="clinic")["visits_with_cost"].tolist() == [9]


@pytest.mark.parametrize(("with_cost", "shown"), [(7, None), (8, 80), (9, 90)])
def test_a_cost_needs_enough_visits_that_have_one(
    warehouse: sqlite3.Connection, with_cost: int, shown: int | None
) -> None:
    add(warehouse, with_cost)
    add(warehouse, 20, cost=None)
    costs = cost_per_day(warehouse)["cost"]
    assert costs.tolist() == [shown] if shown else costs.isna().all()


def test_a_day_with_few_costs_is_told_with_its_week(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, 20, 20)
    add(warehouse, 20, MONDAY + timedelta(days=2), cost=None)
    add(warehouse, 1, MONDAY + timedelta(days=2))
    assert told(cost_per_day(warehouse), "period", "visits_with_cost") == {"2025-W23": 41}


def test_costs_have_three_significant_digits(warehouse: sqlite3.Connection) -> None:
    add(warehouse, 10, cost=1234.56)
    assert cost_per_week(warehouse)["cost"].tolist() == [12300]


def test_averages_of_costs_have_three_significant_digits_too(warehouse: sqlite3.Connection) -> None:
    for number in range(7):
        add(warehouse, 10, MONDAY + timedelta(days=number), cost=100 + number)
    assert cost_per_day(warehouse)["cost"].tolist() == [1000, 1010, 1020, 1030, 1040, 1050, 1060]
    add(warehouse, 10, MONDAY + timedelta(days=7), cost=200)
    assert cost_per_day(warehouse)["average_7_days"].dropna().tolist() == [1030, 1170]


def test_weekdays_are_in_their_order_and_averaged_over_the_calendar(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, 30, 20, 0, 0, 0, 0, 0, 10)
    frame = weekday_pattern(warehouse)
    assert frame["weekday"].tolist()[:3] == ["Monday", "Tuesday", "Wednesday"]
    assert told(frame, "weekday", "mean_visits")["Monday"] == 20.0


@pytest.mark.parametrize(("rare", "shown"), [(7, {"I10": 20, "other": 16}), (8, {"I10": 20, "J06": 9, "Z99": 8})])
def test_rare_diagnoses_are_merged(warehouse: sqlite3.Connection, rare: int, shown: dict[str, int]) -> None:
    for code, visits in {"I10": 20, "J06": 9, "Z99": rare}.items():
        add(warehouse, visits, code=code)
    assert told(top_diagnoses(warehouse), "diagnosis_code", "visits") == shown


def test_beyond_the_top_categories_are_other_and_come_last(warehouse: sqlite3.Connection) -> None:
    for provider, visits in {"z1": 10, "D2": 9, "D3": 8, None: 8}.items():
        add(warehouse, visits, provider=provider)
    frame = top_providers(warehouse, top=1)
    assert told(frame, "provider_id", "visits") == {"z1": 10, "other": 25}
    assert frame["categories"].tolist() == [1, 3]
    assert frame["share"].tolist() == [0.286, 0.714]
    assert "not recorded" in top_providers(warehouse)["provider_id"].tolist()


def test_costs_fall_into_bins_that_begin_at_their_lower_edge(warehouse: sqlite3.Connection) -> None:
    for cost in (0, 0.99, 1, 1.49, 1.5, 99.99, 100, 1234.5):
        add(warehouse, 8, cost=cost)
    frame = cost_distribution(warehouse)
    used = frame[frame["visits"] > 0].astype(object)
    assert list(used.where(used.notna(), None).itertuples(index=False, name=None)) == [
        (0, 1, 16),
        (1, 1.5, 16),
        (1.5, 2, 8),
        (70, 100, 8),
        (100, 150, 8),
        (1000, None, 8),
    ]
    assert frame["cost_from"].tolist()[1:] == frame["cost_to"].tolist()[:-1]


def test_the_ends_of_the_bins_do_not_tell_the_least_and_the_highest_cost(warehouse: sqlite3.Connection) -> None:
    add(warehouse, 20, cost=100)
    add(warehouse, 20, cost=700)
    frame = cost_distribution(warehouse)
    assert frame["cost_from"].tolist()[0] == 0
    assert frame["cost_to"].isna().tolist()[-1]
    assert frame["visits"].sum() == 40


@pytest.mark.parametrize(("visits", "shown"), [(7, False), (8, True), (9, True)])
def test_quartiles_need_enough_visits(warehouse: sqlite3.Connection, visits: int, shown: bool) -> None:
    add(warehouse, visits, cost=12.34)
    add(warehouse, 20, cost=None)
    assert cost_summary(warehouse)["median"].notna().tolist() == [shown]


def test_quartiles_are_whole_units(warehouse: sqlite3.Connection) -> None:
    for cost in (10.4, 20.4, 30.6, 40.4):
        add(warehouse, 2, cost=cost)
    assert cost_summary(warehouse).iloc[0].tolist() == [8, 10, 20, 31]


def test_a_changed_day_is_told_before_and_after(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, 20, 30)
    change(warehouse, MONDAY, 12, 20, inserted=8)
    change(warehouse, MONDAY + timedelta(days=1), None, 30, inserted=30)
    frame = restated_days(warehouse, "r2")
    assert frame["visits_difference"].tolist() == [8, 30]
    assert frame["days_new"].tolist() == [0, 1]
    assert frame["cost_difference"].tolist()[0] == 80
    assert frame["inserted"].tolist() == [8, 30]


def test_one_visits_cost_is_not_the_difference_of_two_totals(warehouse: sqlite3.Connection) -> None:
    add_days(warehouse, 20)
    change(warehouse, MONDAY, 19, 20, inserted=1)
    frame = restated_days(warehouse, "r2")
    assert frame["visits_difference"].tolist() == [1]
    assert frame[["cost_before", "cost_after", "cost_difference"]].isna().all(axis=None)


@pytest.mark.parametrize(("costless", "hidden"), [(8, True), (2, True), (1, False)])
def test_many_new_visits_of_which_few_have_a_cost_do_not_tell_it(
    warehouse: sqlite3.Connection, costless: int, hidden: bool
) -> None:
    add_days(warehouse, 29)
    change(warehouse, MONDAY, 20, 29, inserted=9, costless=costless)
    assert restated_days(warehouse, "r2")["cost_after"].isna().tolist() == [hidden]


@pytest.mark.parametrize(("corrected", "hidden"), [(7, True), (8, False)])
def test_a_few_corrections_do_not_tell_what_they_changed(
    warehouse: sqlite3.Connection, corrected: int, hidden: bool
) -> None:
    add_days(warehouse, 20)
    change(warehouse, MONDAY, 20, 20, corrected=corrected)
    assert restated_days(warehouse, "r2")["cost_difference"].isna().tolist() == [hidden]


@pytest.mark.parametrize(("before", "period"), [(7, "2025-W23"), (8, "2025-06-02")])
def test_a_changed_day_that_was_small_is_told_with_its_week(
    warehouse: sqlite3.Connection, before: int, period: str
) -> None:
    add_days(warehouse, 20, 30)
    change(warehouse, MONDAY, before, 20, inserted=20 - before)
    assert restated_days(warehouse, "r2")["period"].tolist() == [period]


def test_a_changed_day_does_not_betray_the_small_day_of_its_week(warehouse: sqlite3.Connection) -> None:
    """The week is shown as 53; Monday's 20 and Tuesday's 30 beside it would tell Wednesday's 3."""
    add_days(warehouse, 20, 30, 3)
    change(warehouse, MONDAY, 10, 20, inserted=10)
    frame = restated_days(warehouse, "r2")
    assert told(frame, "period", "visits_after") == {"2025-W23": 53}


@pytest.mark.parametrize(
    ("missed", "lookback", "bins_told"), [([0, 2, 0, 5, 0], 24, 4), ([0, 0, 0, 0, 0], 2, 3), ([0] * 5, 24, 4)]
)
def test_late_rows_are_told_up_to_the_last_and_beyond_the_lookback(
    missed: list[int], lookback: float, bins_told: int
) -> None:
    bins = pd.DataFrame({"hours_from": [0, 1, 2, 24, 48], "hours_to": [1, 2, 24, 48, None], "loaded": [90, 1, 0, 0, 0]})
    frame = lateness(bins.assign(missed=missed), lookback)
    assert frame["hours_from"].tolist() == [0, 1, 2, 24, 48][:bins_told]
    assert frame["loaded"].tolist() == [90, 1, 0, 0, 0][:bins_told]
