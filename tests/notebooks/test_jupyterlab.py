"""The notebooks open and run in JupyterLab, in a browser, wherever it was started, and touch nothing but the sandbox.

SCREENSHOTS=folder keeps a picture of each notebook. Needs Chromium and its driver (tests/browser.py says how).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from lib import provenance
from tests.browser import Page, chromium, copy_project, jupyterlab, require_chromium, wait_for

NOTEBOOKS = ("01_extract", "02_stage", "03_validate", "04_load", "05_analytics")
QUIETLY = ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--no-browser"]
QUIETLY += ["--allow-root"] if os.geteuid() == 0 else []

MAKE_LAB = ["make", "-o", ".venv/.ready", f"PY={sys.executable}", "lab", f"ARGS={' '.join(QUIETLY)}"]

OWN_CELLS = (
    'import sys; sys.path.append("..")',
    "from lib.run import Run; run = Run.latest()",
    "rows = run.facts(reveal=True)\nrows = rows[rows.visit_id.str.startswith('V0')]\nrows.tail(3)",
    "print(rows.visit_id.iloc[-1])",
    "run.facts()",
    "{}['no such key']",
)
"""A data scientist's own notebook, on the newest run of the sandbox."""

ELSEWHERE = (
    *OWN_CELLS[:2],
    "from lib.errors import UsageError\nfrom lib.show import say\n"
    "try: run.facts(reveal=True)\nexcept UsageError as error: say(str(error))",
    "run.facts()",
    "print(run.facts())",
)
"""The same where nothing keeps rows out of the file."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose user has made another kernel the default one, for another project: it must not be taken."""
    kernel = tmp_path / "home" / "jupyter" / "data" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "Another project", "language": "python"}))
    return tmp_path / "home"


def write_notebook(path: Path, *cells: str) -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)


def cells_on_disk(path: Path) -> list[dict[str, object]]:
    return json.loads(path.read_text())["cells"]


def step_through(page: Page, project: Path, name: str) -> list[str]:
    """Open one notebook, run it, and hold what is shown against what is written. The text that each cell shows."""
    written = cells_on_disk(project / "notebooks" / f"{name}.ipynb")
    assert not any(cell.get("outputs") for cell in written), "committed without outputs: nbstripout notebooks/*.ipynb"
    page.notebook(name)
    page.run_all_cells()
    page.shoot(name)
    cells = page.cells()
    assert [cell.code for cell in cells] == [cell["cell_type"] == "code" for cell in written]
    assert [error for cell in cells for error in cell.errors] == []
    numbers = [cell.number for cell in cells if cell.code]
    assert numbers == list(range(1, len(numbers) + 1)), "every cell ran once, in order"
    drawn = [sum(line.startswith("picture(") for line in "".join(each["source"]).splitlines()) for each in written]
    assert [len(cell.images) for cell in cells] == drawn
    assert [cell.number for cell in cells if not all(cell.images)] == [], "every figure is visible"
    return [cell.text.strip() for cell in cells]


def newest_manifest(project: Path) -> dict[str, object]:
    return json.loads(max((project / "data/sandbox/runs").glob("*/manifest.json")).read_text())


def test_make_lab_runs_all_five_notebooks(project: Path, home: Path):
    require_chromium()
    files = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    with jupyterlab(MAKE_LAB, project, home) as server, chromium(home) as window:
        page = Page(window, server)
        page.folder("notebooks")
        for name in NOTEBOOKS:
            step_through(page, project, name)

        made = {path.relative_to(project) for path in project.rglob("*") if path.is_file() and path not in files}
        places = {path.parent.name if path.suffix in (".pyc", ".ipynb") else path.parts[1] for path in made}
        assert places == {"sandbox", "__pycache__", ".ipynb_checkpoints"}, "nothing else was written"
        assert [path for path, content in files.items() if path.read_bytes() != content] == [], "nothing was changed"

        saved = project / "notebooks" / "05_analytics.ipynb"
        page.save(saved)
        shutil.copy(saved, saved.with_name("executed.ipynb"))
        page.notebook("executed")
        time.sleep(2)
        assert not page.is_changed(), "who reads an executed notebook, as in a run's record, changes nothing"
    assert any(cell.get("outputs") for cell in cells_on_disk(saved))
    strip = [sys.executable, "-m", "nbstripout", "--extra-keys", "metadata.language_info", str(saved)]
    subprocess.run(strip, check=True, timeout=60)
    assert saved.read_bytes() == files[saved], "stripped, it is as it was committed"

    run = newest_manifest(project)
    assert run["outcome"] == "loaded"
    assert run["packages"] == provenance.packages(), "the kernel is this project's interpreter"
    warehouse = sqlite3.connect(project / "data/sandbox/warehouse.db")
    assert warehouse.execute("SELECT count(*) > 0 FROM fact_visits").fetchone() == (1,)
    warehouse.close()


def test_rows_are_on_the_screen_of_make_lab_and_in_no_file(project: Path, home: Path):
    """A person's own notebook; what is revealed in it is noted in the journal."""
    require_chromium()
    run = [sys.executable, "run_pipeline.py", "--data-dir", "data/sandbox", "--quiet"]
    subprocess.run(run, cwd=project, check=True, timeout=240)
    warehouse = sqlite3.connect(project / "data/sandbox/warehouse.db")
    ids = {each[0] for each in warehouse.execute("SELECT visit_id FROM fact_visits WHERE visit_id GLOB 'V0*'")}
    warehouse.close()
    own = project / "notebooks" / "own.ipynb"
    write_notebook(own, *OWN_CELLS)
    with jupyterlab(MAKE_LAB, project, home) as server, chromium(home) as window:
        page = Page(window, server)
        page.folder("notebooks")
        page.notebook("own")
        page.run_all_cells()
        page.shoot("own")
        *_, table, printed, masked, _ = page.cells()
        assert sum(each in table.text for each in ids) == 3 and sum(each in printed.text for each in ids) == 1
        assert "•••" in masked.text
        page.save(own)
        checkpoint = own.parent / ".ipynb_checkpoints" / "own-checkpoint.ipynb"
        wait_for("the checkpoint", lambda: checkpoint.exists() and checkpoint.read_bytes() == own.read_bytes())
    saved = own.read_text()
    assert saved.count("Not saved: 1 output. ") == 3 and [each for each in ids if each in saved] == []
    assert "KeyError in cell 6:1" in saved and "no such key" not in str(cells_on_disk(own)[-1]["outputs"])
    looks = (project / "data/sandbox/runs/decisions.jsonl").read_text().splitlines()
    assert [json.loads(each)["decision"] for each in looks] == ["reveal"]


def test_jupyterlab_started_in_the_notebooks_folder(project: Path, home: Path):
    require_chromium()
    write_notebook(project / "notebooks" / "own.ipynb", *ELSEWHERE)
    lab = [sys.executable, "-m", "jupyterlab", *QUIETLY]
    with jupyterlab(lab, project / "notebooks", home) as server, chromium(home) as window:
        page = Page(window, server)
        for name in NOTEBOOKS[:2]:
            step_through(page, project, name)
        shown = step_through(page, project, "own")
    assert "reveal: rows are shown only in the JupyterLab of make lab" in shown[2]
    assert "Not shown: DataFrame, " in shown[3] and "Not shown: " in shown[4] and " printed lines" in shown[4]
    assert not (project / "data/sandbox/runs/decisions.jsonl").exists()
    assert newest_manifest(project)["packages"] == provenance.packages()
    assert sorted(path.name for path in (project / "notebooks").iterdir() if path.suffix != ".ipynb") == [
        ".ipynb_checkpoints"
    ]
