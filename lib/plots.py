"""Plots of the tables: one question each, answered by a computed title. Frames come from lib/analytics.py.

`minimum` is the least number of visits in a group that may be drawn; a frame with a smaller group is not drawn at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lib.counted import counted
from lib.disclosure import MINIMUM, small_groups
from lib.figures import BLACK, BLUE, GREY, SKY, VERMILLION, canvas, nothing_to_draw, png, styled, tell

Numbers = npt.NDArray[np.float64]
MERGED = ("other", "all", "other days")
"""Labels of rows that hold several groups."""


@styled
def plot_visits_per_week(frame: pd.DataFrame, minimum: int = MINIMUM) -> Figure:
    """How many visits a week, and is it more or less than before? In: `analytics.visits_per_week`."""
    return _plot_periods(frame, "visits", "visits", "week", minimum)


@styled
def plot_visits_per_day(frame: pd.DataFrame, minimum: int = MINIMUM) -> Figure:
    """How many visits a day, and is it more or less than before? In: `analytics.visits_per_day`."""
    return _plot_periods(frame, "visits", "visits", "day", minimum)


@styled
def plot_cost_per_week(frame: pd.DataFrame, minimum: int = MINIMUM) -> Figure:
    """What do the visits of a week cost? In: `analytics.cost_per_week`."""
    return _plot_periods(frame, "cost", "cost (currency units)", "week", minimum)


@styled
def plot_weekday_pattern(frame: pd.DataFrame, minimum: int = MINIMUM) -> Figure:
    """Which weekdays are busy? In: `analytics.weekday_pattern`."""
    unfit = _unfit(frame, ["visits"], minimum, "Mean visits by weekday")
    if unfit:
        return unfit
    names, means, visits = frame["weekday"].tolist(), numbers(frame, "mean_visits"), numbers(frame, "visits")
    figure, axes = canvas()
    bars = axes.bar(names, means, color=BLUE, width=0.7)
    for bar, name in zip(bars, names, strict=True):
        if name in MERGED:
            bar.set(facecolor="white", edgecolor=GREY, hatch="///")
    axes.bar_label(bars, fmt="{:,.1f}", padding=2, fontsize=8.5)
    axes.set(ylabel="mean visits a day", xlabel="weekday of the visit")
    axes.margins(y=0.12)
    order = [place for place in np.argsort(means) if names[place] not in MERGED]
    title = "Too few visits to tell the weekdays apart"
    if len(order) > 1:
        most, least = order[-1], order[0]
        title = f"{names[most]} is the busiest weekday ({means[most]:,.1f} visits on average), "
        title += f"{names[least]} the quietest ({means[least]:,.1f})"
    subtitle = (
        f"n = {visits.sum():,.0f} visits over {numbers(frame, 'days').sum():,.0f} days, those without a visit too"
    )
    return tell(figure, title, subtitle, "Bar chart")


@styled
def plot_top_categories(frame: pd.DataFrame, what: str = "diagnosis code", minimum: int = MINIMUM) -> Figure:
    """Which are the most frequent? In: `analytics.top_diagnoses` or `top_providers`: the category comes first."""
    unfit = _unfit(frame, ["visits"], minimum, f"Visits by {what}")
    if unfit:
        return unfit
    names, visits = [shortened(name) for name in frame.iloc[:, 0]], numbers(frame, "visits")
    total = visits.sum()
    figure, axes = canvas(1.35 + 0.25 * len(names), grid="x")
    bars = horizontal_bars(axes, names, visits, [f"{each:,.0f} ({percent(each / total)})" for each in visits])
    for bar, name in zip(bars, names, strict=True):
        if name in MERGED:
            bar.set(facecolor="white", edgecolor=GREY, hatch="///")
    axes.set(xlabel="visits")
    named = [place for place, name in enumerate(names) if name not in (*MERGED, "not recorded")]
    title = f"No {what} has enough visits to be shown alone"
    if named:
        first = named[0]
        title = f"{names[first]} is the most frequent {what}: {percent(visits[first] / total)} of the visits"
    merged = int(numbers(frame[frame.iloc[:, 0].isin(MERGED)], "categories").sum())
    subtitle = f"n = {total:,.0f} visits" + (f"; other: {merged:,} less frequent {what}s together" if merged else "")
    return tell(figure, title, subtitle, "Bar chart")


@styled
def plot_cost_distribution(frame: pd.DataFrame, summary: pd.DataFrame | None = None, minimum: int = MINIMUM) -> Figure:
    """What does a visit cost? In: `analytics.cost_distribution` and, for the quartiles, `cost_summary`."""
    unfit = _unfit(frame, ["visits"], minimum, "Visits by cost")
    if unfit:
        return unfit
    visits, edges = numbers(frame, "visits"), _edges(frame, "cost_from", "cost_to")
    figure, axes = canvas()
    axes.bar(np.arange(len(visits)) + 0.5, visits, width=0.94, color=BLUE, label="visits")
    label_edges(axes, [f"{edge:,.10g}" if np.isfinite(edge) else "more" for edge in edges])
    most = int(visits.argmax())
    title = f"Most visits cost {_range(edges, most)}"
    quartiles = None if summary is None or summary.empty else summary.iloc[0]
    if quartiles is not None and not pd.isna(quartiles["median"]):
        low, middle, high = (float(quartiles[name]) for name in ("lower_quartile", "median", "upper_quartile"))
        title = f"Half of the visits cost between {low:,.0f} and {high:,.0f}, the median is {middle:,.0f}"
        spans = [place_between(edges, each) for each in (low, middle, high)]
        look: dict[str, Any] = {"facecolor": to_rgba("white", 0.45), "edgecolor": BLACK, "linewidth": 1.3}
        axes.axvspan(spans[0], spans[2], zorder=2, label="middle half of the visits", **look)  # above the bars
        axes.axvline(spans[1], color=BLACK, linestyle="--", linewidth=1.3, label="median")
    axes.set(xlabel="cost of a visit (currency units; the bins grow with the cost)", ylabel="visits")
    subtitle = f"n = {visits.sum():,.0f} visits with a cost; bins with fewer than {minimum} visits are merged"
    return tell(figure, title, subtitle, "Histogram", legend=quartiles is not None)


@styled
def plot_restated_days(frame: pd.DataFrame, minimum: int = MINIMUM, most: int = 20) -> Figure:
    """Which days did this run change, and by how many visits? In: `analytics.restated_days`."""
    question = "Visits of the changed days, before and after"
    unfit = _unfit(frame, ["visits_before", "visits_after"], minimum, question, "this run changed no day")
    if unfit:
        return unfit
    days, new, gone = (int(numbers(frame, f"days_{name}").sum()) for name in ("changed", "new", "gone"))
    drawn = frame.assign(size=frame["visits_difference"].abs()).nlargest(most, "size").sort_index()
    before, after = numbers(drawn, "visits_before"), numbers(drawn, "visits_after")
    figure, axes = canvas(1.5 + 0.27 * len(drawn), grid="x")
    places = np.arange(len(drawn), dtype=float)
    axes.barh(places - 0.19, before, height=0.36, color="white", edgecolor=GREY, hatch="////", label="before this run")
    axes.barh(places + 0.19, after, height=0.36, color=BLUE, label="after this run")
    for place, one, other in zip(places, before, after, strict=True):
        axes.text(max(one, other), place, f"  {other - one:+,.0f}", va="center", fontsize=8.5)
    axes.set_yticks(places, drawn["period"].tolist())
    axes.invert_yaxis()
    axes.margins(x=0.1)
    count_along(axes)
    axes.set(xlabel="visits")
    told = [f"{days - new - gone:,} restated"] * (days > new + gone) + [f"{new:,} new"] * (new > 0)
    told += [f"{gone:,} gone"] * (gone > 0)
    title = f"This run changed {counted(days, 'day')}: {', '.join(told)}"
    rows = f"the {most} that changed most of {len(frame):,} rows" if len(frame) > most else "all rows"
    subtitle = f"n = {numbers(frame, 'visits_after').sum():,.0f} visits in the changed periods; drawn: {rows}"
    return tell(figure, title, subtitle, "Paired bar chart", legend=True)


def draw_once() -> None:
    """Two pictures of invented numbers, for nobody: what matplotlib looks up for its first axis of dates, bars, hatches
    and legend is then known to this process and to its forks."""
    weeks = pd.date_range("2020-01-06", periods=30, freq="7D")
    periods = pd.DataFrame({"start": weeks, "end": weeks + pd.Timedelta(days=6), "grain": "week", "is_over": True})
    png(plot_visits_per_week(periods.assign(visits=100, average_4_weeks=100.0)))
    png(plot_top_categories(pd.DataFrame({"code": ["A", "other"], "visits": [100, 50], "categories": [1, 2]})))


def numbers(frame: pd.DataFrame, name: str) -> Numbers:
    """A column as floats, null as NaN."""
    return np.array(frame[name].astype("Float64").to_numpy(dtype="float64", na_value=np.nan), dtype=np.float64)


def percent(share: float) -> str:
    """`12 %`; small ones with a decimal, none that is not zero as 0 %."""
    return "0 %" if share == 0 else "under 0.1 %" if share < 0.001 else f"{share * 100:.{0 if share >= 0.1 else 1}f} %"


def shortened(text: Any, length: int = 26) -> str:
    """A label that fits beside a bar."""
    return str(text) if len(str(text)) <= length else f"{str(text)[: length - 1]}…"


def horizontal_bars(axes: Axes, names: Sequence[str], widths: Numbers, labels: Sequence[str], left: Any = 0) -> Any:
    """Bars from the top down, each with its number at its end."""
    places = np.arange(len(names))
    bars = axes.barh(places, widths, left=left, height=0.7, color=BLUE)
    for bar, label in zip(bars, labels, strict=True):
        axes.text(
            bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height() / 2, f"  {label}", va="center", fontsize=8.5
        )
    axes.set_yticks(places, list(names))
    axes.invert_yaxis()
    axes.margins(x=0.16)
    count_along(axes)
    return bars


def count_along(axes: Axes) -> None:
    """A horizontal axis of whole numbers that begins at zero."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(thousands))


