"""What the suites judge: the profile's counts made into shares, the staged rows in types that compare rightly."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lib import config
from lib.errors import PipelineError

BATCH = "batch"
"""The scope of the profile's batch row; a delivery's is `delivery 000003`."""
PROFILE_COUNTS = (
    "rows_read", "outside_held", "outside_missed", "outside_invalid", "refused", "newly_refused", "newly_missing",
    "newly_invalid_visit_date", "superseded", "staged", "inserted", "updated", "unchanged", "null_cost",
    "duplicate_keys", "same_stamp_changes", "unexpected_columns", "absent_columns", "held_deliveries", "changed_rules",
)  # fmt: skip
_ARROW_TYPES = {
    **dict.fromkeys(("source", *config.TEXT_COLUMNS, "row_hash"), pa.string()),
    "visit_date": pa.timestamp("us", tz="UTC"),
    "visit_cost": pa.float64(),
    "last_updated": pa.timestamp("us", tz="UTC"),
}


def judged_profile(profile: pd.DataFrame, gate: config.Gate, *, has_costs: bool = True) -> pd.DataFrame:
    """The profile as the suite judges it: one row per scope, the batch first; null means not judged there.

    A share is newly failing rows ÷ (newly refused + superseded + staged); fewer than `min_failing_rows` count as 0: one
    bad row of three is no trend. `accepted_rows` is judged for new batches only. PipelineError for a profile that lacks
    columns or counts, or has not exactly one batch row.
    """
    known = (*PROFILE_COUNTS, "scope", "is_batch", "new_batch")
    needed = (*known, "absent_visits", "restated_days", "row_count_deviation")
    missing = [name for name in needed if name not in profile]
    if missing:
        raise PipelineError(f"batch_profile: columns are missing ({', '.join(missing)}); stage the batch again.")
    unknown = [name for name in known if profile[name].isna().any()]
    if unknown:  # a missing count would pass every rule
        raise PipelineError(f"batch_profile: counts are missing in {', '.join(unknown)}; stage the batch again.")
    is_batch = profile["is_batch"].astype(bool)
    if is_batch.sum() != 1 or profile["scope"].duplicated().any() or profile.loc[is_batch, "scope"].iloc[0] != BATCH:
        raise PipelineError("batch_profile: needs one row per scope and exactly one for the batch; stage it again.")

    table = pd.concat([profile[is_batch], profile[~is_batch]], ignore_index=True)
    of_batch = table["is_batch"].astype(bool)
    rows = {name: table[name].astype("float64") for name in PROFILE_COUNTS}
    expected_rows = table["expected_rows"].astype("float64")
    accepted = rows["superseded"] + rows["staged"]
    outside = rows["outside_held"] + rows["outside_missed"] + rows["outside_invalid"]
    landed = outside + rows["refused"] + accepted
    merged = rows["inserted"] + rows["updated"] + rows["unchanged"]

    nothing = pd.Series(float("nan"), index=table.index)

    def share(failing: pd.Series[float], of: pd.Series[float]) -> pd.Series[float]:
        return (failing / of).where((failing >= max(gate.min_failing_rows, 1)) & (of > 0), 0.0)

    return pd.DataFrame(
        {
            "scope": table["scope"].astype(str),
            "missing_required_share": share(rows["newly_missing"], rows["newly_refused"] + accepted),
            "invalid_visit_date_share": share(rows["newly_invalid_visit_date"], rows["newly_refused"] + accepted),
            "refused_share": share(rows["newly_refused"], rows["newly_refused"] + accepted),
            "accepted_rows": accepted.where(table["new_batch"].astype(bool)),
            "duplicate_keys": rows["duplicate_keys"],
            "conservation_difference": (rows["rows_read"] - landed).abs() + (rows["staged"] - merged).abs(),
            # Null where the config sets no limit, and for a full refresh.
            "restated_days": (table["restated_days"] if gate.max_restated_days is not None else nothing).astype(
                "float64"
            ),
            # A source that has no cost column would warn for ever.
            "null_cost_share": share(rows["null_cost"], rows["staged"]) if has_costs else float("nan"),
            "row_count_drop": (1 - rows["rows_read"] / expected_rows).where(expected_rows > rows["rows_read"], 0.0),
            # Null for too few comparable deliveries, and where no new batch is judged.
            "row_count_deviation": table["row_count_deviation"].astype("float64"),
            "hours_since_newest": table["hours_since_newest"].astype("float64").where(of_batch),
            "drifted_columns": rows["unexpected_columns"] + rows["absent_columns"],
            "missed_rows": rows["outside_missed"],
            "held_deliveries": rows["held_deliveries"].where(of_batch),
            "changed_rules": rows["changed_rules"].where(of_batch),
            # Null too where the source's deliveries are increments, or an id could not be read.
            "absent_visits": table["absent_visits"].astype("float64").where(of_batch),
            "same_stamp_changes": rows["same_stamp_changes"],
        }
    )


def judged_staged(staged: pd.DataFrame) -> pd.DataFrame:
    """The staged rows in the types Great Expectations compares rightly: str, float64, datetime64[us, UTC].

    It skips nulls and takes NaN for one, so a cost that is NaN becomes infinite here, which fails the range. Raises
    PipelineError naming the column when one is missing or of another type.
    """
    missing = [name for name in _ARROW_TYPES if name not in staged]
    if missing:
        raise PipelineError(f"staged rows: columns are missing ({', '.join(missing)}); stage the batch again.")
    columns = {}
    for name, kind in _ARROW_TYPES.items():
        try:
            column = pa.array(staged[name])
            if pa.types.is_date(column.type):
                column = column.cast(pa.timestamp("us"))
            column = column.cast(kind, safe=False)
            if isinstance(column, pa.ChunkedArray):  # rows are taken out of one piece in a third of the time
                column = column.combine_chunks()
        except (pa.ArrowException, ValueError, TypeError):
            column = None
        if column is None:
            raise PipelineError(f"staged rows: {name} is not {kind}; stage the batch again.")
        if pa.types.is_floating(kind):
            column = pc.if_else(pc.is_nan(column), float("inf"), column)
        columns[name] = column.to_pandas()
    return pd.DataFrame(columns)


def staged_parameters(settings: config.Settings, clock: datetime, staged_rows: int) -> dict[str, Any]:
    """What the suite `staged_rows` leaves open. Bounds are those that staging judged by, so no accepted row fails."""
    rules, gate = settings.rules, settings.gate
    today = clock.astimezone(ZoneInfo(settings.source.timezone)).date()
    last_day = today + timedelta(days=rules.max_future_days)
    return {
        "staged_rows": staged_rows,
        "min_visit_date": datetime.combine(rules.min_visit_date, time(), UTC),
        "max_visit_date": datetime.combine(last_day, time(), UTC),
        # Costs are judged, then rounded to cents: the bound is rounded alike.
        "max_visit_cost": float(rules.max_visit_cost.quantize(Decimal("0.01"), ROUND_HALF_UP)),
        "max_last_updated": clock.astimezone(UTC) + timedelta(minutes=rules.clock_skew_minutes),
        "diagnosis_code_regex": gate.diagnosis_code_regex,
        "min_diagnosis_shape_share": gate.min_diagnosis_shape_share,
    }
