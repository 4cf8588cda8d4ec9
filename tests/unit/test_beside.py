"""Work beside a notebook: done by another process where that may be, and always done."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from lib import beside
from lib.beside import Beside
from lib.confidential import RUN_VARIABLE


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """This process as if it were a kernel of the pipeline's; its number."""
    monkeypatch.setenv(RUN_VARIABLE, "run-1")
    yield os.getpid()
    beside._fork().shutdown()
    beside._fork.cache_clear()


def dies_elsewhere(where: int) -> str:
    if os.getpid() != where:
        os._exit(1)
    return "here"


def is_slow_elsewhere(where: int) -> str:
    if os.getpid() != where:
        time.sleep(3)
    return "here"


def fails() -> str:
    raise KeyError("nothing to judge")


def test_elsewhere_than_in_a_kernel_it_is_done_when_its_result_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    done: list[int] = []
    work = Beside(done.append, 1)
    assert done == []
    work.result()
    assert done == [1]


def test_in_a_kernel_another_process_does_it(kernel: int) -> None:
    assert Beside(os.getpid).result() != kernel
    assert Beside(sorted, [3, 1, 2], reverse=True).result() == [3, 2, 1]


def test_what_another_process_could_not_do_is_done_here(kernel: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Beside(dies_elsewhere, kernel).result() == "here"
    assert Beside(lambda: os.getpid()).result() == kernel  # a function that cannot be sent
    monkeypatch.setattr(beside, "LONGEST_SECONDS", 0.2)
    assert Beside(is_slow_elsewhere, kernel).result() == "here"


def test_what_cannot_be_done_is_told_as_it_is(kernel: int) -> None:
    with pytest.raises(KeyError, match="nothing to judge"):
        Beside(fails).result()
