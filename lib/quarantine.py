"""The quarantine's life: a refused text is open, superseded by an accepted version, or waived by a person for a time.

An entry is named by the place of a refused row that has its text, DELIVERY:LINE. What a row says is shown to a person
at a terminal, and only after the journal of decisions has noted it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from lib.clock import now
from lib.config import CANONICAL
from lib.content import keeping_content
from lib.counted import counted
from lib.decisions import record_decision
from lib.errors import UsageError
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.provenance import actor
from lib.sql import statement
from lib.warehouse import transaction, writing
from lib.warehouses.interface import Connection

PLACE = re.compile(r"(\d{1,9}):(\d{1,12})", re.ASCII)
REASON = re.compile(r"[a-z_]+")
LONGEST_WAIVER = timedelta(days=366)


@dataclass(frozen=True)
class Place:
    """Where a refused row stood: delivery and physical line. The first place of a text names its entry."""

    delivery: int
    line: int

    def __str__(self) -> str:
        return f"{self.delivery}:{self.line}"


@dataclass(frozen=True)
class Entry:
    """One quarantined text of a source: where it first stood, why it was refused, how it stands on a day.

    `occurrences` are the refused rows with that text, from delivery `place.delivery` to `last_delivery`. `answered_by`
    is the place of the accepted version that superseded it. `cells` are its seven texts, or the malformed line alone:
    a patient's, not to be shown unasked.
    """

    identity: str
    place: Place
    reasons: tuple[str, ...]
    status: str
    last_delivery: int
    occurrences: int
    answered_by: Place | None
    waived_by: str | None
    waived_why: str | None
    waived_until: str | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class InForce:
    """The waivers that count on a day: how many entries, and the first last day among them."""

    entries: int
    next_until: str | None

    @property
    def text(self) -> str:
        if not self.entries:
            return "no waiver is in force"
        return f"{counted(self.entries, 'waived entry', 'waived entries')}, the next until {self.next_until}"


def today() -> str:
    """The day of the machine's clock, UTC."""
    return now().date().isoformat()


def find_entries(
    connection: Connection, source: str, day: str, *, reason: str | None = None, place: Place | None = None
) -> list[Entry]:
    """The entries of `source` as they stand on `day`, by first place; of one reason, or of the row at one place."""
    values = {
        "source": source,
        "today": day,
        "reason": reason,
        "delivery": place and place.delivery,
        "line": place and place.line,
    }
    return [_entry(row) for row in connection.execute(statement("warehouse/quarantine/entries"), values)]


def waivers_in_force(connection: Connection, source: str, day: str) -> InForce:
    """How many entries of `source` a waiver covers on `day`."""
    row = connection.execute(statement("warehouse/quarantine/in_force"), {"source": source, "today": day}).fetchone()
    return InForce(row["entries"], row["next_until"])


def parse_place(text: str) -> Place | None:
    """`3:120` as delivery 3, line 120; None for anything else."""
    found = PLACE.fullmatch(text)
    return Place(int(found[1]), int(found[2])) if found else None


def chosen_entries(connection: Connection, source: str, words: Sequence[str]) -> list[Entry]:
    """The entries at some places, or of one reason, as they stand today. Raises UsageError when there is none."""
    if len(words) == 1 and REASON.fullmatch(words[0]):
        found = find_entries(connection, source, today(), reason=words[0])
        if not found:
            raise UsageError(f"{source} has no quarantined row refused for {words[0]}; see quarantine list.")
        return found
    chosen: dict[str, Entry] = {}
    for word in words:
        place = parse_place(word)
        if place is None:
            raise UsageError(
                "quarantine: name entries as DELIVERY:LINE, like 3:120, or one reason; see quarantine list."
            )
        found = find_entries(connection, source, today(), place=place)
        if not found:
            raise UsageError(f"{source} has no quarantined row at {place}; see quarantine show.")
        chosen[found[0].identity] = found[0]
    return list(chosen.values())


