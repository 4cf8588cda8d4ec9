"""Declared date formats as Spark SQL. Its own patterns read other texts than strptime does: so each part is taken out
by the regular expression that the whole text matched, and the parts are cast as one ISO text."""

from __future__ import annotations

import re

from lib import dates

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip


def literal(text: str) -> str:
    """A quoted SQL string: a backslash would escape what follows it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def declared_clock(value: str, declared: str) -> str:
    """The SQL of `value` as a timestamp by strptime directives; null where it is not whole, or not real."""
    pattern, parts = _groups(declared)

    def part(*letters: str) -> str | None:
        found = [f"regexp_extract({value}, {literal(pattern)}, {parts[each]})" for each in letters if each in parts]
        return found[0] if found else None

    if year := part("y"):  # POSIX: 69 to 99 are the last century's
        century = f"CASE WHEN {year} >= '69' THEN '19' ELSE '20' END"
        year = f"concat({century}, {year})"
    else:
        year = f"nullif({part('Y')}, '0000')"
    clock = [_hour(part("H"), part("I"), part("p")), _two(part("M")), _two(part("S"))]
    date = f"{year}, '-', {_month(part('m'), part('b'), part('B'))}, '-', {_two(part('d'))}"
    fraction = f"'.', rpad({part('f')}, 6, '0')" if part("f") else "''"
    text = f"concat({date}, ' ', {clock[0]}, ':', {clock[1]}, ':', {clock[2]}, {fraction})"
    whole = literal(dates.pattern_of(declared))
    return f"CASE WHEN full_match({value}, {whole}) THEN try_cast({text} AS TIMESTAMP_NTZ) END"


def _groups(declared: str) -> tuple[str, dict[str, int]]:
    """The whole pattern of a format with a group about each directive, and the group of each by its letter."""
    groups: dict[str, int] = {}
    pieces = []
    for piece in re.split(r"(%-?[A-Za-z%])", declared):
        found = dates.pattern_of(piece) if piece else ""
        if piece.startswith("%") and piece != "%%":
            groups[piece[-1]] = len(groups) + 1
            found = f"({found})"
        pieces.append(found)
    return rf"\A{''.join(pieces)}\z", groups


def _two(digits: str | None) -> str:
    return f"lpad({digits}, 2, '0')" if digits else "'00'"


def _month(number: str | None, short: str | None, long: str | None) -> str:
    if number:
        return _two(number)
    names = ", ".join(literal(each[:3] if short else each) for each in MONTHS)
    return f"lpad(CAST(nullif(array_position(array({names}), lower({short or long})), 0) AS STRING), 2, '0')"


def _hour(of_day: str | None, to_twelve: str | None, half: str | None) -> str:
    if of_day:
        return _two(of_day)
    if not to_twelve:
        return "'00'"
    hour = f"try_cast({to_twelve} AS INT)"
    moved = f"{hour} % 12 + CASE WHEN lower({half}) = 'pm' THEN 12 ELSE 0 END"
    return f"CASE WHEN {hour} BETWEEN 1 AND 12 THEN lpad(CAST({moved} AS STRING), 2, '0') END"
