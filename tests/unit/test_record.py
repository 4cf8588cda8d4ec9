"""Which records a run closes before it begins, and what it reads for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from lib import record
from lib.layout import Layout
from lib.manifest import Manifest
from lib.warehouses.interface import Connection


def begun(layout: Layout, number: int, source: str = "clinic") -> Manifest:
    """The manifest of a run that began, in the order of lib/run.py."""
    folder = layout.record(f"{number:06d}-20250301T000000Z")
    folder.mkdir(parents=True)
    stamps = {"as_of": "2025-03-01T00:00:00+00:00", "started": "2025-03-01T00:00:01+00:00", "ended": None}
    code = {f"lib/file_{place}.py": "0" * 64 for place in range(100)}
    return Manifest.create(
        folder, {"run_id": folder.name, "source": source, "outcome": "running", **stamps, "code": code}
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.at(tmp_path, None)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The run ids that are closed as killed."""
    found: list[str] = []
    monkeypatch.setattr(record, "record_load", lambda *_: False)
    monkeypatch.setattr(record, "close_record", lambda _, run_id, outcome, **__: found.append(f"{run_id} {outcome}"))
    return found


def test_what_began_and_did_not_end_is_closed_wherever_it_stands(layout: Layout, closed: list[str]) -> None:
    for number in range(1, 6):
        manifest = begun(layout, number, source="s" * 64)
        if number not in (2, 5):
            manifest.record(outcome="loaded", ended="2025-03-01T00:00:09+00:00")
    resumed = begun(layout, 6)
    resumed.record(outcome="failed", ended="2025-03-01T00:00:09+00:00")
    resumed.record(outcome="running", ended=None)  # as lib/resume.py begins the next attempt
    repaired = record.repair_records(layout, cast(Connection, None))
    assert [each[:6] for each in repaired] == ["000002", "000005", "000006"]
    assert closed == [f"{run_id} killed" for run_id in repaired]


def test_closed_records_are_not_read_whole(layout: Layout, closed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 4):
        begun(layout, number).record(outcome="loaded", ended="2025-03-01T00:00:09+00:00")
    begun(layout, 4)
    read: list[str] = []
    whole = Manifest.read

    def noted(folder: Path) -> Any:
        read.append(folder.name)
        return whole(folder)

    monkeypatch.setattr(Manifest, "read", noted)
    record.repair_records(layout, cast(Connection, None))
    assert [each[:6] for each in read] == ["000004"]
