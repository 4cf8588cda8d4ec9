"""Plots of one run: where its rows went, what was refused, how near the gate's limits it came. Rows, not visits:
a run's own row counts may be shown, whatever their size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.counted import counted
from lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, canvas, nothing_to_draw, styled, tell
from lib.plots import count_along, horizontal_bars, label_edges, numbers, percent, place_between, shortened
from lib.rule_history import used_share

FATES = {
    "outside_held": ("outside the window: already held", SKY, "..."),
    "outside_missed": ("outside the window: missed", ORANGE, "xxx"),
    "outside_invalid": ("outside the window: invalid", ORANGE, "///"),
    "refused": ("refused", VERMILLION, "\\\\\\"),
    "superseded": ("superseded in the batch", GREY, "---"),
}
"""What becomes of a row that is not staged, in the order of the reconciliation."""
ACTIONS = {
    "inserted": ("inserted", BLUE, ""),
    "updated": ("updated", GREEN, "//"),
    "unchanged": ("unchanged", SKY, ".."),
}
MOST_USED = 1.5
"""How far a bar of the gate reaches at most, as a share of the threshold."""


@styled
def plot_reconciliation(counts: Mapping[str, int]) -> Figure:
    """Where did the rows go? In: the manifest's counts (rows_read, outside_*, refused, superseded, staged, actions)."""
    read, staged = int(counts.get("rows_read", 0)), int(counts.get("staged", 0))
    if not read:
        return nothing_to_draw("Where the rows read went", "no rows were read in this run")
    steps = [("rows read", 0, read, BLACK, "")]
    left = read
    for name, (label, colour, hatch) in FATES.items():
        left -= int(counts.get(name, 0))
        steps.append((label, left, int(counts.get(name, 0)), colour, hatch))
    lost = left - staged
    steps.append(("staged", 0, staged, BLACK, ""))
    left = staged
    for name, (label, colour, hatch) in ACTIONS.items():
        left -= int(counts.get(name, 0))
        steps.append((f"   {label}", left, int(counts.get(name, 0)), colour, hatch))
    lost = lost or left
    names, starts, widths, colours, hatches = zip(*steps, strict=True)
    figure, axes = canvas(4.1, grid="x")
    labels = [f"{width:,} ({percent(width / read)})" for width in widths]
    bars = horizontal_bars(axes, names, np.asarray(widths, dtype=np.float64), labels, left=starts)
    for bar, colour, hatch in zip(bars, colours, hatches, strict=True):
        bar.set(facecolor=colour, edgecolor=colour, hatch=hatch, hatchcolor="white")
        bar.set_linewidth(1 if bar.get_width() else 0)  # an edge would draw a row that is not there
    axes.set(xlabel="rows")
    aside = read - staged
    title = f"All {read:,} rows read are accounted for: {staged:,} staged, {aside:,} not"
    if lost:
        title = f"The rows do not add up: {abs(lost):,} {'unaccounted for' if lost > 0 else 'counted twice'}"
    subtitle = (
        "n = rows read = outside the window + refused + superseded + staged; staged = inserted + updated + unchanged"
    )
    return tell(figure, title, subtitle, "Waterfall chart")


@styled
def plot_refusals_by_reason(reasons: Mapping[str, int], refused: int | None = None) -> Figure:
    """Why were rows refused? In: the manifest's rows by reason, and the number of refused rows."""
    found = pd.Series(dict(reasons), dtype="int64").sort_values(ascending=False, kind="stable")
    found = found[found > 0]
    if found.empty:
        return nothing_to_draw("Refused rows by reason", "no row was refused in this run")
    figure, axes = canvas(1.35 + 0.27 * len(found), grid="x")
    bars = horizontal_bars(
        axes, [str(name) for name in found.index], np.array(found.tolist(), dtype=np.float64), [f"{n:,}" for n in found]
    )
    for bar in bars:
        bar.set(facecolor=VERMILLION)
    axes.set(xlabel="rows with this reason")
    total = int(refused if refused is not None else found.sum())
    title = f"{found.index[0]} is the most frequent reason: {found.iloc[0]:,} of {total:,} refused rows"
    if len(found) == 1:
        title = f"Every refusal has one reason: {found.index[0]}"
    return tell(figure, title, f"n = {total:,} refused rows; a row with several reasons counts under each", "Bar chart")


