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

from lib.confidential import guard_kernel, is_interactive
from lib.execute import execute_notebook

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
    "NoneType": "class Loud:\n    def _repr_html_(self): raise ValueError(secret)\nLoud()",
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
    assert CANARY in log.read_text()
    assert (stat.S_IMODE(log.stat().st_mode), stat.S_IMODE(log.parent.stat().st_mode)) == (0o600, 0o700)


@pytest.mark.parametrize("shown", ["ValueError", "ConversionException", "UsageError"])
def test_a_failure_under_plain_papermill(tmp_path: Path, shown: str) -> None:
    log = tmp_path / "logs/run-1.log"
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(log), FAILURES[shown])
    with pytest.raises(pm.PapermillExecutionError) as caught:
        pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert CANARY not in (tmp_path / "out.ipynb").read_text() and CANARY not in str(caught.value)
    assert CANARY in log.read_text()


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
    "code",
    [
        "import warnings; warnings.warn(secret)",
        "import logging; logging.warning(secret); logging.getLogger('x').error(secret)",
        "import sys; print(secret, file=sys.stderr)",
        "import traceback\ntry: raise ValueError(secret)\nexcept ValueError: traceback.print_exc()",
        "import threading\ndef f(): raise ValueError(secret)\nt = threading.Thread(target=f); t.start(); t.join()",
        "class Bad:\n    def __del__(self): raise ValueError(secret)\nbad = Bad(); del bad",
        "import os, time\nfor n in (1, 2): _ = os.write(n, secret.encode())\ntime.sleep(1)",
        "%tb",
    ],
)
def test_what_goes_to_stderr_goes_to_the_log(tmp_path: Path, code: str) -> None:
    assert outputs(tmp_path, "before = 1", code) == []
    if code != "%tb":
        assert CANARY in (tmp_path / "run.log").read_text()


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
    assert CANARY not in (tmp_path / "out.ipynb").read_text()
    assert CANARY in log.read_text()


def test_guarding_again_changes_the_log(tmp_path: Path) -> None:
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    source = write_notebook(tmp_path / "02_stage.ipynb", guarding(first), guarding(second), FAILURES["ValueError"])
    with pytest.raises(pm.PapermillExecutionError):
        pm.execute_notebook(str(source), str(tmp_path / "out.ipynb"), progress_bar=False)
    assert CANARY in second.read_text() and not first.exists()


def test_outside_a_kernel_nothing_happens(tmp_path: Path) -> None:
    stderr = sys.stderr
    guard_kernel(tmp_path / "run.log")
    assert sys.stderr is stderr and not (tmp_path / "run.log").exists() and not is_interactive()


@pytest.mark.parametrize(
    ("inherited", "kernels_own", "expected"),
    [
        ({}, {"JPY_SESSION_NAME": "02_stage.ipynb"}, "True"),
        ({}, {}, "False"),
        ({}, {"JPY_SESSION_NAME": ""}, "False"),
        ({"JPY_SESSION_NAME": "02_stage.ipynb"}, {}, "False"),
        ({"JPY_SESSION_NAME": "02_stage.ipynb"}, {"JPY_SESSION_NAME": "other.ipynb"}, "False"),
        ({}, {"JPY_SESSION_NAME": "02_stage.ipynb", "PATIENT_VISITS_RUN": "run-1"}, "False"),
    ],
    ids=["a person's", "no session", "empty", "papermill in a notebook", "a server in a notebook", "a run's"],
)
def test_is_interactive(inherited: dict[str, str], kernels_own: dict[str, str], expected: str) -> None:
    script = f"""
import os
from jupyter_client.manager import start_new_kernel
kernel, client = start_new_kernel(kernel_name="python3", env={{**os.environ, **{kernels_own!r}}}, cwd={str(ROOT)!r})
client.execute_interactive("from lib.confidential import is_interactive; print(is_interactive())", timeout=60)
client.stop_channels()
kernel.shutdown_kernel(now=True)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "PATIENT_VISITS_"))}
    ran = subprocess.run([sys.executable, "-c", script], env={**clean, **inherited}, capture_output=True, text=True)
    assert ran.stdout.strip() == expected, ran.stderr
