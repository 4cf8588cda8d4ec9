"""Histories that every engine and every warehouse is put through."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from lib.layout import KINDS
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row

MARKING = {"source": {"deliveries": "full", "deletes": "mark"}, "carry": {"ward": "Ward"}}


def played(clinic: Clinic) -> Clinic:
    """Three deliveries: visits that move, are corrected, refused, answered, deleted and come back; a carried column."""
    clinic.config = {**MARKING, **clinic.config}
    header = (*COLUMNS, "Ward")
    texts = (
        [row("V1"), row("V2", visit_cost="?"), row("V3", visit_cost=""), row("V4", visit_date="2025-02-27")],
        [row("V1", visit_cost="7.35"), row("V2"), row("V4", visit_date="2025-02-28", visit_cost="1")],
        [row("V1", visit_cost="7.35"), row("V2"), row("V3", patient_id='P"2\\'), row("", patient_id="")],
    )
    for day, rows in enumerate(texts, 2):
        clinic.deliver(csv_text([{**each, "Ward": "é" if day == 3 else ""} for each in rows], header))
        result = clinic.run(f"2025-03-0{day}T00:00:00Z", accept=())
        assert result.exit_code == 0, result.message
    return clinic


def played_copy(clinic: Clinic) -> Clinic:
    """As `played`; where the warehouse is a file and the data folder is on this machine, a copy of what was played
    before."""
    if clinic.kind not in KINDS or clinic.store:
        return played(clinic)
    shutil.copytree(_played_once(clinic.kind).name, clinic.folder, dirs_exist_ok=True)
    clinic.config = {**MARKING, **clinic.config}
    return clinic


@functools.cache
def _played_once(kind: str) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    played(Clinic(Path(folder.name), kind=kind))
    return folder
