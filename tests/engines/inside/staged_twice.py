"""A clinic whose batches are staged by DuckDB and then by Spark: files of the same content, or the test fails. What
Spark staged is what is judged and loaded, so that the next run stands on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib import rehearsal
from lib.files import read_json
from lib.run import Run
from lib.sources.interface import Reading

TABLES = {
    "visits": "visit_id",
    "rejected": "source_line",
    "deletions": "visit_id",
    "answers": "visit_id",
    "batch_profile": "scope",
    "lateness": "hours",
}
SPARK = {"kind": "spark", "master": "local[2]"}
PLAIN_STAGE = rehearsal.stage.stage_batch


class StagedTwice:
    """In place of lib.stage.stage_batch. Batches before the one with the number `first` are staged by DuckDB alone."""

    def __init__(self) -> None:
        self.first, self._batches = 1, 0

    def __call__(self, run: Run) -> dict[int, Reading]:
        self._batches += 1
        return PLAIN_STAGE(run) if self._batches < self.first else stage_twice(run)


def stage_twice(run: Run) -> dict[int, Reading]:
    readings = PLAIN_STAGE(run)
    expected, told = staged(run.staging), noted(run)
    settings = run.settings
    engine = settings.engine.model_copy(update=SPARK)
    object.__setattr__(run, "settings", settings.model_copy(update={"engine": engine}))
    try:
        again = PLAIN_STAGE(run)
    finally:
        object.__setattr__(run, "settings", settings)
    assert again == readings
    found = staged(run.staging)
    for name, table in expected.items():
        assert found[name].schema.names == table.schema.names, name
        assert [str(each) for each in found[name].schema.types] == [str(each) for each in table.schema.types], name
        different = [pair for pair in zip(rows(found[name]), rows(table), strict=False) if pair[0] != pair[1]]
        assert not different, f"{name}: {len(different)} rows differ; Spark's and DuckDB's first: {different[0]}"
        assert found[name].num_rows == table.num_rows, name
    assert noted(run) == told
    return readings


def staged(folder: Path) -> dict[str, pa.Table]:
    return {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=repr)


def noted(run: Run) -> dict[str, Any]:
    """What the manifest tells of staging, but for the files' own hashes."""
    manifest = read_json(run.record / "manifest.json")
    names = ("counts", "reasons", "rows_read", "newest_loaded", "missed_needs_hours", "readings")
    return {name: manifest[name] for name in names}
