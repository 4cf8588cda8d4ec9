"""Pictures drawn beside the notebook: a fork of the kernel draws each one while the next cell works already.

Only in the pipeline's own kernels: in JupyterLab a picture is drawn where it is shown. First its description is shown,
then the picture in its place: at the latest when a cell ends that shows none, or at once where a cell fails. So the
last cell of a notebook may show none.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from lib import shown
from lib.confidential import RUN_VARIABLE

LONGEST_SECONDS = 20.0
"""How long a fork may take; then the kernel draws for itself."""

MOST_AT_ONCE = 2
"""How many forks draw at once: as the notebook asks the tables faster than one picture is drawn."""

Draw = Callable[[], bytes]


@dataclass(frozen=True)
class _Drawing:
    """A picture that a fork draws: the fork, the pipe that it writes to, how to draw it here, what is shown of it."""

    pid: int
    pipe: int
    draw: Draw
    alt: str
    place: str


_under_way: list[_Drawing] = []
_begun_in_cell: list[bool] = []


def show_picture(draw: Draw, alt: str) -> None:
    """Show a PNG with its description."""
    finish(MOST_AT_ONCE - 1)
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None or not os.environ.get(RUN_VARIABLE) or sys.platform != "linux":
        shown.show(_content(draw(), alt), **_metadata(alt))
        return
    if not _begun_in_cell:
        shell.events.register("post_run_cell", _after_cell)
        _begun_in_cell.append(False)
    place = uuid4().hex
    shown.show({"text/plain": alt}, display_id=place)
    _under_way.append(_fork(draw, alt, place))
    _begun_in_cell[0] = True


def finish(left: int = 0) -> None:
    """Put the pictures that are under way in their places, the oldest first, but for so many of the newest."""
    while len(_under_way) > left:
        drawing = _under_way.pop(0)
        picture = _drawn(drawing) or drawing.draw()
        shown.show(_content(picture, drawing.alt), replaces=drawing.place, **_metadata(drawing.alt))


def _after_cell(result: Any) -> None:
    begun, _begun_in_cell[0] = _begun_in_cell[0], False
    if not begun or result.error_in_exec is not None or result.error_before_exec is not None:
        finish()


def _fork(draw: Draw, alt: str, place: str) -> _Drawing:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the fork draws, and does nothing else
        pid = os.fork()
    if pid:
        os.close(writing)
        return _Drawing(pid, reading, draw, alt, place)
    code = 1
    try:
        os.close(reading)  # else it would wait for itself to read, when the kernel is gone
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(draw())
        code = 0
    finally:  # whatever happened: never back into the notebook
        os._exit(code)


def _drawn(drawing: _Drawing) -> bytes | None:
    """What the fork drew; None when it did not, or not in time."""
    picture, whole = b"", False
    with os.fdopen(drawing.pipe, "rb", buffering=0) as pipe:
        while not whole and select.select([pipe], [], [], LONGEST_SECONDS)[0]:
            part = pipe.read(1 << 16)
            picture, whole = picture + part, not part
    if not whole:
        os.kill(drawing.pid, signal.SIGKILL)
    _, status = os.waitpid(drawing.pid, 0)
    return picture if status == 0 else None


def _content(picture: bytes, alt: str) -> dict[str, Any]:
    return {"image/png": picture, "text/plain": alt}


def _metadata(alt: str) -> dict[str, Any]:
    return {"image/png": {"alt": alt}}
