"""Pictures drawn beside the notebook, by processes that do nothing else: the next cell works already, and the kernel
does without matplotlib.

Only in the pipeline's own kernels (lib/template.py forks who draws for them): elsewhere, as in JupyterLab, a picture is
drawn where it is shown. First its place is shown, then the picture in it: at the latest when a cell ends that shows
none, or at once where a cell fails. So the last cell of a notebook may show none. What nobody drew the kernel draws; if
it cannot either, the cell that waits for it fails.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from multiprocessing.connection import Connection
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
_begun_in_cell = [False]


def draw(plot: str, *args: Any, **kwargs: Any) -> Picture:
    """The picture of the figure that a function of lib (by name: `plots.plot_visits_per_day`) makes of the rest."""
    from lib.figures import describe, png

    module, _, function = plot.rpartition(".")
    figure = getattr(import_module(f"lib.{module}"), function)(*args, **kwargs)
    return Picture(png(figure), describe(figure))


def show_picture(plot: str, *args: Any, **kwargs: Any) -> None:
    """Show what `draw` makes of the same. Raises what it raises, if not now then from a cell after this."""
    while (drawers := _drawers()) and len(_under_way) >= len(drawers):
        finish(len(_under_way) - 1)
    idle = [each for each in drawers if each not in [asked.drawer for asked in _under_way]]
    if not idle:
        _show(draw(plot, *args, **kwargs))
        return
    asked = _Asked(idle[0], (plot, args, kwargs), uuid4().hex)
    shown.show({"text/plain": PLACE}, display_id=asked.place)
    with suppress(OSError):  # it is gone, as will be seen when its picture is waited for
        asked.drawer.send(asked.plot)
    _under_way.append(asked)
    _begun_in_cell[0] = True


def finish(left: int = 0) -> None:
    """Put the pictures that are under way in their places, the oldest first, but for so many of the newest."""
    while len(_under_way) > left:
        asked = _under_way.pop(0)
        plot, args, kwargs = asked.plot
        _show(_drawn(asked.drawer) or draw(plot, *args, **kwargs), replaces=asked.place)


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


def _drawn(drawer: Connection) -> Picture | None:
    """What it drew; None when it did not, or not in time."""
    picture: Picture | None = None
    with suppress(EOFError, OSError):
        if drawer.poll(LONGEST_SECONDS):
            picture = drawer.recv()
    if picture is None:
        _drawers().remove(drawer)
        drawer.close()
    return picture


def _show(picture: Picture, replaces: str | None = None) -> None:
    content = {"image/png": picture.png, "text/plain": picture.alt}
    shown.show(content, replaces=replaces, **{"image/png": {"alt": picture.alt}})  # type: ignore[arg-type]


def _after_cell(result: Any) -> None:
    begun, _begun_in_cell[0] = _begun_in_cell[0], False
    if begun and result.success:
        return
    try:
        finish()
    except Exception as error:  # IPython would print what is raised here, and call the cell a good one
        if result.success:
            sys.modules["IPython"].get_ipython().showtraceback()
            result.error_in_exec = error