def label_edges(axes: Axes, labels: Sequence[str]) -> None:
    """Bars of equal width, labelled at their edges: bins of a histogram whose widths differ."""
    crowded = sum(len(label) + 1 for label in labels) > 105
    axes.set_xticks(
        range(len(labels)), list(labels), rotation=40 if crowded else 0, ha="right" if crowded else "center"
    )
    axes.set_xlim(-0.15, len(labels) - 0.85)
    axes.yaxis.set_major_formatter(FuncFormatter(thousands))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


def place_between(edges: Numbers, value: float) -> float:
    """Where on an axis made by `label_edges` a value lies."""
    finite = np.where(np.isfinite(edges), edges, np.nanmax(edges[np.isfinite(edges)]) * 2)
    return float(np.interp(value, finite, np.arange(len(edges))))


def _plot_periods(frame: pd.DataFrame, value: str, unit_of_value: str, unit: str, minimum: int) -> Figure:
    """Bars from a period's first to its last day; wider periods as their mean per day or week, so that bars compare."""
    counts = ["visits"] if value == "visits" else ["visits", "visits_with_cost"]
    what = "Visits" if value == "visits" else "Cost"
    unfit = _unfit(frame, counts, minimum, f"{what} per {unit}")
    if unfit:
        return unfit
    drawn = frame[frame["start"].notna()]
    drawn = drawn[drawn["visits"].cumsum() > 0].reset_index(drop=True)
    if drawn.empty:
        return nothing_to_draw(f"{what} per {unit}", "too few visits for a place in time")
    starts, ends = pd.to_datetime(drawn["start"].tolist()), pd.to_datetime(drawn["end"].tolist())
    days = ((ends - starts).days + 1).to_numpy(dtype="float64")
    plain = (drawn["grain"] == unit).to_numpy(dtype=bool)
    running = ~drawn["is_over"].to_numpy(dtype=bool) & plain
    per_unit = 7.0 if unit == "week" else 1.0
    heights = np.where(plain, 1.0, per_unit / days) * np.nan_to_num(numbers(drawn, value))
    widths = np.where(plain, per_unit, days) * 0.88
    figure, axes = canvas()
    looks: tuple[tuple[Any, str, dict[str, Any]], ...] = (
        (plain & ~running, f"{unit}", {"color": BLUE}),
        (running, f"{unit} not over yet", {"facecolor": "white", "edgecolor": BLUE, "hatch": "...."}),
        (
            ~plain,
            f"merged, as a mean per {unit} (under {minimum} visits in a part)",
            {"facecolor": SKY, "hatchcolor": "white", "hatch": "///"},
        ),
    )
    for chosen, label, look in looks:
        if chosen.any():
            axes.bar(starts[chosen], heights[chosen], widths[chosen], align="edge", label=label, **look)
    name, told = ("average_4_weeks", "4-week average") if unit == "week" else ("average_7_days", "7-day average")
    average = pd.Series(numbers(drawn, name), index=ends).dropna()
    halo = [withStroke(linewidth=4.5, foreground="white")]  # a line over bars, in grey too
    label = f"{told}, up to each day"
    axes.plot(average.index, average.to_numpy(), color=VERMILLION, linewidth=2, label=label, path_effects=halo)
    locator = AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.yaxis.set_major_formatter(FuncFormatter(thousands))
    axes.set(xlabel="visit date", ylabel=f"{unit_of_value} per {unit}")
    axes.set_ylim(bottom=0)
    n = numbers(drawn, counts[-1]).sum()
    subtitle = f"n = {n:,.0f} visits{' with a cost' * (value == 'cost')}, {starts[0]:%Y-%m-%d} to {ends[-1]:%Y-%m-%d}"
    unplaced = numbers(frame[frame["start"].isna()], "visits").sum()
    if unplaced:
        subtitle += f"; {unplaced:,.0f} visits of merged other periods are not drawn"
    return tell(figure, _trend(average, what, unit, n, len(drawn)), subtitle, "Bar chart with a line", legend=True)


