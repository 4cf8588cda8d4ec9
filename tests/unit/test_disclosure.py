"""No small number is shown, none can be worked out from the others, and nothing is lost on the way."""

from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.disclosure import (
    mask,
    mask_frame,
    merge_small,
    merge_small_bins,
    merge_small_periods,
    shown_cost,
    small_groups,
)

MONDAY = date(2025, 6, 2)
counts_of_groups = st.lists(st.integers(0, 30), max_size=40)


def categories(**visits: int) -> pd.DataFrame:
    return pd.DataFrame({"code": list(visits), "visits": list(visits.values())})


def days(*visits: int, start: date = MONDAY) -> pd.DataFrame:
    return pd.DataFrame({"day": [start + timedelta(days=n) for n in range(len(visits))], "visits": visits})


def bins(*visits: int) -> pd.DataFrame:
    return pd.DataFrame({"lower": range(len(visits)), "upper": range(1, len(visits) + 1), "visits": visits})


def pairs(frame: pd.DataFrame, label: str) -> dict[str, int]:
    return dict(zip(frame[label], frame["visits"], strict=True))


# --- the boundary -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("visits", "small"), [(0, False), (1, True), (7, True), (8, False), (9, False)])
def test_a_group_is_small_from_one_to_seven(visits: int, small: bool) -> None:
    assert small_groups(categories(a=visits), "visits", 8).tolist() == [small]


@pytest.mark.parametrize(
    ("rare", "shown"),
    [
        (7, {"I10": 50, "other": 16}),
        (8, {"I10": 50, "J06": 9, "Z99": 8}),
        (9, {"I10": 50, "J06": 9, "Z99": 9}),
    ],
)
def test_categories_at_the_boundary(rare: int, shown: dict[str, int]) -> None:
    assert pairs(merge_small(categories(I10=50, J06=9, Z99=rare), "code", "visits", 8), "code") == shown


@pytest.mark.parametrize(("monday", "grains"), [(7, ["week"]), (8, ["day"] * 7), (9, ["day"] * 7), (0, ["day"] * 7)])
def test_days_at_the_boundary(monday: int, grains: list[str]) -> None:
    merged = merge_small_periods(days(monday, 20, 20, 20, 20, 8, 0), 8)
    assert merged["grain"].tolist() == grains


@pytest.mark.parametrize(("first", "visits"), [(7, [47, 8]), (8, [8, 40, 8]), (9, [9, 40, 8])])
def test_bins_at_the_boundary(first: int, visits: list[int]) -> None:
    assert merge_small_bins(bins(first, 40, 8), "visits", 8)["visits"].tolist() == visits


# --- categories -------------------------------------------------------------------------------------------------------


def test_several_small_categories_share_one_row() -> None:
    merged = merge_small(categories(I10=50, A=5, B=4, C=1), "code", "visits", 8)
    assert pairs(merged, "code") == {"I10": 50, "other": 10}


def test_a_small_other_takes_in_the_next_smallest() -> None:
    merged = merge_small(categories(I10=50, J06=12, M54=30, Z99=1), "code", "visits", 8)
    assert pairs(merged, "code") == {"I10": 50, "M54": 30, "other": 13}


def test_when_nothing_is_left_one_total_remains() -> None:
    assert pairs(merge_small(categories(I10=5, J06=4), "code", "visits", 8), "code") == {"all": 9}


def test_a_total_that_is_small_keeps_its_count_and_loses_its_cost() -> None:
    frame = categories(I10=2, J06=1).assign(cost=[100, 12345])
    merged = merge_small(frame, "code", "visits", 8)
    assert pairs(merged, "code") == {"all": 3}
    assert merged["cost"].isna().tolist() == [True]


def test_zeros_beside_a_small_total_would_tell_where_it_lies() -> None:
    assert pairs(merge_small(categories(Monday=0, Tuesday=3), "code", "visits", 8), "code") == {"all": 3}


def test_a_category_really_named_other_is_not_shown_twice() -> None:
    merged = merge_small(categories(I10=50, other=20, A=5, B=4), "code", "visits", 8)
    assert pairs(merged, "code") == {"I10": 50, "other": 29}


def test_equal_categories_come_in_the_order_of_their_names() -> None:
    assert merge_small(categories(B=9, A=9, C=9), "code", "visits", 8)["code"].tolist() == ["A", "B", "C"]


