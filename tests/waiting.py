"""Waiting for what another process does, and for one's turn among the workers of a test run."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    """Return as soon as it holds; a test whose condition never does fails."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """While the block lasts, no other process is in a block of this file, which is made where there is none."""
    handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
