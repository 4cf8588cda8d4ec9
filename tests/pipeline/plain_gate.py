"""The gate's four rules about what was delivered, once more and plainly: for tests of histories, where most of a
run's time would go to Great Expectations. The real suites are tested in tests/expectations, and in test_history.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from lib.config import Settings
from lib.gate import GateResult, RuleResult

SHARES = {
    "missing_required_share": ("newly_missing", "max_missing_share"),
    "invalid_visit_date_share": ("newly_invalid_visit_date", "max_invalid_visit_date_share"),
    "refused_share": ("newly_refused", "max_refused_share"),
}


def plain_gate(
    profile: pd.DataFrame,
    staged: pd.DataFrame,
    settings: Settings,
    *,
    overrides: Mapping[str, float] | None = None,
    **_: Any,
) -> GateResult:
    """What lib.gate.evaluate_gate answers, of these rules alone."""
    scopes = profile.to_dict("records")
    batch = next(each for each in scopes if each["is_batch"])
    judged = [result for each in scopes for result in _judge(each, settings, dict(overrides or {}))]
    return GateResult(tuple(judged), len(scopes) - 1, batch["staged"], len(staged))


def _judge(row: Mapping[str, Any], settings: Settings, accepted: dict[str, float]) -> list[RuleResult]:
    arrived = row["superseded"] + row["staged"]
    results = []
    if row["new_batch"]:
        overridden = not arrived and accepted.get("zero_row_load") is not None
        results.append(_result("zero_row_load", row["scope"], arrived, ">=", 1, arrived >= 1, overridden))
    for rule, (count, limit) in SHARES.items():
        failing, of = row[count], row["newly_refused"] + arrived
        share = failing / of if failing >= settings.gate.min_failing_rows else 0.0
        passed = share <= getattr(settings.gate, limit)
        overridden = not passed and share <= accepted.get(rule, -1.0)
        results.append(_result(rule, row["scope"], share, "<=", getattr(settings.gate, limit), passed, overridden))
    return results


def _result(
    rule: str, scope: str, observed: float, comparison: Any, threshold: float, passed: bool, overridden: bool
) -> RuleResult:
    return RuleResult(
        rule, "batch_profile", "critical", scope, observed, comparison, threshold, "share", passed, overridden, ""
    )
