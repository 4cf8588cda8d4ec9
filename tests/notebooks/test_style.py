"""One shape for all five notebooks: the reader who knows one knows them all."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = {
    "config_file": "config.yaml", "data_dir": "data/sandbox", "run_id": None, "as_of": None, "watermark": None,
    "lookback_hours": None,
}  # fmt: skip
FIRST, LAST = ["Parameters", "Run", "Inputs"], ["Checks", "Outputs", "Hand-off"]
NOT_HERE = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Try, ast.For, ast.While, ast.With, ast.If,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


@pytest.fixture
def cells(path: Path) -> list[Any]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    found: list[Any] = notebook.cells
    return found


def code_of(cells: list[Any]) -> list[str]:
    return [cell.source for cell in cells if cell.cell_type == "code"]


def headings(cells: list[Any]) -> list[str]:
    return [
        cell.source.splitlines()[0] for cell in cells if cell.source.startswith("#") and cell.cell_type == "markdown"
    ]


def test_there_are_five() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_extract", "02_stage", "03_validate", "04_load", "05_analytics"]


def test_the_title_says_what_it_reads_writes_and_guarantees(path: Path, cells: list[Any]) -> None:
    number, name = path.stem.split("_")
    assert cells[0].source.splitlines()[0] == f"# {number} · {name.capitalize()}"
    assert re.findall(r"^- \*\*(\w+)\*\*", cells[0].source, re.M) == ["Reads", "Writes", "Guarantees"]


def test_the_headings_come_in_one_order(cells: list[Any]) -> None:
    names = [heading.removeprefix("## ") for heading in headings(cells)[1:]]
    assert names[:3] == FIRST and names[-3:] == LAST
    assert "Picture" in names[3:-3], "drawn while the cells after it work"
    assert len(names) > 7, "at least one section a rule"
    assert len(set(names)) == len(names)


def test_the_sections_of_staging_and_analytics_are_all_there() -> None:
    staging, analytics = (
        [heading.removeprefix("## ") for heading in headings(nbformat.read(path, as_version=4).cells)]
        for path in (NOTEBOOKS[1], NOTEBOOKS[4])
    )
    assert staging[4:-3] == ["Reading", "Picture", "Judging", "Window", "Refused", "Versions", "Actions", "Deletes"]
    assert {"Visits per week", "Visits per day", "Cost per week and day", "Weekdays", "Diagnosis codes"} < {*analytics}
    assert {"Providers", "Cost of a visit", "Refused rows", "Rules over time", "Lateness", "Days restated"} < {
        *analytics
    }
    assert "An example query" in analytics


def test_more_prose_than_code_and_neither_long_nor_short(cells: list[Any]) -> None:
    code = code_of(cells)
    assert 15 <= len(cells) <= 40
    assert len(cells) - len(code) >= len(code)
    lines = [len([line for line in source.splitlines() if line.strip()]) for source in code]
    assert max(lines) <= 10
    assert statistics.median(lines) <= 3


def test_no_code_stands_without_a_word_about_it(cells: list[Any]) -> None:
    runs = "".join("c" if cell.cell_type == "code" else "p" for cell in cells)
    assert runs.startswith("p") and "ccc" not in runs


def test_the_notebook_tells_and_lib_does(cells: list[Any]) -> None:
    for source in code_of(cells):
        found = [type(node).__name__ for node in ast.walk(ast.parse(source)) if isinstance(node, NOT_HERE)]
        assert not found, source


def test_the_parameters_are_the_same_tagged_commented_literals(cells: list[Any]) -> None:
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    tree = ast.parse(cell.source)
    values = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}  # type: ignore[attr-defined]
    assert values == PARAMETERS
    assert all("  # " in line for line in cell.source.splitlines())
    assert cell.source == nbformat.read(NOTEBOOKS[0], as_version=4).cells[2].source


def test_it_opens_the_run_under_its_own_name_with_all_parameters(path: Path, cells: list[Any]) -> None:
    (call,) = [
        node
        for source in code_of(cells)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Run.open"
    ]
    assert ast.literal_eval(call.args[0]) == path.stem
    assert {each.arg: ast.unparse(each.value) for each in call.keywords} == {name: name for name in PARAMETERS}


def test_there_is_a_picture_and_a_check(cells: list[Any]) -> None:
    places = {cell.source: place for place, cell in enumerate(cells)}
    picture = next(place for source, place in places.items() if source.startswith("## Picture"))
    checks = next(place for source, place in places.items() if source.startswith("## Checks"))
    assert "picture(" in cells[picture + 1].source
    assert "check(" in cells[checks + 1].source


def test_no_outputs_no_counts_and_plain_metadata(path: Path, cells: list[Any]) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.kernelspec == {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    assert [cell.id for cell in cells] == [str(place) for place in range(len(cells))]
    for cell in cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_what_running_adds_is_stripped_off_again(path: Path, tmp_path: Path) -> None:
    """As JupyterLab saves it: outputs, counts and the kernel's own words on its language."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.language_info = {"name": "python", "version": "3.12.1", "pygments_lexer": "ipython3"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = 1, [nbformat.v4.new_output("stream", text="shown")]
    saved = tmp_path / path.name
    nbformat.write(notebook, saved)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (options,) = [hook["entry"].split()[1:] for hook in hooks if hook["id"] == "nbstripout"]
    subprocess.run([sys.executable, "-m", "nbstripout", *options, saved], check=True, timeout=60)
    assert saved.read_bytes() == path.read_bytes()
    assert f"nbstripout --verify {' '.join(options)} notebooks" in (ROOT / "Makefile").read_text(), "or lint differs"


def test_only_03_needs_great_expectations() -> None:
    importing = [path.stem for path in NOTEBOOKS if "lib import validate" in path.read_text()]
    assert importing == ["03_validate"]
