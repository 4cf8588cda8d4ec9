"""Declared date formats, and the civil clock of a time zone. Pure functions, no engine."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
ZONE = r"(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)"
ISO = rf"\d{{4}}-\d{{2}}-\d{{2}}([T ]{CLOCK}{ZONE}?)?"
"""A civil date, optionally a time of day, optionally a zone. ASCII digits only, whatever the engine calls a digit."""

DIRECTIVES = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{2}",
    "%-m": r"\d{1,2}",
    "%d": r"\d{2}",
    "%-d": r"\d{1,2}",
    "%b": r"[A-Za-z]{3}",
    "%B": r"[A-Za-z]{3,9}",
    "%H": r"\d{2}",
    "%-H": r"\d{1,2}",
    "%I": r"\d{2}",
    "%-I": r"\d{1,2}",
    "%p": r"[AaPp][Mm]",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%f": r"\d{1,6}",
}
"""The strptime directives that may be declared, each with the only text it accepts."""


PARTS = {"year": "Yy", "month": "mbB", "day": "d", "hour": "HI", "minute": "M", "second": "S", "fraction": "f"}
"""What a directive gives, by its letter. No `%j`: of day 366 of a common year, engines make 1 January."""


def check_format(declared: str) -> None:
    """Raise ValueError when a declared format is neither `iso` nor made of known directives that give one whole date.

    A part given twice is a slip (`%m` for `%M`), and engines would quietly let the last one win.
    """
    if declared == "iso":
        return
    pattern_of(declared)
    letters = re.findall(r"%-?([A-Za-z])", declared.replace("%%", ""))
    times = {part: sum(letter in those for letter in letters) for part, those in PARTS.items()}
    if not (times["year"] and times["month"] and times["day"]):
        raise ValueError(f"date format {declared!r} needs a year, a month and a day (%Y %m %d)")
    if twice := [part for part, count in times.items() if count > 1]:
        raise ValueError(f"date format {declared!r} gives the {twice[0]} twice (%m is the month, %M the minute)")
    if letters.count("p") != letters.count("I"):
        raise ValueError(f"date format {declared!r} must have %I (hour to 12) together with %p (AM or PM), or %H alone")


def pattern_of(declared: str) -> str:
    """The regular expression (RE2 and Python alike) that a whole value of a declared format matches."""
    if declared == "iso":
        return ISO
    parts = re.split(r"(%-?[A-Za-z%])", declared)
    pattern = []
    for part in parts:
        if part == "%%":
            pattern.append("%")
        elif "%" in part:
            if part not in DIRECTIVES:
                raise ValueError(f"date format {declared!r} has {part}; known are {' '.join(DIRECTIVES)}")
            pattern.append(DIRECTIVES[part])
        else:
            pattern.append(re.sub(r"([^\w\s/-])", r"\\\1", part))
    return "".join(pattern).replace(r"\d", "[0-9]")


def offset_steps(timezone: str, first_year: int = 1800, last_year: int = 2100) -> list[tuple[datetime, int]]:
    """The zone's offset as steps of local wall time: `(from this local time on, seconds east of UTC)`, ascending.

    A repeated local hour is the earlier instant and a skipped one takes the offset before the gap (PEP 495, fold=0),
    so each change of offset takes effect at the later of the two wall times it connects. The first step, local mean
    time for most zones, reaches back for ever. The last year's offset goes on.
    """
    zone = ZoneInfo(timezone)

    def offset(instant: datetime) -> timedelta:
        return instant.astimezone(zone).utcoffset() or timedelta(0)

    day = timedelta(days=1)
    start = datetime(first_year, 1, 1, tzinfo=UTC)
    end = datetime(last_year, 1, 1, tzinfo=UTC)
    steps = [(datetime(1, 1, 1), int(offset(start).total_seconds()))]
    before, instant = offset(start), start
    while instant < end:
        after = offset(instant + day)
        if after != before:
            low, high = instant, instant + day
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(middle) == before else (low, middle)
            steps.append(((high + max(before, after)).replace(tzinfo=None), int(after.total_seconds())))
        before, instant = after, instant + day
    return steps
