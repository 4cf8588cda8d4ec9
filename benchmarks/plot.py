"""The picture of the table: a small chart for each size and job, readable on a light and on a dark page."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import FULL, INCREMENT
from benchmarks.report import NAMES, number_in_words, sizes, values

_INK = "#7a8089"
"""Of text and lines: a grey that stands out from white and from black alike; the ground is transparent."""
_COLOURS = {"sqlite": "#2f81c4", "duckdb": "#1f9e89", "dbt": "#d9822b", "pandas": "#9a86c9"}
_WIDTH, _BAR = 7.3, 0.3


def write_plot(results: dict[str, Any], path: Path) -> Path:
    """Medians with min and max, one row of charts a size, full load left and increment right. Each has its own axis
    from 0: the bars of one chart are compared, and the numbers beside them across charts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = sizes(results)
    heights = [max(_bars(results, job, rows) for job in (FULL, INCREMENT)) for rows in measured]
    style = {"svg.hashsalt": "speed", "font.size": 9, "text.color": _INK, "svg.fonttype": "path"}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            len(measured),
            2,
            figsize=(_WIDTH, sum(heights) * _BAR + 0.7 * len(measured) + 0.3),
            squeeze=False,
            gridspec_kw={"height_ratios": heights},
            layout="constrained",
        )
        figure.get_layout_engine().set(h_pad=0.06, hspace=0.05)
        for row, rows in enumerate(measured):
            for column, job in enumerate((FULL, INCREMENT)):
                _draw(axes[row][column], results, job, rows, named=column == 0)
        figure.supxlabel("seconds, median; the line spans min to max; shorter is faster", fontsize=8, color=_INK)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, transparent=True, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
    return path


def _bars(results: dict[str, Any], job: str, rows: int) -> int:
    return sum(bool(values(results, key, job, rows)) for key in NAMES) or 1


def _draw(axis: Any, results: dict[str, Any], job: str, rows: int, *, named: bool) -> None:
    size = number_in_words(rows)
    title = f"Full load of {size} rows" if job == FULL else f"1k more rows where {size} are loaded"
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold", color=_INK)
    shown = [(key, taken) for key in NAMES if (taken := values(results, key, job, rows))]
    longest = max((max(taken) for _, taken in shown), default=1.0)
    for place, (key, taken) in enumerate(shown):
        middle = median(taken)
        axis.barh(place, middle, height=0.68, color=_COLOURS[key])
        axis.plot([min(taken), max(taken)], [place, place], color=_INK, linewidth=1.2)
        axis.text(
            max(taken) + longest * 0.02,
            place,
            f"{middle:.1f} s",
            va="center",
            fontweight="bold" if key in ("sqlite", "duckdb") else "normal",
        )
    axis.set_yticks(range(len(shown)), [NAMES[key] for key, _ in shown] if named else [""] * len(shown))
    axis.set_xlim(0, longest * 1.22)
    axis.set_ylim(len(shown) - 0.45, -0.55)
    axis.tick_params(length=0, labelcolor=_INK)
    axis.set_xticks([])
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
    axis.spines["left"].set_color(_INK)
