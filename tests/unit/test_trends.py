"""Small pictures over runs: where the points lie, and what is said of them."""

from __future__ import annotations

import pytest

from lib.trends import MOST_RUNS, Reading, draw_trend


def whole(value: float) -> str:
    return f"{value:.0f} rows"


def test_a_line_rises_from_zero_to_the_highest_value_with_the_newest_at_the_right() -> None:
    trend = draw_trend("Rows", [Reading(0), Reading(50), Reading(100)], whole, width=108, height=58)
    assert trend.lines == ("4.0,54.0 54.0,29.0 104.0,4.0",)
    assert trend.dots == ((4.0, 54.0, False), (54.0, 29.0, False), (104.0, 4.0, False))
    assert (trend.newest, trend.words) == (
        "100 rows",
        "Rows: 100 rows in the newest, from 0 rows to 100 rows in 3 of 3 runs",
    )


def test_a_run_without_a_value_leaves_a_gap_and_one_alone_is_a_dot() -> None:
    trend = draw_trend("Rows", [Reading(1), Reading(1), Reading(None), Reading(1)], whole)
    assert len(trend.lines) == 1 and len(trend.dots) == 3
    assert trend.words.endswith("3 of 4 runs")


def test_the_limit_counts_for_the_height_and_what_failed_is_marked_and_said() -> None:
    trend = draw_trend("Share", [Reading(1, limit=2), Reading(3, True, 2), Reading(None, limit=4)], whole, bad="failed")
    assert trend.dots[1] == (120.0, 16.0, True)
    assert trend.limits == ("4.0,28.0 120.0,28.0 236.0,4.0",)
    assert trend.words.endswith("; 1 failed")


@pytest.mark.parametrize("readings", [[], [Reading(None)], [Reading(None, limit=5), Reading(None, limit=5)]])
def test_without_a_value_there_is_no_picture_and_it_says_so(readings: list[Reading]) -> None:
    trend = draw_trend("Rows", readings, whole)
    assert (trend.lines, trend.limits, trend.dots) == ((), (), ())
    assert (trend.newest, trend.words) == ("no value yet", "Rows: no value yet")


def test_only_zeros_and_only_one_run_can_be_drawn() -> None:
    assert draw_trend("Rows", [Reading(0), Reading(0)], whole).lines == ("4.0,52.0 236.0,52.0",)
    assert draw_trend("Rows", [Reading(7)], whole).dots == ((4.0, 4.0, False),)


def test_of_many_runs_the_newest_are_drawn_with_dots_where_it_matters() -> None:
    readings = [Reading(number, bad=number == 150) for number in range(200)]
    trend = draw_trend("Rows", readings, whole)
    assert trend.lines[0].count(",") == MOST_RUNS
    assert [bad for *_, bad in trend.dots] == [True, False]
    assert f"{200 - MOST_RUNS} rows to 199 rows" in trend.words
