"""No value of a patient's record reaches a saved notebook, whatever fails in it and whoever executes it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import papermill as pm
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lib.confidential import LAB_VARIABLE, guard_kernel, is_interactive
from lib.execute import execute_notebook
from lib.shown import is_marked

ROOT = Path(__file__).parents[2]
CANARY = "Zyxwv-98765"
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}

FAILURES = {
    "ValueError": "raise ValueError(secret)",
    "KeyError": "import pandas as pd\npd.DataFrame({'a': [1]})[secret]",
    "ConversionException": "import duckdb\nduckdb.sql(f\"SELECT CAST('{secret}' AS INTEGER)\").fetchall()",
    "SyntaxError": "eval(secret + ' = = 1')",
    "ExceptionGroup": "raise ExceptionGroup(secret, [ValueError(secret)])",
    "RuntimeError": "try:\n    raise ValueError(secret)\nexcept ValueError as e:\n    raise RuntimeError from e",
    "SystemExit": "import sys\nsys.exit(secret)",
    "AssertionError": "async def late():\n    assert False, secret\nawait late()",
    "Shown": "class Shown(Exception):\n    def _render_traceback_(self): return [secret]\nraise Shown(secret)",
    "UsageError": "from lib.errors import UsageError\ntry: raise ValueError(secret)\n"
    "except ValueError as error: raise UsageError('visits.csv: 2 rows.\\nMap them.') from error",
}
"""By the class that is shown; none of the cells contains the canary itself."""


def write_notebook(path: Path, *cells: str) -> Path:
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNELSPEC})
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in (f"secret = {CANARY[::-1]!r}[::-1]", *cells)]
    nbformat.write(notebook, path)
    return path


def guarding(log: Path) -> str:
    """The cell by which a notebook guards itself, whoever executes it."""
    return (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        f"from lib.confidential import guard_kernel, is_interactive\nguard_kernel(Path({str(log)!r}))"
    )


@pytest.mark.parametrize("shown", FAILURES)
def test_a_failure_in_a_run(tmp_path: Path, shown: str) -> None:
    log = tmp_path / "logs/run-1.log"
    source = write_notebook(tmp_path / "02_stage.ipynb", FAILURES[shown])
    execution = execute_notebook(source, tmp_path / "out.ipynb", {}, run_id="run-1", cwd=ROOT, log=log)
    saved = (tmp_path / "out.ipynb").read_text()
    assert execution.failure is not None and execution.failure.kind == shown
    assert CANARY not in saved and CANARY not in repr(execution)
    assert CANARY not in log.read_text() and shown in log.read_text()
    assert (stat.S_IMODE(log.stat().st_mode), stat.S_IMODE(log.parent.stat().st_mode)) == (0o600, 0o700)


@pytest.mark.parametrize("shown", ["ValueError", "ConversionException", "UsageError"])
def test_a_failure_under_plain_papermill(tmp_path: Path, shown: str) -> None:
    log = tmp_path / "logs/run-1.log"
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(log), FAILURES[shown])
    with pytest.raises(pm.PapermillExecutionError) as caught:
        pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert CANARY not in (tmp_path / "out.ipynb").read_text() and CANARY not in str(caught.value)
    assert CANARY not in log.read_text() and shown in log.read_text()


def test_the_reply_to_the_client_is_clean_too(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(tmp_path / "run.log"), FAILURES["KeyError"])
    notebook = nbformat.read(source, 4)
    with pytest.raises(CellExecutionError) as caught:
        NotebookClient(notebook, kernel_name="python3").execute()
    assert (caught.value.ename, CANARY in caught.value.evalue + caught.value.traceback) == ("KeyError", False)


def outputs(tmp_path: Path, *cells: str) -> list[Any]:
    """The outputs of the last of these cells in a run."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # ipykernel handles what C code writes otherwise under pytest
    source = write_notebook(tmp_path / "02_stage.ipynb", *cells)
    execute_notebook(source, tmp_path / "out.ipynb", {}, run_id="run-1", cwd=ROOT, log=tmp_path / "run.log")
    code = [cell for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells if cell.cell_type == "code"]
    return list(code[-1].outputs)