def test_a_text_column_is_never_joined_into_a_group() -> None:
    with pytest.raises(TypeError, match="patient_id"):
        merge_small(categories(I10=5, J06=4).assign(patient_id=["p1", "p2"]), "code", "visits", 8)


def test_a_second_count_is_judged_too() -> None:
    frame = categories(I10=50, J06=40, Z99=30).assign(with_cost=[50, 1, 30])
    merged = merge_small(frame, "code", ["visits", "with_cost"], 8)
    assert pairs(merged, "code") == {"I10": 50, "other": 70}


@settings(deadline=None, max_examples=60)
@given(counts_of_groups, st.integers(1, 12))
def test_no_small_category_and_nothing_lost(visits: list[int], minimum: int) -> None:
    frame = pd.DataFrame({"code": [f"c{n}" for n in range(len(visits))], "visits": visits}).astype({"visits": "int64"})
    merged = merge_small(frame, "code", "visits", minimum)
    assert_safe(merged, frame, minimum)


# --- periods ----------------------------------------------------------------------------------------------------------


def test_one_small_day_hides_its_week_and_no_other() -> None:
    merged = merge_small_periods(days(20, 20, 20, 3, 20, 0, 0, 20, 21, 22), 8)
    assert pairs(merged, "period") == {"2025-W23": 83, "2025-06-09": 20, "2025-06-10": 21, "2025-06-11": 22}
    assert merged.iloc[0][["grain", "days"]].tolist() == ["week", 7]
    assert merged.iloc[0]["end"] == pd.Timestamp(2025, 6, 8)


def test_one_small_week_hides_its_month() -> None:
    visits = [20] * 7 + [1] + [0] * 6 + [20] * 21
    merged = merge_small_periods(days(*visits), 8)
    assert pairs(merged.iloc[:1], "period") == {"2025-06": 20 * 21 + 1}
    assert merged["grain"].tolist() == ["month"] + ["day"] * 7


def test_a_month_is_made_of_whole_weeks() -> None:
    """Tuesday 2025-07-01 is in the week of Thursday 2025-07-03, and so is Monday 2025-06-30."""
    merged = merge_small_periods(days(*[9] * 14, start=date(2025, 6, 23)), 8, grain="month")
    assert merged["period"].tolist() == ["2025-06", "2025-07"]
    assert merged["start"].tolist() == [pd.Timestamp(2025, 6, 23), pd.Timestamp(2025, 6, 30)]


def test_small_months_apart_become_other_periods_without_a_place_in_time() -> None:
    frame = pd.concat([days(4, start=date(1999, 3, 1)), days(20, 20), days(5, start=date(2025, 9, 1))])
    merged = merge_small_periods(frame, 8)
    assert pairs(merged, "period") == {"2025-06-02": 20, "2025-06-03": 20, "other periods": 9}
    assert pd.isna(merged.iloc[-1]["start"]) and pd.isna(merged.iloc[-1]["end"])


@pytest.mark.parametrize(
    ("first_of_small", "shown"),
    [
        (date(2025, 5, 26), {"2025-05-26 to 2025-06-08": 143, "2025-W24": 140, "2025-W25": 140}),
        (date(2025, 6, 30), {"2025-W23": 140, "2025-W24": 140, "2025-06-16 to 2025-06-30": 143}),
    ],
    ids=["the first week", "the last week"],
)
def test_a_lone_small_month_joins_the_week_next_to_it(first_of_small: date, shown: dict[str, int]) -> None:
    frame = pd.concat([days(*[20] * 21), days(3, start=first_of_small)])
    merged = merge_small_periods(frame, 8, grain="week")
    assert pairs(merged, "period") == shown


def test_a_lone_small_month_joins_a_month_where_no_week_is_shown() -> None:
    frame = pd.concat([days(1, 0, 0, 0, 0, 0, 0, 9), days(3, start=date(2025, 7, 7))])
    assert pairs(merge_small_periods(frame, 8), "period") == {"2025-06-02 to 2025-07-07": 13}


def test_too_few_visits_in_all_are_one_row_without_cost() -> None:
    merged = merge_small_periods(days(1, 0, 2).assign(cost=[100, 0, 777]), 8)
    assert pairs(merged, "period") == {"all periods": 3}
    assert merged["cost"].isna().all() and merged["start"].isna().all()


def test_no_days_give_no_periods() -> None:
    merged = merge_small_periods(days(), 8)
    assert merged.empty
    assert list(merged.columns) == ["period", "grain", "start", "end", "days", "visits"]


