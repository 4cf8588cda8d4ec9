"""The commit: facts, metrics, quarantine, delivery marks, run row and state, in ONE transaction.

The statements are lib/sql/warehouse/load, in the order of their names. The staged rows are the tables of `scratch`, by
the means of each kind of warehouse; inside the transaction, everything is `INSERT … SELECT` and a few marks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.clock import instant_text, now
from lib.config import Settings
from lib.deliveries import Standing, mark
from lib.errors import StoredDataChanged, WarehouseLocked
from lib.quarantine import apply_waivers
from lib.sql import identifier, statement
from lib.warehouse import add_carried_columns, fact_columns, transaction
from lib.warehouses.choose import kind_of
from lib.warehouses.interface import STAGED, Connection

STEPS = (
    "01_visit_changes",
    "02_touched_days",
    "03_metrics_before",
    "04_clear_facts",
    "05_merge_facts",
    "06_mark_deletions",
    "07_clear_metrics",
    "08_rebuild_metrics",
    "09_record_metric_changes",
    "10_lateness",
    "11_quarantine",
    "12_quarantine_rows",
    "13_close_quarantine",
    "14_expire_waivers",
    "15_save_state",
    "16_record_run",
)

OF_THE_BATCH = (
    "source", "visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost_cents",
    "last_updated", "row_hash", "delivery_seq", "source_line",
)  # fmt: skip
"""Columns of a fact that every load writes; beside them those that are carried now."""


@dataclass(frozen=True)
class Load:
    """Everything that one commit needs. `version` is the tables' version that the run began with."""

    run_id: str
    settings: Settings
    batch_kind: str
    deliveries: tuple[Standing, ...]
    visits: Path
    rejected: Path
    deletions: Path
    answers: Path
    lateness: Path
    counts: dict[str, int]
    rows_read: dict[int, int]
    headers: dict[int, list[str]]
    as_of: datetime
    watermark_before: datetime | None
    committed_watermark: datetime | None
    watermark_after: datetime | None
    version: int
    actor: str
    decisions: tuple[dict[str, Any], ...]


def commit_load(connection: Connection, load: Load, folder: Path) -> None:
    """Write the staged batch into the warehouse, all of it or nothing. `folder`: where files may be made for it.

    Raises WarehouseLocked when the tables moved on since the run began: an orphan must not overwrite a newer run.
    """
    files = {name: getattr(load, name) for name in STAGED}
    staged = kind_of(connection).staged_tables(
        connection, files, list(load.settings.carry), load.settings.engine, folder, load.batch_kind == "refresh"
    )
    with staged, transaction(connection):
        _commit(connection, load)


def _commit(connection: Connection, load: Load) -> None:
    swapped = connection.execute("UPDATE warehouse SET version = version + 1 WHERE version = ?", [load.version])
    if swapped.rowcount != 1:
        raise WarehouseLocked("the tables have changed since this run began; nothing was loaded; start a new run.")
    carried = list(load.settings.carry)
    add_carried_columns(connection, carried)
    names = [identifier(name) for name in carried]
    kept = [identifier(name) for name in fact_columns(connection) if name not in {*OF_THE_BATCH, *carried}]
    pieces = {
        "carried": "".join(f", {name}" for name in names),
        "staged_carried": "".join(f",\n    s.{name}" for name in names),
        "carried_given": "".join(f", excluded.{name}" for name in names),
        "carried_updates": "".join(f",\n    {name} = excluded.{name}" for name in names),
        "kept": "".join(f", {name}" for name in kept),
        "standing_kept": "".join(f",\n    v.{name}" for name in kept),
    }
    refresh = load.batch_kind == "refresh"
    is_full = load.settings.source.deliveries == "full"
    values = {
        "source": load.settings.source.name,
        "refresh": refresh,
        "rules": load.settings.rules_digest,
        "run_id": load.run_id,
        "batch": load.batch_kind,
        "as_of": instant_text(load.as_of),
        "committed": instant_text(now()),
        "actor": load.actor,
        "watermark_before": load.watermark_before and instant_text(load.watermark_before),
        "committed_watermark": load.committed_watermark and instant_text(load.committed_watermark),
        "watermark": load.watermark_after and instant_text(load.watermark_after),
        "version": load.version + 1,
        "staged": load.counts["staged"],
        "counts": json.dumps(load.counts),
    }
    with kind_of(connection).keeping_load(connection, values) as do:
        for step in STEPS:
            done = do(step, statement(f"warehouse/load/{step}", connection.kind, **pieces))
            if step == "05_merge_facts":
                expected = load.counts["staged" if refresh else "written"]
                if done.rowcount != expected:
                    raise StoredDataChanged(
                        f"the merge wrote {done.rowcount} rows where staging settled {expected}; nothing was loaded."
                    )
        apply_waivers(connection, load.settings.source.name, load.decisions, instant_text(load.as_of)[:10])
        for each in load.deliveries:
            if each.status == "loaded" and refresh:
                mark(connection, each.delivery, "loaded", rules=load.settings.rules_digest)
            elif each.status != "loaded":
                mark(
                    connection,
                    each.delivery,
                    "loaded",
                    run_id=load.run_id,
                    header=load.headers[each.delivery.sequence],
                    rows_read=load.rows_read[each.delivery.sequence],
                    comparable=int(not refresh and (load.watermark_before is not None or is_full)),
                    failed_rules={},
                    rules=load.settings.rules_digest,
                )
