"""Run one notebook by papermill in a fresh kernel, and say truthfully how it ended.

papermill's own word is not taken for it: after a killed kernel it saves every cell as completed, and a cell that calls
`sys.exit(0)` ends its notebook early without an error. What counts is which cells were seen to end, and how.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import papermill as pm  # type: ignore[import-untyped]
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellExecutionError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient  # type: ignore[import-untyped]
from papermill.engines import NBClientEngine, papermill_engines  # type: ignore[import-untyped]
from papermill.iorw import write_ipynb  # type: ignore[import-untyped]

from lib.confidential import log_exception, open_log
from lib.errors import BY_NAME, NO_ROOM, TemporaryFailure, UsageError, as_ours
from lib.files import TEMPORARY_PREFIX, sync_folder
from lib.kernels import Kernel
from lib.scrub import ScrubbingFormatter

ENGINE = "patient_visits"

_START_SECONDS = 120
_OUTPUT_SECONDS = 60
"""How long a finished cell's outputs may take to arrive: papermill's 4 s fails a busy machine's good run."""


@dataclass(frozen=True)
class Failure:
    """Why a notebook did not end well: the exception's class name, a one-line message that is safe to show, the number
    of the code cell (In [n]; None before the first), and whether the kernel itself died."""

    kind: str
    message: str
    cell: int | None
    dead_kernel: bool


@dataclass(frozen=True)
class Execution:
    """One notebook's execution: its name (`02_stage`), wall-clock seconds, code cells that ended well, its failure."""

    notebook: str
    seconds: float
    cells: int
    failure: Failure | None


def execute_notebook(
    source: Path,
    target: Path,
    parameters: dict[str, Any],
    *,
    run_id: str,
    cwd: Path,
    log: Path,
    on_cell: Callable[[int, int], None] | None = None,
    kernel: Kernel | None = None,
) -> Execution:
    """Execute `source` and leave the executed copy at `target`: mode 0600, whole, whatever the outcome.

    A failing notebook, a dying kernel or a full disk is an `Execution` with a `Failure`. `on_cell(done, total)` is
    called after each code cell. `kernel` may be one that was started ahead; without it one is started here; either way
    it is stopped at the end. Raises UsageError, before anything runs, when the source cannot be read or does not
    declare a given parameter. What interrupts the process (KeyboardInterrupt, whatever is no Exception) passes through
    once the kernel is stopped and the partial copy saved: a signal handler must raise one of those.
    """
    began = time.monotonic()
    name = source.stem
    kernel = kernel or Kernel(run_id, cwd, log)
    watch = _Watch(on_cell)
    unfinished = target.with_name(TEMPORARY_PREFIX + target.name)
    problem: Exception | None = None
    try:
        with _logged(log):
            _require_declared(source, parameters)
            with kernel:
                try:
                    pm.execute_notebook(
                        _literal(source),
                        _literal(unfinished),
                        parameters,
                        engine_name=ENGINE,
                        kernel_name="python3",
                        language="python",
                        progress_bar=False,
                        start_timeout=_START_SECONDS,
                        iopub_timeout=_OUTPUT_SECONDS,
                        request_save_on_cell_execute=False,  # this copy is seen by nobody before it is whole
                        kernel=kernel,
                        watch=watch,
                        target=target.name,
                        unfinished=unfinished,
                    )
                except Exception as error:  # a cell's own exception was noted by the watch
                    problem = error
                exit_code = kernel.exit_code
    except UsageError:
        raise
    except Exception as error:
        problem, exit_code = error, None
    finally:
        kernel.stop()
        problem = _publish(unfinished, target) or problem
    failure = _failure(name, watch, problem, exit_code, log)
    return Execution(name, time.monotonic() - began, watch.ended, failure)


def learn_format() -> None:
    """Have nbformat compile now what it judges notebooks and outputs by: before a kernel is there, nothing waits."""
    nbformat.validate(nbformat.v4.new_notebook())
    nbformat.v4.new_output("display_data")


def _failure(name: str, watch: _Watch, problem: Exception | None, exit_code: int | None, log: Path) -> Failure | None:
    """What went wrong, in words that hold no value: only our own exceptions' messages are shown."""
    started = watch.started or None
    place = f"in cell {started} of {name}" if started else f"before the first cell of {name}"
    if watch.stopped is not None:
        kind = watch.stopped.ename or "CellExecutionError"
        message = " ".join((watch.stopped.evalue or "").split())
        if kind not in BY_NAME or not message:
            message = f"{kind} {place}; details in the log"
        return Failure(kind, message, started, dead_kernel=False)
    if isinstance(problem, DeadKernelError):
        how = {None: "", -9: " (killed, often for want of memory)"}.get(exit_code, f" (exit code {exit_code})")
        message = f"The kernel died{how} {place}; details in the log"
        return Failure("DeadKernelError", message, started, dead_kernel=True)
    if isinstance(problem, OSError) and problem.errno in NO_ROOM:
        message = f"No room on the disk to save {name}.ipynb; free some and run again"
        return Failure("TemporaryFailure", message, started, dead_kernel=False)
    if problem is not None and isinstance(ours := as_ours(problem), TemporaryFailure):
        return Failure("TemporaryFailure", str(ours), started, dead_kernel=False)
    if problem is not None:
        log_exception(log, problem, f"running {name}")
        kind = type(problem).__name__
        return Failure(kind, f"{kind} {place}; details in the log", started, dead_kernel=exit_code is not None)
    if watch.ended < watch.total:
        return Failure("Incomplete", f"{name} ended early, after cell {watch.ended} of {watch.total}", started, False)
    return None


