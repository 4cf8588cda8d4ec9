"""What the tables say, as functions of what was loaded: facts, deleted visits, daily metrics, and their changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from math import floor

from tests.model_rows import Judged, Version

Key = tuple[str, str]
"""(source, visit_id)."""
Facts = Mapping[Key, Version]
Deleted = Mapping[Key, tuple[datetime, int]]
"""Visits of the facts that are marked deleted → since when (a delivery's clock), by which delivery."""


@dataclass(frozen=True)
class Reading:
    """What one full delivery says about presence. `tells`: each of its records has an id that can be read."""

    clock: datetime
    ids: frozenset[str]
    tells: bool


@dataclass(frozen=True)
class Metrics:
    visit_count: int
    patient_count: int
    total_visit_cost_cents: int
    avg_visit_cost_cents: int | None
    missing_cost_count: int


@dataclass(frozen=True)
class Change:
    """One touched day: its metrics on both sides (None: no such day), and what its visits did.

    `late`: of the inserted, those older than the watermark was. `removed`: no delivery supports them any more.
    """

    before: Metrics | None
    after: Metrics | None
    inserted: int = 0
    corrected: int = 0
    moved_in: int = 0
    moved_out: int = 0
    removed: int = 0
    late: int = 0
    deleted: int = 0
    restored: int = 0


def current(versions: Iterable[Version]) -> Version:
    """The greatest version's values, with the lineage of the earliest of the equal versions that end the order."""
    *earlier, found = sorted(versions, key=lambda version: version.order)
    for version in reversed(earlier):
        if version.values != found.values:
            break
        found = version
    return found


def by_visit(versions: Iterable[Version]) -> dict[Key, list[Version]]:
    groups: dict[Key, list[Version]] = {}
    for version in versions:
        groups.setdefault((version.source, version.visit_id), []).append(version)
    return groups


def reading_of(rows: Iterable[Judged], clock: datetime) -> Reading:
    """Over all its rows: accepted, refused, inside the window and outside."""
    ids = [None if "invalid_visit_id" in each.reasons else each.visit_id for each in rows]
    return Reading(clock, frozenset(each for each in ids if each is not None), None not in ids)


def deleted_visits(facts: Facts, read: Mapping[int, Reading]) -> dict[Key, tuple[datetime, int]]:
    """The visits that a telling delivery lacks and no later one holds; the first such delivery says since when."""
    found: dict[Key, tuple[datetime, int]] = {}
    for key in facts:
        held = max((sequence for sequence, each in read.items() if key[1] in each.ids), default=0)
        lacks = [sequence for sequence, each in read.items() if sequence > held and each.tells]
        if lacks:
            found[key] = read[min(lacks)].clock, min(lacks)
    return found


def present(facts: Facts, deleted: Iterable[Key]) -> dict[Key, Version]:
    """The facts that count: those that are not deleted."""
    return {key: fact for key, fact in facts.items() if key not in set(deleted)}


def daily_metrics(facts: Facts) -> dict[date, Metrics]:
    """The metrics as GROUP BY visit_date of the facts that count (of one source, or of several merged)."""
    days: dict[date, list[Version]] = {}
    for fact in facts.values():
        days.setdefault(fact.visit_date, []).append(fact)
    return {day: _metrics(visits) for day, visits in sorted(days.items())}


def _metrics(visits: list[Version]) -> Metrics:
    costs = [visit.visit_cost_cents for visit in visits if visit.visit_cost_cents is not None]
    average = floor(Fraction(sum(costs), len(costs)) + Fraction(1, 2)) if costs else None  # no cost is negative
    patients = {(visit.source, visit.patient_id) for visit in visits}
    return Metrics(len(visits), len(patients), sum(costs), average, len(visits) - len(costs))


def metric_changes(
    before: Facts,
    after: Facts,
    *,
    was_deleted: Iterable[Key] = (),
    is_deleted: Iterable[Key] = (),
    watermark: datetime | None = None,
) -> dict[date, Change]:
    """The touched days: those of every visit that came, went or changed among the present ones, old day and new."""
    tallies: dict[date, Counter[str]] = {}
    was_present, is_present = present(before, was_deleted), present(after, is_deleted)
    for key in was_present.keys() | is_present.keys():
        old, new = was_present.get(key), is_present.get(key)
        if old and new and old.values == new.values:
            continue
        for fact in (old, new):
            if fact:
                tallies.setdefault(fact.visit_date, Counter())
        if new and not old:
            tallies[new.visit_date]["restored" if key in before else "inserted"] += 1
            late = key not in before and new.stamped and watermark is not None and new.last_updated < watermark
            tallies[new.visit_date]["late"] += late
        elif old and not new:
            tallies[old.visit_date]["deleted" if key in after else "removed"] += 1
        elif old and new and old.visit_date == new.visit_date:
            tallies[new.visit_date]["corrected"] += 1
        elif old and new:
            tallies[old.visit_date]["moved_out"] += 1
            tallies[new.visit_date]["moved_in"] += 1
    was, now = daily_metrics(was_present), daily_metrics(is_present)
    return {day: Change(was.get(day), now.get(day), **tally) for day, tally in sorted(tallies.items())}
