"""What the pipeline means, once more, in plain Python: the oracle of the property tests.

It shares no line with `lib` and keeps every accepted version it ever loaded, so its tables are a function of what was
loaded and not of how runs cut it up. One model is one source; merge the `facts` of several to get a shared warehouse.
Clear before fast: a dozen deliveries of a dozen rows is its size. How one row is judged: `model_rows.py`; what the
tables make of the rows: `model_tables.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from tests.model_rows import Contract, Identity, Judged, Line, Row, Version
from tests.model_tables import (
    Change,
    Deleted,
    Facts,
    Metrics,
    Reading,
    by_visit,
    current,
    daily_metrics,
    deleted_visits,
    metric_changes,
    present,
    reading_of,
)  # fmt: skip


@dataclass
class Delivery:
    """`status`: pending, loaded, held, refused or discarded. `content`: what tells one file's bytes from another's.
    `failed`: while held, each rule that held its batch, with the worst that was observed. `is_comparable`: loaded as
    the source's deliveries usually are, an increment after others or one of full ones; not by a full refresh."""

    sequence: int
    rows: list[Row]
    clock: datetime
    path: str
    content: object
    status: str = "pending"
    failed: dict[str, Fraction] = field(default_factory=dict)
    is_comparable: bool = False


@dataclass
class Entry:
    """One refused text, wherever it stood. `stamp` is None when it cannot be trusted: unreadable, or in the future."""

    visit_id: str | None
    stamp: datetime | None
    first: Line
    reasons: tuple[str, ...]
    is_answered: bool = False
    waived_until: date | None = None

    @property
    def status(self) -> str:
        if self.is_answered:
            return "superseded"
        return "waived" if self.waived_until else "open"

    def is_answered_by(self, version: Version) -> bool:
        if version.visit_id != self.visit_id:
            return False
        return version.order > (self.stamp, *self.first) if self.stamp else version.at > self.first


@dataclass
class Counts:
    """Rows of one delivery or of a whole batch; `reasons` counts each reason over the refused rows.

    Of the batch alone, in visits: `absent_visits` are those that count and that its newest full delivery lacks (None:
    it cannot tell); deleted and restored ones turned from present to deleted in this run, or back. What is usual of
    deliveries like these, `expected_rows`, and how far off the rows read are are None where nothing is known of it.
    """

    rows_read: int = 0
    outside_held: int = 0
    outside_missed: int = 0
    outside_invalid: int = 0
    refused: int = 0
    known_refused: int = 0
    newly_refused: int = 0
    newly_missing: int = 0
    newly_invalid_visit_date: int = 0
    superseded: int = 0
    staged: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    null_cost: int = 0
    same_stamp_changes: int = 0
    absent_visits: int | None = None
    visits_deleted: int = 0
    visits_restored: int = 0
    expected_rows: int | None = None
    row_count_deviation: Fraction | None = None
    missed_needs: timedelta | None = None
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Result:
    """One run. `failures`: rule → the deliveries that break it by themselves (0 stands for the whole batch).
    `held_for`: where the gate failed, the broken rules, those that were accepted among them.

    `lateness`: hours behind the watermark, rounded up → versions loaded, versions missed; none before a watermark,
    nor in a full refresh: nothing comes late in it.
    """

    passed: bool
    new_batch: bool
    batch: tuple[int, ...]
    counts: Counts
    by_delivery: dict[int, Counts]
    failures: dict[str, set[int]]
    held_for: set[str]
    changes: dict[date, Change]
    lateness: dict[int, tuple[int, int]]
    cutoff: datetime | None
    watermark: datetime | None


