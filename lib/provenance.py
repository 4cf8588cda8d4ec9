"""Who ran what with which code: actor, host, hashes of every file that decides a result, versions of packages."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from lib.config import ROOT
from lib.files import sha256_of_file

DECIDING = (
    "lib/**/*.py",
    "lib/**/*.sql",
    "lib/pages/*",
    "notebooks/*.ipynb",
    "expectations/*.json",
    "requirements.lock",
    "run_pipeline.py",
)


def actor() -> str:
    """The account that runs this, and the one behind sudo where there is one."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if behind and behind != name else name


def host() -> str:
    return socket.gethostname()


def code_hashes() -> dict[str, str]:
    """SHA-256 of every file of lib, notebooks, expectations and the lock, by path from the project's root."""
    found = sorted(
        {path for pattern in DECIDING for path in ROOT.glob(pattern) if ".ipynb_checkpoints" not in path.parts}
    )
    return {str(path.relative_to(ROOT)): sha256_of_file(path) for path in found}


def git_state() -> dict[str, Any]:
    """The commit that is checked out and whether anything that decides a result differs from it; nulls outside a git
    checkout. A config of one's own is no such thing: the manifest holds it whole."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD") if (ROOT / ".git").exists() else None
    changes = git("status", "--porcelain", "--", *sorted({each.split("/")[0] for each in DECIDING})) if commit else None
    return {"commit": commit, "dirty": bool(changes) if changes is not None else None}


def interpreter() -> dict[str, str]:
    """The interpreter of this process."""
    return {
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "machine": platform.platform(),
    }


def packages() -> dict[str, str]:
    """Every installed package and its version, by name, as the names of their folders tell: reading each package's own
    metadata would cost a second a run."""
    folders = (each for entry in sys.path if Path(entry).is_dir() for each in Path(entry).glob("*.dist-info"))
    versions = dict(folder.stem.rsplit("-", 1) for folder in folders)
    return dict(sorted(versions.items(), key=lambda pair: pair[0].lower()))