@settings(deadline=None, max_examples=60)
@given(counts_of_groups, st.integers(1, 12), st.sampled_from(["day", "week", "month"]), st.integers(0, 6))
def test_no_small_period_and_nothing_lost(visits: list[int], minimum: int, grain: str, shift: int) -> None:
    frame = days(*visits, start=MONDAY + timedelta(days=shift)).astype({"visits": "int64"})
    merged = merge_small_periods(frame, minimum, grain=grain)  # type: ignore[arg-type]
    assert_safe(merged, frame, minimum)
    assert merged["days"].sum() == len(visits)


@settings(deadline=None, max_examples=60)
@given(counts_of_groups, st.integers(1, 12))
def test_the_days_shown_and_the_weeks_shown_do_not_betray_a_day(visits: list[int], minimum: int) -> None:
    """A week whose days are shown in part would give the rest away by subtraction."""
    frame = days(*visits)
    by_day, by_week = (merge_small_periods(frame, minimum, grain=grain) for grain in ("day", "week"))  # type: ignore[arg-type]
    weeks = by_week[by_week["grain"] == "week"].set_index("period")["visits"]
    shown = by_day[by_day["grain"] == "day"]
    in_weeks = shown.groupby(shown["start"].dt.strftime("%G-W%V"))["visits"].sum()
    assert in_weeks.to_dict() == weeks[in_weeks.index].to_dict()


# --- bins -------------------------------------------------------------------------------------------------------------


def test_a_small_bin_takes_in_its_right_neighbours_and_the_gap() -> None:
    merged = merge_small_bins(bins(30, 2, 0, 3, 40), "visits", 8)
    assert merged[["lower", "upper", "visits"]].to_numpy().tolist() == [[0, 1, 30], [1, 5, 45]]


def test_the_last_small_bin_joins_to_the_left() -> None:
    merged = merge_small_bins(bins(30, 0, 9, 0, 2), "visits", 8)
    assert merged[["lower", "upper", "visits"]].to_numpy().tolist() == [[0, 1, 30], [1, 2, 0], [2, 5, 11]]


def test_a_lone_small_bin_does_not_tell_where_it_is() -> None:
    merged = merge_small_bins(bins(0, 0, 3, 0), "visits", 8)
    assert merged[["lower", "upper", "visits"]].to_numpy().tolist() == [[0, 4, 3]]


def test_an_open_upper_edge_stays_open() -> None:
    frame = bins(30, 2).assign(upper=[1.0, None])
    assert merge_small_bins(frame, "visits", 8)["upper"].isna().tolist() == [True]


@settings(deadline=None, max_examples=60)
@given(counts_of_groups, st.integers(1, 12))
def test_no_small_bin_and_nothing_lost(visits: list[int], minimum: int) -> None:
    merged = merge_small_bins(bins(*visits), "visits", minimum)
    assert_safe(merged, bins(*visits), minimum)
    assert merged["lower"].tolist()[1:] == merged["upper"].tolist()[:-1]


def assert_safe(merged: pd.DataFrame, frame: pd.DataFrame, minimum: int) -> None:
    total = frame["visits"].sum()
    assert merged["visits"].sum() == total
    shown = merged.loc[merged["visits"] > 0, "visits"]
    assert (shown >= minimum).all() or shown.tolist() == [total]


# --- costs and identifiers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cents", "visits", "shown"),
    [
        (1234567, 7, None),
        (1234567, 8, 12300),
        (98765_43, 9, 98800),
        (4999, 8, 50),
        (-1234567, 8, -12300),
        (None, 9, None),
    ],
)
def test_a_cost_is_shown_to_three_digits_and_never_of_a_small_group(
    cents: int | None, visits: int, shown: int | None
) -> None:
    assert shown_cost(cents, visits, 8) == shown


def test_a_mask_tells_neither_characters_nor_length() -> None:
    assert mask("V-1") == mask("a much longer identifier") == "•••"
    assert mask(None) is None and mask(float("nan")) is None


def test_masked_frames_keep_what_is_missing_and_leave_the_original() -> None:
    frame = pd.DataFrame({"visit_id": ["V1", None], "visits": [1, 2]})
    masked = mask_frame(frame, ["visit_id", "patient_id"])
    assert masked["visit_id"].isna().tolist() == [False, True]
    assert masked["visit_id"][0] == "•••" and frame["visit_id"][0] == "V1"