def _require_declared(source: Path, parameters: dict[str, Any]) -> None:
    """papermill injects an undeclared parameter with no more than a warning: a typing error would change nothing."""
    try:
        declared = pm.inspect_notebook(_literal(source))
    except Exception as error:  # each way of not being a notebook has an exception of its own
        raise UsageError(f"{source.name}: cannot be read as a notebook; restore it from the repository.") from error
    unknown = [name for name in parameters if name not in declared]
    if unknown:
        known = ", ".join(declared) or "none"
        raise UsageError(f"{source.name}: not a parameter of this notebook: {', '.join(unknown)}; it declares {known}.")


def _literal(path: Path) -> str:
    """The path as papermill takes it: absolute, and safe from its formatting of braces."""
    return str(path.absolute()).replace("{", "{{").replace("}", "}}")


def _publish(unfinished: Path, target: Path) -> OSError | None:
    """Give the executed copy its name; readers never see half of one. Nothing saved: nothing happens."""
    try:
        with unfinished.open("rb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            os.fsync(stream.fileno())
        unfinished.replace(target)
        sync_folder(target.parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


@contextmanager
def _logged(log: Path) -> Iterator[None]:
    """papermill's and asyncio's words go to the run's log, not to the terminal."""
    descriptor = open_log(log)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
        handler = logging.StreamHandler(stream)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(ScrubbingFormatter())
        loggers = [logging.getLogger(name) for name in ("papermill", "traitlets", "asyncio")]
        propagated = [logger.propagate for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        try:
            yield
        finally:
            for logger, propagate in zip(loggers, propagated, strict=True):
                logger.removeHandler(handler)
                logger.propagate = propagate


@dataclass
class _Watch:
    """What was seen of the code cells: the count that began, that ended well, and the exception that stopped them."""

    on_cell: Callable[[int, int], None] | None
    total: int = 0
    started: int = 0
    ended: int = 0
    stopped: CellExecutionError | None = field(default=None)


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """papermill's client, watched."""

    def __init__(self, nb_man: Any, *, watch: _Watch, **options: Any) -> None:
        super().__init__(nb_man, **options)
        self._watch = watch
        watch.total = sum(map(_is_code, self.nb.cells))

    def execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
        if not _is_code(cell):
            return super().execute_cell(cell, cell_index, **options)
        watch = self._watch
        watch.started += 1
        try:
            executed = super().execute_cell(cell, cell_index, **options)
        except BaseException as error:
            if isinstance(error, CellExecutionError):
                watch.stopped = error
            # Without this papermill saves the cell of a dead or interrupted kernel, and all after it, as completed.
            self.nb_man.cell_exception(cell, cell_index=cell_index)
            raise
        watch.ended += 1
        if watch.on_cell is not None:
            watch.on_cell(watch.ended, watch.total)
        return executed


class PatientVisitsEngine(NBClientEngine):  # type: ignore[misc]
    """papermill's engine on a `Kernel` of ours, with file names only in the saved metadata."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, *, target: str, unfinished: Path, **options: Any) -> Any:
        nb.metadata.papermill["input_path"] = nb.metadata.papermill["output_path"] = target
        try:
            return super().execute_notebook(nb, kernel_name, **options)
        except BaseException:  # of any other end papermill saves the notebook itself
            with suppress(OSError):
                write_ipynb(nb, str(unfinished))
            raise

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, kernel: Kernel, watch: _Watch, **options: Any
    ) -> Any:
        client = _Client(
            nb_man,
            km=kernel.manager,
            kernel_name=kernel_name,
            watch=watch,
            startup_timeout=options["start_timeout"],
            iopub_timeout=options["iopub_timeout"],
            coalesce_streams=True,
            log=logging.getLogger("papermill"),
        )
        try:
            return client.execute()
        finally:
            _forget_tasks()
            if client.kc is not None:
                client.kc.stop_channels()


def _is_code(cell: Any) -> bool:
    """Whether nbclient executes the cell."""
    skipped = "skip-execution" in cell.metadata.get("tags", [])
    return cell.cell_type == "code" and bool(cell.source.strip()) and not skipped


def _forget_tasks() -> None:
    """An interrupt or a dead kernel leaves nbclient's polls waiting; they would complain at the next notebook."""
    with suppress(RuntimeError):  # a loop is running in this thread: it looks after its own
        loop = ensure_event_loop()
        if loop.is_running():
            return
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


papermill_engines.register(ENGINE, PatientVisitsEngine)
