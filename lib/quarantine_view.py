"""The quarantine on a terminal: counts, entries by their place, and row text only where a person asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lib.clock import parse_instant, short_instant
from lib.deliveries import read_ledger
from lib.layout import Layout
from lib.quarantine import Entry, chosen_entries, find_entries, shortened, today, waivers_in_force
from lib.reveal import allow_reveal, require_terminal
from lib.terminal import consoles
from lib.warehouse import reading

STATUSES = ("open", "waived", "superseded")
MOST_SHOWN = 200


def print_quarantine(layout: Layout, source: str) -> None:
    """Print how many entries stand how, by reason, which is open longest, and the waivers in force. No row text."""
    out, _ = consoles()
    with reading(layout) as connection:
        entries = find_entries(connection, source, today())
        in_force = waivers_in_force(connection, source, today())
    if not entries:
        out.print(f"{source}: no row was ever refused")
        return
    totals = Counter(each.status for each in entries)
    out.print(f"{source}: {', '.join(f'{totals[status]:,} {status}' for status in STATUSES)}", soft_wrap=True)
    table = _table(("reason", *STATUSES, "first delivery", "last delivery"), numbers=(1, 2, 3, 4, 5))
    for reason in sorted({reason for each in entries for reason in each.reasons}):
        those = [each for each in entries if reason in each.reasons]
        counts = Counter(each.status for each in those)
        first, last = min(each.place.delivery for each in those), max(each.last_delivery for each in those)
        table.add_row(reason, *(f"{counts[status]:,}" for status in STATUSES), str(first), str(last))
    out.print(table)
    if oldest := next((each for each in entries if each.status == "open"), None):
        clocks = {each.sequence: each.clock for each in read_ledger(layout, source)}
        since = short_instant(parse_instant(clocks[oldest.place.delivery]))
        out.print(f"oldest open: {oldest.place} since {since}, {', '.join(oldest.reasons)}", soft_wrap=True)
    out.print(in_force.text)


def print_entries(layout: Layout, source: str, words: Sequence[str], *, reveal: bool) -> None:
    """Print a line an entry: those named, else all that no version superseded. Row text with `reveal`, noted first.

    Raises UsageError for a place or a reason without an entry, for a reveal away from a terminal, and where it cannot
    be noted.
    """
    if reveal:
        require_terminal()
    out, _ = consoles()
    with reading(layout) as connection:
        if words:
            entries = chosen_entries(connection, source, words)
        else:
            entries = [each for each in find_entries(connection, source, today()) if each.status != "superseded"]
    shown = entries[:MOST_SHOWN]
    if reveal and shown:
        places = shortened([str(each.place) for each in shown])
        allow_reveal(layout, source, f"quarantine {places}")
    table = _table(
        ("entry", "reasons", "status", "last delivery", "rows", "answered by", "waived until", "by", "why"),
        numbers=(3, 4),
    )
    for each in shown:
        table.add_row(*map(Text, _cells(each)))
        if reveal:
            table.add_row("", Text(_inert(" | ".join(each.cells)), style="dim"))
    out.print(table if shown else f"{source}: nothing is in quarantine but what later versions superseded")
    if len(entries) > len(shown):
        out.print(f"and {len(entries) - len(shown):,} more: name a reason, or entries as DELIVERY:LINE")


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.place),
        ", ".join(entry.reasons),
        entry.status,
        str(entry.last_delivery),
        f"{entry.occurrences:,}",
        str(entry.answered_by or ""),
        entry.waived_until or "",
        entry.waived_by or "",
        entry.waived_why or "",
    )


def _inert(text: str) -> str:
    """A row's text without anything that a terminal would act upon."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _table(names: Sequence[str], numbers: Sequence[int]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for at, name in enumerate(names):
        table.add_column(name, justify="right" if at in numbers else "left", overflow="fold")
    return table
