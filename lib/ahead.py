"""The kernels of a run, each started before its notebook is due, and none used twice."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from lib.config import ROOT
from lib.kernels import Kernel
from lib.run import Run
from lib.template import LONG_IMPORTS, Template

DRAWERS = {"05_analytics": 3}
"""How many draw for a notebook that shows more than one picture."""


class KernelsAhead:
    """One kernel a notebook. Those that have something to do first are started at once, each other one when the
    notebook before it begins: a kernel that waits costs memory. Without a template none is ahead: starting one afresh
    is as much work as a notebook, which it would only hold up."""

    def __init__(self, run: Run, names: Sequence[str], template: Template | None) -> None:
        self._waiting = {
            name: Kernel(
                run.run_id,
                ROOT,
                run.log,
                template,
                LONG_IMPORTS.get(name, ()) if template else (),
                DRAWERS.get(name, 1),
            )
            for name in names
        }
        self._ahead = template is not None
        self._start([*names[:1], *(name for name in names if name in LONG_IMPORTS)])

    def take(self, name: str) -> Kernel:
        """The notebook's kernel, which the caller stops; the next one begins to start."""
        kernel = self._waiting.pop(name)
        self._start([name, *self._waiting][1:2])
        return kernel

    def _start(self, names: Sequence[str]) -> None:
        for name in names if self._ahead else ():
            self._waiting[name].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kernel in self._waiting.values():
            kernel.stop()
