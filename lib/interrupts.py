"""Ctrl-C and SIGTERM during a run: both unwind it, so that kernels stop and the record is closed; none is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lib.errors import PipelineError


class Terminated(KeyboardInterrupt):
    """SIGTERM: ended like Ctrl-C, told apart by the exit code."""


_signalled: list[int] = []
"""The signals that came during the last run."""

_AGAIN_SECONDS = 0.01
_LONGEST_IMPORT_SECONDS = 2.0
"""When a signal is sent again that came during an import, and how long imports may hold it up."""


@contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that kernels stop and the record is closed. Both are remembered: one that comes
    while Python tidies up an object is raised there, printed as ignored, and lost.

    One that comes during an import is raised after it: cut short, it may keep locks that every later import, in another
    thread, waits for without end.
    """
    _signalled.clear()
    latest = 0.0
    sent_again: list[threading.Timer] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal latest
        latest = latest if _signalled else time.monotonic() + _LONGEST_IMPORT_SECONDS
        _signalled.append(number)
        if not _is_importing(frame) or time.monotonic() > latest:
            raise _interruption(number)
        sent_again.append(threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)))
        sent_again[-1].start()

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # where a shell had it ignored, it stays so
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt as interruption:  # before the run began: the command line does not tell the two apart
        error = PipelineError("interrupted: nothing was loaded; run again.")
        error.exit_code = exit_code_of(interruption)
        raise error from None
    finally:
        for timer in sent_again:  # none is to come when the signals are others' again
            timer.cancel()
            timer.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def was_signalled() -> bool:
    """Whether a signal came during the last run, whatever became of the run."""
    return bool(_signalled)


def exit_code_of(interruption: KeyboardInterrupt) -> int:
    """As a shell tells of a command that a signal ended."""
    return 143 if isinstance(interruption, Terminated) else 130


def raise_lost_signal() -> None:
    """Raise what came and was lost on the way."""
    if was_signalled():
        raise _interruption(_signalled[0])


@contextmanager
def signals_noted() -> Iterator[None]:
    """While a record is begun, which is to be closed, and while it is closed: one more Ctrl-C would leave it open. See
    `was_signalled`, `raise_lost_signal`."""

    def note(number: int, frame: FrameType | None) -> None:
        _signalled.append(number)

    wanted = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interruption(number: int) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
