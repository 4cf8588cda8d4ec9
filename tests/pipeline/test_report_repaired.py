"""A report that could not be completed after its commit is tried once more; whatever comes of it, the record agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib import pipeline
from lib.execute import Execution, Failure
from lib.manifest import Manifest
from lib.record import close_record
from lib.run import Run
from lib.standalone import check_records, read_records
from tests.pipeline.clinic import Clinic, row


class Silent:
    """A progress that tells nobody, and knows what was repaired."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def repaired(self, run_ids: list[str]) -> None:
        self.told += run_ids

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def unfinished(tmp_path: Path) -> Run:
    """A run that loaded and whose 05 failed."""
    clinic = Clinic(tmp_path)
    clinic.deliver([row("V1")])
    result = clinic.run()
    assert result.exit_code == 0 and result.run is not None
    (result.run.record / "05_analytics.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    close_record(result.run.layout, result.run.run_id, "loaded", exit_code=8)
    return result.run


@pytest.mark.parametrize("fails", [True, False])
def test_the_record_is_closed_over_the_notebook_that_was_executed_again(
    unfinished: Run, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[str] = []

    def execute(source: Path, target: Path, *_: Any, **__: Any) -> Execution:
        executed.append(source.stem)
        target.write_text('{"cells": [], "metadata": {"again": true}, "nbformat": 4, "nbformat_minor": 5}')
        return Execution(source.stem, 0.0, 0, Failure("Incomplete", "failed again", 1, False) if fails else None)

    monkeypatch.setattr(pipeline, "execute_notebook", execute)
    progress = Silent()
    for _ in range(2):
        pipeline._finish_report(unfinished.layout, "config.yaml", progress)
    assert executed == ["05_analytics"]
    assert check_records(read_records(unfinished.layout.data_dir)) == []
    manifest = Manifest.read(unfinished.record)
    assert (manifest["outcome"], manifest["exit_code"], manifest["recovered"]) == ("loaded", 8, True)
    assert manifest["message"] == ("failed again" if fails else None)
    assert progress.told == ([] if fails else [unfinished.run_id])
