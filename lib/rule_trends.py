"""The gate's rules over the last runs of a source, as frames for 05: counts and shares only."""

from __future__ import annotations

import pandas as pd

from lib.rule_history import limit_text, rule_history, value_text
from lib.run import Run
from lib.run_records import newest_records

RECENT_RUNS = 20
COLUMNS = {
    **dict.fromkeys(("rule", "severity", "run", "observed", "limit"), "str"),
    **{"used": "float64", "passed": "bool", "overridden": "bool"},
}


def recent_rules(run: Run, most: int = RECENT_RUNS) -> pd.DataFrame:
    """Grain: one row per rule and run, of the `most` newest runs of the run's source that reached the gate, itself the
    last; runs and rules in their order. `used` is the share of that run's own limit, null where nothing was judged."""
    records = (each for each in newest_records(run.layout) if each.run_id <= run.run_id)
    rules = rule_history(records, run.source, most)
    rows = [
        {
            "rule": rule.rule,
            "severity": rule.severity,
            "run": point.run_id,
            "observed": value_text(point.observed, rule.unit),
            "limit": limit_text(point.comparison, point.threshold, rule.unit),
            "used": point.used,
            "passed": point.passed,
            "overridden": point.overridden,
        }
        for rule in rules
        for point in rule.points
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def rules_frame(recent: pd.DataFrame) -> pd.DataFrame:
    """Grain: one row per rule of `recent_rules`: in how many runs it was judged, failed and was accepted, the most of a
    limit that it used while it held, and what the newest run found."""
    judged = recent.assign(
        judged=recent["used"].notna(), failed=~recent["passed"], holding=recent["used"].where(recent["passed"])
    )
    counted = judged.groupby("rule", sort=False).agg(
        severity=("severity", "last"),
        judged=("judged", "sum"),
        failed=("failed", "sum"),
        accepted=("overridden", "sum"),
        most_used=("holding", "max"),
        newest=("observed", "last"),
        limit=("limit", "last"),
    )
    shares = ["" if pd.isna(share) else f"{100 * share:.0f} %" for share in counted["most_used"]]
    return counted.assign(most_used=shares).reset_index()
