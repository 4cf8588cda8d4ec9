"""The kernels that run on this machine, as the system lists them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lib.template_start import KERNEL_NAME


def kernels_with(path: Path) -> list[int]:
    """Process ids of forked kernels whose command names this path: the data folder, or the project that they run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_kernel = (folder / "comm").read_bytes().strip() == KERNEL_NAME
            if is_kernel and os.fsencode(path) in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
