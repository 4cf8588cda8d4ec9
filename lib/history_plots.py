"""Plots over several runs: what was delivered, what each load did. Counts of rows and bytes, which may be shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lib.counted import counted
from lib.figures import BLUE, SKY, VERMILLION, canvas, nothing_to_draw, styled, tell
from lib.plots import count_along, horizontal_bars, numbers, percent, shortened
from lib.run_plots import ACTIONS

KIB = 1024
USED = LinearSegmentedColormap.from_list("used", ["white", "#C6DFF0", BLUE])
"""From nothing to all of a limit: in grey too, the darker the more."""
DARK = 0.93
"""From here on white letters are read more easily than black ones."""
LEAST_SEEN = 0.01
MOST_NAMED = 3
FEWEST_PLACES = 12
"""Room for so many runs, that a first run's cells are not as wide as the page."""


@styled
def plot_delivery_sizes(frame: pd.DataFrame, most: int = 20) -> Figure:
    """How large is this batch beside other deliveries? In: `extract.standings_frame`."""
    if frame.empty:
        return nothing_to_draw("Size of each delivery", "nothing was ever delivered")
    drawn = frame.sort_values("delivery").tail(most)
    sizes = numbers(drawn, "bytes") / KIB
    names = [f"{number:06d} {shortened(file)}" for number, file in zip(drawn["delivery"], drawn["file"], strict=True)]
    figure, axes = canvas(1.6 + 0.27 * len(drawn), grid="x")
    bars = horizontal_bars(axes, names, sizes, [f"{size:,.1f}" for size in sizes])
    for bar, in_batch in zip(bars, drawn["in batch"], strict=True):
        look = {"facecolor": BLUE} if in_batch else {"facecolor": SKY, "hatch": "///", "edgecolor": "white"}
        bar.set(**look)
    axes.set(xlabel="size (KiB)")
    members = frame["in batch"].astype(bool)
    batch, others = numbers(frame[members], "bytes") / KIB, numbers(frame[~members], "bytes") / KIB
    title = f"The batch holds {batch.sum():,.1f} KiB in {counted(len(batch), 'delivery', 'deliveries')}"
    title += f"; the others held {np.median(others):,.1f} KiB (median)" if len(others) else ""
    subtitle = f"n = {counted(len(frame), 'delivery', 'deliveries')}; plain: of this batch, hatched: others"
    subtitle += f"; the newest {most} are drawn" if len(frame) > most else ""
    return tell(figure, title, subtitle, "Bar chart")


@styled
def plot_loads(frame: pd.DataFrame, most: int = 20) -> Figure:
    """What did this load do, beside those before it? In: `load.loads_frame`."""
    if frame.empty:
        return nothing_to_draw("What each load did", "nothing was ever loaded")
    drawn = frame.tail(most)
    figure, axes = canvas(1.75 + 0.27 * len(drawn), grid="x")
    left, places = np.zeros(len(drawn)), np.arange(len(drawn), dtype="float64")
    for name, (label, colour, hatch) in ACTIONS.items():
        widths = numbers(drawn, name)
        axes.barh(places, widths, left=left, height=0.7, facecolor=colour, edgecolor="white", hatch=hatch, label=label)
        left += widths
    for place, total in enumerate(left):
        axes.text(total, place, f"  {total:,.0f}", va="center", fontsize=8.5)
    axes.set_yticks(places, [str(run) for run in drawn["run"]])
    axes.invert_yaxis()
    axes.margins(x=0.1)
    count_along(axes)
    axes.set(xlabel="staged visits")
    last = frame.iloc[-1]
    told = [f"{last[name]:,} {label}" for name, (label, _, _) in ACTIONS.items() if last[name]]
    title = f"The newest load: {', '.join(told)}" if told else "The newest load had no visits"
    subtitle = f"n = {counted(len(frame), 'load')}" + (f"; the newest {most} are drawn" if len(frame) > most else "")
    return tell(figure, title, subtitle, "Stacked bar chart", legend=True)


