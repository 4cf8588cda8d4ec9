"""What the records of runs say, read only when it is asked for, and once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from lib.files import read_json
from lib.layout import REPORT, Layout
from lib.manifest import FILE_NAME


class RunRecord:
    """One run's record, as its files stand there; None what cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_id = folder.name

    @cached_property
    def manifest(self) -> Any:
        """The whole manifest."""
        with suppress(OSError, ValueError):
            return read_json(self.folder / FILE_NAME)
        return None

    @cached_property
    def rules(self) -> Any:
        """The rules of its dq_report."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return read_json(self.folder / REPORT)["rules"]
        return None


def newest_records(layout: Layout) -> Iterator[RunRecord]:
    """Every run's, the newest first, one at a time: who needs a few draws a few, and nobody holds them all."""
    return (RunRecord(layout.record(run_id)) for run_id in reversed(layout.run_ids()))
