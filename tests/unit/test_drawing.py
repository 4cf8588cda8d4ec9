"""Pictures drawn beside the notebook: each ends in its own cell, whatever becomes of who draws it."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import time
from collections.abc import Iterator
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from lib.drawing import PLACE
from lib.figures import nothing_to_draw, png
from lib.kernels import Kernel
from lib.layout import NOTEBOOKS
from lib.template import Template
from tests.unit.test_kernels import ROOT, alive
from tests.unit.test_template import forks_of
from tests.waiting import wait_for

SHOW_ONE = "from lib.drawing import show_picture\nshow_picture('figures.nothing_to_draw', '{0}')"

IMPORTED = "import sys; from lib.show import conclude; conclude(str('matplotlib' in sys.modules))"

CONCLUDED = "from lib.show import conclude; conclude('The end.')"

UNTIL_DRAWN = "from lib import drawing; assert drawing._under_way[0].drawer.poll(60)"

ONLY_IN_A_DRAWER = """
class Trouble(str):
    def __reduce__(self):
        return eval, ({0!r},)
show_picture('figures.nothing_to_draw', Trouble('One'))
"""
"""A question that is text here and trouble where it is sent to."""


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    with Template() as template:
        yield template


def executed(folder: Path, template: Template | None, *cells: str) -> list[Any]:
    """The cells of a notebook after a kernel of the pipeline ran them; up to one that fails."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with Kernel("run-1", folder, folder / "run.log", template, drawers=2) as kernel:
        client = NotebookClient(notebook, km=kernel.manager)
        try:
            with client.setup_kernel():
                for place, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, place)
        except CellExecutionError:
            notebook.cells[place].metadata["failed"] = True
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
    return list(notebook.cells)


def pictures(cell: Any) -> list[bytes]:
    return [base64.b64decode(each.data["image/png"]) for each in cell.outputs if "image/png" in each.get("data", {})]


def pixels(picture: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(picture)))


@pytest.mark.parametrize("beside", [True, False])
def test_each_picture_is_in_its_own_cell_as_if_drawn_there(tmp_path: Path, template: Template, beside: bool) -> None:
    titles = ("One", "Two", "Three", "Four")
    cells = executed(tmp_path, template if beside else None, *(SHOW_ONE.format(title) for title in titles), IMPORTED)
    for title, cell in zip(titles, cells, strict=False):
        (picture,) = pictures(cell)
        assert (pixels(picture) == pixels(png(nothing_to_draw(title)))).all()
        (output,) = cell.outputs
        assert output.metadata["patient_visits"] == "shown" and title in output.metadata["image/png"]["alt"]
        assert title in output.data["text/plain"]
    assert pictures(cells[-1]) == []
    assert [each.data["text/plain"] for each in cells[-1].outputs] == [str(not beside)]


def test_two_pictures_of_one_cell_stand_in_their_order(tmp_path: Path, template: Template) -> None:
    both, _ = executed(tmp_path, template, SHOW_ONE.format("One") + "\n" + SHOW_ONE.format("Two"), CONCLUDED)
    assert ["One" in each.data["text/plain"] for each in both.outputs] == [True, False]
    assert len(pictures(both)) == 2


@pytest.mark.parametrize("failing", ["before", "after"])
def test_a_cell_that_fails_keeps_the_pictures_before_it(tmp_path: Path, template: Template, failing: str) -> None:
    fails = "1 / 0" if failing == "after" else SHOW_ONE.format("Two") + "\n1 / 0"
    first, second = executed(tmp_path, template, SHOW_ONE.format("One"), fails)
    assert len(pictures(first)) == 1
    assert len(pictures(second)) == (failing == "before")


@pytest.mark.parametrize(
    "trouble",
    ["__import__('os')._exit(1)", "__import__('time').sleep(60)", "1 / 0", "b''"],
    ids=["dies", "hangs", "does not understand", "cannot draw"],
)
def test_a_picture_that_is_not_drawn_beside_is_drawn_by_the_kernel(
    tmp_path: Path, template: Template, trouble: str
) -> None:
    patience = "from lib import drawing; drawing.LONGEST_SECONDS = 0.5 if 'sleep' in {0!r} else 20.0\n"
    shown, after, _ = executed(
        tmp_path,
        template,
        patience.format(trouble) + "from lib.drawing import show_picture" + ONLY_IN_A_DRAWER.format(trouble),
        SHOW_ONE.format("Two"),
        CONCLUDED,
    )
    for cell, title in ((shown, "One"), (after, "Two")):
        (picture,) = pictures(cell)
        assert (pixels(picture) == pixels(png(nothing_to_draw(title)))).all()