def waive_entries(layout: Layout, source: str, words: Sequence[str], reason: str, until: str) -> str:
    """Let open entries be, up to and with a day; renew waived ones. What was done, in one line.

    Of a reason, those that are open. Raises UsageError for a place without an entry, an entry that an accepted version
    superseded, a day that is not after today or lies over a year ahead.
    """
    _check_day(until)
    with (
        hold_warehouse(layout, "quarantine waive"),
        writing(layout) as connection,
        transaction(connection),
        keeping_content(connection, tables=("quarantine",)),
    ):
        chosen = chosen_entries(connection, source, words)
        if parse_place(words[0]) is None:
            chosen = [each for each in chosen if each.status == "open"]
            if not chosen:
                raise UsageError(f"no row refused for {words[0]} is open; see quarantine show {words[0]}.")
        for each in chosen:
            if each.status == "superseded":
                raise UsageError(f"{each.place} is superseded by {each.answered_by}: there is nothing to waive.")
        places = [str(each.place) for each in chosen]
        decision = record_decision(
            layout,
            "waive",
            source=source,
            entries=places,
            until=until,
            scope=f"quarantine {'entry' if len(places) == 1 else 'entries'} {shortened(places)}, until {until}",
            reason=reason,
        )
        for each in chosen:
            _waive(connection, each.identity, decision)
    what = f"{places[0]} is" if len(places) == 1 else f"{len(places):,} entries are"
    return f"{what} waived until {until} by {actor()}; open again after it."


def apply_waivers(connection: Connection, source: str, decisions: Iterable[dict[str, Any]], day: str) -> None:
    """Mark the entries whose last waiver in the journal still counts on `day`. Changes something only after a lost
    warehouse was filled again, or where a crash came between a decision and its mark."""
    last: dict[str, dict[str, Any]] = {}
    for each in decisions:
        if each.get("decision") != "waive" or each.get("source") != source:
            continue
        for place in filter(None, map(parse_place, each.get("entries", []))):
            values = {"source": source, "delivery": place.delivery, "line": place.line}
            row = connection.execute(statement("warehouse/quarantine/identity_at"), values).fetchone()
            if row:
                last[row["identity"]] = each
    for identity, each in last.items():
        if each["until"] >= day:
            _waive(connection, identity, each)


def shortened(places: Sequence[str], most: int = 20) -> str:
    """Some places as one text: all of a few, else the first ones and how many more."""
    more = len(places) - most
    return ", ".join(places[:most]) + (f" and {more:,} more" if more > 0 else "")


def _waive(connection: Connection, identity: str, decision: dict[str, Any]) -> None:
    values = {
        "identity": identity,
        "waived_by": decision["actor"],
        "waived_at": decision["time"],
        "waived_why": decision["reason"],
        "waived_until": decision["until"],
    }
    connection.execute(statement("warehouse/quarantine/waive"), values)


def _check_day(until: str) -> None:
    try:
        day = date.fromisoformat(until)
    except ValueError:
        day = None
    if day is None or day.isoformat() != until:
        raise UsageError("--until: write a day like 2026-01-31.")
    first = now().date()
    if not first < day <= first + LONGEST_WAIVER:
        raise UsageError(f"--until: must be a day after today, at the latest {first + LONGEST_WAIVER}.")


def _entry(row: Any) -> Entry:
    answered = row["superseded_by_seq"]
    cells = (row["malformed"],) if row["malformed"] is not None else tuple(row[name] or "" for name in CANONICAL)
    return Entry(
        identity=row["identity"],
        place=Place(row["first_delivery_seq"], row["first_source_line"]),
        reasons=tuple(row["reasons"].split()),
        status=row["status"],
        last_delivery=row["last_delivery_seq"],
        occurrences=row["occurrences"],
        answered_by=None if answered is None else Place(answered, row["superseded_by_line"]),
        waived_by=row["waived_by"],
        waived_why=row["waived_why"],
        waived_until=row["waived_until"],
        cells=cells,
    )
