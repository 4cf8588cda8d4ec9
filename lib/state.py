"""The state: its truth is a row in the warehouse; data/state/state.json is a copy for people and scripts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.clock import parse_instant, short_instant
from lib.errors import StoredDataChanged
from lib.files import read_json, write_json
from lib.layout import Layout
from lib.warehouses.interface import Connection


@dataclass(frozen=True)
class State:
    """One source's committed state, and the tables' version. `last_as_of` is the latest of all sources: one clock."""

    version: int
    watermark: datetime | None
    last_staging_row_count: int | None
    last_as_of: datetime | None
    last_run_id: str | None


def read_state(connection: Connection, source: str) -> State:
    """The committed state of `source`.

    Raises StoredDataChanged when a watermark stands over an empty fact table: an increment would then quietly be all.
    """
    version = connection.execute("SELECT version FROM warehouse").fetchone()[0]
    row = connection.execute("SELECT * FROM state WHERE source = ?", [source]).fetchone()
    clock = connection.execute("SELECT max(last_as_of) FROM state").fetchone()[0]
    last_as_of = parse_instant(clock) if clock else None
    if row is None:
        return State(version, None, None, last_as_of, None)
    watermark = row["watermark_last_updated"]
    return State(
        version=version,
        watermark=parse_instant(watermark) if watermark else None,
        last_staging_row_count=row["last_staging_row_count"],
        last_as_of=last_as_of,
        last_run_id=row["last_run_id"],
    )


def check_facts_present(connection: Connection, source: str) -> None:
    """Raise StoredDataChanged when there is a watermark but no fact of `source`."""
    has_watermark = connection.execute(
        "SELECT 1 FROM state WHERE source = ? AND watermark_last_updated IS NOT NULL", [source]
    ).fetchone()
    has_facts = connection.execute("SELECT 1 FROM fact_visits WHERE source = ? LIMIT 1", [source]).fetchone()
    if has_watermark and not has_facts:
        raise StoredDataChanged(
            f"fact_visits holds no visit of {source} although a watermark is committed; "
            "restore the warehouse, or build the tables again with --full-refresh."
        )


def state_copy(connection: Connection) -> dict[str, Any]:
    """What state.json says: the state of the source that loaded last, and every source's."""
    rows = connection.execute("SELECT * FROM state ORDER BY last_run_id DESC").fetchall()
    version = connection.execute("SELECT version FROM warehouse").fetchone()[0]
    sources = {row["source"]: _shown(row) for row in rows}
    latest = {"source": rows[0]["source"], **_shown(rows[0])} if rows else {}
    return {**latest, "version": version, "sources": sources}


def write_state_copy(connection: Connection, layout: Layout) -> bool:
    """Make state.json say what the warehouse says; whether it had to be written."""
    wanted = state_copy(connection)
    try:
        if read_json(layout.state_file) == wanted:
            return False
    except (OSError, ValueError):
        pass  # missing or broken: written again
    write_json(layout.state_file, wanted)
    return True


def _shown(row: Any) -> dict[str, Any]:
    watermark = row["watermark_last_updated"]
    return {
        "last_staging_row_count": row["last_staging_row_count"],
        "watermark_last_updated": short_instant(parse_instant(watermark)) if watermark else None,
        "last_as_of": short_instant(parse_instant(row["last_as_of"])),
        "last_run_id": row["last_run_id"],
    }
