"""The stages of a run's page, made by a process of their own while the run goes on.

It is a fork of the template (lib/template.py), as the kernels are: what it imports and renders holds up neither the
kernel of the notebook that runs nor the process that talks with it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lib.template import Template, TemplateGone

if TYPE_CHECKING:
    from lib.report import Stage

LONGEST_SECONDS = 60.0
"""How long a stage is waited for; then the report makes it."""


class StagesAhead:
    """What is not made here, the report makes (lib/report.py); without a template that is all. The cell that a notebook
    gets when its record is closed is not on the page."""

    def __init__(self, template: Template | None) -> None:
        self._template = template
        self._maker: Connection | None = None

    def begin(self, path: Path) -> None:
        """Make the stage of a notebook that ended well."""
        with suppress(TemplateGone, OSError):
            if self._template and not self._maker:
                self._maker = Connection(self._template.call("lib.stages_ahead", "make_stages").detach())
            if self._maker:
                self._maker.send(path)

    def take(self, name: str) -> Stage | None:
        """The notebook's stage, as soon as it is made; None when it was not begun or could not be made."""
        with suppress(Exception):
            if self._maker:
                self._maker.send(name)
                if self._maker.poll(LONGEST_SECONDS):
                    stage: Stage | None = self._maker.recv()
                    return stage
                self._end()  # what it answers after this would be taken for another's
        return None

    def _end(self) -> None:
        if self._maker:
            self._maker.close()
        self._maker = self._template = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def make_stages(descriptor: int) -> None:
    """What the process does: make the stage of each path that comes, send each that is asked for by its name."""
    from lib.report import WELL
    from lib.report_stage import make_stage

    made: dict[str, object] = {}
    with Connection(descriptor) as run, suppress(EOFError, OSError):
        while asked := run.recv():
            if isinstance(asked, Path):
                made[asked.stem] = None
                with suppress(Exception):  # the report fails for it, and tells
                    made[asked.stem] = make_stage(asked, WELL)
            else:
                run.send(made.get(asked))


def prepare() -> None:
    """What making stages needs is imported and compiled then, in this process and in those forked of it."""
    from lib.report import WELL
    from lib.report_stage import make_stage

    prose = {"cell_type": "markdown", "id": "prose", "metadata": {}, "source": "# Nothing"}
    code: dict[str, object] = {
        "cell_type": "code",
        "id": "code",
        "metadata": {},
        "source": "1",
        "execution_count": None,
        "outputs": [],
    }
    notebook = {"cells": [prose, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    with suppress(OSError), TemporaryDirectory() as folder:
        path = Path(folder, "00_nothing.ipynb")
        path.write_text(json.dumps(notebook), "utf-8")
        make_stage(path, WELL)
