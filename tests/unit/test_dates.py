"""Declared formats, and a zone's offsets as steps of wall time."""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config import settings_from
from lib.dates import ISO, check_format, offset_steps, pattern_of
from lib.errors import UsageError

ZONES = (
    "UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe",
    "Asia/Kathmandu", "Africa/Casablanca", "Africa/Monrovia", "Pacific/Apia", "Antarctica/Troll",
)  # fmt: skip
STEPS = {zone: offset_steps(zone) for zone in ZONES}


def by_steps(zone: str, local: datetime) -> int:
    starts = [start for start, _ in STEPS[zone]]
    return STEPS[zone][bisect_right(starts, local) - 1][1]


def by_zoneinfo(zone: str, local: datetime) -> int:
    offset = local.replace(tzinfo=ZoneInfo(zone), fold=0).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


@pytest.mark.parametrize("zone", ZONES)
def test_steps_are_the_zone_around_every_change(zone: str) -> None:
    """Fold 0: a repeated hour is the earlier instant, a skipped one takes the offset before the gap."""
    assert STEPS[zone] == sorted(STEPS[zone])
    for start, _ in STEPS[zone][1:]:
        for minutes in range(-200, 201, 5):
            for second in (-1, 0):
                local = start + timedelta(minutes=minutes, seconds=second)
                assert by_steps(zone, local) == by_zoneinfo(zone, local), local


@given(local=st.datetimes(datetime(1, 1, 1), datetime(2099, 12, 31)), zone=st.sampled_from(ZONES))
def test_steps_are_the_zone_at_any_time(local: datetime, zone: str) -> None:
    assert by_steps(zone, local) == by_zoneinfo(zone, local)


def test_steps_by_hand() -> None:
    steps = dict(offset_steps("Europe/Berlin", 2024, 2025))
    assert steps == {
        datetime(1, 1, 1): 3600,
        datetime(2024, 3, 31, 3): 7200,  # 02:00 jumps to 03:00
        datetime(2024, 10, 27, 3): 3600,  # 03:00 falls back to 02:00; the first 02:30 is still summer's
    }
    assert offset_steps("UTC") == [(datetime(1, 1, 1), 0)]


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("%m/%d/%Y", "12/06/2025"),
        ("%-d.%-m.%y", "6.12.25"),
        ("%d-%b-%Y %I:%M %p", "06-Dec-2025 09:05 PM"),
        ("%Y%m%dT%H%M%S.%f", "20251206T210500.5"),
        ("%d%%%m(%Y)", "06%12(2025)"),
        ("%d. %B %Y", "06. December 2025"),
        ("%Y年%m月%d日", "2025年12月06日"),
    ],
)
def test_a_declared_format_matches_whole_texts_only(declared: str, text: str) -> None:
    check_format(declared)
    assert re.fullmatch(pattern_of(declared), text)
    for other in (
        text + "x",
        text + "\n",
        " " + text,
        text.replace("2", "２", 1),
        text[:-1] + "x",
        text.replace(".", "x"),
        "",
    ):
        assert other == text or not re.fullmatch(pattern_of(declared), other), other


@pytest.mark.parametrize("text", ["2025-12-06", "2025-12-06T12:00", "2025-12-06 23:59:59.999999999-05:30"])
def test_iso(text: str) -> None:
    check_format("iso")
    assert pattern_of("iso") == ISO and re.fullmatch(ISO, text)


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("", "needs a year, a month and a day"),
        ("yyyy-mm-dd", "needs a year, a month and a day"),
        ("%Y-%m", "needs a year, a month and a day"),
        ("%d.%m.", "needs a year, a month and a day"),
        ("%%Y-%%m-%%d", "needs a year, a month and a day"),
        ("%Y-%m-%d %H:%m", "gives the month twice (%m is the month, %M the minute)"),
        ("%y%Y-%m-%d", "gives the year twice"),
        ("%-d.%b.%Y %d", "gives the day twice"),
        ("%Y-%m-%d %I:%M", "must have %I (hour to 12) together with %p"),
        ("%Y-%m-%d %H:%M %p", "must have %I (hour to 12) together with %p"),
        ("%Y-%m-%d %z", "has %z; known are %Y %y"),
        ("%Y-%j", "has %j"),
        ("%-Y-%m-%d", "has %-Y"),
        ("%Y-%m-%d%", "has %"),
        ("%Y-%m-%d %", "has  %"),
        ("%Y-%m-%d %1", "has  %1"),
        ("ISO", "needs a year"),
    ],
)
def test_a_format_that_cannot_be_declared(declared: str, said: str) -> None:
    with pytest.raises(ValueError, match="date format") as caught:
        check_format(declared)
    assert said in str(caught.value)
    with pytest.raises(UsageError, match=r"^config\.yaml: formats\.last_updated: date format"):
        settings_from({"formats": {"last_updated": ["iso", declared]}}, "config.yaml")
