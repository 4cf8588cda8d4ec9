"""Visits that are gone: what full deliveries no longer hold, and what loading the batch does to published days.

The rule is deletions.sql in lib/sql/staging. It reads the tables `judged` and `staged` of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from lib.config import Settings
from lib.deliveries import Batch
from lib.engines.interface import Engine
from lib.sql import statement

if TYPE_CHECKING:
    from lib.staging import Held

DELETION_SCHEMA = pa.schema(
    [
        ("visit_id", pa.string()),
        ("deleted_seq", pa.int64()),
        ("deleted_at", pa.timestamp("us")),
        ("is_deleted", pa.bool_()),
        ("is_restored", pa.bool_()),
    ]
)


def decide_deletions(engine: Engine, batch: Batch, settings: Settings, held: Held) -> tuple[int, int]:
    """Make the table `deletions`, empty unless deletes are marked; how many visits are newly deleted, and come back."""
    if not settings.marks_deletes:
        engine.take("deletions", DELETION_SCHEMA.empty_table())
        engine.view("held", "SELECT visit_id, visit_date, deleted_seq FROM current_versions")
        return 0, 0
    engine.take("found", held.visits())
    engine.make("held", "SELECT visit_id, CAST(visit_date AS DATE) AS visit_date, deleted_seq FROM found")
    engine.drop("found")
    oldest = min(each.sequence for each in (*batch.deliveries, *batch.context))
    refresh = str(batch.kind == "refresh").lower()
    engine.make("deletions", statement("staging/deletions", engine.kind, oldest=str(oldest), refresh=refresh))
    counts = "count(*) FILTER (WHERE is_deleted), count(*) FILTER (WHERE is_restored)"  # count_if of no rows is null
    deleted, restored = engine.one_row(f"SELECT {counts} FROM deletions")
    return deleted, restored


def count_absent_visits(engine: Engine, batch: Batch, settings: Settings, visits_held: int) -> int | None:
    """Visits of the table that the newest full delivery lacks; None where that cannot be told, or is no question."""
    if settings.source.deliveries != "full" or not batch.is_new:
        return None
    last = batch.deliveries[-1].sequence
    if any(each.sequence > last for each in batch.context):  # a newer one is loaded
        return None
    query = statement("staging/absent_visits", engine.kind, visits_held=str(visits_held), delivery=str(last))
    absent: int | None = engine.one_row(query)[0]
    return absent


def count_restated_days(engine: Engine, batch: Batch, held: Held) -> int | None:
    """How many published days the load changes; None for a full refresh, which is known only once it is done."""
    if batch.kind == "refresh":
        return None
    published = held.published_days()
    if not published:
        return 0
    engine.take("found", pa.table({"visit_date": pa.array(published, pa.string())}))
    engine.make("published_days", "SELECT CAST(visit_date AS DATE) AS visit_date FROM found")
    engine.drop("found")
    restated: int = engine.one_row(statement("staging/restated_days", engine.kind))[0]
    return restated
