"""Small numbers and identifiers: the one place through which they pass before anything is shown or recorded.

A group is *small* when a count of it is above zero and below the minimum (`min_group_size`, 8 visits). Merging takes a
second group in when one alone would be small, so no small number can be worked out from a total. Only when everything
together is small does one row remain, without its measures: a table's own row count may be known, its costs may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

MINIMUM = 8
"""The default of `min_group_size`."""

MASK = "•••"
IDENTIFIERS = ("visit_id", "patient_id", "provider_id")
ROW_KEYS = frozenset({"visit_id", "patient_id", "visit_key", "row_hash", "identity", "malformed", "source_line"})
"""Columns that only a frame of rows has: each line of it is a visit, a version or a refused row."""

SIGNIFICANT_DIGITS = 3

Days = npt.NDArray[np.datetime64]
Numbers = npt.NDArray[np.float64]
Grain = Literal["day", "week", "month"]
_GRAINS = ("day", "week", "month", "other periods")


def small_groups(frame: pd.DataFrame, counts: str | Sequence[str], minimum: int) -> pd.Series[bool]:
    """For each row, whether one of its counts is above zero and below `minimum`."""
    shown = frame[_names(counts)].fillna(0)
    return ((shown > 0) & (shown < minimum)).any(axis=1).astype(bool)


def merge_small(
    frame: pd.DataFrame, label: str, counts: str | Sequence[str], minimum: int, other: str = "other"
) -> pd.DataFrame:
    """Categories, largest first, the small ones summed into a last row `other`.

    When `other` would itself be small, the next smallest category joins it; when none is left, the one row is "all".
    `counts` are the columns judged (the first one orders); every remaining column must be a number that may be summed.
    """
    names, columns = _names(counts), _summable(frame, [label], counts)
    rows = frame.groupby(label, dropna=False, as_index=False, sort=False)[columns].sum()
    rows = rows.sort_values([names[0], label], ascending=[False, True], ignore_index=True)
    merged = small_groups(rows, names, minimum)
    if not merged.any():
        return rows
    merged |= rows[label].eq(other).fillna(False).astype(bool)
    _widen(rows, merged, names, minimum)
    kept = rows[~merged]
    if _is_small(rows[names].sum(), minimum):
        kept = kept.iloc[:0]  # where the zeros are would tell where the few are
    pool = rows.loc[merged, columns].sum().to_frame().T
    pool.insert(0, label, other if (kept[names[0]] > 0).any() else "all")
    return _without_measures(_stack(kept, pool, rows), columns, names, minimum)


def merge_small_periods(
    frame_by_day: pd.DataFrame,
    minimum: int,
    counts: str | Sequence[str] = "visits",
    day: str = "day",
    grain: Grain = "day",
) -> pd.DataFrame:
    """Days (or from `grain` on) as periods of which none is small.

    A week with a small day is shown as a week, a month with a small week as a month, and small months together as
    "other periods", which the nearest week (or month) joins when they are small together. Weeks begin on Monday; a
    month is the four or five weeks whose Thursday lies in it, so every period is made of whole smaller ones.
    Out: period, grain, start, end (first and last day present, both inclusive; null where other periods lie apart),
    days (rows merged), then the summed columns. If all is small together, the one row is "all periods".
    """
    names, columns = _names(counts), _summable(frame_by_day, [day], counts)
    rows = frame_by_day.assign(**{day: pd.to_datetime(frame_by_day[day])}).sort_values(day, ignore_index=True)
    keys = _days_weeks_months(rows[day])
    levels = _levels(keys, rows[names].to_numpy(dtype="float64", na_value=0), minimum, _GRAINS.index(grain))
    key = np.select([levels == level for level in range(3)], keys, np.datetime64("NaT"))
    pooled = np.flatnonzero(levels == 3)
    _, first, group = np.unique(np.stack([levels, key.astype("int64")]), axis=1, return_index=True, return_inverse=True)
    last = np.zeros_like(first)
    last[group] = np.arange(len(rows))  # days ascend: the last one written stays
    merged = rows[columns].groupby(group).sum()
    merged.insert(0, "period", [_period_name(levels[place], key[place]) for place in first])
    merged.insert(1, "grain", pd.Series([_GRAINS[level] for level in levels[first]], dtype="object"))
    merged.insert(2, "start", rows[day].iloc[first].array)
    merged.insert(3, "end", rows[day].iloc[last].array)
    merged.insert(4, "days", np.bincount(group, minlength=len(first)))
    if len(pooled):
        others = merged["grain"] == _GRAINS[3]
        together = pooled[-1] - pooled[0] < len(pooled) and not small_groups(merged, names, minimum).any()
        merged.loc[others, "period"] = f"{rows[day][pooled[0]]:%Y-%m-%d} to {rows[day][pooled[-1]]:%Y-%m-%d}"
        if not together:
            merged.loc[others, ["start", "end"]] = pd.NaT
            merged.loc[others, "period"] = _GRAINS[3] if len(pooled) < len(rows) else "all periods"
    return _without_measures(merged.sort_values("start", ignore_index=True), columns, names, minimum)


def merge_small_bins(
    frame: pd.DataFrame, counts: str | Sequence[str], minimum: int, lower: str = "lower", upper: str = "upper"
) -> pd.DataFrame:
    """Adjacent bins `[lower, upper)` in ascending order, merged until each is empty or not small.

    A small bin takes its right neighbours in, the last one its left ones; empty bins between are swallowed, so the
    edges of a merged bin do not tell where in it the visits lie.
    """
    names, columns = _names(counts), _summable(frame, [lower, upper], counts)
    rows = frame.sort_values(lower, ignore_index=True)
    totals = rows[names].to_numpy(dtype="float64", na_value=0)
    starts: list[int] = []
    open_small = False
    for place in range(len(rows)):
        if not open_small:
            starts.append(place)
        open_small = _is_small(totals[starts[-1] : place + 1].sum(axis=0), minimum)
    while open_small and len(starts) > 1:
        starts.pop()
        open_small = _is_small(totals[starts[-1] :].sum(axis=0), minimum)
    ends = [start - 1 for start in starts[1:]] + [len(rows) - 1] * bool(starts)
    bucket = rows.index.isin(starts).cumsum()
    merged = rows.groupby(bucket)[columns].sum().reset_index(drop=True)
    merged.insert(0, lower, rows[lower].iloc[starts].reset_index(drop=True))
    merged.insert(1, upper, rows[upper].iloc[ends].reset_index(drop=True))
    return _without_measures(merged, columns, names, minimum)


def shown_cost(cents: float | None, visits: int, minimum: int) -> int | None:
    """A sum of costs in whole currency units, to three significant digits; null for a small group or none.

    Two records' exact sums of one period differ by exactly the cost of a visit that came between them.
    """
    return None if cents is None or pd.isna(cents) or visits < minimum else significant(cents / 100)


def significant(units: float) -> int:
    """Currency units as they are shown: whole, to three significant digits."""
    whole = round(units)
    return int(round(whole, SIGNIFICANT_DIGITS - len(str(abs(whole)))))


def mask(text: str | float | None) -> str | None:
    """An identifier as shown: neither its characters nor its length; a missing one stays missing."""
    return None if pd.isna(text) else MASK


def mask_frame(frame: pd.DataFrame, columns: Sequence[str] = IDENTIFIERS) -> pd.DataFrame:
    """A copy of `frame` with the identifiers in `columns` masked; a column that it lacks is passed over."""
    masked = frame.copy()
    for name in columns:
        if name in masked:
            masked[name] = pd.Series(MASK, index=frame.index, dtype="string[pyarrow]").where(frame[name].notna())
    return masked


def mask_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame as a record may show it: one of counts as it is, of one of rows (it has one of ROW_KEYS) no value at all.

    Masking the identifiers alone would leave every visit's own cost and day.
    """
    names = [str(name) for name in frame.columns]
    return frame if ROW_KEYS.isdisjoint(names) else mask_frame(frame, list(frame.columns))


