"""The kernels that run on this machine, as the system lists them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lib.template_start import BESIDE_NAME, KERNEL_NAME


def kernels_with(path: Path) -> list[int]:
    """Process ids of forked kernels whose command names this path: the data folder, or the project that they run."""
    return _named((KERNEL_NAME,), path)


def forks_with(path: Path) -> list[int]:
    """Those of kernels and of what makes pictures or pages beside them."""
    return _named((KERNEL_NAME, BESIDE_NAME), path)


def _named(names: Sequence[bytes], path: Path) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_meant = (folder / "comm").read_bytes().strip() in names
            if is_meant and os.fsencode(path) in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
