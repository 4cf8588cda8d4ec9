"""Ctrl-C and SIGTERM during a run: none is lost, and none is raised where it would leave a lock behind."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from lib import interrupts


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came here is not remembered of the process."""
    monkeypatch.setattr(interrupts, "_signalled", [])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], str]:
    """Makes a module that gets a signal while it is imported, and goes on for so many seconds."""

    def make(seconds: float) -> str:
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "slow_to_import", raising=False)
        (tmp_path / "slow_to_import.py").write_text(
            "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\n"
            f"end = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass\n"
        )
        return "slow_to_import"

    return make


def test_a_signal_during_an_import_is_raised_after_it(module: Callable[[float], str]) -> None:
    with interrupts.signals_as_interrupts(), pytest.raises(interrupts.Terminated):
        importlib.import_module(module(0.1))
        assert hasattr(sys.modules["slow_to_import"], "end")
        time.sleep(5)
    assert "slow_to_import" in sys.modules


def test_a_signal_that_an_import_held_up_does_not_come_after_the_run(
    module: Callable[[float], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_AGAIN_SECONDS", 0.2)
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with interrupts.signals_as_interrupts():
            importlib.import_module(module(0))
        time.sleep(0.4)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [] and interrupts.was_signalled()


def test_an_import_that_takes_long_is_interrupted_after_all(
    module: Callable[[float], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupts, "_LONGEST_IMPORT_SECONDS", 0.05)
    with interrupts.signals_as_interrupts(), pytest.raises(interrupts.Terminated):
        importlib.import_module(module(5))
    assert "slow_to_import" not in sys.modules


def test_a_signal_while_the_record_is_closed_is_not_lost() -> None:
    with interrupts.signals_as_interrupts():
        with interrupts.signals_noted():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.was_signalled()
    with interrupts.signals_as_interrupts():
        assert not interrupts.was_signalled()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_swallowed_in_a_finalizer_is_not_lost(number: int) -> None:
    with interrupts.signals_as_interrupts():
        with suppress(KeyboardInterrupt):  # as in a finalizer, where it is printed as ignored
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt) as raised:
            interrupts.raise_lost_signal()
    assert isinstance(raised.value, interrupts.Terminated) == (number == signal.SIGTERM)
    with interrupts.signals_as_interrupts():
        interrupts.raise_lost_signal()
