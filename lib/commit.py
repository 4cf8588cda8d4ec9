"""The commit: facts, metrics, quarantine, delivery marks, run row and state, in ONE transaction.

The statements are lib/sql/sqlite/load, in the order of their names. Before the transaction the staged rows are written
into a scratch database in bulk; inside it, everything is `INSERT … SELECT` and a few marks.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.clock import instant_text, now
from lib.config import Settings
from lib.content import keeping_content
from lib.deliveries import Standing, mark
from lib.engine import open_engine
from lib.errors import StoredDataChanged, WarehouseLocked
from lib.lookups import bulk_load
from lib.quarantine import apply_waivers
from lib.sql import identifier, literal, statement
from lib.warehouse import add_carried_columns, transaction

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


def commit_load(connection: sqlite3.Connection, load: Load, scratch: Path) -> None:
    """Write the staged batch into the warehouse, all of it or nothing.

    Raises WarehouseLocked when the tables moved on since the run began: an orphan must not overwrite a newer run.
    """
    _write_scratch(load, scratch)
    connection.execute("ATTACH ? AS scratch", [str(scratch)])
    try:
        with transaction(connection):
            _commit(connection, load)
    finally:
        connection.execute("DETACH scratch")
        scratch.unlink(missing_ok=True)


def _commit(connection: sqlite3.Connection, load: Load) -> None:
    swapped = connection.execute("UPDATE warehouse SET version = version + 1 WHERE version = ?", [load.version])
    if swapped.rowcount != 1:
        raise WarehouseLocked("the tables have changed since this run began; nothing was loaded; start a new run.")
    carried = list(load.settings.carry)
    add_carried_columns(connection, carried)
    names = [identifier(name) for name in carried]
    pieces = {
        "carried": "".join(f", {name}" for name in names),
        "staged_carried": "".join(f",\n    s.{name}" for name in names),
        "carried_updates": "".join(f",\n    {name} = excluded.{name}" for name in names),
    }
    refresh = load.batch_kind == "refresh"
    is_full = load.settings.source.deliveries == "full"
    values = {
        "source": load.settings.source.name,
        "refresh": int(refresh),
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
    with keeping_content(connection, afresh=load.settings.source.name if refresh else None):
        for step in STEPS:
            done = connection.execute(statement(f"sqlite/load/{step}", **pieces), values)
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


def _write_scratch(load: Load, scratch: Path) -> None:
    """Staged and refused rows, deletions and lateness in the warehouse's own types: cents, day text, stamp text."""
    carried = "".join(f", {identifier(name)}" for name in load.settings.carry)
    visits = (
        "SELECT visit_id, patient_id, provider_id, diagnosis_code, strftime(visit_date, '%Y-%m-%d') AS visit_date,"
        " CAST(visit_cost * 100 AS BIGINT) AS visit_cost_cents,"
        " strftime(last_updated AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS last_updated,"
        " row_hash, delivery_seq, source_line, action, CAST(is_written AS INTEGER) AS is_written,"
        " strftime(latest_stamp AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%f+00:00') AS latest_stamp,"
        f" latest_seq, latest_line, last_seq, last_line{carried} FROM read_parquet({literal(str(load.visits))})"
    )
    rejected = (
        "SELECT identity, visit_key, strftime(stamp, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp,"
        " array_to_string(reasons, ' ') AS reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date,"
        " visit_cost, last_updated, malformed, delivery_seq, source_line"
        f" FROM read_parquet({literal(str(load.rejected))})"
    )
    deletions = (
        "SELECT visit_id, deleted_seq, strftime(deleted_at, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS deleted_at"
        f" FROM read_parquet({literal(str(load.deletions))})"
    )
    lateness = f"SELECT hours, loaded, missed FROM read_parquet({literal(str(load.lateness))})"
    answers = (
        "SELECT visit_id, strftime(stamp, '%Y-%m-%dT%H:%M:%S.%f+00:00') AS stamp, delivery_seq, source_line"
        f" FROM read_parquet({literal(str(load.answers))})"
    )
    tables = {
        "staged": visits, "rejected": rejected, "deletions": deletions, "answers": answers, "lateness": lateness,
    }  # fmt: skip
    scratch.unlink(missing_ok=True)
    with open_engine(load.settings.engine, scratch.parent) as engine:
        for table, query in tables.items():
            bulk_load(scratch, table, engine.sql(query).to_arrow_reader(100_000))
