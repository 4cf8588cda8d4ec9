"""How every figure looks and is told: style, title, subtitle, alternative text. No global state, no pyplot.

Colours are Okabe and Ito's, which colour-blind people tell apart; hatches and line styles say the same in grey.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine
from matplotlib.style import context
from matplotlib.transforms import Bbox
from PIL import Image

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#8C8C8C"

WIDTH = 9.0
"""Inches: the width of a report page."""
DPI = 110
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.hinting": "none",  # a quarter of a picture's time; at this resolution nobody sees it
    "text.parse_math": False,  # a code with two dollar signs is a code, not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "svg.hashsalt": "patient-visits",
}
_TITLE_INCHES, _SUBTITLE_INCHES, _EDGE_INCHES, _PAD_INCHES = 0.25, 0.19, 0.12, 0.042

Plot = ParamSpec("Plot")


class _Fitted(LayoutEngine):
    """The one plot of a figure, as large as its labels, the legend under it and the titles above it leave room for.

    Its labels are measured once. matplotlib's own layout measures them twice, which is a quarter of a picture's time,
    for labels that change with a plot's size; here they do not. Nor are they measured again for the places of the axes'
    names, which move with the plot.
    """

    _adjust_compatible = _colorbar_gridspec = True
    top = 1.0
    """Where the titles end, as a share of the figure's height."""

    def execute(self, fig: Figure) -> None:
        """Place the plot; matplotlib calls it when it draws."""
        axes, renderer = fig.axes[0], fig.canvas.get_renderer()  # type: ignore[attr-defined]
        named = [each for each in (axes.xaxis, axes.yaxis) if each.label.get_text()]
        for axis in (axes.xaxis, axes.yaxis):
            if axis not in named:
                axis.set_label_coords(0, 0)
        plot, labels = axes.bbox, axes.get_tightbbox(renderer, for_layout_only=True, bbox_extra_artists=axes.texts)
        labelled = Bbox.union([plot, labels or plot])
        pad = _PAD_INCHES * fig.dpi
        width, height = fig.bbox.width, fig.bbox.height
        below = sum(each.get_window_extent(renderer).height + 2 * pad for each in fig.legends)
        left, bottom = pad + plot.x0 - labelled.x0, pad + below + plot.y0 - labelled.y0
        right, top = width - pad - labelled.x1 + plot.x1, height * self.top - pad - labelled.y1 + plot.y1
        moved = {axes.xaxis: (0, bottom - plot.y0), axes.yaxis: (left - plot.x0, 0)}
        axes.set_position((left / width, bottom / height, (right - left) / width, (top - bottom) / height))
        for axis in named:
            across, up = np.add(axis.label.get_position(), moved[axis])
            axis.set_label_coords(across, up, transform=axis.label.get_transform())


def styled(plot: Callable[Plot, Figure]) -> Callable[Plot, Figure]:
    """Draw in the house style, whatever the caller's own settings are, and leave those alone."""

    @wraps(plot)
    def drawn(*args: Plot.args, **kwargs: Plot.kwargs) -> Figure:
        with context(["default", STYLE]):
            return plot(*args, **kwargs)

    return drawn


def canvas(height: float = 3.6, grid: str = "y") -> tuple[Figure, Axes]:
    """An empty figure of the report's width, `height` inches high, with grid lines across one axis."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=_Fitted())
    axes = figure.add_subplot()
    axes.grid(visible=False)
    axes.grid(visible=True, axis="y" if grid == "y" else "x")
    axes.tick_params(length=0 if grid == "x" else 3)
    return figure, axes


def tell(figure: Figure, title: str, subtitle: str, kind: str = "Chart", legend: bool = False) -> Figure:
    """Give the figure its finding, what it is drawn from, a legend under it, and the alternative text of all that."""
    titles, subtitles = textwrap.wrap(title, 92) or [""], textwrap.wrap(subtitle, 124) or [""]
    inches = float(figure.get_figheight()) + _TITLE_INCHES * (len(titles) - 1) + _SUBTITLE_INCHES * (len(subtitles) - 1)
    figure.set_figheight(inches)
    top = inches - _EDGE_INCHES
    left = _EDGE_INCHES / WIDTH
    figure.text(left, top / inches, "\n".join(titles), fontsize=11.5, fontweight="bold", va="top", linespacing=1.25)
    top -= _TITLE_INCHES * len(titles)
    figure.text(left, top / inches, "\n".join(subtitles), fontsize=9, color="#444444", va="top", linespacing=1.3)
    top -= _SUBTITLE_INCHES * len(subtitles) + _EDGE_INCHES
    engine = figure.get_layout_engine()
    if isinstance(engine, _Fitted):
        engine.top = top / inches
    if legend:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower left", ncols=4)
    figure.set_label(f"{kind}: {title}. {subtitle}".replace("..", "."))
    return figure


@styled
def nothing_to_draw(question: str, why: str = "no data in this run") -> Figure:
    """A small figure that says why there is no plot."""
    figure, axes = canvas(1.5)
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", fontsize=11, color="#444444", transform=axes.transAxes)
    return tell(figure, question, "", f"Empty chart ({why})")


def describe(figure: Figure) -> str:
    """The figure's alternative text."""
    return str(figure.get_label())


def png(figure: Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes. Drawn once: `savefig` would draw it twice."""
    buffer = io.BytesIO()
    canvas = FigureCanvasAgg(figure)
    with context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that the font lacks is drawn as a box
        canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).save(buffer, "png", compress_level=3, dpi=(DPI, DPI))
    return buffer.getvalue()
