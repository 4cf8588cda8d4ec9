"""What the JupyterLab of `make lab` writes into a notebook file: nothing that is not marked as shown."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tornado.web import HTTPError

from lib import lab
from lib.shown import marked

CANARY = "Zyxwv-98765"
SHOWN = {"output_type": "display_data", "data": {"text/plain": "3 rows"}, "metadata": marked()}
SPILLED = {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": CANARY}, "metadata": {}}
PRINTED = {"output_type": "stream", "name": "stdout", "text": CANARY}
OURS = {
    "output_type": "error", "ename": "UsageError", "evalue": "as_of: lies in the future.",
    "traceback": ["UsageError: as_of: lies in the future."],
}  # fmt: skip
PLACES = {
    "output_type": "error", "ename": "KeyError", "evalue": "details in logs/1.log",
    "traceback": ["KeyError in lib.stage:_read:12", "  called by cell 3:1", "details in logs/1.log"],
}  # fmt: skip


def notebook(*outputs: dict[str, Any]) -> dict[str, Any]:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "x", "execution_count": 1, "outputs": outputs}
    text = {"cell_type": "markdown", "id": "b", "metadata": {}, "source": "# x"}
    return copy.deepcopy({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [text, cell]})


def saved(*outputs: dict[str, Any]) -> list[dict[str, Any]]:
    """The outputs that are written in place of these."""
    model = {"type": "notebook", "format": "json", "content": notebook(*outputs)}
    lab.withhold_rows(model=model, path="notebooks/own.ipynb")
    found: list[dict[str, Any]] = list(model["content"]["cells"][1]["outputs"])  # type: ignore[index]
    return found


@pytest.mark.parametrize("output", [SHOWN, OURS, PLACES], ids=["shown", "our own error", "class and places"])
def test_what_is_shown_is_saved(output: dict[str, Any]) -> None:
    assert saved(output) == [output]


ERRORS = {
    "a foreign message": {**PLACES, "evalue": CANARY},
    "a foreign traceback": {**PLACES, "traceback": [*PLACES["traceback"], CANARY]},
    "a value for a place": {**PLACES, "traceback": [f"KeyError in {CANARY}", "details in logs/1.log"]},
    "ours with more below it": {**OURS, "traceback": [*OURS["traceback"], CANARY]},
    "a foreign class": {**OURS, "ename": "ValueError", "traceback": ["ValueError: as_of: lies in the future."]},
    "none": {"output_type": "error", "ename": CANARY, "evalue": CANARY, "traceback": []},
}


@pytest.mark.parametrize(
    "output",
    [
        SPILLED,
        PRINTED,
        {**SPILLED, "metadata": {"patient_visits": True}},
        {"output_type": "new", "x": CANARY},
        *ERRORS.values(),
    ],
    ids=["a result", "printed", "another mark", "a kind not yet known", *ERRORS],
)
def test_anything_else_is_not(output: dict[str, Any]) -> None:
    (line,) = saved(output)
    assert line["data"]["text/plain"].startswith("Not saved: 1 output. ")
    assert CANARY not in str(line)


def test_what_is_shown_stays_beside_what_is_left_out() -> None:
    kept, line = saved(SPILLED, SHOWN, PRINTED)
    assert kept == SHOWN and line["data"]["text/plain"].startswith("Not saved: 2 outputs. ")
    assert saved(kept, line) == [kept, line], "saved again, it stays as it is"


def test_the_state_of_widgets_is_not_saved() -> None:
    content = notebook() | {"metadata": {"widgets": {"x": CANARY}, "kernelspec": {"name": "python3"}}}
    lab.withhold_rows(model={"type": "notebook", "content": content}, path="own.ipynb")
    assert content["metadata"] == {"kernelspec": {"name": "python3"}}


@pytest.mark.parametrize("form", ["text", "base64"])
def test_a_notebook_that_is_saved_as_a_plain_file(form: str) -> None:
    text = json.dumps(notebook(SPILLED))
    content = text if form == "text" else base64.b64encode(text.encode()).decode()
    model = {"type": "file", "format": form, "content": content}
    lab.withhold_rows(model=model, path="own.ipynb")
    written = model["content"] if form == "text" else base64.b64decode(model["content"]).decode()
    assert "Not saved: 1 output" in written and CANARY not in written


@pytest.mark.parametrize(
    "model",
    [
        {"type": "notebook", "content": {"nbformat": 3, "worksheets": [{"cells": [{"outputs": [SPILLED]}]}]}},
        {"type": "notebook", "content": {"nbformat": 4, "cells": [{"outputs": 3}]}},
        {"type": "notebook", "content": "text"},
    ],
    ids=["an old format", "broken outputs", "no notebook"],
)
def test_what_cannot_be_looked_at_is_not_saved(model: dict[str, Any]) -> None:
    with pytest.raises(HTTPError, match="not saved"):
        lab.withhold_rows(model=model, path="own.ipynb")


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"type": "file", "format": "text", "content": "a,b"}, "notes.csv"),
        ({"type": "file", "format": "text", "content": "no JSON"}, "own.ipynb"),
        ({"type": "directory"}, "folder"),
        ({"type": "notebook"}, "new.ipynb"),
    ],
)
def test_other_files_are_left_alone(model: dict[str, Any], path: str) -> None:
    before = copy.deepcopy(model)
    lab.withhold_rows(model=model, path=path)
    assert model == before


def test_the_extension_hooks_every_save_and_names_its_server_to_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []
    manager = type("Manager", (), {"register_pre_save_hook": lambda _, hook: hooks.append(hook)})()
    monkeypatch.setattr(lab.os, "environ", {})
    lab._load_jupyter_server_extension(type("Server", (), {"contents_manager": manager})())
    assert hooks == [lab.withhold_rows]
    assert lab.os.environ == {lab.LAB_VARIABLE: str(lab.os.getpid())}
    assert "'lib.lab': True" in Path(__file__).parents[2].joinpath("Makefile").read_text()
