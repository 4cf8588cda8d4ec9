"""On what and with what was measured: without it a time means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("duckdb", "pandas", "pyarrow", "great-expectations", "papermill")


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system, Python, packages, commit, whether files differ from it, and the load now."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": commit or "no commit",
        "dirty": bool(_git("status", "--porcelain", "--", "lib", "notebooks", "expectations", "run_pipeline.py")),
        "load_before": round(os.getloadavg()[0], 2),
    }


def in_words(machine: dict[str, Any], peers: dict[str, str]) -> str:
    """One paragraph for under a table."""
    packages = ", ".join(f"{name} {number}" for name, number in (machine["packages"] | peers).items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {packages}; commit {machine['commit']}"
        f"{' with changes' if machine['dirty'] else ''}; load before the start {machine['load_before']:.1f}."
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
