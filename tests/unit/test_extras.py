"""What a message says to install is what pyproject.toml has, and the command that it prints works here."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lib.config import ROOT
from lib.extras import REQUIREMENTS, lacking


def test_the_requirements_are_those_of_the_project() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: [each] for name, each in REQUIREMENTS.items()} == extras


@pytest.mark.parametrize("folder", [ROOT, Path("/")])
def test_the_command_is_for_this_very_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    told = str(lacking("a driver", "sql"))
    assert "\n" not in told and told.startswith("a driver is not installed; it is the extra sql: python3 -m pip ")
    *_, option, python, verb, requirement = shlex.split(told)
    assert (option, verb, requirement) == ("--python", "install", REQUIREMENTS["sql"])
    assert Path(python).absolute() == Path(sys.executable)


def test_a_run_without_its_driver_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "psycopg.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    words = ["run", "--warehouse", "postgresql://127.0.0.1:1/visits", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run([sys.executable, "run_pipeline.py", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "PostgreSQL's driver is not installed; it is the extra postgres" in done.stderr
    assert not (tmp_path / "data").exists()
