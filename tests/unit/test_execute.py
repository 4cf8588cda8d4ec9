"""Executing one notebook: the outcome is what was seen, the copy is whole and truthful, nothing is left behind."""

from __future__ import annotations

import errno
import json
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill.execute
import pytest

from lib.errors import UsageError
from lib.execute import Execution, Failure, execute_notebook
from lib.kernels import Kernel

ROOT = Path(__file__).parents[2]
SHOW = "from lib.shown import show\nshow({{'text/plain': str({})}})"
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_notebook(folder: Path, *cells: str) -> Path:
    """`02_stage.ipynb`: a title, a parameters cell, then the cells; the first is In [3] once parameters are given."""
    parameters = nbformat.v4.new_code_cell("data_dir: str = 'sandbox'\nas_of = None", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNELSPEC})
    title = nbformat.v4.new_markdown_cell("# 02 · Stage")
    notebook.cells = [title, parameters, *map(nbformat.v4.new_code_cell, cells)]
    path = folder / "02_stage.ipynb"
    nbformat.write(notebook, path)
    return path


def execute(folder: Path, *cells: str, **options: Any) -> tuple[Execution, Any]:
    """The execution of these cells, and the saved copy."""
    record = folder / "record"
    record.mkdir(exist_ok=True)
    execution = execute_notebook(
        write_notebook(folder, *cells),
        record / "02_stage.ipynb",
        {"data_dir": "data"},
        run_id="run-1",
        cwd=ROOT,
        log=folder / "logs/run-1.log",
        **options,
    )
    assert [path.name for path in record.iterdir()] == ["02_stage.ipynb"]
    return execution, nbformat.read(record / "02_stage.ipynb", 4)


def code_status(notebook: Any) -> list[str]:
    return [cell.metadata.papermill.status for cell in notebook.cells if cell.cell_type == "code"]


def test_a_passing_notebook(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    progress: list[tuple[int, int]] = []
    execution, saved = execute(
        tmp_path, SHOW.format("data_dir"), "x = 1 + 1", on_cell=lambda *seen: progress.append(seen)
    )
    assert (execution.notebook, execution.cells, execution.failure) == ("02_stage", 4, None)
    assert execution.seconds > 0
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert saved.cells[3].outputs[0].data["text/plain"] == "data"
    assert stat.S_IMODE((tmp_path / "record/02_stage.ipynb").stat().st_mode) == 0o600
    assert capfd.readouterr() == ("", "")


def test_no_machine_path_is_saved(tmp_path: Path) -> None:
    _, saved = execute(tmp_path, "1 + 1")
    assert saved.metadata.papermill.input_path == saved.metadata.papermill.output_path == "02_stage.ipynb"
    text = (tmp_path / "record/02_stage.ipynb").read_text()
    assert str(tmp_path) not in text and str(ROOT) not in text


def test_our_own_error_is_told_in_its_words_on_one_line(tmp_path: Path) -> None:
    execution, saved = execute(tmp_path, "from lib.errors import GateFailed\nraise GateFailed('rule x\\n failed')", "2")
    assert execution.failure == Failure("GateFailed", "rule x failed", cell=3, dead_kernel=False)
    assert execution.cells == 2
    assert code_status(saved) == ["completed", "completed", "failed", "pending"]


def test_any_other_error_is_told_by_class_and_place_only(tmp_path: Path) -> None:
    execution, _ = execute(tmp_path, "1", "raise ValueError('CANARY')")
    message = "ValueError in cell 4 of 02_stage; details in the log"
    assert execution.failure == Failure("ValueError", message, cell=4, dead_kernel=False)


def test_a_foreign_class_named_like_ours_is_not_quoted(tmp_path: Path) -> None:
    code = "class GateFailed(Exception): pass\nraise GateFailed('CANARY')"
    execution, _ = execute(tmp_path, code)
    assert execution.failure is not None
    assert (execution.failure.kind, "CANARY" in execution.failure.message) == ("__main__.GateFailed", False)


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "raise SystemExit", "raise KeyboardInterrupt"])
def test_a_notebook_that_leaves_early_has_failed(tmp_path: Path, code: str) -> None:
    execution, saved = execute(tmp_path, code, "2")
    assert execution.failure is not None and execution.failure.cell == 3
    assert execution.failure.kind in code.replace("sys.exit", "SystemExit")
    assert code_status(saved) == ["completed", "completed", "failed", "pending"]


