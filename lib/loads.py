"""What a load did, as the warehouse tells it: the manifest's section `load`, the same for a record that is repaired."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lib.sql import statement
from lib.warehouses.interface import Connection

COVERED_SHARE = 0.999
CAUSES = ("inserted", "late", "corrected", "moved", "removed", "deleted", "restored")
"""What can happen to a published day's visits; a late one is inserted too, a moved one is moved in to one day."""


@dataclass(frozen=True)
class Loaded:
    """One load: the tables' version after it, the days it touched (those published before among them), visits by what
    happened to them, the watermark it left, the lookback that would cover 99.9 % of all lateness seen by then; and how
    the tables stand after it: the source's open quarantine entries, all visits counted, those without a cost."""

    version: int
    days_touched: int
    days_restated: int
    watermark_after: str | None
    covering_lookback_hours: int | None
    visits: dict[str, int]
    quarantine_open: int
    visits_counted: int
    visits_without_cost: int

    def to_json(self) -> dict[str, Any]:
        """The manifest's section."""
        return asdict(self)


def told_load(connection: Connection, run_id: str) -> Loaded | None:
    """What the run's load did; None when it was not loaded. Ask before another run loads: lateness is told to date."""
    row = connection.execute(statement("warehouse/load_told"), [run_id]).fetchone()
    if row is None:
        return None
    return Loaded(
        version=row["version"],
        days_touched=row["days_touched"],
        days_restated=row["days_restated"],
        watermark_after=row["watermark_after"],
        covering_lookback_hours=covering_lookback(connection, row["source"]),
        visits={cause: row[cause] for cause in CAUSES},
        **{name: row[name] for name in ("quarantine_open", "visits_counted", "visits_without_cost")},
    )


def covering_lookback(connection: Connection, source: str, share: float = COVERED_SHARE) -> int | None:
    """The least whole hours of lookback that cover `share` of all lateness ever seen of the source; None before any."""
    rows = connection.execute(statement("warehouse/lateness_of_source"), [source]).fetchall()
    total = sum(row["versions"] for row in rows)
    covered = 0
    for row in rows:
        covered += row["versions"]
        if covered >= share * total:
            hours: int = row["hours"]
            return hours
    return None
