"""How unusual a delivery's number of rows is, beside those like it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.deliveries import Delivery, Standing
from lib.volume import JUDGED_FROM, JUDGED_OF, comparable_rows, row_count_deviation, usual_rows

LIMIT = 6
COUNTS = st.integers(0, 10_000)
HISTORY = st.lists(COUNTS, min_size=JUDGED_FROM, max_size=JUDGED_OF)
VARIED = [96, 104, 99, 101, 90, 110, 98, 102]


def deviation(rows: int, comparable: list[int], deliveries: int = 1) -> float:
    found = row_count_deviation(rows, comparable, deliveries)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("case", "rows", "comparable", "is_unusual"),
    [
        ("constant, the same", 100, [100] * 8, False),
        ("constant, one more", 101, [100] * 8, False),
        ("constant, one less of one", 0, [1] * 8, False),
        ("constant and few, a handful", 7, [1] * 8, False),
        ("constant, far more", 161, [100] * 8, True),
        ("constant, far fewer", 39, [100] * 8, True),
        ("constant but for one, which says nothing", 140, [100] * 13 + [900], False),
        ("varied, within", 130, VARIED, False),
        ("varied, tripled", 300, VARIED, True),
        ("varied, nearly nothing", 10, VARIED, True),
        ("nothing, then some", 7, [0] * 8, True),
    ],
)
def test_what_is_unusual(case: str, rows: int, comparable: list[int], is_unusual: bool) -> None:
    assert (deviation(rows, comparable) > LIMIT) is is_unusual, case


def test_the_score_by_hand() -> None:
    # Sorted: 90 96 98 99 101 102 104 110; median 100; distances 10 4 2 1 1 2 4 10: their median 3.
    spread = 1.4826 * 3
    assert deviation(150, VARIED) == pytest.approx(50 / max(spread, 10))
    assert deviation(2000, [1000, 1600, 400, 1300, 700, 1900, 100, 1000]) == pytest.approx(1000 / (1.4826 * 450))
    assert deviation(4, [2] * 8) == 2


def test_too_few_deliveries_are_no_measure() -> None:
    assert row_count_deviation(5000, [100] * 7) is None and row_count_deviation(5000, []) is None
    assert row_count_deviation(5000, [100] * 8) is not None


def test_only_the_newest_are_looked_at_so_that_a_lasting_change_becomes_usual() -> None:
    comparable = [100] * 30
    warned = 0
    while deviation(300, comparable) > LIMIT:
        comparable.append(300)
        warned += 1
    assert warned == 7 and usual_rows(comparable) == 300
    assert usual_rows([]) is None


def test_several_deliveries_are_judged_as_their_mean() -> None:
    assert deviation(600, VARIED, 3) == deviation(200, VARIED)
    assert deviation(300, VARIED, 3) == 0


@given(COUNTS, HISTORY, st.randoms())
def test_the_order_of_the_deliveries_says_nothing(rows: int, comparable: list[int], random: Any) -> None:
    shuffled = comparable.copy()
    random.shuffle(shuffled)
    assert deviation(rows, shuffled) == deviation(rows, comparable)


@given(COUNTS, HISTORY, st.integers(2, 50))
def test_ten_times_the_clinic_is_as_usual(rows: int, comparable: list[int], factor: int) -> None:
    """In proportion, but for the floor of one row, which matters less the more rows there are."""
    small = deviation(rows, comparable)
    large = deviation(rows * factor, [each * factor for each in comparable])
    assert large >= small or large == pytest.approx(small)
    if sum(each >= 10 for each in comparable) > len(comparable) / 2:  # a median of ten rows: a floor of one
        assert large == pytest.approx(small)


@given(COUNTS, COUNTS, HISTORY)
def test_the_further_off_the_more_unusual(one: int, other: int, comparable: list[int]) -> None:
    ordered = sorted(comparable)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    nearer, further = sorted((one, other), key=lambda rows: abs(rows - middle))
    assert deviation(nearer, comparable) <= deviation(further, comparable)


@given(COUNTS, HISTORY)
def test_it_is_a_number_that_can_be_compared(rows: int, comparable: list[int]) -> None:
    assert 0 <= deviation(rows, comparable) <= 10_000


def standing(rows_read: int | None, **changes: Any) -> Standing:
    delivery = Delivery("clinic", 1, "visits.csv", "0" * 64, 1, "snapshot.csv", "2025-03-01T00:00:00Z", "000001")
    return Standing(delivery, **{"status": "loaded", "rows_read": rows_read, "comparable": True, **changes})


def test_comparable_are_loaded_deliveries_of_the_same_kind() -> None:
    known = [
        standing(60, comparable=False),  # the first load, or a full refresh
        standing(11),
        standing(900, status="held"),
        standing(901, status="refused"),
        standing(902, status="discarded"),
        standing(903, status="pending"),
        standing(0),
        standing(None),
        standing(12),
    ]
    assert comparable_rows(known) == [11, 0, 12]
