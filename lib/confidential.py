"""What keeps patients' values out of saved notebooks and logs, from inside the kernel.

pandas, DuckDB and SQLite quote values in their exceptions, and a notebook saves the exception of a failing cell. Here a
cell's output shows the class and the place; the stack goes to the run's log, mode 0600, without the values
(lib/scrub.py). What a cell displays or prints is withheld unless it comes through lib/shown.py (lib/withheld.py).

Only the standard library and modules of ours that need no more: this runs before the first cell of every kernel.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from lib.errors import BY_NAME, PipelineError, as_ours
from lib.scrub import scrub, told_exception
from lib.shown import passing
from lib.withheld import Withholding

_LIB = Path(__file__).resolve().parent
_ROOT = _LIB.parent
_LONGEST_LINE = 1 << 16

RUN_VARIABLE = "PATIENT_VISITS_RUN"
"""Environment of a kernel that the pipeline started: the run's id."""

LOG_VARIABLE = "PATIENT_VISITS_LOG"
"""Environment of a kernel that the pipeline started: the run's log, where details go before the run is even opened."""

LAB_VARIABLE = "PATIENT_VISITS_LAB"
"""Environment of a kernel whose JupyterLab strips what it saves (lib/lab.py): that server's process id."""


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; the file is 0600, its folder (when made here) 0700. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def log_text(path: Path, text: str) -> None:
    """Append text to the log. A log that cannot be written is no reason to fail, nor to show the text elsewhere."""
    try:
        descriptor = open_log(path)
    except OSError:
        return
    try:
        os.write(descriptor, text.encode(errors="backslashreplace"))
    except OSError:
        pass
    finally:
        os.close(descriptor)


def scrubbing_pipe(log: Path) -> int:
    """A descriptor for a child's output: what C libraries and a dying interpreter write goes to the log, scrubbed.

    It is read in a thread until the child and the caller have closed it. Raises OSError.
    """
    os.close(open_log(log))
    reading, writing = os.pipe()

    def drain() -> None:
        with os.fdopen(reading, "rb") as stream:
            while line := stream.readline(_LONGEST_LINE):
                log_text(log, scrub(line.decode(errors="backslashreplace")))

    threading.Thread(target=drain, name="kernel output", daemon=True).start()
    return writing


def log_exception(path: Path, error: BaseException, where: str) -> None:
    """Append an exception with its whole stack and its causes to the log; of foreign messages the known words."""
    log_text(path, f"--- {datetime.now(UTC).isoformat(timespec='seconds')} {where}\n{told_exception(error)}")


def shown_path(log: Path) -> str:
    """The log's name as a record may show it: from the project's root, else its last two parts; no machine's path."""
    resolved = log.resolve()
    return str(resolved.relative_to(_ROOT)) if resolved.is_relative_to(_ROOT) else f"{log.parent.name}/{log.name}"


def one_line(error: BaseException) -> str:
    """An exception's message with every run of white space as one space."""
    return " ".join(str(error).split())


def safe_name(kind: type[BaseException]) -> str:
    """The class's name. A foreign class that is named like one of ours is told apart by its module: who reads the name
    may show the message only of ours."""
    foreign = kind.__name__ in BY_NAME and not issubclass(kind, PipelineError)
    return f"{kind.__module__}.{kind.__name__}" if foreign else kind.__name__


def guard_kernel(log: Path) -> None:
    """From now on, what this kernel saves or sends of an exception holds no value.

    Of a `PipelineError` it is the one-line message, of any other exception the class and the places in the project's
    code. Stacks, warnings, log messages and everything else written to `sys.stderr` go to `log`, scrubbed. What is
    displayed or printed is withheld, but for what lib/shown.py lets pass, except where `is_interactive`. Called again,
    it only changes the log. Outside a kernel it does nothing.
    """
    shell = _kernel_shell()
    if shell is None:
        return
    guard = getattr(shell, "_patient_visits_guard", None)
    if guard is None:
        shell._patient_visits_guard = _Guard(shell, log)
    else:
        guard.log = log


def is_interactive() -> bool:
    """True only in a kernel that a person drives in a JupyterLab which saves no rows: one that `make lab` started.

    That server names the notebook and itself in the environment of its kernels. A kernel that papermill starts from
    inside such a session inherits both, but not the parent; and no kernel of a run counts.
    """
    if _kernel_shell() is None or os.environ.get(RUN_VARIABLE) or not os.environ.get("JPY_SESSION_NAME"):
        return False
    return os.environ.get(LAB_VARIABLE) == str(os.getppid())


