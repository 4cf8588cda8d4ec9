"""The JupyterLab of `make lab`: rows may be on its screen, and are in no file that it saves.

A Jupyter server extension. Before a notebook is written (by hand, by itself, under another name; checkpoints and
exports are made of the file), every output without the mark of lib/shown.py is left out of it. Only the kernels of such
a server show rows: see lib.confidential.is_interactive.
"""

from __future__ import annotations

import base64
import json
import os
import re
from typing import Any

from tornado.web import HTTPError

from lib.confidential import LAB_VARIABLE
from lib.counted import counted
from lib.errors import BY_NAME
from lib.shown import is_marked, marked

_PLACE = r"(?:cell \d+:\d+|lib\.\w+:[\w<>]+:\d+|code outside the project)"
_STACK = re.compile(rf"(?P<kind>[\w.]+) in {_PLACE}(?:\n  called by {_PLACE})*\n(?P<message>details in [^\n]*)")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "lib.lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    server.contents_manager.register_pre_save_hook(withhold_rows)
    os.environ[LAB_VARIABLE] = str(os.getpid())


def withhold_rows(*, model: dict[str, Any], path: str, **_: Any) -> None:
    """Change what is about to be saved. Raises HTTPError, and nothing is saved, when it cannot be told what that is:
    the server would save it in spite of any other exception."""
    try:
        if model.get("type") == "notebook" and model.get("content") is not None:
            strip_notebook(model["content"])
        elif path.endswith(".ipynb") and model.get("content") and "chunk" not in model:
            _strip_text(model)
    except HTTPError:
        raise
    except Exception as error:
        raise HTTPError(500, f"not saved: its outputs could not be looked at ({type(error).__name__})") from None


def strip_notebook(notebook: dict[str, Any]) -> None:
    """Leave out of a notebook what may not be saved; a marked line says how much. Another format: HTTPError."""
    if notebook.get("nbformat") != 4:
        raise HTTPError(400, "not saved: this notebook's format is not 4; convert it with jupyter nbconvert")
    notebook.get("metadata", {}).pop("widgets", None)
    for cell in notebook["cells"]:
        outputs = cell.get("outputs", [])
        kept = [each for each in outputs if is_marked(each) or _is_guarded_error(each)]
        if left_out := len(outputs) - len(kept):
            cell["outputs"] = [*kept, _line(left_out)]


def _strip_text(model: dict[str, Any]) -> None:
    """The same for a notebook that is saved as a plain file. What is no JSON is none."""
    is_text = model.get("format") != "base64"
    content = model["content"] if is_text else base64.b64decode(model["content"]).decode()
    try:
        notebook = json.loads(content)
    except ValueError:
        return
    strip_notebook(notebook)
    content = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    model["content"] = content if is_text else base64.b64encode(content.encode()).decode()


def _is_guarded_error(output: dict[str, Any]) -> bool:
    """Whether it is an error as a guarded kernel shows it: our own in its one line, or a class and its places."""
    if output.get("output_type") != "error":
        return False
    kind, message, lines = output.get("ename"), output.get("evalue"), "\n".join(output.get("traceback", []))
    if kind in BY_NAME and lines == f"{kind}: {message}":
        return True
    found = _STACK.fullmatch(lines)
    return found is not None and (found["kind"], found["message"]) == (kind, message)


def _line(left_out: int) -> dict[str, Any]:
    what = counted(left_out, "output")
    line = f"Not saved: {what}. Rows are in no notebook file; run the cell to see them."
    return {"output_type": "display_data", "data": {"text/plain": line}, "metadata": marked()}