def middle(values: Iterable[int | Fraction]) -> Fraction:
    """The value of which half lie below and half above; between two, their mean."""
    ordered = sorted(values)
    return Fraction(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@dataclass
class Model(Contract):
    """One source. Settings first (those of its contract, then of deliveries, window and gate), then state.

    `full`: each delivery holds every visit there is. `marks_deletes`: what a full one lacks is marked deleted.
    """

    full: bool = False
    marks_deletes: bool = False
    lookback_hours: float = 24
    max_share: Fraction = Fraction(5, 100)
    min_failing_rows: int = 3

    deliveries: dict[int, Delivery] = field(default_factory=dict, init=False)
    loaded: dict[Line, Version] = field(default_factory=dict, init=False)
    read: dict[int, Reading] = field(default_factory=dict, init=False)
    facts: Facts = field(default_factory=dict, init=False)
    deleted: Deleted = field(default_factory=dict, init=False)
    quarantine: dict[Line, Judged] = field(default_factory=dict, init=False)
    entries: dict[Identity, Entry] = field(default_factory=dict, init=False)
    watermark: datetime | None = field(default=None, init=False)
    last_batch: tuple[int, ...] = field(default=(), init=False)

    # What comes in

    def deliver(self, rows: list[Row], clock: datetime, path: str = "visits.csv", content: object = None) -> int | None:
        """The sequence of a new pending delivery; None when the path has the content (or rows) it had."""
        content = rows if content is None else content
        last = self._last_of(path)
        if last is not None and last.content == content:
            return None
        sequence = len(self.deliveries) + 1
        self.deliveries[sequence] = Delivery(sequence, rows, clock.astimezone(UTC), path, content)
        return sequence

    def take(self, folder: Mapping[str, tuple[str, list[Row]]], clock: datetime) -> list[int]:
        """What a run does first: path → (text, rows), file by file in name order; the sequences of new deliveries."""
        found = [self.deliver(rows, clock, path, text) for path, (text, rows) in sorted(folder.items())]
        return [sequence for sequence in found if sequence is not None]

    def _last_of(self, path: str) -> Delivery | None:
        return next((each for each in reversed(self.deliveries.values()) if each.path == path), None)

    def _with(self, *statuses: str) -> list[Delivery]:
        return [each for each in self.deliveries.values() if each.status in statuses]

    def batch(self, full_refresh: bool = False, accept: Iterable[str] = ()) -> list[Delivery]:
        """All pending; if none, the held that the source still offers; if none, the last loaded batch again.

        With `accept`, the held that failed nothing else, while pending ones wait. Empty: there is nothing to run.
        """
        accepted = [each for each in self._with("held") if each.failed.keys() <= set(accept)]
        if accept and not accepted:
            return []
        if full_refresh:
            return self._with("loaded", "pending") + accepted if accept else self._with("loaded", "pending")
        offered = [each for each in self._with("held") if self._last_of(each.path) is each]
        again = [each for each in self._with("loaded") if each.sequence in self.last_batch]
        return accepted if accept else self._with("pending") or offered or again

    def discard(self, sequence: int) -> None:
        """A person takes a delivery out of every later run."""
        self.deliveries[sequence].status = "discarded"

    def reinstate(self, sequence: int) -> None:
        """A discarded delivery is pending again, and judged as if it had never been."""
        self.deliveries[sequence].status, self.deliveries[sequence].failed = "pending", {}

    def waive(self, entry: Entry, until: date) -> None:
        """A person lets an unanswered entry be, up to and with a day; the first load after it opens it again."""
        entry.waived_until = until

    # One run

    def run(
        self,
        as_of: datetime,
        full_refresh: bool = False,
        accept: Iterable[str] = (),
        lookback_hours: float | None = None,
    ) -> Result:
        """Judge, window, resolve, gate; commit unless it fails. `accept`: gate rules that held deliveries may break
        once more, by no more than they did."""
        batch = self.batch(full_refresh, accept)
        new = [delivery.sequence for delivery in batch if delivery.status != "loaded"]
        waived: dict[str, Fraction] = {}
        for delivery in batch:
            for rule in delivery.failed.keys() & set(accept):
                waived[rule] = max(delivery.failed[rule], waived.get(rule, Fraction(0)))
        lookback = timedelta(hours=self.lookback_hours if lookback_hours is None else lookback_hours)
        cutoff = None if full_refresh or self.watermark is None else self.watermark - lookback
        judged = [self.judge(row, delivery.sequence, delivery.clock) for delivery in batch for row in delivery.rows]
        outside = [each for each in judged if cutoff and each.stamp and each.stamp < cutoff]
        inside = [each for each in judged if not cutoff or not each.stamp or each.stamp >= cutoff]
        accepted = {each.at: each.version for each in inside if each.version}

        loaded = accepted if full_refresh else self.loaded | accepted
        facts = {key: current(versions) for key, versions in by_visit(loaded.values()).items()}
        staged = {
            key: max(versions, key=lambda each: each.order) for key, versions in by_visit(accepted.values()).items()
        }
        read = {} if full_refresh else dict(self.read)
        for delivery in batch if self.full else ():
            read[delivery.sequence] = reading_of(
                [each for each in judged if each.at[0] == delivery.sequence], delivery.clock
            )
        deleted = deleted_visits(facts, read) if self.marks_deletes else {}
        contenders = [*accepted.values(), *([] if full_refresh else self.facts.values())]

        scopes = {0: Counts()} | {each.sequence: Counts() for each in batch}
        for each in outside:
            for counts in (scopes[0], scopes[each.at[0]]):
                self._count_outside(counts, each, facts)
        known = {each.identity for each in self.quarantine.values()}
        for each in inside:
            for counts in (scopes[0], scopes[each.at[0]]):
                self._count_inside(counts, each, each.identity in known)
        for key, version in staged.items():
            rivals = [each for each in contenders if each.visit_id == version.visit_id]
            for counts in (scopes[0], scopes[version.delivery_seq]):
                self._count_staged(counts, version, self.facts.get(key), facts[key], rivals)

        if new and not full_refresh:
            scopes[0].absent_visits = self._absent_visits(max(new), read)
            like = [len(each.rows) for each in self._with("loaded") if each.is_comparable]
            for scope, counts in scopes.items():
                self._compare_rows(counts, like, 1 if scope else len(batch))
        was, now = present(self.facts, self.deleted), present(facts, deleted)
        scopes[0].visits_deleted = len(was.keys() & deleted.keys())
        scopes[0].visits_restored = len(self.deleted.keys() & now.keys())

        broken = self._gate(scopes, {*new, *([] if full_refresh or not new else [0])})
        failures = {
            rule: {scope for scope, share in observed.items() if rule not in waived or share > waived[rule]}
            for rule, observed in broken.items()
        }
        failures = {rule: failing for rule, failing in failures.items() if failing}
        if failures:
            alone = set().union(*failures.values()) - {0}
            for sequence in (alone or set(new)) & set(new):
                self.deliveries[sequence].status = "held"
                self.deliveries[sequence].failed = {rule: max(observed.values()) for rule, observed in broken.items()}
            changes, lateness = {}, {}
        else:
            changes = metric_changes(
                self.facts, facts, was_deleted=self.deleted, is_deleted=deleted, watermark=self.watermark
            )
            lateness = {} if full_refresh else self._lateness([facts[key] for key in staged], outside, facts)
            for sequence in new:
                begun = self.watermark is not None or self.full
                self.deliveries[sequence].is_comparable = begun and not full_refresh
            newest = max((version.last_updated for version in accepted.values()), default=None)
            marks = [None if full_refresh else self.watermark, newest and min(as_of.astimezone(UTC), newest)]
            self.watermark = max((mark for mark in marks if mark is not None), default=None)
            self.loaded, self.facts, self.read, self.deleted = loaded, facts, read, deleted
            self.quarantine |= {each.at: each for each in inside if each.reasons}
            self._keep_entries([each for each in inside if each.reasons], as_of.astimezone(UTC).date())
            self.last_batch = tuple(new) or self.last_batch
            for delivery in batch:
                delivery.status, delivery.failed = "loaded", {}
        sequences, counts = tuple(delivery.sequence for delivery in batch), scopes.pop(0)
        return Result(
            not failures,
            bool(new),
            sequences,
            counts,
            scopes,
            failures,
            set(broken) if failures else set(),
            changes,
            lateness,
            cutoff,
            self.watermark,
        )

    def _compare_rows(self, counts: Counts, like: list[int], deliveries: int) -> None:
        """With the middle of the seven before; and from eight on, with the middle and the spread of fourteen."""
        if like:
            counts.expected_rows = round(middle(like[-7:])) * deliveries
        if len(like) >= 8:
            usual = middle(like[-14:])
            spread = Fraction("1.4826") * middle(abs(rows - usual) for rows in like[-14:])
            off = abs(Fraction(counts.rows_read, deliveries) - usual)
            counts.row_count_deviation = off / max(spread, usual / 10, Fraction(1))

    def _absent_visits(self, newest: int, read: Mapping[int, Reading]) -> int | None:
        """Visits that count and that the newest delivery lacks; None if it cannot tell, or a newer one is loaded."""
        if newest not in read or newest < max(read) or not read[newest].tells:
            return None
        return sum(visit_id not in read[newest].ids for _, visit_id in present(self.facts, self.deleted))

    def _lateness(self, staged: list[Version], outside: list[Judged], facts: Facts) -> dict[int, tuple[int, int]]:
        """Of versions that say something new: hours behind the watermark → how many were loaded, how many missed."""
        if self.watermark is None:
            return {}
        before = {key: fact.values for key, fact in self.facts.items()}
        loaded = [each for each in staged if before.get((each.source, each.visit_id)) != each.values]
        missed = [each.version for each in outside if each.version and self._is_missed(each.version, facts)]
        hours = [
            Counter(max(-((each.last_updated - self.watermark) // timedelta(hours=1)), 0) for each in versions)
            for versions in (loaded, missed)
        ]
        return {each: (hours[0][each], hours[1][each]) for each in sorted(hours[0].keys() | hours[1].keys())}

    def _is_missed(self, version: Version, facts: Facts) -> bool:
        """Whether the table, after the run, lacks a version that was outside the window, or holds a lesser one."""
        held = facts.get((self.source, version.visit_id))
        return not (held and (held.order >= version.order or held.values == version.values))

    def _count_outside(self, counts: Counts, each: Judged, facts: Facts) -> None:
        counts.rows_read += 1
        version = each.version
        if version is None:
            counts.outside_invalid += 1
        elif not self._is_missed(version, facts):
            counts.outside_held += 1
        else:
            counts.outside_missed += 1
            assert self.watermark is not None
            needs = self.watermark - version.last_updated
            counts.missed_needs = max(needs, counts.missed_needs or needs)

    def _count_inside(self, counts: Counts, each: Judged, known: bool) -> None:
        counts.rows_read += 1
        if each.reasons:
            counts.refused += 1
            counts.reasons.update(each.reasons)
            counts.known_refused += known
            counts.newly_refused += not known
            counts.newly_missing += not known and any(reason.startswith("missing_") for reason in each.reasons)
            counts.newly_invalid_visit_date += not known and "invalid_visit_date" in each.reasons
        else:
            counts.superseded += 1  # until it turns out to be staged

    def _count_staged(
        self, counts: Counts, staged: Version, old: Version | None, fact: Version, rivals: list[Version]
    ) -> None:
        counts.superseded -= 1
        counts.staged += 1
        counts.null_cost += staged.visit_cost_cents is None
        changed = old is None or fact.values != old.values
        counts.inserted += old is None
        counts.updated += changed and old is not None
        counts.unchanged += not changed
        tied = self.stamped and any(
            each.last_updated == fact.last_updated and each.values != fact.values for each in rivals
        )
        counts.same_stamp_changes += changed and tied

    def _keep_entries(self, refused: list[Judged], day: date) -> None:
        for each in refused:
            trusted = each.stamp if "future_last_updated" not in each.reasons else None
            entry = self.entries.setdefault(each.identity, Entry(each.visit_id, trusted, each.at, each.reasons))
            entry.first, entry.reasons = min(entry.first, each.at), each.reasons
        for entry in self.entries.values():
            entry.is_answered = entry.is_answered or any(map(entry.is_answered_by, self.loaded.values()))
            if entry.waived_until and entry.waived_until < day:
                entry.waived_until = None

    def _gate(self, scopes: dict[int, Counts], new: set[int]) -> dict[str, dict[int, Fraction]]:
        """Each rule that is broken, accepted or not: the scopes that break it, with what was observed there."""
        failures: dict[str, dict[int, Fraction]] = {}
        for scope, counts in scopes.items():
            arrived = counts.superseded + counts.staged
            if arrived == 0 and scope in new:
                failures.setdefault("zero_row_load", {})[scope] = Fraction(0)
            for rule, rows in (
                ("refused_share", counts.newly_refused),
                ("missing_required_share", counts.newly_missing),
                ("invalid_visit_date_share", counts.newly_invalid_visit_date),
            ):
                if rows < max(self.min_failing_rows, 1):
                    continue
                share = Fraction(rows, arrived + counts.newly_refused)
                if share > self.max_share:
                    failures.setdefault(rule, {})[scope] = share
        return failures

    # What the tables say

    def daily(self) -> dict[date, Metrics]:
        return daily_metrics(present(self.facts, self.deleted))

    def corrected_by(self) -> dict[Line, Line | None]:
        """Each quarantined row → the first loaded version that answers it; None while the entry is open.

        An answer is a greater version; where the refused stamp is unreadable or in the future, one delivered later.
        """
        answers: dict[Line, Line | None] = {}
        for at, entry in self.quarantine.items():
            trusted = entry.stamp if "future_last_updated" not in entry.reasons else None
            same = [version for version in self.loaded.values() if version.visit_id == entry.visit_id]
            later = [v for v in same if (v.order > (trusted, *at) if trusted else v.at > at)]
            answers[at] = min(later, key=lambda version: version.order).at if later else None
        return answers
