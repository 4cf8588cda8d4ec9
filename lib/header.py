"""The header of a delivery: which field holds which column. Names are matched, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from lib.config import CANONICAL, REQUIRED, Settings
from lib.errors import DeliveryRefused

MAX_NAMES_SHOWN = 30
MAX_NAME_LENGTH = 64
DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def trimmed(name: str) -> str:
    """A header name as it is compared and shown: without surrounding space and tab."""
    return name.strip(" \t")


def match_header(
    header: Sequence[str], settings: Settings, name: str, *, may_lack: Collection[str] = (), of_text: bool = True
) -> dict[str, int]:
    """Our name of every wanted column → index of its field in `header`, one-to-one; `may_lack` columns may be missing.

    A field is a column's when it equals the configured name after trimming space and tab and ignoring case. `name` is
    the delivery's name in messages. Raises DeliveryRefused when a column is missing, ambiguous or duplicated. Names
    from the file are shown only when an expected one is among them: the first row of a headerless file is a patient.
    Nor is a name with a digit shown, nor any beside what looks like a value: a row may have run into the header.
    `of_text`: whether the header is the first row of a text, so that a delimiter or the row itself may be wrong.
    """
    fields = [trimmed(field) for field in header]
    keys = [field.casefold() for field in fields]
    wanted = {ours: trimmed(theirs).casefold() for ours, theirs in settings.wanted.items()}
    if not set(wanted.values()) & set(keys):
        raise DeliveryRefused(f"{name}: {_unrecognised(fields, settings, of_text)}")
    missing = [ours for ours, key in wanted.items() if key not in keys and ours not in may_lack]
    if missing:
        unclaimed = [at for at, key in enumerate(keys) if fields[at] and key not in wanted.values()]
        raise DeliveryRefused(f"{name}: {_missing(missing, _tellable(fields, unclaimed), settings)}")
    doubled = [fields.index(field) for field, times in Counter(fields).items() if field and times > 1]
    if doubled:
        raise DeliveryRefused(
            f"{name}: the header repeats {_names(_tellable(fields, doubled))}. Have it sent with each name once."
        )
    for ours, key in wanted.items():
        rivals = [field for field, each in zip(fields, keys, strict=True) if each == key]
        if len(rivals) > 1:
            raise DeliveryRefused(
                f"{name}: {ours} is ambiguous, the header has {_names(rivals)}. Have it sent with one of them."
            )
        sharers = [each for each, other in wanted.items() if other == key]
        if len(sharers) > 1:
            raise DeliveryRefused(
                f"{name}: {_names(sharers)} are all mapped to one column, {_names([settings.wanted[ours]])}. "
                "Map each to its own in the config."
            )
    return {ours: keys.index(key) for ours, key in wanted.items() if key in keys}


def _unrecognised(fields: list[str], settings: Settings, of_text: bool) -> str:
    """What to say of a first row that may be a patient's: nothing that is in it."""
    expected = settings.wanted.values()
    if not of_text:
        return (
            f"none of the {len(expected)} expected columns ({_names(expected)}) is in it. "
            "Map its names under 'columns' in the config."
        )
    configured = settings.source.delimiter
    others = [mark for mark in DELIMITERS if mark != configured and mark in "".join(fields)]
    if len(fields) == 1 and others:
        return (
            f"the header is one field with {DELIMITERS[others[0]]} in it; the delimiter configured is {configured!r}. "
            "Set 'delimiter' under 'source' in the config."
        )
    return (
        f"none of the {len(expected)} expected columns ({_names(expected)}) is in the first row. "
        "Have it sent with a header row, or map its names under 'columns' in the config."
    )


def _missing(missing: list[str], unclaimed: list[str], settings: Settings) -> str:
    """The columns that are not there, by the source's name; the fields that nothing claims, likely their new names."""
    named = [(ours, settings.wanted[ours]) for ours in missing]
    expected = [theirs if ours == theirs else f"{theirs} for {ours}" for ours, theirs in named]
    kind = "required" if set(missing) <= set(REQUIRED) else "expected"
    are = "column is" if len(missing) == 1 else "columns are"
    found = f"found {_names(unclaimed)}" if unclaimed else "found no other column"
    section = "columns" if set(missing) & set(CANONICAL) else "carry"
    return (
        f"{len(missing)} {kind} {are} missing ({_names(expected)}); {found}. "
        f"Map {'it' if len(missing) == 1 else 'them'} under '{section}' in the config."
    )


def _tellable(fields: list[str], places: list[int]) -> list[str]:
    """The names at `places`, or the places themselves of those that may be values of a row that ran into the header.

    Ids, dates, costs and codes have digits. A field that begins with one, or spans lines, is no name: nothing is told.
    """
    row_ran_in = any(field[:1].isdigit() or len(field.splitlines()) > 1 for field in fields)
    return [
        f"column {at + 1}" if row_ran_in or any(each.isdigit() for each in fields[at]) else fields[at] for at in places
    ]


def _names(names: Iterable[str]) -> str:
    """Names for one line of a message: few, short, nothing that a terminal would act upon."""
    listed = list(names)
    shown = ", ".join(_shown(each) for each in listed[:MAX_NAMES_SHOWN])
    more = len(listed) - MAX_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _shown(text: str) -> str:
    cut = text if len(text) <= MAX_NAME_LENGTH else text[:MAX_NAME_LENGTH] + "…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)