def _trend(average: pd.Series[float], what: str, unit: str, n: float, rows: int) -> str:
    """The finding: the newest average against the one of four weeks before."""
    if average.empty:
        return f"{what} per {unit}: {n:,.0f} visits, too short a time for an average"
    newest = average.iloc[-1]
    title = f"{what} ran at {float(f'{newest:.3g}'):,.10g} a {unit} in the last "
    title += "four weeks" if unit == "week" else "seven days"
    before = average[average.index <= average.index[-1] - pd.Timedelta(days=28)]
    if before.empty or before.iloc[-1] == 0:
        return title
    change = round((newest / before.iloc[-1] - 1) * 100)
    earlier = "in the four before" if unit == "week" else "four weeks earlier"
    return f"{title}, " + (
        f"{abs(change)} % {'more' if change > 0 else 'less'} than {earlier}" if change else f"as {earlier}"
    )


def _unfit(
    frame: pd.DataFrame, counts: list[str], minimum: int, question: str, nothing: str = "no data in this run"
) -> Figure | None:
    """The figure to give instead when there is nothing to draw, or when a group is too small to be drawn."""
    if frame.empty or not (frame[counts].fillna(0) > 0).any(axis=None):
        return nothing_to_draw(question, nothing)
    if small_groups(frame, counts, minimum).any():
        return nothing_to_draw(question, f"not drawn: a group has fewer than {minimum} visits")
    return None


def _edges(frame: pd.DataFrame, lower: str, upper: str) -> Numbers:
    """The lower edges and the last upper one; an open end is infinite."""
    edges = np.append(numbers(frame, lower), numbers(frame, upper)[-1])
    return np.where(np.isnan(edges), np.inf, edges)


def _range(edges: Numbers, place: int) -> str:
    low, high = edges[place], edges[place + 1]
    return f"{low:,.10g} to {high:,.10g}" if np.isfinite(high) else f"{low:,.10g} or more"


def thousands(value: float, _place: int | None = None) -> str:
    """`12,500`; also a formatter of ticks."""
    return f"{value:,.10g}"
