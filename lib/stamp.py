"""The first cell of every executed notebook of a record: the run's first screen, as Markdown.

A notebook cannot know how its run ends, so the outer process puts the cell there when it closes the record, before the
files are hashed. Closed again, by a resumed run or a repair, the record gets the cell anew.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lib.files import read_json, whole_file
from lib.first_screen import FirstScreen

TAG = "first-screen"
"""The tag and the id of the cell."""

MEANING = str.maketrans({sign: f"&#{ord(sign)};" for sign in "|[]*_`#~\\!$"})
"""What Markdown would read as more than text; a file's name or a reason may hold it."""


def stamp_notebooks(record: Path, screen: FirstScreen) -> None:
    """Put the first screen at the top of the record's executed notebooks, each written whole. Raises OSError.

    One that holds no notebook any more is left as it is: verify tells.
    """
    for name, how in screen.notebooks:
        path = record / f"{name}.ipynb"
        try:
            notebook = read_json(path)
            cells = [cell for cell in notebook["cells"] if TAG not in cell["metadata"].get("tags", [])]
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            continue
        notebook["cells"] = [_cell(first_screen_markdown(screen, name, how)), *cells]
        with whole_file(path) as stream:  # laid out as nbformat writes it
            stream.write(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n")


def first_screen_markdown(screen: FirstScreen, notebook: str, how: str) -> str:
    """The first screen at the top of one notebook, which ended as `how` says."""
    return "\n\n".join(_parts(screen, notebook, how)) + "\n"


def _parts(screen: FirstScreen, notebook: str, how: str) -> Iterator[str]:
    yield f"# {screen.verdict}"
    yield f"**{_text(screen.sentence)}** {_text(screen.next_step or '')}".strip()
    yield _text(screen.use)
    yield _table(["", ""], [("run", screen.run_id), ("source", screen.source), *screen.facts])
    yield f"**Rows.** {_text(screen.reconciliation)}"
    yield from _gate(screen)
    yield f"**Published.** {_text(' '.join(screen.published))}"
    if screen.previous:
        since = screen.since or ("Code, config, suites and packages are those of that run.",)
        yield f"**Since run {screen.previous}.**\n\n{_list(since)}"
    if screen.caveats:
        yield f"**Caveats.**\n\n{_list(screen.caveats)}"
    stages = ", ".join(f"{name} {went}" for name, went in screen.notebooks)
    yield f"**This notebook**, {notebook}, {how}. The run: {stages}. Its whole record on one page: report.html."
    yield "---"


def _gate(screen: FirstScreen) -> Iterator[str]:
    if not screen.rules:
        yield "**The gate** was not reached."
        return
    failing = [each for each in screen.rules if each.holds in ("NO", "accepted")]
    unjudged = sum(each.holds == "not judged" for each in screen.rules)
    hold = len(screen.rules) - len(failing) - unjudged
    yield f"**The gate.** {hold:,} rules hold, {len(failing):,} do not, {unjudged:,} had nothing to judge."
    if failing:
        head = ["rule", "severity", "observed", "limit", "holds", "where"]
        yield _table(head, [(r.rule, r.severity, r.observed, r.limit, r.holds, r.where) for r in failing])


def _cell(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": TAG, "metadata": {"tags": [TAG]}, "source": source.splitlines(keepends=True)}


def _table(head: list[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ["---"] * len(head), *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _text(text: str) -> str:
    """Text that is nothing but text in Markdown and in the HTML that is made of it."""
    return html.escape(" ".join(text.split()), quote=False).translate(MEANING)