def test_who_draws_ends_when_nobody_takes_the_picture(template: Template) -> None:
    """Its kernel was killed: a picture larger than what a socket holds would keep it waiting for ever."""
    wait_for(lambda: forks_of(template._process.pid))
    (drawing,) = forks_of(template._process.pid)
    before = forks_of(drawing)
    many = pd.DataFrame({"code": [f"{n:x}" * 5 for n in range(500)], "visits": range(500, 0, -1), "categories": 1})
    kernel = Connection(template.call("lib.drawing", "serve", draws=True).detach())
    kernel.send(("plots.plot_top_categories", (many,), {"minimum": 0}))
    assert kernel.poll(60)  # its first bytes are there
    (drawer,) = forks_of(drawing) - before
    time.sleep(0.5)
    assert alive(drawer)
    kernel.close()
    wait_for(lambda: not alive(drawer), 20)


def test_a_kernel_whose_drawers_cannot_be_had_draws_for_itself(tmp_path: Path) -> None:
    with Template() as template:
        wait_for(lambda: forks_of(template._process.pid))
        (drawing,) = forks_of(template._process.pid)
        os.kill(drawing, signal.SIGKILL)
        wait_for(lambda: not alive(drawing), 5)
        shown, last = executed(tmp_path, template, SHOW_ONE.format("One"), IMPORTED)
        assert len(pictures(shown)) == 1
        assert [each.data["text/plain"] for each in last.outputs] == ["True"]
        with Kernel("run-1", tmp_path, tmp_path / "run.log", template) as kernel:
            assert kernel.pid in forks_of(template._process.pid)


def test_no_cell_but_the_last_waits_for_a_picture(tmp_path: Path, template: Template) -> None:
    slow = "from lib.drawing import show_picture" + ONLY_IN_A_DRAWER.format("__import__('time').sleep(600)")
    shown, after = executed(tmp_path, template, slow, IMPORTED.replace("conclude", "say"))
    assert [each.data["text/plain"] for each in shown.outputs] == [PLACE]
    assert [each.data["text/plain"] for each in after.outputs] == ["False"]


def test_a_picture_is_in_its_place_when_the_cell_ends_in_which_it_was_drawn(tmp_path: Path, template: Template) -> None:
    shown, _ = executed(tmp_path, template, SHOW_ONE.format("One"), UNTIL_DRAWN)
    assert len(pictures(shown)) == 1


@pytest.mark.parametrize("waiting", [UNTIL_DRAWN, CONCLUDED], ids=["at a cell's end", "at the notebook's"])
@pytest.mark.parametrize("beside", [True, False])
def test_a_picture_that_nobody_can_draw_fails_the_notebook(
    tmp_path: Path, template: Template, beside: bool, waiting: str
) -> None:
    show = "from lib.drawing import show_picture\nshow_picture('figures.no_such_plot', 1)"
    cells = executed(tmp_path, template if beside else None, show, waiting, "print('not reached')")
    (failed,) = (each for each in cells if each.metadata.get("failed"))
    assert cells.index(failed) in ((0, 1) if beside else (0,)), "a drawer may have failed before its cell ended"
    assert "AttributeError" in [each.ename for each in failed.outputs if each.output_type == "error"]
    assert not cells[-1].outputs


def test_every_plot_that_a_notebook_names_is_there() -> None:
    named = []
    for name in NOTEBOOKS:
        text = "\n".join(each.source for each in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells)
        found = re.findall(r"""picture\("(\w+)\.(\w+)", """, text)
        assert text.count("picture(") == len(found), name
        named += found
    assert len(named) > len(NOTEBOOKS)
    for module, function in named:
        assert callable(getattr(import_module(f"lib.{module}"), function)), function


def test_the_last_cell_of_a_notebook_waits_for_its_pictures_and_no_other_does() -> None:
    for name in NOTEBOOKS:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        *others, last = (cell.source for cell in cells if cell.cell_type == "code")
        assert last.splitlines()[-1].startswith("conclude(") and "picture(" not in last, name
        assert not any("conclude(" in source for source in others), name
