"""Data folders of a few small, closed records, for tests of what verify finds in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib import provenance, standalone, validate
from lib.anchor import note_records
from lib.decisions import record_decision, sign_run
from lib.layout import NOTEBOOKS, Layout
from lib.record import close_record
from lib.sealed_page import seal
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.plain_gate import plain_gate


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain gate, and manifests without the long lists of code and packages, but for the suites."""
    every = {name: sha256 for name, sha256 in provenance.code_hashes().items() if name.startswith("expectations/")}
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    monkeypatch.setattr(provenance, "code_hashes", lambda: every | {"lib/load.py": "0" * 64})
    monkeypatch.setattr(provenance, "packages", lambda: {"pandas": "3.1.0"})


def layout_of(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def keep_run(clinic: Clinic, day: int, anchor: Path | None = None) -> str:
    """A run of a delivery of its own, as the outer process leaves it: notebooks, page, closed record. Its id."""
    clinic.deliver([row(f"V{day}", visit_date=f"2025-03-{day:02}", last_updated=f"2025-03-{day:02}T12:00:00Z")])
    result = clinic.run(f"2025-03-{day:02}T20:00:00Z")
    assert result.run is not None and result.exit_code == 0
    for name in NOTEBOOKS:
        cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": [f"{name} of day {day}\n"]}
        notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (result.run.record / f"{name}.ipynb").write_text(json.dumps(notebook, indent=1))
    close_record(result.run.layout, result.run.run_id, "loaded", exit_code=0)
    (result.run.record / "report.html").write_bytes(seal(f"<p>day {day}</p>\n".encode()))
    assert note_records(result.run.layout, str(anchor) if anchor else None) is None
    return result.run.run_id


def keep_history(clinic: Clinic, runs: int = 4, anchor: Path | None = None) -> list[str]:
    """Several such runs, with decisions between them; their ids."""
    run_ids = []
    for day in range(1, runs + 1):
        run_ids.append(keep_run(clinic, day, anchor))
        record_decision(layout_of(clinic), "trace", source="clinic", scope="one visit", reason=None)
    sign_run(layout_of(clinic), run_ids[0], "reviewed", "looks right")
    (clinic.data_dir / "runs" / "index.html").write_bytes(seal(b"<p>all runs</p>\n"))
    return run_ids


def told(data_dir: Path, **how: Any) -> list[str]:
    return [f"{each.where}: {each.what}" for each in standalone.find_changes(data_dir, **how)]


def reseal(manifest: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit a manifest as somebody does who knows how it is sealed."""
    from lib.files import json_text

    content = json.loads(manifest.read_bytes())
    content.pop("sha256")
    change(content)
    manifest.write_bytes(json_text({**content, "sha256": standalone.digest(json_text(content))}))
