"""The gate between staging and the tables: two suites, one decision, a report of counts and shares.

A failing critical rule stops the batch unless a person accepted just that; a failing warning is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from lib import clock as clocks
from lib import config, files, suites
from lib.beside import Beside
from lib.errors import PipelineError, UsageError
from lib.judged import BATCH, judged_profile, judged_staged, staged_parameters
from lib.rule_history import EXACT, holds_text, limit_text, value_text
from lib.suites import Comparison, Outcome, Severity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame as SparkFrame

Decision = Literal["PASSED", "PASSED WITH WARNINGS", "PASSED BY OVERRIDE", "FAILED"]

ACCEPTABLE = ("missing_required_share", "invalid_visit_date_share", "refused_share", "zero_row_load", "restated_days")
"""The rules a person may let a held batch pass once: they judge what was delivered."""
NEVER_ACCEPTED = (
    "unique_business_key", "row_conservation", "staged_row_count", "required_columns", "staged_key_unique",
    "row_hash_shape", "text_length", "visit_date_in_range", "visit_cost_in_range", "last_updated_not_after_clock",
)  # fmt: skip
"""The rules that judge the pipeline itself: a failure is a defect, and accepting it would load wrong tables."""


@dataclass(frozen=True)
class RuleResult:
    """One rule in one scope (`batch` or `delivery 000003`); numbers are counts, shares or hours, as `unit` says.

    The rule holds when `observed comparison threshold`; `observed` is None where nothing was to be judged, `threshold`
    where the config sets no limit.
    `passed` is what was found; an accepted failure stays `passed=False` with `overridden=True`.
    """

    rule: str
    suite: str
    severity: Severity
    scope: str
    observed: float | int | None
    comparison: Comparison
    threshold: float | int | None
    unit: str
    passed: bool
    overridden: bool
    reason: str

    @property
    def stops(self) -> bool:
        """Whether this result alone fails the gate."""
        return self.severity == "critical" and not self.passed and not self.overridden

    def to_json(self) -> dict[str, Any]:
        """One entry of dq_report.json's `rules`."""
        fields = asdict(self)
        return {"id": fields.pop("rule"), **fields}


@dataclass(frozen=True)
class GateResult:
    """The gate's decision on one batch. Every rule is there for the batch; a delivery only where it failed a rule."""

    rules: tuple[RuleResult, ...]
    deliveries: int
    staged_rows: int
    judged_rows: int

    @property
    def decision(self) -> Decision:
        if any(each.stops for each in self.rules):
            return "FAILED"
        if any(each.overridden for each in self.rules):
            return "PASSED BY OVERRIDE"
        return "PASSED" if all(each.passed for each in self.rules) else "PASSED WITH WARNINGS"

    @property
    def passed(self) -> bool:
        """Whether the batch may be loaded."""
        return self.decision != "FAILED"

    @property
    def critical_failures(self) -> tuple[RuleResult, ...]:
        """Failed critical rules that nobody accepted."""
        return tuple(each for each in self.rules if each.stops)

    @property
    def warnings(self) -> tuple[RuleResult, ...]:
        """Failed warnings."""
        return tuple(each for each in self.rules if each.severity == "warning" and not each.passed)

    @property
    def failing_deliveries(self) -> tuple[int, ...]:
        """Sequence numbers of the deliveries that failed a critical rule by themselves, ascending."""
        return tuple(sorted({int(each.scope.split()[1]) for each in self.critical_failures if each.scope != BATCH}))

    @property
    def worst(self) -> tuple[RuleResult, ...]:
        """One result per rule: the worst that was found, the batch's before a delivery's."""
        chosen: dict[str, RuleResult] = {}
        for each in self.rules:
            best = chosen.setdefault(each.rule, each)
            if (each.stops, not each.passed) > (best.stops, not best.passed) or (
                not each.passed and not best.passed and _worse(each, best.observed)
            ):
                chosen[each.rule] = each
        return tuple(chosen.values())

    @property
    def summary(self) -> str:
        """One line for the terminal and the run's header."""
        failures = [each for each in self.worst if each.stops] or [each for each in self.worst if not each.passed]
        if not failures:
            judged = sum(each.observed is not None for each in self.worst)
            return f"{self.decision}: {judged} rules hold, {len(self.worst) - judged} had nothing to judge."
        named = "; ".join(f"{each.rule} {_shown(each)} (limit {_limit(each)}, {each.scope})" for each in failures)
        return f"{self.decision}: {named}."

    def frame(self) -> pd.DataFrame:
        """For showing: one row per rule, its worst result, numbers as text with their units."""
        return pd.DataFrame(
            {
                "rule": each.rule,
                "severity": each.severity,
                "observed": _shown(each),
                "threshold": _limit(each),
                "passed": holds_text(each.observed, each.passed, each.overridden),
                "scope": each.scope,
            }
            for each in self.worst
        )

    def to_json(self) -> dict[str, Any]:
        """The content of dq_report.json but for the run: counts, shares, hours and the suites' own texts."""
        return {
            "decision": self.decision,
            "deliveries_judged": self.deliveries,
            "staged_rows": self.staged_rows,
            "staged_rows_judged": self.judged_rows,
            "rules": [each.to_json() for each in self.rules],
        }


