"""The README is run: its tour, its query, its Python, its config; every option it names exists."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lib.cli import app
from lib.config import ROOT, settings_from
from lib.disclosure import MASK
from lib.errors import BY_NAME

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The run_pipeline.py commands of a block, as words, comments away."""
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [words[2:] for words in lines if words[:2] == ["python", "run_pipeline.py"]]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the tour was run, line by line, each ending well."""
    copy = tmp_path_factory.mktemp("readme") / "project"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in tracked:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    walk = [block for block in blocks("sh") if "data/tour" in block]
    for words in (words for block in walk for words in commands(block)):
        done = subprocess.run(
            [sys.executable, "run_pipeline.py", *words], cwd=copy, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return copy


def manifests(tour: Path) -> list[dict[str, object]]:
    records = sorted((tour / "data/tour/runs").glob("0*/manifest.json"))
    return [json.loads(path.read_text()) for path in records]


def test_the_tour_loads_what_the_text_says(tour: Path) -> None:
    first, again, following, refreshed = (manifest["counts"] for manifest in manifests(tour))
    assert (first["staged"], first["rows_read"], first["refused"], first["superseded"]) == (3302, 3787, 84, 401)
    assert "loads 3,302 visits out of 3,787 records: 84 are refused" in README and "401 are older versions" in README
    assert (again["inserted"], again["updated"]) == (0, 0)
    assert [following[name] for name in ("inserted", "updated", "unchanged", "outside_missed")] == [164, 15, 8, 2]
    text = " ".join(README.split())
    assert "164 new visits, 15 corrections" in text and "8 repeats, and 2 rows that came too late" in text
    assert refreshed["inserted"] == 2, "the full refresh brings the two missed rows"


def test_the_tour_leaves_whole_records(tour: Path) -> None:
    for record in sorted((tour / "data/tour/runs").glob("0*")):
        names = {path.name for path in record.iterdir()}
        notebooks = {path.name for path in (tour / "notebooks").glob("*.ipynb")}
        suites = {path.name for path in (tour / "expectations").glob("*.json")}
        assert names == notebooks | suites | {"manifest.json", "dq_report.json", "report.html"}


def test_the_tour_masks_nothing_that_its_records_are_to_tell(tour: Path) -> None:
    executed = sorted((tour / "data/tour/runs").glob("0*/*.ipynb"))
    assert executed and [path.name for path in executed if MASK in path.read_text()] == []


def test_the_query_is_the_notebooks_and_adds_up(tour: Path) -> None:
    (query,) = blocks("sql")
    assert query == (ROOT / "lib/sql/examples/visits_by_week.sql").read_text()
    connection = sqlite3.connect(tour / "data/tour/warehouse.db")
    rows = connection.execute(query).fetchall()
    (visits,) = connection.execute("SELECT count(*) FROM fact_visits").fetchone()
    connection.close()
    assert len(rows) == 29
    assert sum(row[1] for row in rows) == visits == 3468


def test_the_python_gives_masked_frames(tour: Path) -> None:
    (code,) = blocks("python")
    code = code.replace('"data"', '"data/tour"') + "\nprint(len(visits), set(visits['patient_id']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tour, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d{4} \{'•••'\}", done.stdout.strip()), done.stdout


def test_the_config_example_is_a_config() -> None:
    (example,) = blocks("yaml")
    settings = settings_from(yaml.safe_load(example), "README.md")
    assert settings.wanted["department"] == "Dept"


@pytest.mark.parametrize("words", [words for block in blocks("sh") for words in commands(block)], ids=" ".join)
def test_every_option_exists(words: list[str]) -> None:
    command = words[:1] if words and not words[0].startswith("--") else ["run"]
    if command[0] in ("deliveries", "quarantine") and words[1:2] and not words[1].startswith("--"):
        command = words[:2]
    told = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert told.exit_code == 0
    shown = told.stdout + CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    assert [word for word in words if word.startswith("--") and word not in shown] == []


def test_every_exit_code_is_told() -> None:
    table = set(re.findall(r"^\| (\d+)(?:, (\d+))? \|", README, flags=re.MULTILINE))
    told = {int(code) for pair in table for code in pair if code}
    assert told == {kind.exit_code for kind in BY_NAME.values()} | {0, 130, 143}


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
