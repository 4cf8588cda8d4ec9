"""The one place through which everything shown passes. What passes it carries a mark, which saved notebooks keep.

`lib.show` and `lib.drawing` are its only callers: sentences, tables of counts and pictures made of counts. The guard of
a kernel, JupyterLab's save hook and the report page keep what is marked and drop the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

MARK, SHOWN = "patient_visits", "shown"
"""Key and value in an output's metadata."""

_passing: ContextVar[bool] = ContextVar("passing", default=False)


def marked() -> dict[str, Any]:
    """The metadata of an output that may be shown, to be added to."""
    return {MARK: SHOWN}


def is_marked(output: Mapping[str, Any]) -> bool:
    """Whether a notebook's output, as nbformat keeps it, may be shown."""
    metadata = output.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get(MARK) == SHOWN


def is_passing() -> bool:
    """Whether what this very thread sends now comes from here."""
    return _passing.get()


@contextmanager
def passing() -> Iterator[None]:
    """While something is sent that may be shown."""
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)


def show(thing: Any, *, display_id: str | None = None, replaces: str | None = None, **metadata: Any) -> None:
    """Display an object that has `text` and `html`, or a dict of contents by MIME type; with the mark.

    What is shown with a `display_id` may be replaced later, by what is shown with `replaces`.
    """
    from IPython.display import display

    place: dict[str, Any] = {"display_id": display_id} if display_id else {}
    if replaces:
        place = {"display_id": replaces, "update": True}
    with passing():
        display(thing, raw=isinstance(thing, dict), metadata={**marked(), **metadata}, **place)  # type: ignore[no-untyped-call]