@pytest.mark.parametrize("code", ["import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_a_dead_kernel_is_a_failure_and_its_cells_are_stamped_truthfully(
    tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    execution, saved = execute(tmp_path, code, "2")
    assert execution.failure is not None
    assert (execution.failure.kind, execution.failure.cell) == ("DeadKernelError", 3)
    assert execution.failure.dead_kernel
    assert code_status(saved) == ["completed", "completed", "failed", "pending"]
    assert saved.metadata.papermill.exception is True
    assert caplog.records == []


def test_a_kernel_that_never_starts(tmp_path: Path) -> None:
    kernel = Kernel("run-1", tmp_path / "missing", tmp_path / "run.log")
    execution, target = None, tmp_path / "out.ipynb"
    source = write_notebook(tmp_path, "1")
    execution = execute_notebook(
        source, target, {}, run_id="run-1", cwd=tmp_path, log=tmp_path / "run.log", kernel=kernel
    )
    assert execution.failure is not None and execution.failure.cell is None
    assert "before the first cell of 02_stage" in execution.failure.message
    assert not target.exists()


def test_an_undeclared_parameter_stops_before_anything_runs(tmp_path: Path) -> None:
    source = write_notebook(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')")
    target = tmp_path / "out.ipynb"
    given = {"data_dir": "d", "asof": "x"}
    with pytest.raises(UsageError, match=r"02_stage\.ipynb: .*: asof; it declares data_dir, as_of\."):
        execute_notebook(source, target, given, run_id="run-1", cwd=ROOT, log=tmp_path / "run.log")
    assert not target.exists() and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [None, "not json", "{}"])
def test_a_source_that_is_no_notebook(tmp_path: Path, content: str | None) -> None:
    source = tmp_path / "02_stage.ipynb"
    if content is not None:
        source.write_text(content)
    with pytest.raises(UsageError, match=r"02_stage\.ipynb: cannot be read"):
        execute_notebook(source, tmp_path / "out.ipynb", {"a": 1}, run_id="r", cwd=ROOT, log=tmp_path / "run.log")


def test_braces_in_a_path_are_no_placeholders(tmp_path: Path) -> None:
    folder = tmp_path / "{data_dir} {x}"
    folder.mkdir()
    execution, _ = execute(folder, "1")
    assert execution.failure is None


def test_the_last_copy_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "record/02_stage.ipynb"
    target.parent.mkdir()
    target.write_text("old")
    seen: list[str] = []
    execute(tmp_path, "1", "2", on_cell=lambda *_: seen.append(target.read_text()))
    assert seen == ["old"] * 4
    assert target.read_text() != "old"


def test_a_reader_never_sees_half_a_notebook(tmp_path: Path) -> None:
    """Who looks again and again while it runs finds nothing under its name, then all of it."""
    target, ended = tmp_path / "record" / "02_stage.ipynb", threading.Event()
    seen: set[str] = set()

    def look() -> None:
        while not ended.is_set():
            try:
                content = target.read_text()
            except FileNotFoundError:
                seen.add("nothing")
                continue
            cells = json.loads(content)["cells"]
            seen.add(" ".join(code_status(nbformat.from_dict({"cells": cells}))))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        execute(tmp_path, *["import time; time.sleep(0.2)"] * 4)
        time.sleep(0.2)
    finally:
        ended.set()
        reader.join()
    assert seen == {"nothing", " ".join(["completed"] * 6)}


def test_a_full_disk_is_a_temporary_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(papermill.execute, "write_ipynb", full)
    source = write_notebook(tmp_path, "1")
    execution = execute_notebook(
        source, tmp_path / "out.ipynb", {}, run_id="r", cwd=ROOT, log=tmp_path / "run.log", kernel=None
    )
    assert execution.failure is not None and execution.failure.kind == "TemporaryFailure"


def test_a_kernel_started_ahead_is_used_and_stopped(tmp_path: Path) -> None:
    kernel = Kernel("run-1", ROOT, tmp_path / "run.log")
    kernel.start()
    pid = kernel.pid
    execution, saved = execute(tmp_path, SHOW.format("__import__('os').getpid()"), kernel=kernel)
    assert execution.failure is None
    assert saved.cells[3].outputs[0].data["text/plain"] == str(pid)
    assert kernel.pid is None and not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_kernel_and_saves_what_there_is(tmp_path: Path, number: signal.Signals) -> None:
    source = write_notebook(
        tmp_path,
        "import os, time; print('begun', flush=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"try: time.sleep(600)\nfinally: open({str(tmp_path / 'rolled_back')!r}, 'w')",
        "2",
    )
    script = f"""
import signal, sys
from pathlib import Path
from lib.execute import execute_notebook
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
folder = Path({str(tmp_path)!r})
try:
    execute_notebook(Path({str(source)!r}), folder / "out.ipynb", {{}}, run_id="r", cwd=Path.cwd(), log=folder / "log")
except KeyboardInterrupt:
    import gc; gc.collect()
    sys.exit(130)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    pid_file = tmp_path / "pid"
    while not (pid_file.exists() and pid_file.read_text()):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(number)
    _, stderr = parent.communicate(timeout=20)
    assert (parent.returncode, stderr) == (130, "")
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
    assert (tmp_path / "rolled_back").exists()
    assert code_status(nbformat.read(tmp_path / "out.ipynb", 4)) == ["completed", "failed", "pending"]
