"""Visits that are gone: what full deliveries no longer hold, and what loading the batch does to published days.

The rule is in lib/sql/duckdb/deletions.sql. It reads the tables `judged` and `staged` of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from lib.config import Settings
from lib.deliveries import Batch
from lib.sql import statement

if TYPE_CHECKING:
    from lib.staging import Held


def decide_deletions(
    engine: duckdb.DuckDBPyConnection, batch: Batch, settings: Settings, held: Held
) -> tuple[int, int]:
    """Make the table `deletions`, empty unless deletes are marked; how many visits are newly deleted, and come back."""
    if not settings.marks_deletes:
        engine.execute(
            "CREATE TABLE deletions (visit_id VARCHAR, deleted_seq BIGINT, deleted_at TIMESTAMP, is_deleted BOOLEAN,"
            " is_restored BOOLEAN)"
        )
        engine.execute("CREATE VIEW held AS SELECT visit_id, visit_date, deleted_seq FROM current_versions")
        return 0, 0
    engine.register("found", held.visits())
    engine.execute("CREATE TABLE held AS SELECT * REPLACE (CAST(visit_date AS DATE) AS visit_date) FROM found")
    engine.unregister("found")
    oldest = min(each.sequence for each in (*batch.deliveries, *batch.context))
    refresh = str(batch.kind == "refresh").lower()
    engine.execute(statement("duckdb/deletions", oldest=str(oldest), refresh=refresh))
    counts = "count(*) FILTER (WHERE is_deleted), count(*) FILTER (WHERE is_restored)"  # count_if of no rows is null
    deleted, restored = _one_row(engine, f"SELECT {counts} FROM deletions")
    return deleted, restored


def count_absent_visits(
    engine: duckdb.DuckDBPyConnection, batch: Batch, settings: Settings, visits_held: int
) -> int | None:
    """Visits of the table that the newest full delivery lacks; None where that cannot be told, or is no question."""
    if settings.source.deliveries != "full" or not batch.is_new:
        return None
    last = batch.deliveries[-1].sequence
    if any(each.sequence > last for each in batch.context):  # a newer one is loaded
        return None
    query = statement("duckdb/absent_visits", visits_held=str(visits_held), delivery=str(last))
    absent: int | None = _one_row(engine, query)[0]
    return absent


def count_restated_days(engine: duckdb.DuckDBPyConnection, batch: Batch, held: Held) -> int | None:
    """How many published days the load changes; None for a full refresh, which is known only once it is done."""
    if batch.kind == "refresh":
        return None
    days = pa.table({"visit_date": pa.array(held.published_days(), pa.string())})
    engine.register("found", days)
    engine.execute("CREATE TABLE published_days AS SELECT CAST(visit_date AS DATE) AS visit_date FROM found")
    engine.unregister("found")
    restated: int = _one_row(engine, statement("duckdb/restated_days"))[0]
    return restated


def _one_row(engine: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """A query's only row, its result closed: an open one would block the next statement."""
    (row,) = engine.execute(query).fetchall()
    return row
