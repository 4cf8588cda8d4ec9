"""Pictures drawn beside the notebook: each ends in its own cell, whatever becomes of its fork."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from lib.figures import nothing_to_draw, png
from lib.kernels import Kernel
from lib.layout import NOTEBOOKS
from tests.unit.test_kernels import ROOT
from tests.waiting import wait_for

SHOW = "from lib.figures import nothing_to_draw, show\n"
SHOW_ONE = SHOW + "show(nothing_to_draw('{0}'))"


def executed(folder: Path, *cells: str) -> list[Any]:
    """The cells of a notebook after a kernel of the pipeline ran them; up to one that fails."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with Kernel("run-1", folder, folder / "run.log") as kernel:
        client = NotebookClient(notebook, km=kernel.manager)
        try:
            with client.setup_kernel():
                for place, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, place)
        except CellExecutionError:
            pass
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
    return list(notebook.cells)


def pictures(cell: Any) -> list[bytes]:
    return [base64.b64decode(each.data["image/png"]) for each in cell.outputs if "image/png" in each.get("data", {})]


def pixels(picture: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(picture)))


def test_each_picture_is_in_its_own_cell_as_if_drawn_there(tmp_path: Path) -> None:
    titles = ("One", "Two", "Three")
    *cells, last = executed(tmp_path, *(SHOW_ONE.format(title) for title in titles), "1 + 1")
    for title, cell in zip(titles, cells, strict=True):
        (picture,) = pictures(cell)
        assert (pixels(picture) == pixels(png(nothing_to_draw(title)))).all()
        (output,) = cell.outputs
        assert output.metadata["patient_visits"] == "shown" and title in output.metadata["image/png"]["alt"]
        assert title in output.data["text/plain"]
    assert pictures(last) == []


def test_two_pictures_of_one_cell_stand_in_their_order(tmp_path: Path) -> None:
    both, _ = executed(tmp_path, SHOW + "show(nothing_to_draw('One'))\nshow(nothing_to_draw('Two'))", "pass")
    assert ["One" in each.data["text/plain"] for each in both.outputs] == [True, False]
    assert len(pictures(both)) == 2


@pytest.mark.parametrize("failing", ["before", "after"])
def test_a_cell_that_fails_keeps_the_pictures_before_it(tmp_path: Path, failing: str) -> None:
    fails = "1 / 0" if failing == "after" else SHOW_ONE.format("Two") + "\n1 / 0"
    first, second = executed(tmp_path, SHOW_ONE.format("One"), fails)
    assert len(pictures(first)) == 1
    assert len(pictures(second)) == (failing == "before")


@pytest.mark.parametrize(
    "trouble",
    [
        "import os, signal; drawing.os.fork = lambda fork=os.fork: fork() or os.kill(os.getpid(), signal.SIGKILL)",
        "import os, time; drawing.LONGEST_SECONDS = 0.2\n"
        "drawing.os.fork = lambda fork=os.fork: fork() or time.sleep(60) or 0",
        "import os; drawing.os.fork = lambda fork=os.fork: fork() or os._exit(0)",
    ],
    ids=["killed", "hangs", "draws nothing"],
)
def test_a_picture_whose_fork_fails_is_drawn_by_the_kernel(tmp_path: Path, trouble: str) -> None:
    _, shown, _ = executed(tmp_path, f"from lib import drawing\n{trouble}", SHOW_ONE.format("One"), "pass")
    (picture,) = pictures(shown)
    assert (pixels(picture) == pixels(png(nothing_to_draw("One")))).all()


def test_the_last_cell_of_a_notebook_shows_no_picture() -> None:
    for name in NOTEBOOKS:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        assert "picture(" not in [cell.source for cell in cells if cell.cell_type == "code"][-1], name


def test_a_fork_ends_when_nobody_reads_what_it_draws(tmp_path: Path) -> None:
    """Its kernel was killed: a picture that no pipe holds would keep it waiting for ever."""
    code = (
        "import os, signal; from lib import drawing\n"
        "print(drawing._fork(lambda: bytes(1 << 20), '', 'p').pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        status = Path(f"/proc/{int(killed.stdout.readline())}/stat")
    wait_for(lambda: not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z", 20)
