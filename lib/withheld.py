"""What a kernel sends besides what may be shown: one line that says what it was, and nothing else of it.

Everything that ends in a notebook file (displays, results, prints, errors, widgets) leaves a kernel by its session's
`send`; what does not come through lib/shown.py is replaced there. Before that, an object's own repr is not even asked
for. Only the standard library and `lib.shown`: this runs before the first cell of every kernel.
"""

from __future__ import annotations

import sys
from typing import Any

from lib import shown

SMALL = 8
"""Of fewer rows than these not even the number is said: it may be a small group's (see lib/disclosure.py)."""

_ELSEWHERE = "lib.show shows counts; rows are shown in a JupyterLab that `make lab` started"
_DISPLAYS = ("display_data", "update_display_data", "execute_result")
_HARMLESS = ("status", "execute_input", "clear_output", "shutdown_reply", "iopub_welcome", "debug_event")
_REPLIES = ("_reply", "_request")
_TYPES = ("text/html", "text/markdown", "image/png", "image/svg+xml", "application/json")


def describe(thing: object) -> str:
    """An object by its class and shape: `DataFrame, 120 rows × 7 columns`. Nothing that it holds."""
    name = type(thing).__name__
    try:
        shape = getattr(thing, "shape", None)
        sizes = shape if isinstance(shape, tuple) else (len(thing),)  # type: ignore[arg-type]
        rows, *columns = (int(size) for size in sizes)
    except Exception:  # it has no size, or one that fails
        return name
    if isinstance(thing, str | bytes):
        return name
    many = f"{rows:,}" if not 0 < rows < SMALL else f"fewer than {SMALL}"
    unit = "rows" if isinstance(shape, tuple) else "items"
    return f"{name}, {many} {unit}" + "".join(f" × {size:,} columns" for size in columns[:1])


class Withholding:
    """The replacements in one shell."""

    def __init__(self, shell: Any) -> None:
        self._lines = 0
        self._stdout = sys.stdout
        self._send = shell.kernel.session.send
        self._format = shell.display_formatter.format
        shell.kernel.session.send = self.send
        shell.display_formatter.format = self.format
        shell.events.register("post_run_cell", self.tell_printed)

    def format(self, thing: Any, *words: Any, **named: Any) -> Any:
        """In place of the shell's formatter, which would ask the object for its repr, HTML, picture, ..."""
        if shown.is_passing():
            return self._format(thing, *words, **named)
        return {"text/plain": _Line(describe(thing))}, {}

    def send(self, stream: Any, message: Any, content: Any = None, *words: Any, **named: Any) -> Any:
        """In place of the session's `send`."""
        kind = message["msg_type"] if isinstance(message, dict) else message
        passes = kind in (*_DISPLAYS, "error") and shown.is_passing()
        if passes or kind in _HARMLESS or kind.endswith(_REPLIES):
            return self._send(stream, message, content, *words, **named)
        body = message["content"] if isinstance(message, dict) else content
        if kind in _DISPLAYS:
            body["data"], body["metadata"] = {"text/plain": _told(body["data"])}, shown.marked()
            return self._send(stream, message, content, *words, **named)
        if kind == "stream":
            self._lines += body["text"].count("\n") or 1
        return None  # what is printed is told at the end of its cell; of widgets and foreign errors nothing is

    def tell_printed(self, *_: Any) -> None:
        """One line for all that a cell printed."""
        self._stdout.flush()
        lines, self._lines = self._lines, 0
        if lines:
            line = _line(f"{lines:,} printed {'line' if lines == 1 else 'lines'}")
            shown.show({"text/plain": line})


class _Line(str):
    """What `format` made of an object."""


def _line(what: str) -> str:
    return f"Not shown: {what}. {_ELSEWHERE}."


def _told(data: Any) -> str:
    plain = data.get("text/plain")
    if isinstance(plain, _Line):
        return _line(plain)
    types = ", ".join(each for each in _TYPES if each in data)
    return _line(f"an output ({types})" if types else "an output")