@styled
def plot_gate_overview(frame: pd.DataFrame) -> Figure:
    """How near did the batch come to the gate's limits? In: dq_report.json's rules, one row per rule and scope:
    id, severity, observed, comparison, threshold, passed, and overridden where there is one."""
    judged = frame[frame["observed"].notna()] if len(frame) else frame
    if judged.empty:
        return nothing_to_draw("How much of each threshold was used")
    judged = judged.assign(used=[_used(row) for row in judged.to_dict("records")])
    judged = judged.sort_values(["passed", "used"], ascending=[True, False], kind="stable").drop_duplicates("id")
    used = judged["used"].clip(upper=MOST_USED).to_numpy(float)
    labels = [_observed(row) for row in judged.to_dict("records")]
    figure, axes = canvas(1.6 + 0.25 * len(judged), grid="x")
    bars = horizontal_bars(axes, [shortened(name, 34) for name in judged["id"]], used, labels)
    looks = {
        "within the limit": {"facecolor": BLUE},
        "warning": {"facecolor": ORANGE, "hatch": "///", "hatchcolor": "white"},
        "critical failure": {"facecolor": VERMILLION, "hatch": "xxx", "hatchcolor": "white"},
    }
    failed = 0
    for bar, row in zip(bars, judged.to_dict("records"), strict=True):
        kind = "within the limit" if row["passed"] else "critical failure"
        if not row["passed"] and row["severity"] == "warning":
            kind = "warning"
        failed += kind == "critical failure"
        bar.set(label=kind if kind in looks else None, **looks.get(kind, looks["within the limit"]))
    axes.axvline(1, color=BLACK, linewidth=1.3, linestyle="--", label="limit")
    axes.set_xlim(0, MOST_USED + 0.35)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1, 1.25], ["0 %", "25 %", "50 %", "75 %", "100 %", "125 %"])
    axes.set(xlabel="share of the threshold used (what is over 150 % is cut)")
    warned = int((~judged["passed"].astype(bool)).sum()) - failed
    title = f"All {len(judged)} rules hold"
    if failed or warned:
        told = [f"{failed} critical failure{'s' * (failed > 1)}"] * (failed > 0)
        title = " and ".join(told + [f"{warned} warning{'s' * (warned > 1)}"] * (warned > 0))
        title = f"{len(judged) - failed - warned} of {len(judged)} rules hold: {title}"
    subtitle = f"n = {len(judged)} rules, each at its worst; beside each bar: what was observed and the limit"
    unjudged = frame["id"].nunique() - len(judged)
    subtitle += f"; {unjudged} more had nothing to judge" if unjudged else ""
    return tell(_one_of_each(figure), title, subtitle, "Bar chart", legend=True)


@styled
def plot_lateness(frame: pd.DataFrame, lookback_hours: float) -> Figure:
    """Is the window long enough? In: `analytics.lateness`; hours by which a row came behind the watermark."""
    question = "How late rows came"
    if frame.empty or not (numbers(frame, "loaded").sum() + numbers(frame, "missed").sum()):
        return nothing_to_draw(question, "no late row in this run")
    loaded, missed = numbers(frame, "loaded"), numbers(frame, "missed")
    edges = np.append(numbers(frame, "hours_from"), numbers(frame, "hours_to")[-1])
    edges = np.where(np.isnan(edges), np.inf, edges)
    figure, axes = canvas()
    places = np.arange(len(loaded)) + 0.5
    axes.bar(places, loaded, width=0.94, color=BLUE, label="loaded")
    look: dict[str, Any] = {"facecolor": ORANGE, "edgecolor": ORANGE, "hatch": "xxx", "hatchcolor": "white"}
    late_bins = missed > 0
    where, heights = places[late_bins], missed[late_bins]
    axes.bar(where, heights, bottom=loaded[late_bins], width=0.94, label="missed: older than the window", **look)
    label_edges(axes, [_hours(edge) for edge in edges])
    if edges[0] <= lookback_hours <= edges[-1]:
        axes.axvline(
            place_between(edges, lookback_hours), color=BLACK, linestyle="--", linewidth=1.3, label="lookback window"
        )
    axes.set(xlabel="how far behind the watermark a row came (h: hours, d: days)", ylabel="rows")
    total, late = loaded.sum() + missed.sum(), missed.sum()
    title = f"All {total:,.0f} late rows came within the window of {_hours(lookback_hours)}"
    if late:
        title = (
            f"{late:,.0f} of {total:,.0f} late rows came after the window of {_hours(lookback_hours)} and were missed"
        )
    return tell(
        figure,
        title,
        f"n = {total:,.0f} new or corrected rows behind the watermark",
        "Histogram",
        legend=True,
    )


