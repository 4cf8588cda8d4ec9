"""Pictures drawn beside the notebook, by processes that do nothing else: the next cell works already, and the kernel
does without matplotlib.

Only in the pipeline's own kernels (lib/template.py forks who draws for them): elsewhere, as in JupyterLab, a picture is
drawn where it is shown. First its place is shown, then the picture in it: when a cell ends and the picture is there, at
the latest at `finish`, which a notebook's last cell calls (`lib.show.conclude`), or at once where a cell fails. So the
sooner a notebook shows a picture, the less it waits for it. What nobody drew the kernel draws; if it cannot either, the
cell that waits for it fails.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any
from uuid import uuid4

from lib import shown

DRAWERS_VARIABLE = "PATIENT_VISITS_DRAWERS"
"""Environment: the descriptors of the sockets to those who draw for this kernel."""

LONGEST_SECONDS = 20.0
"""How long a picture is waited for; then the kernel draws for itself."""

PLACE = "a picture that is not drawn yet"


@dataclass(frozen=True)
class Picture:
    """What is shown of a figure: a PNG and its alternative text."""

    png: bytes
    alt: str


@dataclass(frozen=True)
class _Asked:
    """A picture that is under way: who draws it, of what, and where it is shown."""

    drawer: Connection
    plot: tuple[str, tuple[Any, ...], dict[str, Any]]
    place: str


_under_way: list[_Asked] = []


def draw(plot: str, *args: Any, **kwargs: Any) -> Picture:
    """The picture of the figure that a function of lib (by name: `plots.plot_visits_per_day`) makes of the rest."""
    from lib.figures import describe, png

    module, _, function = plot.rpartition(".")
    figure = getattr(import_module(f"lib.{module}"), function)(*args, **kwargs)
    return Picture(png(figure), describe(figure))


def show_picture(plot: str, *args: Any, **kwargs: Any) -> None:
    """Show what `draw` makes of the same. Raises what it raises, if not now then from a cell after this."""
    _place_drawn()
    while (drawers := _drawers()) and len(_under_way) >= len(drawers):
        _place_drawn(LONGEST_SECONDS, at_least=1)
    idle = [each for each in drawers if each not in [asked.drawer for asked in _under_way]]
    if not idle:
        _show(draw(plot, *args, **kwargs))
        return
    asked = _Asked(idle[0], (plot, args, kwargs), uuid4().hex)
    shown.show({"text/plain": PLACE}, display_id=asked.place)
    with suppress(OSError):  # it is gone, as will be seen when its picture is waited for
        asked.drawer.send(asked.plot)
    _under_way.append(asked)


def finish() -> None:
    """Put every picture that is under way in its place."""
    while _under_way:
        _place_drawn(LONGEST_SECONDS, at_least=1)


def _place_drawn(seconds: float = 0, at_least: int = 0) -> None:
    """Put those in their places that are drawn, after waiting so long for one; so many of the oldest in any case."""
    drawn = wait([asked.drawer for asked in _under_way], seconds)
    ready = [asked for asked in _under_way if asked.drawer in drawn]
    for asked in ready or _under_way[:at_least]:
        _under_way.remove(asked)
        plot, args, kwargs = asked.plot
        _show(_taken(asked.drawer) or draw(plot, *args, **kwargs), replaces=asked.place)


def serve(descriptor: int) -> None:
    """What the process does that draws for a kernel: draw what is asked for, until the kernel ends."""
    gc.disable()  # the kernel has a few pictures: what they leave behind is less than the search for it
    with Connection(descriptor) as kernel, suppress(EOFError, OSError):
        while True:
            plot, args, kwargs = kernel.recv()
            picture = None
            with suppress(Exception):  # the kernel meets it too, and tells
                picture = draw(plot, *args, **kwargs)
            kernel.send(picture)


@cache
def _drawers() -> list[Connection]:
    """Those who draw for this kernel; whoever fails is taken out."""
    drawers = [Connection(int(each)) for each in os.environ.get(DRAWERS_VARIABLE, "").split(",") if each]
    if drawers:
        sys.modules["IPython"].get_ipython().events.register("post_run_cell", _after_cell)
    return drawers


def _taken(drawer: Connection) -> Picture | None:
    """What it drew; None when it did not, or not yet: then nobody waits for it again."""
    picture: Picture | None = None
    with suppress(EOFError, OSError):
        if drawer.poll():
            picture = drawer.recv()
    if picture is None:
        _drawers().remove(drawer)
        drawer.close()
    return picture


def _show(picture: Picture, replaces: str | None = None) -> None:
    content = {"image/png": picture.png, "text/plain": picture.alt}
    shown.show(content, replaces=replaces, **{"image/png": {"alt": picture.alt}})  # type: ignore[arg-type]


def _after_cell(result: Any) -> None:
    try:
        if result.success:
            _place_drawn()
        else:
            finish()
    except Exception as error:  # IPython would print what is raised here, and call the cell a good one
        if result.success:
            sys.modules["IPython"].get_ipython().showtraceback()
            result.error_in_exec = error
