"""Each notebook alone, by papermill's own command line: what it shows, what it refuses, what it never shows."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lib.errors import UsageError
from lib.execute import execute_notebook
from lib.run import Run

ROOT = Path(__file__).parents[2]
NAMES = ("01_extract", "02_stage", "03_validate", "04_load", "05_analytics")

Outputs = Callable[[Path], list[str]]


def table_rows(warehouse: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the tables that a run writes, but for what names the run itself."""
    queries = {
        "facts": "SELECT * FROM fact_visits ORDER BY 1, 2",
        "metrics": "SELECT * FROM daily_visit_metrics ORDER BY 1",
        "quarantine": "SELECT identity, reasons, status FROM quarantine ORDER BY 1",
        "state": "SELECT source, watermark_last_updated, last_staging_row_count, last_as_of FROM state",
    }
    connection = sqlite3.connect(warehouse)
    try:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
    finally:
        connection.close()


@pytest.mark.parametrize("name", [*NAMES, "02 from notebooks"])
def test_each_runs_alone_by_papermills_command(sequence: Any, name: str) -> None:
    _, ran = sequence
    assert ran[name].code == 0, ran[name].said[-2000:]


def test_what_they_show_adds_up(sequence: Any, read_outputs: Outputs) -> None:
    bench, ran = sequence
    rows = table_rows(bench.data_dir / "warehouse.db")
    assert len(rows["facts"]) == 60 and len(rows["quarantine"]) == 2
    state = json.loads((bench.data_dir / "state" / "state.json").read_text())
    assert state["last_staging_row_count"] == 60, "a load by hand writes the state's copy too"
    line = "63 read = 0 outside the window + 2 refused + 1 superseded + 60 staged"
    assert any(text.startswith(line) for text in read_outputs(ran["02_stage"].copy))
    assert any(text.startswith(line) for text in read_outputs(ran["05_analytics"].copy))
    for name in NAMES:
        assert any(text.startswith("✓") for text in read_outputs(ran[name].copy)), name


def test_04_loads_nothing_before_the_gate(sequence: Any, read_outputs: Outputs) -> None:
    _, ran = sequence
    early = ran["04 too early"]
    assert early.code != 0
    assert "has not been before the gate; run 03_validate first." in early.said
    assert not any("Written" in text for text in read_outputs(early.copy))


def test_nothing_planted_is_shown(sequence: Any, request: pytest.FixtureRequest) -> None:
    bench, ran = sequence
    canaries = request.getfixturevalue("canaries")
    source = next((bench.folder / "source").iterdir()).read_text()
    assert all(each in source for each in canaries if "," not in each and each != "77101"), "canaries are planted"
    for name, each in ran.items():
        text = each.copy.read_text() + each.said
        assert [canary for canary in canaries if canary in text] == [], name


def test_markup_in_a_file_name_is_inert(sequence: Any) -> None:
    _, ran = sequence
    shown = "".join(
        output.data.get("text/html", "")
        for cell in nbformat.read(ran["01_extract"].copy, as_version=4).cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    tags: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.add(tag)  # type: ignore[method-assign, assignment]
    parser.feed(shown)
    assert "&lt;b&gt;visits&nbsp;&amp;&nbsp;co.csv" in shown
    assert tags <= {"table", "thead", "tbody", "tr", "th", "td", "p", "pre", "code"}


def test_the_same_by_papermill_and_by_the_pipelines_executor(
    sequence: Any, bench: Any, read_outputs: Outputs, clock: str
) -> None:
    first, ran = sequence
    source = next((first.folder / "source").iterdir())
    bench.deliver(source.read_text(), source.name)
    parameters = {"config_file": str(bench.config), "data_dir": str(bench.data_dir)}
    for name in NAMES:
        execution = execute_notebook(
            ROOT / f"notebooks/{name}.ipynb",
            bench.folder / f"{name}.ipynb",
            {**parameters, **({"as_of": clock} if name == "01_extract" else {})},
            run_id="test",
            cwd=ROOT,
            log=bench.folder / "log",
        )
        assert execution.failure is None, (name, execution.failure)
    assert table_rows(bench.data_dir / "warehouse.db") == table_rows(first.data_dir / "warehouse.db")
    for name in NAMES:
        ours, theirs = (
            [re.sub(r"\d{6}-\d{8}T\d{6}Z", "RUN", text) for text in read_outputs(path)]
            for path in (bench.folder / f"{name}.ipynb", ran[name].copy)
        )
        ours, theirs = ([re.sub(r"^code .*$", "", text, flags=re.M) for text in texts] for texts in (ours, theirs))
        assert ours == theirs, name


@pytest.fixture
def held(bench: Any, many_refused: str, clock: str) -> Any:
    """A bench whose delivery fails the gate: 01 and 02 ran, 03 failed."""
    bench.deliver(many_refused)
    assert bench.papermill("01_extract", as_of=clock).code == 0
    assert bench.papermill("02_stage").code == 0
    return bench, bench.papermill("03_validate")


def test_a_failing_gate_shows_its_report_and_changes_nothing(held: Any, read_outputs: Outputs) -> None:
    bench, gate = held
    assert gate.code != 0
    assert "GateFailed" in gate.said and "Nothing was loaded" in gate.said
    shown = read_outputs(gate.copy)
    assert any("refused_share" in text and "NO" in text for text in shown)
    assert any(text.startswith("Bar chart") and "critical failure" in text for text in shown)
    assert any(text.startswith("Written: dq_report.json") and "FAILED" in text for text in shown)
    load = bench.papermill("04_load")
    assert load.code != 0 and "failed the gate; nothing may be loaded." in load.said
    analytics = bench.papermill("05_analytics")
    assert analytics.code != 0 and "has not been loaded; run 04_load first." in analytics.said
    rows = table_rows(bench.data_dir / "warehouse.db")
    assert {name: len(found) for name, found in rows.items()} == {"facts": 0, "metrics": 0, "quarantine": 0, "state": 0}
    assert Run.existing(bench.data_dir).manifest["gate"]["decision"] == "FAILED"


def test_an_undeclared_parameter_is_an_error(bench: Any) -> None:
    bench.deliver("visit_id\n")
    ran = bench.papermill("01_extract", lookback=48)
    assert ran.code != 0
    assert "lookback: no such parameter; there are config_file, data_dir" in ran.said
    assert not bench.data_dir.exists()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("02_stage", {}, "no run has begun here yet; run 01_extract first"),
        ("02_stage", {"run_id": "000099-20250101T000000Z"}, "000099-20250101T000000Z: there is no such run"),
        ("02_stage", {"run_id": "../elsewhere"}, "run_id: must be the name of a folder in runs"),
        ("01_extract", {"as_of": "2999-01-01T00:00:00Z"}, "as_of: lies in the future"),
        ("01_extract", {"watermark": "2025-01-01T00:00:00Z"}, "watermark: is later than the committed one"),
        ("01_extract", {"as_of": "yesterday"}, "as_of is not an ISO 8601 instant"),
    ],
)
def test_a_wrong_parameter_is_an_error(bench: Any, name: str, parameters: dict[str, str], message: str) -> None:
    bench.deliver("visit_id\n")
    with pytest.raises(UsageError, match=re.escape(message)):
        Run.open(name, config_file=str(bench.config), data_dir=str(bench.data_dir), **parameters)  # type: ignore[arg-type]
    assert not list(bench.data_dir.glob("runs/*/manifest.json"))