@styled
def plot_rows_by_delivery(frame: pd.DataFrame, most: int = 20) -> Figure:
    """What did each delivery bring? In: rows of batch_profile of single deliveries (`scope` names each)."""
    rows = frame[~frame["is_batch"].astype(bool)] if "is_batch" in frame else frame
    if rows.empty:
        return nothing_to_draw("Rows by delivery")
    drawn = rows.tail(most)
    fates = {**FATES, "staged": ("staged", BLUE, "")}
    figure, axes = canvas(1.75 + 0.27 * len(drawn), grid="x")
    left, places = np.zeros(len(drawn)), np.arange(len(drawn), dtype="float64")
    for name in ("staged", *FATES):
        label, colour, hatch = fates[name]
        widths = numbers(drawn, name)
        if widths.sum():
            look: dict[str, Any] = {"facecolor": colour, "edgecolor": colour, "hatch": hatch, "hatchcolor": "white"}
            some = widths > 0
            axes.barh(places[some], widths[some], left=left[some], height=0.7, label=label, **look)
        left += widths
    for place, (end, total) in enumerate(zip(left, numbers(drawn, "rows_read"), strict=True)):
        axes.text(end, place, f"  {total:,.0f}", va="center", fontsize=8.5)
    axes.set_yticks(places, [shortened(name) for name in drawn["scope"]])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    count_along(axes)
    axes.set(xlabel="rows read")
    read = numbers(rows, "rows_read").sum()
    title = f"{counted(len(rows), 'delivery', 'deliveries')} brought {read:,.0f} rows, "
    title += f"{percent(numbers(rows, 'staged').sum() / read) if read else '0 %'} of them staged"
    subtitle = f"n = {read:,.0f} rows read" + (f"; the newest {most} deliveries are drawn" if len(rows) > most else "")
    return tell(figure, title, subtitle, "Stacked bar chart", legend=True)


def _used(row: Mapping[Any, Any]) -> float:
    """How much of its limit a rule used: 1 is the limit."""
    return used_share(float(row["observed"]), row.get("comparison", "<="), float(row["threshold"]), row["passed"])


def _observed(row: Mapping[Any, Any]) -> str:
    """`3.1 % of 5 %` for shares; counts and hours as they are."""
    observed, threshold = float(row["observed"]), float(row["threshold"])
    if row.get("unit") == "share" or (0 < threshold < 1):
        text = f"{percent(observed)}, limit {percent(threshold)}"
    else:
        text = f"{round(observed, 1):,.6g}, limit {threshold:,.6g}"
    return text + (" (accepted)" if row.get("overridden") else "")


def _hours(hours: float) -> str:
    if not np.isfinite(hours):
        return "more"
    return f"{hours:,.4g} h" if abs(hours) < 48 or hours % 24 else f"{hours / 24:,.4g} d"


def _one_of_each(figure: Figure) -> Figure:
    """Leave each label on one artist, so that the legend names it once."""
    seen: set[str] = set()
    for patch in figure.axes[0].patches:
        label = str(patch.get_label())
        patch.set_label("_nolegend_" if label in seen else label)
        seen.add(label)
    return figure