def _days_weeks_months(days: pd.Series[pd.Timestamp]) -> tuple[Days, Days, Days]:
    """Of each day itself, the Monday of its week, and the first day of the month of that week's Thursday."""
    each = days.to_numpy().astype("datetime64[D]")
    monday = each - (each.astype("int64") + 3) % 7  # day 0 was a Thursday
    return each, monday, (monday + 3).astype("datetime64[M]").astype("datetime64[D]")


def _levels(keys: tuple[Days, Days, Days], counts: Numbers, minimum: int, finest: int) -> npt.NDArray[np.int64]:
    """For each day, the place in _GRAINS of the period that it is told in; see `merge_small_periods`."""
    levels = np.full(len(counts), finest)
    for level, key in enumerate(keys):
        wider = keys[min(level + 1, 2)]
        totals = _totals(key, counts)
        hidden = np.isin(wider, wider[((totals > 0) & (totals < minimum)).any(axis=1)])
        levels[hidden & (levels <= level)] = level + 1
    while _is_small(counts[levels == 3].sum(axis=0), minimum):
        shown = np.flatnonzero((levels < 3) & (counts[:, 0] > 0))
        if not len(shown):
            levels[:] = 3
            break
        nearest = _nearest(shown, np.flatnonzero(levels == 3))
        joined = keys[max(int(levels[nearest]), 1)]
        levels[joined == joined[nearest]] = 3
    return levels


