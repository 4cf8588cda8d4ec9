"""Random histories of a source over small domains, where ties, gaps and repeats are common. Independent of `lib`.

A history is a list of steps: files put into a folder, runs, some of which die, and decisions about deliveries. `play`
drives a model through it; a pipeline test does the same with the pipeline (`text_of` is the file's content) and
compares after every run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Literal

from hypothesis import strategies as st

from tests.model import Model, Result
from tests.model_rows import COLUMNS, Line, Row

Item = dict[str, str] | str | None
"""One line of a file to be written: cells by canonical name, a malformed record's physical text, or a blank line."""


@dataclass(frozen=True)
class Deliver:
    """A file appears in the source's folder, or is replaced."""

    path: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Dies:
    """Where a run dies: after it has `taken` deliveries, `staged` them, in its `commit` before the step of this number
    (counted round), or `committed`, before any copy is made."""

    at: Literal["taken", "staged", "commit", "committed"]
    step: int = 0


@dataclass(frozen=True)
class Run:
    as_of: datetime
    full_refresh: bool = False
    accept: tuple[str, ...] = ()
    dies: Dies | None = None


@dataclass(frozen=True)
class Decide:
    """A person discards a delivery that waits, or reinstates a discarded one; `pick`: which of them, counted round."""

    word: Literal["discard", "reinstate"]
    pick: int


@dataclass(frozen=True)
class Waive:
    """A person lets an unanswered quarantine entry be until a day; `pick`: which of them by place, counted round."""

    pick: int
    until: date


Step = Deliver | Run | Decide | Waive
RULES = ("zero_row_load", "refused_share", "missing_required_share", "invalid_visit_date_share")
"""The gate rules that random rows can break."""


def to_csv(
    items: Iterable[Item],
    names: Mapping[str, str | None] | None = None,
    newline: str = "\n",
    final_newline: bool = True,
    delimiter: str = ",",
) -> tuple[str, list[Row]]:
    """The file's text (write it as bytes) and its records with their physical lines; the header is line 1."""
    headers = {name: name for name in COLUMNS} if names is None else {k: v for k, v in names.items() if v is not None}
    lines, rows, line = [delimiter.join(_quoted(each, delimiter) for each in headers.values())], [], 2
    for item in items:
        if isinstance(item, dict):
            rows.append(Row(line, {name: item.get(name, "") for name in headers}))
            text = delimiter.join(_quoted(item.get(name, ""), delimiter) for name in headers)
        else:
            text = item or ""
            if item is not None:
                rows.append(Row(line, malformed=text))
        lines.append(text)
        line += 1 + len(re.findall(r"\r\n|\r|\n", text))
    return newline.join(lines) + (newline if final_newline else ""), rows