@styled
def plot_rules(frame: pd.DataFrame) -> Figure:
    """How near did each rule come to its limit over the last runs? In: `rule_trends.recent_rules`."""
    if frame.empty:
        return nothing_to_draw("Rules over the last runs", "no run has reached the gate")
    run_ids, rules = sorted(frame["run"].unique()), list(frame["rule"].unique())
    telling = [name for name, of_rule in frame.groupby("rule", sort=False) if _tells(of_rule)]
    drawn = frame[frame["rule"].isin(telling or rules[:1])]
    names = list(drawn["rule"].unique())
    figure, axes = canvas(1.55 + 0.27 * len(names), grid="x")
    axes.grid(visible=False)
    for row in drawn.to_dict("records"):
        _draw_rule(axes, run_ids.index(row["run"]), names.index(row["rule"]), row)
    last = len(run_ids) - 1
    axes.set_xlim(-0.5, max(last, FEWEST_PLACES - 1) + 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xticks(range(len(run_ids)), [each.split("-")[0].lstrip("0") for each in run_ids])
    axes.set_yticks(range(len(names)), [shortened(name, 34) for name in names])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlabel("run (the last is this one); in each cell the share of its limit that was used, in %", loc="left")
    count = len(run_ids)
    subtitle = f"n = {counted(count, 'run')} of this source; ×: failed, (×): failed and accepted"
    subtitle += "; empty: nothing was judged; each run by its own limits"
    if idle := len(rules) - len(names):
        subtitle += f"; {idle} rule{'s' if idle > 1 else ''} that used under 1 % of "
        subtitle += "their limits are not drawn" if idle > 1 else "its limit is not drawn"
    return tell(figure, _found(frame, count), subtitle, "Heat map")


def _tells(of_rule: pd.DataFrame) -> bool:
    """Whether the rule once used what can be seen of its limit, if not all and more."""
    return bool((of_rule["used"] >= LEAST_SEEN).any())


def _draw_rule(axes: Axes, across: int, down: int, row: Mapping[Any, Any]) -> None:
    """One rule in one run: a cell as dark as the rule used of its limit, with the number or the cross in it."""
    if row["passed"] and np.isnan(row["used"]):
        return
    failed = not row["passed"]
    look: dict[str, Any] = {"facecolor": VERMILLION if failed else USED(min(row["used"], 1.0)), "edgecolor": "#BBBBBB"}
    axes.add_patch(Rectangle((across - 0.46, down - 0.42), 0.92, 0.84, linewidth=0.5, **look))
    text = ("(×)" if row["overridden"] else "×") if failed else f"{100 * row['used']:.0f}"
    light = failed or row["used"] > DARK
    axes.text(
        across, down, text, ha="center", va="center", fontsize=8, color="white" if light else "black",
        fontweight="bold" if failed else "normal",
    )  # fmt: skip


def _found(frame: pd.DataFrame, count: int) -> str:
    """The title: which rules failed and how often, else which came nearest its limit."""
    span = f"the last {count:,} runs" if count > 1 else "this run"
    failures = frame.loc[~frame["passed"], "rule"].value_counts(sort=True)
    if len(failures):
        told = [f"{name} in {times:,}" if count > 1 else str(name) for name, times in failures.head(MOST_NAMED).items()]
        more = f" and {len(failures) - MOST_NAMED} more" if len(failures) > MOST_NAMED else ""
        many = f"{len(failures)} of {frame['rule'].nunique()} rules"
        return f"{many} failed in {span}: {', '.join(told)}{more}"
    if not frame["used"].max() > 0:
        return f"No rule failed in {span}, and none used any of its limit"
    nearest = frame.sort_values("used", kind="stable", na_position="first").iloc[-1]
    return f"No rule failed in {span}; {nearest['rule']} came nearest its limit, using {percent(nearest['used'])} of it"
