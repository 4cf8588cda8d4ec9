"""trace: every version of one visit that was ever delivered, read again from the snapshots, and its fate."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lib.batch_reader import BatchReader
from lib.config import Settings
from lib.decisions import note_look
from lib.deliveries import Batch, Standing, standings
from lib.engines.duckdb import DuckDBEngine, open_database
from lib.errors import UsageError
from lib.judging import judge_records
from lib.layout import Layout
from lib.sql import statement
from lib.staging import row_hash
from lib.terminal import consoles
from lib.warehouse import reading
from lib.window import Window


@dataclass(frozen=True)
class Version:
    """One delivered version: where it stood, its stamp, and what became of it. No other value of the row."""

    delivery: int
    file: str
    line: int
    stamp: str
    fate: str


def print_trace(layout: Layout, settings: Settings, visit_id: str) -> None:
    """Print a line a version, in the order of delivery. The journal of decisions notes the look.

    Raises UsageError when none was ever delivered, or where the look cannot be noted.
    """
    note_look(layout, "trace", source=settings.source.name, scope="one visit")
    versions = trace_visit(layout, settings, visit_id)
    if not versions:
        raise UsageError("no version of this visit was ever delivered by this source; mind case and leading zeros.")
    table = Table(box=None, padding=(0, 1))
    for name in ("delivery", "file", "line", "last_updated", "fate"):
        table.add_column(name, justify="right" if name in ("delivery", "line") else "left")
    for each in versions:
        table.add_row(*(Text(str(cell)) for cell in (each.delivery, each.file, each.line, each.stamp, each.fate)))
    out, _ = consoles()
    out.print(table)


def trace_visit(layout: Layout, settings: Settings, visit_id: str) -> list[Version]:
    """Every version of `visit_id` (as written, trimmed) in every snapshot of the source, in the order of delivery."""
    with reading(layout) as connection:
        known = standings(connection, settings.source.name)
        current = connection.execute(
            "SELECT delivery_seq, source_line, row_hash, last_updated, deleted_seq FROM fact_visits"
            " WHERE source = ? AND visit_id = ?",
            [settings.source.name, visit_id],
        ).fetchone()
    scratch = Path(tempfile.mkdtemp(prefix=".tmp-trace-", dir=layout.staging))
    try:
        rows = _find_rows(layout, settings, known, visit_id, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    by_sequence = {each.delivery.sequence: each for each in known}
    return [
        Version(
            delivery=row["delivery_seq"],
            file=by_sequence[row["delivery_seq"]].delivery.name,
            line=row["source_line"],
            stamp=row["last_updated"] or "unreadable",
            fate=_fate(row, by_sequence[row["delivery_seq"]], current),
        )
        for row in rows
    ]


def _find_rows(
    layout: Layout, settings: Settings, known: list[Standing], visit_id: str, scratch: Path
) -> list[dict[str, Any]]:
    batch = Batch("refresh", tuple(each.delivery for each in known))
    if not batch.deliveries:
        return []
    reader = BatchReader(layout, settings, batch.deliveries)
    with open_database(settings.engine, scratch) as connection:  # whatever stages: a look starts no cluster
        judge_records(DuckDBEngine(connection), batch, reader, settings, Window(None, 0))
        reader.require_sound()
        query = statement("duckdb/trace", row_hash=row_hash(settings))
        rows = connection.execute(query, {"visit_id": visit_id.strip(" \t")}).fetchall()
        names = [column[0] for column in connection.description]
    found = (dict(zip(names, row, strict=True)) for row in rows)
    return [row for row in found if row["delivery_seq"] not in reader.refusals]  # which hold no row that can be read


def _fate(row: dict[str, Any], standing: Standing, current: Any) -> str:
    if row["reasons"]:
        return f"refused: {', '.join(row['reasons'])}"
    if standing.status != "loaded":
        return f"delivery {standing.status}"
    if current is None:
        return "missed: older than the window when it came"
    if (row["delivery_seq"], row["source_line"]) == (current["delivery_seq"], current["source_line"]):
        deleted = f", marked deleted by delivery {current['deleted_seq']}" if current["deleted_seq"] else ""
        return f"current: what the table holds{deleted}"
    if row["row_hash"] == current["row_hash"]:
        return "unchanged: equal to what the table holds"
    order = (row["last_updated"], row["delivery_seq"], row["source_line"])
    if order < (current["last_updated"], current["delivery_seq"], current["source_line"]):
        return f"superseded by delivery {current['delivery_seq']}, line {current['source_line']}"
    return "missed: older than the window when it came"
