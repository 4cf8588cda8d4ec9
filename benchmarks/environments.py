"""An environment of its own for each peer, from its hashed lock, with its bytecode compiled; made once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"


def environment_of(peer: str, folder: Path) -> Path:
    """The `bin` folder of the peer's environment below `folder`, which is made when its lock has changed.

    By uv where there is one, else by venv and pip. Raises RuntimeError when it cannot be made; the only step of a
    benchmark that needs a network."""
    lock = PEERS / peer / "requirements.lock"
    base = folder / peer
    ready = base / ".ready"
    told = f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {sys.version.split()[0]}"
    if not ready.exists() or ready.read_text() != told:
        print(f"Setting up the environment of {peer} ...", flush=True)
        shutil.rmtree(base, ignore_errors=True)
        base.parent.mkdir(parents=True, exist_ok=True)
        _make(peer, base, lock)
        ready.write_text(told)
    return base / "bin"


def _make(peer: str, base: Path, lock: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    python = base / "bin" / "python"
    if uv := shutil.which("uv"):
        steps: list[list[str | Path]] = [
            [uv, "venv", "--quiet", "--python", sys.executable, base],
            [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--compile-bytecode", "-r", lock],
        ]
    else:
        base_python = getattr(sys, "_base_executable", None) or sys.executable
        steps = [
            [base_python, "-m", "venv", "--without-pip", base],
            [base_python, "-m", "pip", "--python", python, *_PIP_OPTIONS, "-r", lock],
            [python, "-m", "compileall", "-q", "-j", "0", base / "lib"],
        ]
    for step in steps:
        done = subprocess.run([str(part) for part in step], env=clean, capture_output=True, text=True)
        if done.returncode and "compileall" not in step:  # some packages ship files for other Pythons
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(f"the environment of {peer} could not be made: {lines[-1] if lines else step[0]}")


_PIP_OPTIONS = ("--disable-pip-version-check", "install", "-qq", "--require-hashes")
_FOREIGN = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONPATH")
