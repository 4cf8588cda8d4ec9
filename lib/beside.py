"""Work done beside a notebook, by a fork of its kernel: a notebook that runs alone on two cores uses one.

Only in the pipeline's own kernels, where a fork is safe: elsewhere, as in JupyterLab, the work is done where its result
is asked for. So is what the fork could not do: then the kernel meets the same trouble, or none.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache, partial
from typing import Generic, ParamSpec, TypeVar

from lib.confidential import RUN_VARIABLE
from lib.kernel_start import tie_to

LONGEST_SECONDS = 20.0
"""How long a result is waited for; then the kernel does the work."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Beside(Generic[Result]):
    """One call, begun at once where that can be. Arguments and result are plain data, the function a module's."""

    def __init__(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> None:
        self._work = partial(function, *args, **kwargs)
        self._begun: Future[Result] | None = None
        if _may_fork():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the fork runs none of them
                self._begun = _fork().submit(function, *args, **kwargs)

    def result(self) -> Result:
        """What came of it. Raises what the function raises."""
        if self._begun:
            try:
                return self._begun.result(LONGEST_SECONDS)
            except Exception:  # whatever it was: it is the kernel's turn
                _fork.cache_clear()
        return self._work()


def _may_fork() -> bool:
    """Whether this is a kernel of the pipeline's."""
    return bool(os.environ.get(RUN_VARIABLE)) and sys.platform == "linux"


@cache
def _fork() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("fork"), tie_to, (os.getpid(),))
