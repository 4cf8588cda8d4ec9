"""The window: where it begins, and how the watermark moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lib.window import Window, next_watermark

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def test_the_cutoff_is_the_watermark_less_the_lookback_to_the_microsecond() -> None:
    assert Window(NOON + MICROSECOND, 24).cutoff == datetime(2025, 2, 28, 12, 0, 0, 1, tzinfo=UTC)
    assert Window(NOON, 0).cutoff == NOON
    assert Window(NOON, 0.5).cutoff == NOON - timedelta(minutes=30)


def test_without_a_watermark_every_row_is_inside() -> None:
    assert Window(None, 24).cutoff is None


def test_a_lookback_longer_than_time_itself_stops_at_its_beginning() -> None:
    first = datetime.min.replace(tzinfo=UTC)
    assert Window(first + timedelta(hours=1), 24).cutoff == first
    assert Window(NOON, 24 * 3660 * 1000).cutoff == first


@pytest.mark.parametrize(
    ("old", "newest", "as_of", "expected"),
    [
        (None, None, NOON, None),
        (None, NOON, NOON + MICROSECOND, NOON),
        (None, NOON + MICROSECOND, NOON, NOON),  # never past the clock
        (NOON, None, NOON + MICROSECOND, NOON),  # a run that loaded nothing
        (NOON, NOON - MICROSECOND, NOON, NOON),  # never falls
        (NOON, NOON + MICROSECOND, NOON + timedelta(1), NOON + MICROSECOND),
        (NOON, NOON + timedelta(2), NOON - timedelta(1), NOON),  # a clock behind the watermark
    ],
)
def test_the_watermark_follows_the_data_but_never_falls_nor_passes_the_clock(
    old: datetime | None, newest: datetime | None, as_of: datetime, expected: datetime | None
) -> None:
    assert next_watermark(old, newest, as_of) == expected
