"""Environments for what the tests need and the project's lock does not hold: heavy drivers, and their emulators.

Each is made from a hashed lock beside this file, once, in a folder that git ignores and that the lock's hash names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from lib.config import ROOT
from tests.waiting import turn

HERE = Path(__file__).parent


def own_name(folder: Path) -> str:
    """What is a test's own on a server that many tests share: a schema, a dataset, a prefix. By the test's folder."""
    return f"v{sha256(bytes(folder)).hexdigest()[:16]}"


def made(name: str) -> Path:
    """The folder of the packages that `name`.lock lists."""
    lock = HERE / f"{name}.lock"

    def install(half: Path) -> None:
        words = ["--require-hashes", "--no-deps", "--quiet", "--target", str(half), "-r", str(lock)]
        uv = shutil.which("uv")
        here = [sys._base_executable, "-m", "pip", "install"]
        pip = [uv, "pip", "install", "--python", sys.executable] if uv else here
        subprocess.run([*pip, *words], check=True, capture_output=True)

    return made_once(name, lock.read_bytes() + sys.version.encode(), install)


def made_once(name: str, content: bytes, make: Callable[[Path], None]) -> Path:
    """The folder that `make` makes of the content, whose hash names it; made when it is first asked for."""
    folder = ROOT / ".venv" / "beside" / f"{name}-{sha256(content).hexdigest()[:16]}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(f"{folder.name}.half")
    with turn(folder.with_name(f"{folder.name}.lock")):  # tests run side by side, and each would make it
        if not folder.exists():
            shutil.rmtree(half, ignore_errors=True)  # of one that was stopped
            make(half)
            half.rename(folder)
    return folder


def let_import(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Packages of `folder` can be imported, here and in processes that begin here; after one's own."""
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)])))
    patch.setattr(sys, "path", [*sys.path, str(folder)])
