"""What the records of runs say, each read once and only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lib.files import read_json
from lib.layout import REPORT, Layout
from lib.manifest import FILE_NAME


@dataclass(frozen=True)
class RunRecord:
    """One run's manifest and the rules of its dq_report, as they stand there; None what cannot be read."""

    run_id: str
    manifest: Any
    rules: Any


def newest_records(layout: Layout) -> Iterator[RunRecord]:
    """Every run's, the newest first, one at a time: who needs a few draws a few, and nobody holds them all."""
    for run_id in reversed(layout.run_ids()):
        record = layout.record(run_id)
        manifest = rules = None
        with suppress(OSError, ValueError):
            manifest = read_json(record / FILE_NAME)
        with suppress(OSError, ValueError, KeyError, TypeError):
            rules = read_json(record / REPORT)["rules"]
        yield RunRecord(run_id, manifest, rules)
