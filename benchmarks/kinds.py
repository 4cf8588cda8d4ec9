"""Where the time of one run of ours went: by stage, and by kind of work.

All of it is read from what a run leaves anyway: papermill's stamps in the executed notebooks and the manifest. Only how
much of a cell was importing is not there: one further run, which is not timed, notes its imports (instruments/).
The kinds are parts of the wall clock and add up to it; what runs beside a notebook costs nothing here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KINDS = {
    "kernel start": "from a notebook's start to its first cell",
    "imports": "importing, in cells and in the command",
    "engine": "01 and 02: snapshot, read, type, judge, newest version",
    "gate": "03: both suites",
    "load": "04: the transaction",
    "analytics": "05: questions to the tables",
    "pictures": "cells that draw, with the numbers under them",
    "notebook overhead": "papermill: between cells, saving",
    "the command": "before, between and after the notebooks: decision, record, report",
}
"""Each kind of work, and what it holds."""

_OF_STAGE = {"01": "engine", "02": "engine", "03": "gate", "04": "load", "05": "analytics"}


@dataclass(frozen=True)
class Import:
    """One import that no other caused: when it began, how long it took, and whether a cell or the command asked."""

    began: float
    seconds: float
    in_cell: bool
    by_command: bool


def read_imports(path: Path) -> list[Import]:
    """What instruments/sitecustomize.py noted; nothing when there is no such file."""
    if not path.exists():
        return []
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Import(began, seconds, in_cell, not in_cell and script.endswith("run_pipeline.py"))
        for _, script, began, seconds, in_cell, _ in noted
    ]


def manifest_of(data_dir: Path) -> dict[str, Any]:
    """The newest run's manifest; {} when there is none."""
    found = sorted((data_dir / "runs").glob("*/manifest.json"))
    return json.loads(found[-1].read_text()) if found else {}


def by_stage(data_dir: Path, seconds: float) -> dict[str, float]:
    """Wall-clock seconds of each notebook of the newest run, and of the command around them."""
    stages = {each["notebook"]: float(each["seconds"]) for each in manifest_of(data_dir).get("notebooks", [])}
    return stages | {"the command": seconds - sum(stages.values())}


def by_kind(data_dir: Path, began: float, seconds: float, imports: list[Import]) -> dict[str, float]:
    """Wall-clock seconds of the newest run by kind; {} where its notebooks carry no stamps."""
    kinds, covered, windows = dict.fromkeys(KINDS, 0.0), 0.0, []
    folder = data_dir / "runs" / str(manifest_of(data_dir).get("run_id", ""))
    for path in sorted(folder.glob("0*.ipynb")):
        notebook = json.loads(path.read_text())
        start, end = _stamps(notebook)
        cells = [each for each in notebook["cells"] if each["cell_type"] == "code" and _stamps(each)[1]]
        if not end or not cells:
            return {}
        first, in_cells = _stamps(cells[0])[0], 0.0
        for cell in cells:
            cell_start, cell_end = _stamps(cell)
            importing = sum(_overlap(each, cell_start, cell_end) for each in imports if each.in_cell)
            kind = "pictures" if "picture(" in "".join(cell["source"]) else _OF_STAGE[path.name[:2]]
            kinds["imports"] += importing
            kinds[kind] += cell_end - cell_start - importing
            in_cells += cell_end - cell_start
        kinds["kernel start"] += first - start
        kinds["notebook overhead"] += end - first - in_cells
        covered += end - start
        windows.append((start, end))
    if not windows:
        return {}
    edges = [began, *(edge for window in windows for edge in window), began + seconds]
    outside = list(zip(edges[::2], edges[1::2], strict=True))
    importing = sum(_overlap(each, *gap) for gap in outside for each in imports if each.by_command)
    kinds["imports"] += importing
    kinds["the command"] += seconds - covered - importing
    return kinds


def _stamps(holder: dict[str, Any]) -> tuple[float, float]:
    """Start and end that papermill noted, in seconds since 1970; 0 where it noted none."""
    noted = holder["metadata"].get("papermill", {})
    start, end = (noted.get(name) for name in ("start_time", "end_time"))
    return tuple(datetime.fromisoformat(each).timestamp() if each else 0.0 for each in (start, end))  # type: ignore[return-value]


def _overlap(each: Import, start: float, end: float) -> float:
    return max(0.0, min(each.began + each.seconds, end) - max(each.began, start))