def _quoted(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & {delimiter, '"', "\n", "\r"} else cell


def text_of(step: Deliver, names: Mapping[str, str | None] | None = None) -> str:
    return to_csv(step.items, names)[0]


def play(history: Iterable[Step], model: Model) -> Iterator[tuple[Run, Result]]:
    """Each run of the history that ends, with the model's result; the model's tables are those after that run.

    A run that has nothing to read, or nothing to accept, is none.
    """
    folder: dict[str, tuple[str, list[Row]]] = {}
    for step in history:
        if isinstance(step, Deliver):
            folder[step.path] = to_csv(step.items, model.names)
            continue
        if isinstance(step, Decide):
            decide(step, model)
            continue
        if isinstance(step, Waive):
            waive(step, model)
            continue
        model.take(folder, step.as_of)
        if not model.batch(step.full_refresh, step.accept):
            continue
        would_be = deepcopy(model)
        result = would_be.run(step.as_of, full_refresh=step.full_refresh, accept=step.accept)
        if survives(step, result):
            model.__dict__.update(would_be.__dict__)
        if ends(step, result):
            yield step, result


def ends(run: Run, result: Result) -> bool:
    """Whether the run lives to its end: what dies in the commit does not where the gate lets nothing in."""
    return run.dies is None or (run.dies.at in ("commit", "committed") and not result.passed)


def survives(run: Run, result: Result) -> bool:
    """Whether what the run would do is done, though it may die."""
    return ends(run, result) or (run.dies is not None and run.dies.at == "committed")


def decide(step: Decide, model: Model) -> int | None:
    """Decide about a delivery of the model; its sequence, or None where there is none to decide about."""
    statuses = ("pending", "held") if step.word == "discard" else ("discarded",)
    candidates = [sequence for sequence, each in model.deliveries.items() if each.status in statuses]
    if not candidates:
        return None
    sequence = candidates[step.pick % len(candidates)]
    (model.discard if step.word == "discard" else model.reinstate)(sequence)
    return sequence


def waive(step: Waive, model: Model) -> Line | None:
    """Waive an entry of the model; where its text first stood, or None where there is none to waive."""
    entries = sorted(model.entries.values(), key=lambda entry: entry.first)
    candidates = [entry for entry in entries if entry.status != "superseded"]
    if not candidates:
        return None
    entry = candidates[step.pick % len(candidates)]
    model.waive(entry, step.until)
    return entry.first


# Small domains

BASE = datetime(2025, 12, 6, 12, tzinfo=UTC)
MICROSECOND, HOUR = timedelta(microseconds=1), timedelta(hours=1)
OFFSETS = (-60 * HOUR, -24 * HOUR - MICROSECOND, -24 * HOUR, -21 * HOUR, 0 * HOUR, MICROSECOND, 3 * HOUR)
"""Stamps from BASE. With the watermark at BASE and 24 h of lookback: late, just outside, at the cutoff, inside, tied, a
microsecond on; the last is in the future of a run at BASE, and puts the next cutoff exactly at -21 h."""
ADVANCES = (0 * HOUR, timedelta(minutes=3), 3 * HOUR, 25 * HOUR, 72 * HOUR)

EDGES = (-24 * HOUR - MICROSECOND, -24 * HOUR, -21 * HOUR - MICROSECOND, -21 * HOUR)
"""Beside and at those two cutoffs."""
VISITS = ("v1", "v2", "v3", "v4", " v5\t")
DAYS = ("2025-12-01", "2025-12-02", "2025-12-03", "2025-12-04T23:30:00-05:00")
COSTS = ("", "0", "-0.00", "10", "10.005", "10.004999999999999999999", "99.99", "10000000")
BROKEN = {
    "visit_id": ("", " \t", "v\u200b1", "v\n1", "v" * 129),
    "patient_id": ("", "p\x00", "p\u00ad1"),
    "provider_id": ("d\x7f",),
    "diagnosis_code": ("J\u202e45",),
    "visit_date": ("", "2025-02-30", "31/12/2025", "0000-00-00", "1899-12-31", "2026-06-01", "2025-12-01T24:00"),
    "visit_cost": ("1e3", ".5", "$12", "NaN", "\uff11\uff12", "-1", "-0.001", "10000000.001"),
    "last_updated": ("", "yesterday", "2025-12-05T12:00:60Z", "2025-12-05T12:00:00+24:00", "2099-01-01"),
}
MALFORMED = ("v1,p1", "v1,p1,d1,J45,2025-12-01,10,2025-12-06T12:00:00Z,one more", '"v1"x,p1,d1,J45,2025-12-01,10,')


def spelled(instant: datetime, style: str) -> str:
    """One instant, several spellings: every one is read as the same microsecond."""
    if style == "naive":
        return instant.strftime("%Y-%m-%d %H:%M:%S.%f")
    if style == "nanoseconds":
        return instant.strftime("%Y-%m-%dT%H:%M:%S.%f") + "999Z"
    zone = {"Z": 0, "+02:00": 120, "-0530": -330}[style]
    local = instant.astimezone(timezone(timedelta(minutes=zone)))
    return local.strftime("%Y-%m-%dT%H:%M:%S.%f") + style


@st.composite
def good_cells(draw: st.DrawFn) -> dict[str, str]:
    """A row that every rule accepts once its stamp is not in the future."""
    style = draw(st.sampled_from(("Z", "Z", "naive", "nanoseconds", "+02:00", "-0530")))
    return {
        "visit_id": draw(st.sampled_from(VISITS)),
        "patient_id": draw(st.sampled_from(("p1", "p2", "p3"))),
        "provider_id": draw(st.sampled_from(("d1", "d2", ""))),
        "diagnosis_code": draw(st.sampled_from(("J45", "", "I10, with a comma"))),
        "visit_date": draw(st.sampled_from(DAYS)),
        "visit_cost": draw(st.sampled_from(COSTS)),
        "last_updated": spelled(BASE + draw(st.sampled_from(OFFSETS)), style),
    }


@st.composite
def items(draw: st.DrawFn, earlier: list[dict[str, str]], broken: bool = True) -> Item:
    """A row: new, an earlier one again or with one cell changed, a rare visit's at the edge of the window, or a broken
    one (one in six or so)."""
    kind = draw(st.integers(0, 11))
    if broken and kind == 11:
        return draw(st.sampled_from(MALFORMED))
    cells = draw(good_cells())
    if kind == 10:
        return draw(st.sampled_from((None, {name: "" for name in COLUMNS} if broken else None)))
    if earlier and kind in (6, 7, 8):
        again = draw(st.sampled_from(earlier))
        changed = draw(st.sampled_from(("visit_cost", "visit_date", "patient_id", "last_updated")))
        cells = again if kind == 6 else {**again, changed: cells[changed]}
    if kind == 5:
        cells["visit_id"] = draw(st.sampled_from(("rare1", "rare2", "rare3")))
        cells["last_updated"] = spelled(BASE + draw(st.sampled_from(EDGES)), "Z")
    if broken and kind == 9:
        name = draw(st.sampled_from(tuple(BROKEN)))
        return {**cells, name: draw(st.sampled_from(BROKEN[name]))}
    earlier.append(cells)
    return cells


@st.composite
def full_items(draw: st.DrawFn, newest: dict[str, dict[str, str]], broken: bool = True) -> list[Item]:
    """A delivery of all visits, some of them absent: each as it was, corrected, moved, late or refused; and in one of
    five a record with an id that cannot be read."""
    rows: list[Item] = []
    for visit in VISITS:
        kind = draw(st.integers(0, 9))
        if kind < 2 or (kind < 4 and visit not in newest):
            continue  # absent
        cells = {**draw(good_cells()), "visit_id": visit}
        was = newest.get(visit, cells)
        if kind < 6:
            cells = was
        elif kind == 6:
            changed = draw(st.sampled_from(("visit_cost", "visit_date", "patient_id", "last_updated")))
            cells = {**was, changed: cells[changed]}
        elif kind == 7:
            cells = {**was, "last_updated": spelled(BASE + draw(st.sampled_from(OFFSETS[:2])), "Z")}
        elif kind == 8 and broken:
            name = draw(st.sampled_from(("patient_id", "visit_date", "visit_cost", "last_updated")))
            cells = {**was, name: draw(st.sampled_from(BROKEN[name]))}
            rows.append(cells)
            continue
        newest[visit] = cells
        rows.append(cells)
    if broken and draw(st.integers(0, 4)) == 4:
        unreadable: Item = {**draw(good_cells()), "visit_id": draw(st.sampled_from(BROKEN["visit_id"]))}
        rows.append(MALFORMED[0] if draw(st.booleans()) else unreadable)
    return rows


DEATHS = (*(Dies("commit", step) for step in range(24)), *[Dies("taken"), Dies("staged"), Dies("committed")] * 8)


@st.composite
def histories(
    draw: st.DrawFn,
    max_deliveries: int = 6,
    max_rows: int = 8,
    broken: bool = True,
    refreshes: bool = True,
    replaces: bool = True,
    full: bool = False,
    deaths: bool = False,
    decisions: bool = False,
) -> list[Step]:
    """One to `max_deliveries` files with runs between them and one at the end; as-of times never go back.

    `broken`: also refused rows. `refreshes`: also full refreshes and accepted rules. `replaces`: also files written
    over, so that a delivery may never be seen, or be held and no longer offered. `full`: deliveries that mean to hold
    every visit (one in four is as any other). `deaths`: also runs that die. `decisions`: also discarded and reinstated
    deliveries, and waived refusals.
    """
    steps: list[Step] = []
    earlier: list[dict[str, str]] = []
    newest: dict[str, dict[str, str]] = {}
    delivered: list[tuple[Item, ...]] = []
    as_of, count = BASE, draw(st.sampled_from((1, *range(2, max_deliveries + 1), max_deliveries)))
    for number in range(1, count + 1):
        last = number == count
        old = replaces and number > 1 and draw(st.integers(0, 5)) == 5
        path = f"{draw(st.integers(1, number - 1)) if old else number:03}.csv"
        if delivered and draw(st.integers(0, 9)) == 9:
            rows = draw(st.sampled_from(delivered))  # the same bytes again
        elif full and draw(st.integers(0, 3)):
            rows = tuple(draw(full_items(newest, broken)))
        else:
            size = draw(st.integers(0 if broken else 1, max_rows))
            rows = tuple(draw(items(earlier, broken)) for _ in range(size))
        delivered.append(rows)
        steps.append(Deliver(path, rows))
        for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2)))) if not last else range(1):
            as_of += draw(st.sampled_from(ADVANCES))
            refresh = refreshes and draw(st.integers(0, 7)) == 7
            accept = RULES if refreshes and draw(st.integers(0, 7)) == 7 else ()
            dies = draw(st.sampled_from(DEATHS)) if deaths and draw(st.integers(0, 5)) == 5 else None
            steps.append(Run(as_of, refresh, accept, dies))
            if decisions and draw(st.integers(0, 7)) == 7:
                steps.append(Decide(draw(st.sampled_from(("discard", "reinstate"))), draw(st.integers(0, 3))))
            if decisions and draw(st.integers(0, 7)) == 7:
                days = draw(st.sampled_from((0, 1, 4)))
                steps.append(Waive(draw(st.integers(0, 3)), (as_of + timedelta(days=days)).date()))
    return steps
