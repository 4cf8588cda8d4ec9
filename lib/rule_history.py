"""The gate's rules over time: what each found in every run, by the runs' own dq_report.json.

Standard library only. A threshold is the one its run was judged by: the config may have changed since.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lib.run_records import RunRecord

NAMES = ("id", "suite", "severity", "unit", "reason")
"""What a report says of a rule whatever was found."""
EXACT = ("share", "hours", "deviations")
"""Units whose numbers are not whole."""


@dataclass(frozen=True)
class RulePoint:
    """One rule in one run, at the scope where it fared worst (`batch` or `delivery 000003`).

    The rule holds when `observed comparison threshold`; `observed` is None where there was nothing to judge,
    `threshold` where the config set no limit. An accepted failure is `passed=False` with `overridden=True`.
    `outcome` is the run's, `running` while it goes on.
    """

    run_id: str
    source: str
    outcome: str
    scope: str
    observed: float | None
    comparison: str
    threshold: float | None
    passed: bool
    overridden: bool

    @property
    def used(self) -> float | None:
        """How much of its limit the rule used: 1 is the limit. None where it was not judged."""
        if self.observed is None or self.threshold is None:
            return None
        return used_share(self.observed, self.comparison, self.threshold, self.passed)


@dataclass(frozen=True)
class RuleHistory:
    """One rule over the runs that reached the gate, oldest first; what is said of the rule as in the newest of them."""

    rule: str
    suite: str
    severity: Literal["critical", "warning"]
    unit: str
    reason: str
    points: tuple[RulePoint, ...]

    def of_source(self, source: str) -> RuleHistory:
        """The rule over the runs of one source."""
        return replace(self, points=tuple(each for each in self.points if each.source == source))

    @property
    def judged(self) -> tuple[RulePoint, ...]:
        """The points at which there was something to judge."""
        return tuple(each for each in self.points if each.observed is not None)

    @property
    def failed(self) -> tuple[RulePoint, ...]:
        """The points at which the rule did not hold, accepted ones among them."""
        return tuple(each for each in self.points if not each.passed)

    @property
    def overridden(self) -> tuple[RulePoint, ...]:
        """The failures that a person accepted."""
        return tuple(each for each in self.points if each.overridden)


def rule_history(
    records: Iterable[RunRecord], source: str | None = None, most: int | None = None
) -> tuple[RuleHistory, ...]:
    """Every rule of every run's gate, of records that come newest first. Grain: one RuleHistory per rule, one point per
    run, oldest first.

    Rules stand as in the newest report, then those that it no longer has. `source` leaves out the runs of others; after
    the `most` newest runs no more are drawn. Runs that never reached the gate have no point; a report or manifest that
    cannot be read is passed over.
    """
    newest: dict[str, dict[str, Any]] = {}
    points: dict[str, list[RulePoint]] = {}
    judged = 0
    for record in records:
        told = _judged_in(record, source)
        for entry, point in told:
            newest.setdefault(entry["id"], entry)
            points.setdefault(entry["id"], []).append(point)
        judged += bool(told)
        if judged == most:
            break
    return tuple(
        RuleHistory(
            rule=rule,
            suite=entry["suite"],
            severity=entry["severity"],
            unit=entry["unit"],
            reason=entry["reason"],
            points=tuple(reversed(points[rule])),
        )
        for rule, entry in newest.items()
    )


def worst_results(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a dq_report's entries one a rule, which tells most: the worst that was found, the batch's before others."""
    worst: dict[str, dict[str, Any]] = {}
    for each in entries:
        before = worst.setdefault(each["id"], each)
        if _badness(each) > _badness(before):
            worst[each["id"]] = each
    return list(worst.values())


def used_share(observed: float, comparison: str, threshold: float, passed: bool) -> float:
    """How much of its limit a rule used: 1 is the limit, infinite what exceeds a limit of none.

    A lower limit of a share is seen as what is lacking: 98 % of at least 95 % has used 40 %.
    """
    if comparison == "==":
        return 0.0 if passed else math.inf
    if comparison == ">=" and 0 < threshold < 1:
        observed, threshold = 1 - observed, 1 - threshold
    elif comparison == ">=":
        observed, threshold = threshold, observed
    if threshold == 0:
        return 0.0 if observed <= 0 else math.inf
    return max(observed / threshold, 0.0)


def value_text(value: float | None, unit: str) -> str:
    """A number of a rule for people: `3.10 %`, `18.0 h`, `1,204`; `none` where nothing was judged."""
    if value is None:
        return "none"
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit in EXACT:
        return f"{value:,.1f}{' h' if unit == 'hours' else ''}"
    return f"{value:,}"


def holds_text(observed: float | None, passed: bool, overridden: bool) -> str:
    """Whether a rule holds, for people: `by override`, `NO`, `not judged` or `yes`."""
    if overridden:
        return "by override"
    return "NO" if not passed else "yes" if observed is not None else "not judged"


def limit_text(comparison: str, threshold: float | None, unit: str) -> str:
    """A rule's limit for people: `≤ 5.00 %`, or `no limit`."""
    if threshold is None:
        return "no limit"
    sign = {"<=": "≤", ">=": "≥", "==": "="}[comparison]
    return f"{sign} {value_text(threshold, unit)}"


def _judged_in(record: RunRecord, source: str | None) -> list[tuple[dict[str, Any], RulePoint]]:
    """Each rule of one run: what it is called, and its point; none where they cannot be read."""
    manifest = record.manifest
    try:
        if source not in (None, manifest["source"]):
            return []
        told = worst_results(record.rules)
        return [({name: each[name] for name in NAMES}, _point(record.run_id, manifest, each)) for each in told]
    except (KeyError, TypeError, AttributeError):
        return []


def _badness(entry: dict[str, Any]) -> tuple[bool, bool, float]:
    """Orders one rule's results as the gate does: what stops the batch, what fails, then by the observed value."""
    failed = not entry["passed"]
    stops = failed and entry["severity"] == "critical" and not entry["overridden"]
    observed = entry["observed"] or 0
    return stops, failed, (-observed if entry["comparison"] == ">=" else observed) if failed else 0.0


def _point(run_id: str, manifest: dict[str, Any], entry: dict[str, Any]) -> RulePoint:
    return RulePoint(
        run_id=run_id,
        source=manifest["source"],
        outcome=manifest["outcome"],
        scope=entry["scope"],
        observed=entry["observed"],
        comparison=entry["comparison"],
        threshold=entry["threshold"],
        passed=entry["passed"],
        overridden=entry["overridden"],
    )