def test_our_own_error_is_one_line(tmp_path: Path) -> None:
    (error,) = outputs(tmp_path, FAILURES["UsageError"])
    assert (error.ename, error.evalue) == ("UsageError", "visits.csv: 2 rows. Map them.")
    assert error.traceback == ["UsageError: visits.csv: 2 rows. Map them."]


def test_a_cell_that_is_no_python(tmp_path: Path) -> None:
    (error,) = outputs(tmp_path, "x = = 1")
    assert (error.ename, error.evalue) == ("SyntaxError", f"details in {tmp_path.name}/run.log")


def test_any_other_error_shows_the_places_in_the_projects_code(tmp_path: Path) -> None:
    (error,) = outputs(
        tmp_path,
        "from lib.files import sha256_of_file\nsha256_of_file(Path(secret))".replace(
            "Path", "__import__('pathlib').Path"
        ),
    )
    assert error.ename == "FileNotFoundError"
    assert error.evalue == f"details in {tmp_path.name}/run.log"
    assert error.traceback[0].startswith("FileNotFoundError in lib.files:sha256_of_file:")
    assert error.traceback[1:] == ["  called by cell 2:2", f"details in {tmp_path.name}/run.log"]


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("import warnings; warnings.warn(secret)", "UserWarning at "),
        (
            "import logging; logging.warning(secret); logging.getLogger('x').error('wrong value ' + secret)",
            "wrong value",
        ),
        ("import sys; print(secret, 'read', file=sys.stderr)", "read"),
        ("import traceback\ntry: raise ValueError(secret)\nexcept ValueError: traceback.print_exc()", "ValueError"),
        (
            "import threading\ndef f(): raise ValueError(secret)\nt = threading.Thread(target=f); t.start(); t.join()",
            "in f\n    def f(): raise ValueError(secret)\n",
        ),
        ("class Bad:\n    def __del__(self): raise ValueError(secret)\nbad = Bad(); del bad", "in __del__"),
        ("import os, time\nfor n in (1, 2): _ = os.write(n, b'lost ' + secret.encode())\ntime.sleep(1)", "lost"),
        ("%tb", ""),
    ],
)
def test_what_goes_to_stderr_goes_to_the_log_without_its_values(tmp_path: Path, code: str, kept: str) -> None:
    assert outputs(tmp_path, "before = 1", code) == []
    if kept:
        log = (tmp_path / "run.log").read_text()
        assert kept in log and CANARY not in log


FRAME = "import pandas as pd\nframe = pd.DataFrame({'a': [secret] * 12})\n"
SPILLS = {
    "a DataFrame as the last expression": (f"{FRAME}frame", "DataFrame, 12 rows × 1 columns"),
    "a few rows": (f"{FRAME}frame.head(3)", "DataFrame, fewer than 8 rows × 1 columns"),
    "a DataFrame displayed": (f"{FRAME}display(frame)", "DataFrame, 12 rows × 1 columns"),
    "a list": ("[secret] * 9", "list, 9 items"),
    "a text": ("secret", "str"),
    "a figure": ("import matplotlib.pyplot as plt\nplt.figure(); plt.title(secret); plt.show()", "Figure"),
    "markup": ("from IPython.display import HTML\nHTML(secret)", "HTML"),
    "a widget": (
        "import sys\nsys.modules.pop('ipywidgets')  # which kernels of a run do without\n"
        "import ipywidgets\nipywidgets.HTML(secret)",
        "HTML",
    ),
    "an object that displays itself": (
        "class Loud:\n    def _repr_html_(self): raise ValueError(secret)\n"
        "    def _ipython_display_(self): print(secret)\nLoud()",
        "Loud",
    ),
    "print": ("print(secret)\nprint(secret)", "2 printed lines"),
    "sys.stdout": ("import sys\n_ = sys.stdout.write(secret)", "1 printed line"),
    "a shell command": ("!echo {secret}", "1 printed line"),
    "what was captured": (
        "from IPython.utils.capture import capture_output\nwith capture_output() as caught: print(secret)\ncaught()",
        "1 printed line",
    ),
    "a raw bundle": (
        "get_ipython().display_pub.publish({'text/html': secret, secret: secret}, {secret: secret})",
        "an output (text/html)",
    ),
    "an update": ("h = display(1, display_id='x')\nh.update(secret)", "str"),
}


