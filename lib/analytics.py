"""What the tables say now, as small pandas frames (Arrow types) that are safe to show.

Facts are aggregated in the warehouse (lib/sql/analytics), by day and by value when they are loaded; at most one row a
day comes here. Every frame has passed
lib/disclosure.py: groups of fewer than `minimum` visits are merged, sums and averages of costs have three significant
digits.
`source` limits a frame to one source; None means all. An empty warehouse gives empty frames with the same columns.
Errors of the warehouse pass through as they are.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date
from typing import Any, Literal

import pandas as pd

from lib.disclosure import (
    MINIMUM,
    merge_small,
    merge_small_bins,
    merge_small_periods,
    shown_cost,
    significant,
    small_groups,
)
from lib.sql import statement
from lib.warehouses.interface import Connection

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOT_RECORDED = "not recorded"
LEADING_EDGES = (10, 15, 20, 30, 50, 70)
"""Where the bins of each order of magnitude of a cost begin: 10, 15, 20, 30, 50, 70, 100, 150 …"""
ALWAYS_BINNED = 7
"""Orders of magnitude above 1.00 that have bins whatever the data: the last bin must not tell how high a cost went."""

Unit = Literal["day", "week"]

TEXT, INTEGER, NUMBER, FLAG = "string[pyarrow]", "int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]"
DATE = "date32[day][pyarrow]"

_PERIOD = {
    "period": TEXT,
    "grain": TEXT,
    "start": DATE,
    "end": DATE,
    "days": INTEGER,
    "is_over": FLAG,
}
_VISITS = _PERIOD | {"visits": INTEGER}
_COSTS = _PERIOD | {"visits": INTEGER, "visits_with_cost": INTEGER, "cost": INTEGER}
_WEEKDAYS = {"weekday": TEXT, "visits": INTEGER, "days": INTEGER, "mean_visits": NUMBER}
_BINS = {"cost_from": NUMBER, "cost_to": NUMBER, "visits": INTEGER}
_SUMMARY = dict.fromkeys(("visits_with_cost", "lower_quartile", "median", "upper_quartile"), INTEGER)
_LATENESS = {"hours_from": NUMBER, "hours_to": NUMBER, "loaded": INTEGER, "missed": INTEGER}
_CAUSES = ("inserted", "corrected", "moved_in", "moved_out", "removed", "deleted", "restored")
_CHANGES = {"period": TEXT, "grain": TEXT} | dict.fromkeys(
    (
        *("days_changed", "days_new", "days_gone", "visits_before", "visits_after", "visits_difference"),
        *("cost_before", "cost_after", "cost_difference"),
        *_CAUSES,
        "late",
    ),
    INTEGER,
)


def visits_per_day(
    connection: Connection,
    minimum: int = MINIMUM,
    source: str | None = None,
    weeks: int | None = 26,
    as_of: date | None = None,
) -> pd.DataFrame:
    """Grain: one row per day with its visits, of the last `weeks` weeks; see `_per_period` for the columns.

    `average_7_days`: visits a day over the seven days that end with `end`.
    """
    frame = _per_period(connection, "day", ["visits"], minimum, source, as_of)
    return _latest(_averaged(frame, "day", "visits"), weeks, _VISITS)


def visits_per_week(
    connection: Connection,
    minimum: int = MINIMUM,
    source: str | None = None,
    weeks: int | None = 53,
    as_of: date | None = None,
) -> pd.DataFrame:
    """Grain: one row per ISO week with its visits, of the last `weeks` weeks; see `_per_period` for the columns.

    `average_4_weeks`: visits a week over the 28 days that end with `end`.
    """
    frame = _per_period(connection, "week", ["visits"], minimum, source, as_of)
    return _latest(_averaged(frame, "week", "visits"), weeks, _VISITS)


def cost_per_day(
    connection: Connection,
    minimum: int = MINIMUM,
    source: str | None = None,
    weeks: int | None = 26,
    as_of: date | None = None,
) -> pd.DataFrame:
    """As `visits_per_day`, with `visits_with_cost`, `cost` and its average in whole currency units."""
    return _cost(connection, "day", minimum, source, weeks, as_of)


def cost_per_week(
    connection: Connection,
    minimum: int = MINIMUM,
    source: str | None = None,
    weeks: int | None = 53,
    as_of: date | None = None,
) -> pd.DataFrame:
    """As `visits_per_week`, with `visits_with_cost`, `cost` and its average in whole currency units."""
    return _cost(connection, "week", minimum, source, weeks, as_of)


def weekday_pattern(
    connection: Connection, minimum: int = MINIMUM, source: str | None = None, weeks: int | None = 53
) -> pd.DataFrame:
    """Grain: one row per weekday, Monday first; `mean_visits` over all its days since the first visit of the range."""
    days = _calendar(_days(connection, source))
    if weeks is not None and len(days):
        days = days[days["day"] > days["day"].max() - pd.Timedelta(weeks=weeks)]
    days = days[days["visits"].cumsum() > 0]  # a lone old visit must not stretch the range
    counted = pd.DataFrame(
        {"weekday": days["day"].dt.day_of_week.map(dict(enumerate(WEEKDAYS))), "visits": days["visits"], "days": 1}
    )
    merged = merge_small(counted, "weekday", "visits", minimum, other="other days")
    merged["mean_visits"] = (merged["visits"] / merged["days"]).round(1)
    order = {name: place for place, name in enumerate(WEEKDAYS)}
    return _typed(merged.sort_values("weekday", key=lambda names: names.map(order)), _WEEKDAYS)


def top_diagnoses(
    connection: Connection, minimum: int = MINIMUM, source: str | None = None, top: int = 12
) -> pd.DataFrame:
    """Grain: one row per diagnosis code, the `top` most frequent, then "other"; see `_top`."""
    return _top(connection, "diagnosis_code", minimum, source, top)


def top_providers(
    connection: Connection, minimum: int = MINIMUM, source: str | None = None, top: int = 12
) -> pd.DataFrame:
    """Grain: one row per provider, the `top` most visited, then "other"; see `_top`."""
    return _top(connection, "provider_id", minimum, source, top)


def cost_distribution(connection: Connection, minimum: int = MINIMUM, source: str | None = None) -> pd.DataFrame:
    """Grain: one row per bin [cost_from, cost_to) of currency units; the first begins at 0, the last is open (null)."""
    counted = _rows(connection, "analytics/cost_bins", source=source)
    powers = max([ALWAYS_BINNED, *(row["digits"] - 2 for row in counted)])
    tenths = [0, *(edge * 10**power for power in range(powers) for edge in LEADING_EDGES), 10 ** (powers + 1)]
    visits = [0] * (len(tenths) - 1)
    for row in counted:
        least = row["leading"] * 10 ** max(row["digits"] - 3, 0)
        visits[bisect_right(tenths, least) - 1] += row["visits"]
    bins = pd.DataFrame({"cost_from": tenths[:-1], "cost_to": tenths[1:], "visits": visits})
    merged = merge_small_bins(bins, "visits", minimum, "cost_from", "cost_to")
    used = merged.index[merged["visits"] > 0]
    merged = merged.loc[used.min() : used.max()] if len(used) else merged.iloc[:0]
    edges = [0.0, *(merged["cost_from"].iloc[1:] / 10), None]  # open ends: else they would tell the least and the most
    return _typed(merged.assign(cost_from=edges[:-1][: len(merged)], cost_to=edges[1:][: len(merged)]), _BINS)


def cost_summary(connection: Connection, minimum: int = MINIMUM, source: str | None = None) -> pd.DataFrame:
    """Grain: one row: quartiles of a visit's cost; null when fewer than `minimum` have a cost. Each is one visit's
    cost, so it is told in currency units to three significant digits."""
    row = _rows(connection, "analytics/cost_quartiles", source=source)[0]
    visits = row["visits_with_cost"]
    quartiles = {
        name: significant(row[f"{name}_cents"] / 100) if visits and visits >= minimum else None
        for name in ("lower_quartile", "median", "upper_quartile")
    }
    return _typed(pd.DataFrame([{"visits_with_cost": visits, **quartiles}]), _SUMMARY)


def restated_days(connection: Connection, run_id: str, minimum: int = MINIMUM) -> pd.DataFrame:
    """Grain: one row per day that the run changed, before and after, with what moved it; meant for the newest run.

    A day in a week with a small day is told as its whole week, as everywhere: the unchanged days are then counted on
    both sides. Costs are null where few visits were touched or came by: the difference would be a visit's cost.
    """
    changes = pd.DataFrame(_rows(connection, "analytics/changed_days", run_id=run_id))
    if changes.empty:
        return _typed(pd.DataFrame(columns=list(_CHANGES)), _CHANGES)
    days = pd.DataFrame(_rows(connection, "analytics/days", source=None), columns=["day", *_DAY_COUNTS])
    same = days[~days["day"].isin(changes["day"])]
    sides = {"visits": "visits", "visits_with_cost": "with_cost", "cost_cents": "cents"}
    unchanged = pd.DataFrame(
        {"day": same["day"]}
        | {f"{ours}_{side}": same[theirs] for theirs, ours in sides.items() for side in ("before", "after")}
    )
    every = pd.concat([changes, unchanged]).fillna(0)
    every = every.astype({name: "int64" for name in every.columns if name != "day"})
    merged = merge_small_periods(every, minimum, ["visits_before", "visits_after"])
    merged = merged[merged["days_changed"] > 0].copy()
    merged["visits_difference"] = merged["visits_after"] - merged["visits_before"]
    hidden = merged[list(_CAUSES)].sum(axis=1) < minimum
    merged["with_cost_more"] = (merged["with_cost_after"] - merged["with_cost_before"]).abs()
    hidden |= small_groups(merged, ["with_cost_before", "with_cost_after", "with_cost_more"], minimum)
    for side in ("before", "after"):
        merged[f"cost_{side}"] = [
            None if small else shown_cost(cents, visits, minimum)
            for cents, visits, small in zip(merged[f"cents_{side}"], merged[f"with_cost_{side}"], hidden, strict=True)
        ]
    merged["cost_difference"] = merged["cost_after"].astype("Int64") - merged["cost_before"].astype("Int64")
    return _typed(merged, _CHANGES)


def lateness(bins: pd.DataFrame, lookback_hours: float) -> pd.DataFrame:
    """Grain: one row per bin (hours_from, hours_to]; rows `loaded` and `missed`, up to the last bin with a row and at
    least beyond the lookback. These are the pipeline's own row counts, and name no patient: none is merged.
    """
    told = (bins["loaded"] + bins["missed"] > 0) | (bins["hours_from"] <= lookback_hours)
    last = told[told].index.max() if told.any() else -1
    return _typed(bins.loc[:last], _LATENESS)


_DAY_COUNTS = ("visits", "visits_with_cost", "cost_cents")


def _days(connection: Connection, source: str | None) -> pd.DataFrame:
    frame = pd.DataFrame(_rows(connection, "analytics/days", source=source), columns=["day", *_DAY_COUNTS])
    return frame.astype({"day": "datetime64[s]"} | dict.fromkeys(_DAY_COUNTS, "int64"))


def _calendar(days: pd.DataFrame) -> pd.DataFrame:
    """Every day from the first to the last, those without a visit as zeros."""
    if days.empty:
        return days
    every = pd.date_range(days["day"].min(), days["day"].max(), name="day", unit="s")
    return days.set_index("day").reindex(every, fill_value=0).reset_index()


def _per_period(
    connection: Connection,
    unit: Unit,
    counts: list[str],
    minimum: int,
    source: str | None,
    as_of: date | None,
) -> pd.DataFrame:
    """Grain: one row per `unit`, or per wider period where one is small; key: period.

    Columns: period (2025-06-03, 2025-W23, 2025-06 or "other periods"), grain, start and end (inclusive; cut at the
    first and last day that has a visit; null for other periods), days (in that cut), is_over (its last day, or the
    Sunday of its last week, is before `as_of`, or, without one, not after the last visit; null for other periods),
    then the counts. Small groups are found
    over all days, and the latest periods cut out afterwards, so that a short frame and a long one do not betray
    each other.
    """
    days = _calendar(_days(connection, source))
    merged = merge_small_periods(days, minimum, counts, grain=unit)
    over = days["day"].max() if as_of is None else pd.Timestamp(as_of) - pd.Timedelta(days=1)
    to_sunday = (6 - merged["end"].dt.day_of_week).where(merged["grain"] != "day", 0)
    last = merged["end"] + pd.to_timedelta(to_sunday, unit="D")
    merged["is_over"] = (last <= over).astype("boolean").where(last.notna())
    return merged


def _latest(frame: pd.DataFrame, weeks: int | None, schema: dict[str, str]) -> pd.DataFrame:
    """The periods that reach into the last `weeks` ISO weeks, and those without a place in time."""
    last = frame["end"].max()
    if weeks is not None and not pd.isna(last):
        first = last - pd.Timedelta(days=last.day_of_week, weeks=weeks - 1)
        frame = frame[frame["end"].isna() | (frame["end"] >= first)]
    averages = {name: NUMBER for name in frame.columns if name.startswith("average_")}
    return _typed(frame, schema | averages)


def _cost(
    connection: Connection, unit: Unit, minimum: int, source: str | None, weeks: int | None, as_of: date | None
) -> pd.DataFrame:
    frame = _per_period(connection, unit, ["visits", "visits_with_cost"], minimum, source, as_of)
    pairs = zip(frame["cost_cents"], frame["visits_with_cost"], strict=True)
    frame["cost"] = pd.Series([shown_cost(cents, visits, minimum) for cents, visits in pairs], dtype="Int64")
    return _latest(_averaged(frame, unit, "cost"), weeks, _COSTS)


def _averaged(frame: pd.DataFrame, unit: Unit, value: str) -> pd.DataFrame:
    """`frame` with a trailing average of the values as shown, spread evenly over each period's days; of costs, it is
    rounded as they are.

    An average of the true days would tell a hidden day by the difference of two of its values.
    """
    placed = frame[frame["start"].notna()]
    lengths = ((placed["end"] - placed["start"]).dt.days + 1).tolist()
    rates = (placed[value].fillna(0).astype("float64") / lengths).repeat(lengths)
    within = rates.groupby(level=0).cumcount()
    daily = rates.set_axis(placed["start"].repeat(lengths) + pd.to_timedelta(within, unit="D")).asfreq("D")
    name, days, per_unit = ("average_7_days", 7, 1) if unit == "day" else ("average_4_weeks", 28, 7)
    average = (daily.rolling(days).mean() * per_unit).dropna()
    average = average.map(significant) if value == "cost" else average.round(1)
    return frame.assign(**{name: frame["end"].map(average).astype("float64")})


def _top(connection: Connection, column: str, minimum: int, source: str | None, top: int) -> pd.DataFrame:
    """Columns: the category, categories (how many the row holds), visits, share of all visits (0 to 1)."""
    counted = _rows(connection, "analytics/categories", kind=column, source=source, top=top)
    frame = pd.DataFrame(
        {
            column: [
                "other" if row["folded"] else NOT_RECORDED if row["category"] is None else row["category"]
                for row in counted
            ],
            "categories": [row["categories"] for row in counted],
            "visits": [row["visits"] for row in counted],
        }
    ).astype({column: "object", "categories": "int64", "visits": "int64"})
    merged = merge_small(frame, column, "visits", minimum)
    merged = merged.sort_values(column, key=lambda names: names.isin(["other", "all"]), kind="stable")
    merged["share"] = (merged["visits"] / merged["visits"].sum()).round(3)
    kinds = {column: TEXT, "categories": INTEGER, "visits": INTEGER, "share": NUMBER}
    return _typed(merged, kinds)


def _rows(connection: Connection, name: str, **values: Any) -> list[dict[str, Any]]:
    cursor = connection.execute(statement(name), values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _typed(frame: pd.DataFrame, schema: dict[str, str]) -> pd.DataFrame:
    """The columns of `schema`, in its order, with its Arrow types."""
    return pd.DataFrame({name: _column(frame[name], kind) for name, kind in schema.items()}, columns=list(schema))


def _column(values: pd.Series[Any], kind: str) -> pd.Series[Any]:
    plain = [None if pd.isna(value) else value for value in values]
    return pd.Series(plain if kind != DATE else [value and value.date() for value in plain], dtype=kind)
