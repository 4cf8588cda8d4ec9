"""npm, for what the tests need of it; installed by apt-get where it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def npm(*words: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run npm. Raises RuntimeError where it cannot be had."""
    if shutil.which("npm") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for each in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "npm"]):
            subprocess.run(["apt-get", *each], env=environment, capture_output=True, check=False)
    if shutil.which("npm") is None:
        raise RuntimeError("there is no npm on PATH; install it (Debian, Ubuntu: apt-get install npm)")
    return subprocess.run(["npm", *words], cwd=cwd, capture_output=True, check=False)