def _totals(key: Days, counts: Numbers) -> Numbers:
    """For each row, the sums of the counts over all rows of its key."""
    _, group = np.unique(key, return_inverse=True)
    totals = np.zeros_like(counts)
    np.add.at(totals, group, counts)
    return totals[group]


def _names(counts: str | Sequence[str]) -> list[str]:
    return [counts] if isinstance(counts, str) else list(counts)


def _nearest(candidates: npt.NDArray[np.intp], places: npt.NDArray[np.intp]) -> int:
    """The candidate that lies nearest to one of the places, both ascending; the earlier of two."""
    after = np.searchsorted(places, candidates).clip(0, len(places) - 1)
    before = (after - 1).clip(0)
    distances = np.minimum(abs(candidates - places[before]), abs(candidates - places[after]))
    return int(candidates[distances.argmin()])


def _period_name(level: int, key: np.datetime64) -> str:
    """2025-06-03, 2025-W23, 2025-06, other periods."""
    return _GRAINS[3] if level == 3 else key.astype(object).strftime(("%Y-%m-%d", "%G-W%V", "%Y-%m")[level])


def _summable(frame: pd.DataFrame, keys: Sequence[str], counts: str | Sequence[str]) -> list[str]:
    """The columns to sum; a text column would be joined together, values and all."""
    columns = [name for name in frame.columns if name not in keys]
    wrong = [name for name in columns if not pd.api.types.is_numeric_dtype(frame[name])]
    missing = [name for name in (*keys, *_names(counts)) if name not in frame.columns]
    if wrong or missing:
        raise TypeError(f"groups are merged by sums: not numbers: {wrong}; missing columns: {missing}")
    return columns


def _is_small(totals: pd.Series[int] | Numbers, minimum: int) -> bool:
    return bool(((totals > 0) & (totals < minimum)).any())


def _widen(rows: pd.DataFrame, merged: pd.Series[bool], names: Sequence[str], minimum: int) -> None:
    """Mark the next smallest group too while those marked are small together. Rows come largest first."""
    while merged.any() and _is_small(rows.loc[merged, list(names)].sum(), minimum):
        left = rows.index[~merged & (rows[names[0]] > 0)]
        if left.empty:
            return
        merged[left[-1]] = True


def _stack(kept: pd.DataFrame, pool: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """`kept` and then `pool`, with the types of `like`."""
    return pd.concat([kept.astype(object), pool.astype(object)], ignore_index=True).astype(like.dtypes.to_dict())


def _without_measures(merged: pd.DataFrame, columns: Sequence[str], names: Sequence[str], minimum: int) -> pd.DataFrame:
    """Null the measures of what is still small: everything together, when there is too little of it."""
    measures = [name for name in columns if name not in names]
    small = small_groups(merged, names, minimum)
    if measures and small.any():
        merged[measures] = merged[measures].astype("Float64").mask(small)
    return merged
