"""One notebook as a part of report.html: nbconvert reads and renders the cells, nh3 cleans what they hold
(lib/safe_html.py)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader
from markupsafe import Markup

from lib.counted import counted
from lib.deferred import imports_of_the_page
from lib.page import FOLDER
from lib.report import Stage
from lib.safe_html import Outline, place_html
from lib.shown import is_marked
from lib.stamp import TAG

with imports_of_the_page():
    import nbformat.reader
    from nbconvert import HTMLExporter, TemplateExporter
    from nbconvert.filters import Highlight2HTML

SAID_BY_THE_PAGE = {TAG, "papermill-error-cell-tag"}
"""Tags of cells that say in a notebook what the page says by itself: how the run ended, and where it failed."""

HEADER_CALL = "header(run)"
"""What shows the run's circumstances in every notebook; the page says them once, at its top."""

FORMS = ("text/html", "image/png", "text/plain")
"""The forms of an output that the page can take."""

NOTES = {
    "failed": "The run ended here: what would follow below was not done.",
    "not reached": "Not reached: nothing of this stage was done.",
    "lost": "Lost: the process died before this notebook was saved.",
}
"""What is said of a notebook that did not end well."""


@cache
def _exporter() -> HTMLExporter:
    exporter = HTMLExporter(
        template_file="notebook.html.j2",
        extra_loaders=[FileSystemLoader(FOLDER)],
        default_preprocessors=[],
        sanitize_html=True,
        exclude_anchor_links=True,
    )
    exporter.register_filter("highlight_code", Highlight2HTML(pygments_lexer="python"))
    return exporter


def make_stage(path: Path, state: str) -> Stage:
    """One notebook's part of the page; a notebook that is not there or no notebook makes one that says so."""
    exporter = _exporter()
    number, _, word = path.stem.partition("_")
    outline = Outline(f"stage-{number}")
    body, notes = None, [NOTES[state]] if state in NOTES else []
    try:
        with path.open(encoding="utf-8") as stream:
            notebook = nbformat.reader.read(stream)  # the exporter looks whether it is sound
        notebook.cells = [cell for cell in notebook.cells if not SAID_BY_THE_PAGE & {*cell.metadata.get("tags", [])}]
        if left_out := _leave_out_unmarked(notebook.cells):
            notes.append(f"Left out, as not made by lib.show: {counted(left_out, 'output')}. The notebook has all.")
        _set_code_apart(notebook.cells)
        # nbconvert's own filter, which templates call by this name, would show headings and tables' heads as text.
        exporter.register_filter("clean_html", lambda markup: place_html(markup, outline))
        # What an HTMLExporter adds to its template's text is for its own templates, and parses all of it once more.
        html, _ = TemplateExporter.from_notebook_node(exporter, notebook)
        body = Markup(html)  # cleaned, cell by cell
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError):
        notes.append(f"{path.name} is no notebook any more; python run_pipeline.py verify tells what was changed.")
    return Stage(outline.prefix, outline.stage or f"{number} · {word.capitalize()}", state, body, notes)


def _leave_out_unmarked(cells: list[Any]) -> int:
    """Take away outputs that did not pass lib/shown.py, and of the others what the page cannot take; how many went.

    An error says in its text only what may be said.
    """
    left_out = 0
    for cell in cells:
        outputs = cell.get("outputs", [])
        kept = [each for each in outputs if each.output_type == "error" or is_marked(each)]
        left_out += len(outputs) - len(kept)
        for each in kept:
            if "data" in each:
                each.data = nbformat.NotebookNode({form: each.data[form] for form in FORMS if form in each.data})
        if outputs:
            cell.outputs = kept
    return left_out


def _set_code_apart(cells: list[Any]) -> None:
    """What only readers of the code need is hidden with it: the circumstances that the page says at its top, and prose
    whose code shows nothing else, as that of the parameters."""
    for cell in cells:
        cell.metadata["only_code"] = cell.cell_type == "code" and HEADER_CALL in cell.source
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            cell.metadata["only_code"] = _shows_nothing(cells[place + 1 :])


def _shows_nothing(following: list[Any]) -> bool:
    """Whether the code up to the next prose shows nothing; not where there is no code."""
    silent = False
    for cell in following:
        if cell.cell_type != "code":
            break
        if cell.outputs and not cell.metadata["only_code"]:
            return False
        silent = True
    return silent