def evaluate_gate(
    profile: pd.DataFrame,
    staged: pd.DataFrame | SparkFrame,
    settings: config.Settings,
    *,
    clock: datetime,
    overrides: Mapping[str, float] | None = None,
    sampled: bool = False,
) -> GateResult:
    """Judge a batch: `profile` has one row per delivery and one for the batch, `staged` one per staged visit.

    `clock` is the latest clock among the batch's deliveries. `overrides` gives, per accepted rule, the observed value
    that was accepted: a failure no worse than it passes by override. With `sampled`, `staged` is a sample and its
    number of rows is not compared. On a cluster it is a frame of Spark's, its columns in the suite's types (see
    lib/judged.py) already. Raises UsageError for an override of a rule that cannot be accepted, PipelineError
    when a frame is not what staging writes; neither message holds a value.
    """
    accepted = dict(overrides or {})
    for rule in accepted:
        _check_acceptable(rule)
    judged = judged_profile(profile, settings.gate, has_costs=settings.columns.visit_cost is not None)
    staged_rows = int(profile.loc[profile["is_batch"].astype(bool), "staged"].iloc[0])
    judged_rows = len(staged) if isinstance(staged, pd.DataFrame) else staged.count()
    expected_rows = max(judged_rows, 1) if sampled else staged_rows
    frame = judged_staged(staged) if isinstance(staged, pd.DataFrame) else staged
    of_profile = Beside(_judge_profile, judged, settings.gate)
    of_staged = _judge_staged(frame, staged_parameters(settings, clock, expected_rows))
    results = [*of_profile.result(), *of_staged]
    return GateResult(
        rules=tuple(_with_override(each, accepted) for each in results),
        deliveries=len(judged) - 1,
        staged_rows=staged_rows,
        judged_rows=judged_rows,
    )


def write_dq_report(path: Path, result: GateResult, *, run_id: str, as_of: datetime) -> None:
    """Write dq_report.json: counts and shares only."""
    files.write_json(path, {"run_id": run_id, "as_of": clocks.instant_text(as_of), **result.to_json()})


def _check_acceptable(rule: str) -> None:
    if rule not in ACCEPTABLE:
        why = "can never be accepted" if rule in NEVER_ACCEPTED else "is not a rule that stops a batch"
        raise UsageError(f"--accept {rule}: {why}; rules that can be accepted: {', '.join(ACCEPTABLE)}.")


def _judge_profile(judged: pd.DataFrame, gate: config.Gate) -> list[RuleResult]:
    suite = "batch_profile"
    # A limit that the config does not set is not judged: the column is null then.
    parameters = {name: getattr(gate, name) or 0 for name in suites.suite_parameters(suite)}
    results = []
    for outcome in suites.run_suite(suite, judged, parameters, scopes=True):
        if outcome.column is None or outcome.passed == bool(outcome.failing_scopes):
            raise PipelineError(f"expectations/{suite}.json: rule {outcome.rule} must judge each scope by a column.")
        for scope, observed in zip(judged["scope"], judged[outcome.column], strict=True):
            failed = scope in outcome.failing_scopes
            if scope == BATCH or failed:
                results.append(_result(suite, outcome, scope, None if pd.isna(observed) else observed, not failed))
    if gate.max_restated_days is None:
        results = [replace(each, threshold=None) if each.rule == "restated_days" else each for each in results]
    return results


def _judge_staged(judged: pd.DataFrame | SparkFrame, parameters: Mapping[str, Any]) -> list[RuleResult]:
    suite = "staged_rows"
    by_rule: dict[str, list[Outcome]] = {}
    for outcome in suites.run_suite(suite, judged, parameters):
        by_rule.setdefault(outcome.rule, []).append(outcome)
    results = []
    for outcomes in by_rule.values():
        telling = next((each for each in outcomes if not each.passed), outcomes[0])
        observed = telling.observed if len(outcomes) == 1 else sum(each.observed or 0 for each in outcomes)
        results.append(_result(suite, telling, BATCH, observed, all(each.passed for each in outcomes)))
    return results


def _result(suite: str, outcome: Outcome, scope: str, observed: float | None, passed: bool) -> RuleResult:
    exact = float if outcome.unit in EXACT else int
    return RuleResult(
        rule=outcome.rule,
        suite=suite,
        severity=outcome.severity,
        scope=scope,
        observed=None if observed is None else exact(observed),
        comparison=outcome.comparison,
        threshold=exact(outcome.threshold),
        unit=outcome.unit,
        passed=passed,
        overridden=False,
        reason=outcome.reason,
    )


def _with_override(result: RuleResult, accepted: Mapping[str, float]) -> RuleResult:
    if not result.stops or result.rule not in accepted or _worse(result, accepted[result.rule]):
        return result
    return replace(result, overridden=True)


def _worse(result: RuleResult, than: float | None) -> bool:
    if result.observed is None or than is None:
        return False
    return result.observed < than if result.comparison == ">=" else result.observed > than


def _shown(result: RuleResult) -> str:
    return value_text(result.observed, result.unit)


def _limit(result: RuleResult) -> str:
    return limit_text(result.comparison, result.threshold, result.unit)
