"""Environments for what the tests need and the project's lock does not hold: heavy drivers, and their emulators.

Each is made from a hashed lock beside this file, once, in a folder that git ignores and that the lock's hash names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from lib.config import ROOT

HERE = Path(__file__).parent


def made(name: str) -> Path:
    """The folder of the packages that `name`.lock lists."""
    lock = HERE / f"{name}.lock"
    key = sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = ROOT / ".venv" / "beside" / f"{name}-{key}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(f"{folder.name}.{os.getpid()}")
    words = ["--require-hashes", "--no-deps", "--quiet", "--target", str(half), "-r", str(lock)]
    uv = shutil.which("uv")
    pip = [uv, "pip", "install", "--python", sys.executable] if uv else [sys._base_executable, "-m", "pip", "install"]
    subprocess.run([*pip, *words], check=True, capture_output=True)
    try:
        half.rename(folder)
    except OSError:  # another process made it meanwhile
        shutil.rmtree(half, ignore_errors=True)
    return folder


def let_import(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Packages of `folder` can be imported, here and in processes that begin here; after one's own."""
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)])))
    patch.setattr(sys, "path", [*sys.path, str(folder)])
