"""Plots over several runs: what was delivered, what each load did. Counts of rows and bytes, which may be shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.figures import BLUE, SKY, canvas, nothing_to_draw, styled, tell
from lib.plots import count_along, horizontal_bars, numbers, shortened
from lib.run_plots import ACTIONS

KIB = 1024


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
    title = f"The batch holds {batch.sum():,.1f} KiB in {len(batch):,} deliver{'y' if len(batch) == 1 else 'ies'}"
    title += f"; the others held {np.median(others):,.1f} KiB (median)" if len(others) else ""
    subtitle = f"n = {len(frame):,} deliver{'y' if len(frame) == 1 else 'ies'}; plain: of this batch, hatched: others"
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
    subtitle = f"n = {len(frame):,} load{'s' * (len(frame) > 1)}" + (
        f"; the newest {most} are drawn" if len(frame) > most else ""
    )
    return tell(figure, title, subtitle, "Stacked bar chart", legend=True)
