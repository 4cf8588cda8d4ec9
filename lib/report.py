"""report.html: the five executed notebooks as one page, derived from the record and made again at any time.

Each notebook's part is lib/report_stage.py's, the first screen lib/first_screen.py's; lib/pages has the page around
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lib.first_screen import first_screen
from lib.layout import PAGE, Layout
from lib.page import write_page
from lib.reconciliation import FATE_WORDS
from lib.stages_ahead import StagesAhead

WELL = "ended well"
"""How a notebook went of which nothing is to be said."""

FATES = ("staged", "superseded", "refused", "outside_held", "outside_missed", "outside_invalid")
"""The counts that add up to the rows read, in the order of the page's bar."""


@dataclass(frozen=True)
class Stage:
    """One notebook on the page: anchor, title, how it ended, its cells as inert HTML, what is said below them."""

    anchor: str
    title: str
    state: str
    body: Markup | None
    notes: list[str]


def write_report(layout: Layout, run_id: str, ahead: StagesAhead | None = None) -> Path:
    """Write the page beside its record and return its path. Raises UsageError when there is no such run."""
    screen = first_screen(layout, run_id)
    record, counted = layout.record(run_id), dict(screen.fates)
    return write_page(
        record / PAGE,
        "report.html.j2",
        screen=screen,
        fates=[(words, counted[words]) for name in FATES if (words := FATE_WORDS[name]) in counted],
        stages=[_stage(record / f"{name}.ipynb", state, ahead) for name, state in screen.notebooks],
    )


def _stage(path: Path, state: str, ahead: StagesAhead | None) -> Stage:
    """The notebook's part, as it was made ahead, or made now."""
    if ahead and state == WELL and (stage := ahead.take(path.stem)):
        return stage
    from lib.report_stage import make_stage  # nbconvert is half a second

    return make_stage(path, state)
