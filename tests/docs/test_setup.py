"""What a fresh machine needs: one lock for make, conda and CI; a config that tells every setting; examples."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel

from lib.config import ROOT, Settings, load_settings

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def shape(model: BaseModel) -> dict[str, object]:
    """Every setting by name, sections nested."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {name: shape(value) if isinstance(value, BaseModel) else "a setting" for name, value in values.items()}


def shape_of_yaml(content: dict[str, object], like: dict[str, object]) -> dict[str, object]:
    return {
        name: shape_of_yaml(value, like[name]) if isinstance(like.get(name), dict) else "a setting"
        for name, value in content.items()
    }


# The config and its examples


def test_config_yaml_has_the_defaults():
    assert load_settings(ROOT / "config.yaml") == Settings()


def test_config_yaml_tells_every_setting():
    written = yaml.safe_load((ROOT / "config.yaml").read_text())
    expected = shape(Settings())
    assert shape_of_yaml(written, expected) == expected


def test_config_yaml_comments_every_section():
    text = (ROOT / "config.yaml").read_text()
    sections = re.findall(r"(?m)^((?:#.*\n)*)([a-z_]+):.*\n?(  #)?", text)
    assert [name for above, name, within in sections if not above and not within] == []
    assert [name for _, name, _ in sections] == list(Settings.model_fields)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_loads_and_says_what_it_is(path):
    settings, text = load_settings(path), path.read_text()
    assert settings.source.name == path.stem, "a name of its own: keys, watermark and baselines are per source"
    given = "--source PATH " if settings.source.kind == "files" else ""
    for told in (
        "From",
        "Run",
        "To expect",
        f"--config examples/{path.name} {given}--data-dir data/{path.stem}",
    ):
        assert told in text.split("\nsource:")[0], told
    assert path.name in (ROOT / "examples" / "README.md").read_text()


def test_the_example_without_stamps_takes_full_deliveries():
    settings = load_settings(ROOT / "examples" / "cms_desynpuf.yaml")
    assert (settings.stamped, settings.source.deliveries, settings.formats.visit_date) == (False, "full", ("%Y%m%d",))


# The lock


def locked() -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", LOCK)}


LOCKED_EXTRAS = [each for name in ("postgres", "sql") for each in PROJECT["project"]["optional-dependencies"][name]]


@pytest.mark.parametrize(
    "text", [*PROJECT["project"]["dependencies"], *LOCKED_EXTRAS, *PROJECT["dependency-groups"]["dev"]]
)
def test_lock_holds_what_pyproject_asks_for(text):
    asked = Requirement(text)
    assert asked.specifier.contains(locked()[canonicalize_name(asked.name)]), "run: make lock"


def test_lock_is_hashed_and_names_no_host():
    blocks = re.split(r"(?m)^(?=\S)", LOCK)[1:]
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|^\s*-|^#", re.sub(r"(?m)^\s+--hash=\S+( \\)?$", "", LOCK), re.M)


def test_conda_takes_every_package_from_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, rest = environment["dependencies"]
    assert (python, pip, rest) == ("python >=3.11,<3.14", "pip", {"pip": ["-r requirements.lock"]})
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"


# make, on a machine that has little