def _kernel_shell() -> Any:
    """IPython's shell when this process is a kernel, else None. Nothing is imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


class _Guard:
    """The replacements in one shell. IPython shows an exception by several doors (a raised one, a syntax error in a
    cell, an exception group, a magic's usage error); each is replaced, and all lead to `show`."""

    def __init__(self, shell: Any, log: Path) -> None:
        self.shell = shell
        self.log = log
        shell.showtraceback = self.showtraceback
        shell.showsyntaxerror = self.showsyntaxerror
        shell.showindentationerror = self.showsyntaxerror
        shell.show_usage_error = lambda _error: self.showtraceback()
        shell.set_custom_exc((), None)
        shell.events.register("post_run_cell", self.clean_reply)
        self._divert_stderr()
        self._divert_hooks()
        self.withholding = None if is_interactive() else Withholding(shell)

    def showtraceback(self, exc_tuple: Any = None, *_: Any, **__: Any) -> None:
        try:
            kind, error, trace = self.shell._get_exc_info(exc_tuple)
        except ValueError:  # %tb before anything failed
            return
        self.show(kind, error, trace)

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        self.showtraceback()

    def show(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Log the exception, then send the safe form the way IPython sends an exception."""
        log_exception(self.log, error, f"cell {self.shell.execution_count - 1}")
        error = as_ours(error)
        kind, message = type(error), self.message(error)
        lines = [f"{safe_name(kind)}: {message}"]
        if not isinstance(error, PipelineError):
            places = list(self.places(trace))[::-1] or ["code outside the project"]
            lines = [f"{safe_name(kind)} in {places[0]}", *(f"  called by {place}" for place in places[1:]), message]
        with passing():
            self.shell._showtraceback(type(safe_name(kind), (Exception,), {}), message, lines)

    def message(self, error: BaseException) -> str:
        """The only words of an exception that may be saved."""
        return one_line(error) if isinstance(error, PipelineError) else f"details in {shown_path(self.log)}"

    def places(self, trace: TracebackType | None) -> Iterator[str]:
        """`module:function:line` of each frame of the project's own code, outermost first; a cell by its number."""
        cells = getattr(self.shell.compile, "_filename_map", {})
        for frame, line in traceback.walk_tb(trace):
            filename = frame.f_code.co_filename
            if filename in cells:
                yield f"cell {cells[filename]}:{line}"
            elif Path(filename).is_relative_to(_LIB):
                yield f"lib.{Path(filename).stem}:{frame.f_code.co_name}:{line}"

    def clean_reply(self, result: Any) -> None:
        """The reply to the client repeats the exception's own text: give it the safe form instead."""
        for field in ("error_before_exec", "error_in_exec"):
            error = getattr(result, field, None)
            if error is not None:
                error = as_ours(error)
                setattr(result, field, type(safe_name(type(error)), (Exception,), {})(self.message(error)))

    def _divert_stderr(self) -> None:
        """`logging`'s last resort, errors of callbacks and `print` look up `sys.stderr` when they write; handlers made
        earlier hold the old stream and are given the new one."""
        old, new = sys.stderr, _LogStream(self)
        sys.stderr = new
        loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
        for handler in {handler for logger in loggers for handler in getattr(logger, "handlers", ())}:
            if isinstance(handler, logging.StreamHandler) and handler.stream is old:
                handler.setStream(new)

    def _divert_hooks(self) -> None:
        """Uncaught errors of threads and of finalizers, and warnings: structured, so that their stacks can stay."""
        threading.excepthook = lambda told: self._log(told.exc_value, "a thread")
        sys.unraisablehook = lambda told: self._log(told.exc_value, "an object's end")
        warnings.showwarning = lambda message, category, filename, lineno, *_, **__: self._log_warning(
            message, category, f"{filename}:{lineno}"
        )

    def _log(self, error: BaseException | None, where: str) -> None:
        if error is not None:
            log_exception(self.log, error, where)

    def _log_warning(self, message: Warning | str, kind: type[Warning], place: str) -> None:
        log_text(self.log, f"{safe_name(kind)} at {place}: {scrub(str(message))}\n")


class _LogStream(io.TextIOBase):
    """`sys.stderr` of a guarded kernel."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, guard: _Guard) -> None:
        self._guard = guard

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        log_text(self._guard.log, scrub(text))
        return len(text)
