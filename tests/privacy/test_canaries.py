"""No patient in any record, page, log, message or answer: canaries in every input case, every ending, every command.

The fault matrix looks for the same canaries after each fault (tests/faults). CANARY_FILES broken files are tried here,
six by default.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib.frames import facts, rejected, visits
from lib.run import Run
from lib.shown import is_marked
from tests.faults import here
from tests.pipeline.broken_files import SMALL, broken_file
from tests.pipeline.clinic import ROOT, Clinic, csv_text, row
from tests.pipeline.test_files_and_values import GOOD, HEADER, LENIENT, MALFORMED, REFUSED, VALUES, line
from tests.privacy.canaries import CELLS, MAY_HOLD_ROWS, hits, plant, spilled, texts_of

FILES = int(os.environ.get("CANARY_FILES", "6"))
CLOCK = "2025-03-02T00:00:00Z"
CANARY = row(CELLS["visit_id"], **{name: text for name, text in CELLS.items() if name != "visit_id"})

OTHER_PLACES = {
    "a row that ran into the header": f"{HEADER}{','.join(CANARY.values())}\n{line('A')}\n",
    "a row for a header": f"{','.join(CANARY.values())}\n{line('A')}\n",
    "a quoted newline in the header": f'{HEADER},"note\n{CANARY["patient_id"]} 1"\n{line("A")},x\n',
    "a doubled column named like a patient": f"{HEADER},{CANARY['visit_id']},{CANARY['visit_id']}\n{line('A')},x,y\n",
    "the header's one known name beside a patient": f"visit_id,{','.join([*CANARY.values()][1:])}\n{line('A')}\n",
    "a semicolon file without a header": ";".join(CANARY.values()) + "\n",
    "a row over several lines, never closed": f'{HEADER}\n"{CANARY["patient_id"]}\n{",".join(CANARY.values())}\n',
}
"""Refused whole, or held: a patient where a name or the rest of a file should be."""

FURTHER_ROWS = {
    "a canary in every column": csv_text([CANARY]),
    "a canary in every column, refused": csv_text([{**CANARY, "visit_date": CANARY["patient_id"]}]),
    "a stamp that is a patient": csv_text([{**CANARY, "last_updated": CANARY["patient_id"]}]),
    "a cost that is a patient": csv_text([{**CANARY, "visit_cost": CANARY["patient_id"]}]),
    "a row too wide": f"{HEADER}\n{','.join(CANARY.values())},{CANARY['patient_id']}\n",
    "a quoted newline in an id": f'{HEADER}\n"{CANARY["visit_id"]}\n{CANARY["patient_id"]}"{line("")}\n',
    "text after a closing quote": f'{HEADER}\n"{CANARY["visit_id"]}"{CANARY["patient_id"]}{line("")}\n',
    "an extra column": f"{HEADER},remark\n{line('A')},{CANARY['patient_id']}\n",
}
"""Loaded or quarantined row by row."""

TYPED = ("visit_cost", "diagnosis_code", "last_updated")
"""Of an accepted row these are no identifiers: a frame has them as they are; who displays it in a record is told so."""


def every_case() -> dict[str, bytes]:
    """Every input case that is no reason to refuse a whole file."""
    values = {
        name: csv_text([{**CANARY, "visit_id": f"V{n}", column: text} for n, text in enumerate(texts)])
        for name, (column, _, texts) in VALUES.items()
    }
    contents = {
        **{name: content for name, (content, _) in GOOD.items()},
        **{name: content for name, (content, *_) in MALFORMED.items()},
        **values,
        **FURTHER_ROWS,
    }
    good = {name: line(f"G{number}") + "\n" for number, name in enumerate(FURTHER_ROWS | values)}
    return {name: plant(content + good[name] if name in good else content) for name, content in contents.items()}


def told_by(clinic: Clinic, *words: str, config: dict[str, Any] | None = None) -> tuple[int | None, str]:
    """The command in a fork, by this config: exit code, and what it says."""
    clinic.config = config or {}
    return clinic.command_here(*words)


def leaks(clinic: Clinic, *texts: str) -> list[str]:
    """Every canary that is where it may not be."""
    return [*spilled(clinic.data_dir), *(f"said: {held}" for text in texts if (held := hits(text)))]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Clinic, str]]:
    """A clinic to which the real command has brought every input case at once, and then a delivery that is held; and
    what both said."""
    clinic = Clinic(tmp_path_factory.mktemp("full"))
    contents = every_case()
    for number, content in enumerate(contents.values()):
        clinic.deliver(content, f"{number:03d}.csv")
    clinic.config = {**LENIENT, "source": {"path": str(clinic.input.parent)}}
    ended = clinic.command("run", "--as-of", CLOCK)
    assert ended.returncode == 0, ended.stderr
    clinic.deliver(csv_text([{**CANARY, "visit_id": f"{CANARY['visit_id']}{n}", "visit_date": "?"} for n in range(20)]))
    clinic.config = {"source": {"path": str(clinic.input)}}
    held = clinic.command("run", "--as-of", CLOCK)
    assert held.returncode == 4, held.stderr
    yield clinic, ended.stdout + ended.stderr + held.stdout + held.stderr


def test_the_canaries_are_planted(full: tuple[Clinic, str]) -> None:
    clinic, _ = full
    raw = [path for path in (clinic.data_dir / "raw").rglob("*") if path.is_file()]
    assert sum(bool(hits(text)) for path in raw for text in texts_of(path)) > len(every_case()) * 0.8
    stored = str([clinic.query(f"SELECT * FROM {name}") for name in ("fact_visits", "quarantine")])
    assert [cell for name, cell in CELLS.items() if cell not in stored and name != "last_updated"] == []
    assert hits("a,b") == set() and hits("73,391.47") and hits("cost 7339147 cents") and hits("Ines Zq\nxw vary")


def test_every_input_case_in_a_passing_run_and_a_held_one_of_the_real_command(full: tuple[Clinic, str]) -> None:
    clinic, said = full
    passed, held = sorted((clinic.data_dir / "runs").glob("0*"))
    assert {"manifest.json", "report.html", "05_analytics.ipynb"} <= {path.name for path in passed.iterdir()}
    assert {"manifest.json", "report.html", "03_validate.ipynb"} <= {path.name for path in held.iterdir()}
    assert leaks(clinic, said) == []
    outputs = [
        output
        for path in passed.glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", [])
    ]
    assert len(outputs) > 60 and all(is_marked(each) for each in outputs), "our notebooks show nothing by themselves"
    assert "Not shown: " not in json.dumps(outputs)


WORDS = [
    ["status"], ["history"], ["report"], ["verify"], ["verify", "--rebuild"], ["deliveries"], ["deliveries", "list"],
    ["quarantine"], ["quarantine", "list"], ["quarantine", "show"], ["quarantine", "show", "malformed_row"],
    ["quarantine", "show", CELLS["patient_id"]], ["quarantine", "show", "--reveal"], ["why", "2025-03-01"],
    ["why", CELLS["patient_id"]], ["why", "2025-03-01", "--reveal"], ["as-of", "RUN"], ["as-of", CELLS["visit_id"]],
    ["trace", "V1"], ["trace", CELLS["visit_id"]], ["trace", "no such"], ["plan", "--as-of", "2025-03-02T01:00:00Z"],
    ["plan", "--full-refresh", "--as-of", "2025-03-02T01:00:00Z"], ["prune", "--staging-keep", "9"], ["no-such-word"],
    ["run", "--no-such-option"], ["run", "--as-of", CELLS["patient_id"]], ["quarantine", "waive", "1:2", "--reason"],
    ["deliveries", "discard", "1", "--reason", "x"], ["sign", "RUN", "--meaning", "approved", "--note", "seen"],
]  # fmt: skip


def test_every_command_on_it(full: tuple[Clinic, str]) -> None:
    """What was typed may be told again (an unknown id, a wrong day); nothing else."""
    clinic, _ = full
    run_id = min(path.name for path in (clinic.data_dir / "runs").glob("0*"))
    config = {**LENIENT, "source": {"path": str(clinic.input.parent)}}
    found = []
    for words in WORDS:
        typed = [run_id if each == "RUN" else each for each in words]
        code, said = told_by(clinic, *typed, config=config)
        for each in typed[1:]:
            said = said.replace(each, "")
        stamp = {"11:37:13"} if words[0] == "trace" else set()  # it tells the stamps of the one visit it was asked for
        if held := hits(said) - stamp:
            found.append(f"{words} (exit {code}) said {held}")
        assert "Traceback" not in said, words
    assert found == [] and leaks(clinic) == []


def test_the_tables_as_a_data_scientist_meets_them(full: tuple[Clinic, str]) -> None:
    clinic, _ = full
    run = Run.existing(clinic.data_dir, max(path.name for path in (clinic.data_dir / "runs").glob("000001-*")))
    frames = {"visits": visits(run), "rejected": rejected(run), "facts": facts(run)}
    assert [name for name, frame in frames.items() if frame.empty] == []
    for name, frame in frames.items():
        typed = [each for each in frame if each.endswith("stamp") or (each in TYPED and name != "rejected")]
        assert hits(frame.drop(columns=typed).to_csv()) == set(), name


@pytest.mark.parametrize("case", [*REFUSED, *OTHER_PLACES])
def test_a_refused_or_held_delivery(case: str, tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    content = REFUSED[case][0] if case in REFUSED else OTHER_PLACES[case]
    clinic.deliver(plant(content))
    code, said = told_by(clinic, "run", "--as-of", CLOCK)
    assert code in (0, 3, 4) and leaks(clinic, said) == []
    if case in OTHER_PLACES:
        again, said = told_by(clinic, "deliveries")
        assert again == 0 and leaks(clinic, said) == []


def test_broken_files_tell_nothing_of_their_patients(tmp_path: Path) -> None:
    """Any byte may be anywhere: the ids of the good file are the canaries."""
    found = []
    for number in range(FILES):
        content, config = broken_file(number, list(SMALL.values()))
        clinic = Clinic(tmp_path / str(number))
        clinic.deliver(content)
        _, said = told_by(clinic, "run", "--as-of", "2025-12-31T00:00:00Z", config=config)
        ids = set(re.findall(r"\b(?:Pat\d{4}|W\d{4}|V\d{6}|P\d{6})\b", content.decode("latin-1")))
        found += [f"file {number}: {each}" for each in spilled(clinic.data_dir, ids)]
        found += [f"file {number} said {held}" for held in hits(said, ids)]
        shutil.rmtree(clinic.folder)
    assert found == []


SPOILED = {
    "pandas": "import pandas as pd; pd.to_datetime([cell])",
    "duckdb": "import duckdb; duckdb.sql(f\"SELECT CAST('{cell}' AS INTEGER)\").fetchall()",
    "sqlite": "import sqlite3; sqlite3.connect(':memory:').execute(f'SELECT \"{cell}\" FROM \"{cell}\"')",
    "arrow": "import pyarrow as pa; pa.array([cell]).cast(pa.int64())",
    "chained": "try: int(cell)\nexcept ValueError as error: raise ExceptionGroup(cell, [KeyError(cell)]) from error",
    "the system": "raise OSError(5, cell, cell)",
}  # fmt: skip


@pytest.mark.parametrize("library", SPOILED)
def test_a_run_that_fails_in_a_library_which_quotes_the_value(library: str, tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.deliver(plant(csv_text([row("A"), CANARY])))

    scope: dict[str, Any] = {}

    def spoil(run: Run) -> None:
        cell = CELLS["patient_id"]
        exec(f"def fail(cell):\n{textwrap.indent(SPOILED[library], '    ')}", scope)
        scope["fail"](cell)

    code, said = clinic.command_here("run", "--as-of", CLOCK, first=lambda: here.STAGES.update({"02_stage": spoil}))
    assert (code in (1, 7) and "details in the log" in said) or code == 7
    assert leaks(clinic, said) == []
    (log,) = (clinic.data_dir / "logs").glob("0*.log")
    assert "in fail" in log.read_text(), "the stack is kept"
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_unexpected_failure_of_the_command_itself(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    clinic.deliver(plant(csv_text([row("A")])))
    script = (
        "import sys; from lib import overview\n"
        f"def fail(*_): raise KeyError({CELLS['patient_id']!r})\n"
        "overview.print_status = fail\n"
        f"sys.argv = ['run_pipeline.py', 'status', '--data-dir', {str(clinic.data_dir)!r}]\n"
        "from lib.cli.main import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 1 and ended.stderr.startswith("unexpected failure (KeyError)")
    assert leaks(clinic, ended.stdout + ended.stderr) == []
    assert "in fail" in (clinic.data_dir / "logs/unexpected.log").read_text()


def test_only_these_places_may_hold_rows(full: tuple[Clinic, str]) -> None:
    clinic, _ = full
    holding = {
        path.relative_to(clinic.data_dir).parts[0]
        for path in clinic.data_dir.rglob("*")
        if path.is_file() and b"Zqxwv" in path.read_bytes()
    }
    assert holding <= set(MAY_HOLD_ROWS) and {"raw", "warehouse.db"} <= holding
    assert json.loads((clinic.data_dir / "state/state.json").read_text())["version"]
