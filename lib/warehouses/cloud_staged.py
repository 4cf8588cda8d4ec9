"""The staged files as the tables that a load into a cloud's warehouse reads, a batch of Arrow rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lib.config import Engine
from lib.engines.duckdb import open_database
from lib.sql import identifier, literal, statement
from lib.warehouses.interface import STAGED

BATCH_ROWS = 100_000


def staged_batches(
    connection: Any,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[tuple[str, pa.RecordBatchReader]]:
    """Each table's name and rows; of the visits only those that the load reads. `entries`: of the refused texts, each
    once, because a MERGE reads a table and not a query."""
    refused = connection.execute("SELECT DISTINCT visit_key FROM quarantine WHERE status IN ('open', 'waived')")
    pieces = {name: literal(str(path)) for name, path in files.items()}
    pieces["carried"] = "".join(f",\n    {identifier(name)}" for name in carried)
    pieces["read"] = "true" if refresh else "is_written OR action <> 'unchanged'"
    with open_database(engine, folder) as opened:
        opened.register("refused", pa.table({"visit_key": pa.array([row[0] for row in refused], pa.string())}))
        for name in (*STAGED, "versions", "entries"):
            query = statement(f"warehouse/staged/{name}", **pieces)
            table = "staged" if name == "visits" else name
            yield table, opened.sql(query).to_arrow_reader(BATCH_ROWS)