def make_in(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make on a copy of the Makefile, beside a lock, with no programs but the folder's own and a few plain ones."""
    shutil.copy(ROOT / "Makefile", folder / "Makefile")
    if not (folder / "requirements.lock").exists():
        (folder / "requirements.lock").touch()
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("make", "sh", "touch", "mkdir", "chmod", "cp", "rm", "find", "awk", "cat"):
        if not (programs / name).exists():
            (programs / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL", "ARGS")
    }
    command = [str(programs / "make"), *words]
    return subprocess.run(
        command,
        cwd=folder,
        env=clean | {"PATH": str(programs)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def program(folder: Path, name: str, script: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# Stands in for a fitting Python: notes how it was called; `-m venv` puts a copy of itself where the .venv's would be.
FITTING = """
echo "$0 $*" >> "$LOG"
case "$*" in
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip --version") [ -z "$NO_PIP" ] ;;
esac
"""


@needs_make
def test_set_up_runs_once_and_again_when_the_lock_changes(tmp_path):
    log = tmp_path / "log"
    program(tmp_path, "python3", FITTING)
    first = make_in(tmp_path, "setup", LOG=str(log))
    assert first.returncode == 0, first.stderr
    assert "pip --python .venv/bin/python --disable-pip-version-check install -qq --require-hashes" in log.read_text()
    assert "venv --clear --without-pip .venv" in log.read_text()
    assert "python -m compileall -q -j 0 .venv/lib" in log.read_text(), "by all cores, where pip compiles by one"
    log.unlink()
    assert make_in(tmp_path, "setup", LOG=str(log)).returncode == 0
    assert not log.exists() or "install" not in log.read_text()
    ready = (tmp_path / ".venv" / ".ready").stat().st_mtime
    os.utime(tmp_path / "requirements.lock", (ready + 10, ready + 10))
    assert make_in(tmp_path, "setup", LOG=str(log)).returncode == 0
    assert "install" in log.read_text()
    assert "-m venv" not in log.read_text(), "a .venv that works is brought up to the lock, not made anew"


@needs_make
def test_uv_is_used_when_it_is_there(tmp_path):
    log = tmp_path / "log"
    program(tmp_path, "python3", FITTING)
    program(tmp_path, "uv", 'echo "uv $*" >> "$LOG"')
    assert make_in(tmp_path, "setup", LOG=str(log), NO_PIP="1").returncode != 0, "the fake uv made no .venv to touch"
    (tmp_path / ".venv").mkdir()
    assert make_in(tmp_path, "setup", LOG=str(log), NO_PIP="1").returncode == 0
    assert "uv pip install --quiet --python .venv/bin/python --require-hashes --compile-bytecode" in log.read_text()


@needs_make
def test_uv_may_find_the_python(tmp_path):
    program(tmp_path, "uv", 'echo "uv $*" >> "$LOG"; mkdir -p .venv')
    assert make_in(tmp_path, "setup", LOG=str(tmp_path / "log")).returncode == 0
    assert "uv venv --quiet --clear --python >=3.11,<3.14 .venv" in (tmp_path / "log").read_text()


@needs_make
@pytest.mark.parametrize(
    ("case", "python", "words", "says"),
    [
        ("none", None, ["run"], "no Python 3.11 to 3.13 found (tried: python3 python3.13 python3.12 python3.11)"),
        ("too old", "exit 1", ["run"], "no Python 3.11 to 3.13 found"),
        ("named and missing", FITTING, ["run", "PYTHON=python9"], "no Python 3.11 to 3.13 found (tried: python9)"),
        ("no pip, no uv", FITTING, ["run", "NO_PIP=1"], "python3 has no pip; install it"),
    ],
)
def test_set_up_that_cannot_be_says_so_in_one_line(tmp_path, case, python, words, says):
    if python is not None:
        program(tmp_path, "python3", python)
    done = make_in(tmp_path, *words, LOG=str(tmp_path / "log"), NO_PIP="1" if "NO_PIP=1" in words else "")
    told = [line for line in done.stderr.splitlines() if "***" not in line]
    assert done.returncode == 2
    assert len(told) == 1, told
    assert says in told[0]
    assert not (tmp_path / ".venv" / ".ready").exists()


@needs_make
def test_clean_spares_the_records_unless_told_and_the_input_always(tmp_path):
    for name in ("raw/a", "runs/b", "sandbox/c", "input/d"):
        (tmp_path / "data" / name).mkdir(parents=True)
    assert make_in(tmp_path, "clean").returncode == 0
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["input", "raw", "runs"]
    assert make_in(tmp_path, "clean", "DATA=yes").returncode == 0
    assert sorted(each.name for each in (tmp_path / "data").iterdir()) == ["input"]


@needs_make
def test_help_lists_every_target(tmp_path):
    targets = re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text())
    assert re.findall(r"(?m)^  make (\w+)", make_in(tmp_path).stdout) == targets
    assert set(targets) == {"help", "setup", "run", "test", "lab", "lint", "bench", "faults", "lock", "clean"}


# What runs before a change is taken


def test_ci_runs_what_a_developer_runs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert re.findall(r"(?m)^make (\w+)$", script.read_text()) == ["lint", "test"]


def test_pre_commit_downloads_nothing():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)


def test_licence_is_the_one_that_pyproject_names():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert PROJECT["project"]["license"] == "MIT"


WORDS = """as-of time, batch, business key, cutoff, delivery, gate, held, lineage, lookback window, manifest, merge,
missed, quarantine, refused, run, run id, run record, snapshot, source, staged, superseded, version, watermark"""


def test_glossary_explains_each_word_once_in_order():
    entries = re.findall(r"(?m)^\*\*(.+?)\*\*", (ROOT / "GLOSSARY.md").read_text())
    assert set(re.split(r",\s", WORDS)) <= set(entries)
    assert entries == sorted(set(entries), key=str.lower)