@pytest.fixture(scope="module")
def spilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, list[Any]], str]:
    """The outputs of a cell for each of SPILLS, in one kernel; and all that was saved and logged."""
    folder = tmp_path_factory.mktemp("spilled")
    source = write_notebook(folder / "02_stage.ipynb", *(code for code, _ in SPILLS.values()))
    copy, log = folder / "out.ipynb", folder / "run.log"
    execution = execute_notebook(source, copy, {}, run_id="run-1", cwd=ROOT, log=log)
    assert execution.failure is None
    cells = nbformat.read(copy, 4).cells[1:]
    return dict(zip(SPILLS, (cell.outputs for cell in cells), strict=True)), copy.read_text() + log.read_text()


@pytest.mark.parametrize("spill", SPILLS)
def test_what_a_cell_shows_by_itself_is_told_by_class_and_shape(
    spilled: tuple[dict[str, list[Any]], str], spill: str
) -> None:
    shown = spilled[0][spill]
    assert shown and {is_marked(each) for each in shown} == {True}
    assert [set(each.data) for each in shown] == [{"text/plain"}] * len(shown)
    assert shown[-1].data["text/plain"].startswith(f"Not shown: {SPILLS[spill][1]}. ")


def test_nothing_of_what_cells_show_by_themselves_is_kept(spilled: tuple[dict[str, list[Any]], str]) -> None:
    assert CANARY not in spilled[1] and "application/vnd.jupyter.widget" not in spilled[1]


def test_a_log_that_cannot_be_written_shows_nothing_instead(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(Path("/proc/none/run.log")), FAILURES["ValueError"])
    with pytest.raises(pm.PapermillExecutionError) as caught:
        pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert caught.value.ename == "ValueError"
    assert CANARY not in (tmp_path / "out.ipynb").read_text()


def test_log_handlers_made_before_the_guard_are_diverted(tmp_path: Path) -> None:
    log, early = tmp_path / "run.log", "import logging; logging.basicConfig()"
    source = write_notebook(tmp_path / "02_stage.ipynb", early, guarding(log), "logging.error(secret)")
    pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert CANARY not in (tmp_path / "out.ipynb").read_text() + log.read_text()
    assert "ERROR" in log.read_text()


def test_guarding_again_changes_the_log(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(first), guarding(second), FAILURES["ValueError"])
    with pytest.raises(pm.PapermillExecutionError):
        pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert "ValueError" in second.read_text() and not first.exists()


def test_outside_a_kernel_nothing_happens(tmp_path: Path) -> None:
    stderr = sys.stderr
    guard_kernel(tmp_path / "run.log")
    assert sys.stderr is stderr and not (tmp_path / "run.log").exists() and not is_interactive()


@pytest.mark.parametrize(
    ("kernels_own", "expected"),
    [
        ({"JPY_SESSION_NAME": "02_stage.ipynb", LAB_VARIABLE: "server"}, "True"),
        ({"JPY_SESSION_NAME": "02_stage.ipynb"}, "False"),
        ({"JPY_SESSION_NAME": "02_stage.ipynb", LAB_VARIABLE: "1"}, "False"),
        ({LAB_VARIABLE: "server"}, "False"),
        ({"JPY_SESSION_NAME": "", LAB_VARIABLE: "server"}, "False"),
        ({"JPY_SESSION_NAME": "02_stage.ipynb", LAB_VARIABLE: "server", "PATIENT_VISITS_RUN": "run-1"}, "False"),
    ],
    ids=["of make lab", "another Jupyter", "papermill inside of make lab", "no session", "no name", "a run's"],
)
def test_is_interactive(kernels_own: dict[str, str], expected: str) -> None:
    script = f"""
import os
from jupyter_client.manager import start_new_kernel
own = {{name: value.replace("server", str(os.getpid())) for name, value in {kernels_own!r}.items()}}
kernel, client = start_new_kernel(kernel_name="python3", env={{**os.environ, **own}}, cwd={str(ROOT)!r})
client.execute_interactive("from lib.confidential import is_interactive; print(is_interactive())", timeout=60)
client.stop_channels()
kernel.shutdown_kernel(now=True)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "PATIENT_VISITS_"))}
    ran = subprocess.run([sys.executable, "-c", script], env=clean, capture_output=True, text=True)
    assert ran.stdout.strip() == expected, ran.stderr
