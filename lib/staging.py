"""Staging: judged rows, placed in the window, become one current version per visit, with what loading it will do.

The transformation is the SQL in lib/sql/duckdb, run in the order of `settle_batch`. Most visits have one contending
version and go straight through; only the contended ones are ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from lib.config import CANONICAL, TEXT_COLUMNS, Settings
from lib.deletions import count_absent_visits, count_restated_days, decide_deletions
from lib.deliveries import Batch
from lib.files import TEMPORARY_PREFIX
from lib.judging import timestamp
from lib.sql import identifier, literal, statement
from lib.window import Window

ROW_GROUP = 61_440
"""Rows: half of the engine's default stays in the processor's cache, and is written for three quarters of the price."""
KEY_SCHEMA = pa.schema([("visit_id", pa.string())])
CurrentVersions = Callable[[pa.RecordBatchReader], pa.Table]
"""Given visit_ids, the table's current versions: visit_id, stamp, delivery_seq, source_line, row_hash, visit_date,
deleted_seq, carried."""

KnownIdentities = Callable[[list[str]], set[str]]
"""Given identities of refused texts, those that the quarantine holds already."""


@dataclass(frozen=True)
class Held:
    """What staging asks of the tables: questions that are answered when asked, and what is known at once: the
    watermark, how many visits of the source they hold, and whether visits come in cheaper in the order of their ids."""

    current_versions: CurrentVersions
    known_identities: KnownIdentities
    visits: Callable[[], pa.Table]
    published_days: Callable[[], list[str]]
    watermark: datetime | None
    visit_count: int
    takes_in_order: bool


@dataclass(frozen=True)
class Staged:
    """What staging wrote, by file (how many rows went where is in batch_profile.parquet), and what was counted over all
    visits: those that a full delivery lacks, those newly deleted and come back, and the published days that change."""

    visits: Path
    rejected: Path
    deletions: Path
    answers: Path
    profile: Path
    lateness: Path
    absent_visits: int | None = None
    visits_deleted: int = 0
    visits_restored: int = 0
    restated_days: int | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> Staged:
        """The files, not written yet."""
        return cls(
            visits=folder / "visits.parquet",
            rejected=folder / "rejected.parquet",
            deletions=folder / "deletions.parquet",
            answers=folder / "answers.parquet",
            profile=folder / "batch_profile.parquet",
            lateness=folder / "lateness.parquet",
        )


def settle_batch(
    engine: duckdb.DuckDBPyConnection, batch: Batch, settings: Settings, window: Window, held: Held, folder: Path
) -> Staged:
    """Settle the batch that `engine` has judged beside what the tables hold, and write it into `folder`."""
    staged = Staged.in_folder(folder)
    _fetch_current(engine, settings, held)
    carried = _carried(settings)
    hashed = row_hash(settings)
    engine.execute(statement("duckdb/versions", carried="".join(f",\n    {name}" for name in carried)))
    engine.execute(statement("duckdb/contended"))
    engine.execute(
        statement(
            "duckdb/order_versions",
            row_hash=hashed,
            carried_differ="".join(f" OR lag({name}) OVER w IS DISTINCT FROM {name}" for name in carried),
            refresh=str(batch.kind == "refresh").lower(),
        )
    )
    engine.execute(statement("duckdb/settle"))
    engine.execute(
        statement(
            "duckdb/staged",
            carried="".join(f",\n    o.{name}" for name in carried),
            carried_same=_carried_same("o", carried),
        )
    )
    engine.execute("DROP TABLE ordered")
    older = "NOT is_inside AND NOT is_context" if window.cutoff else "false"
    engine.execute(statement("duckdb/outside", row_hash=hashed, carried_same=_carried_same("j", carried), older=older))
    visits = statement(
        "duckdb/visits",
        source=literal(settings.source.name),
        row_hash=hashed,
        carried="".join(f",\n    {name}" for name in carried),
        ordered="\n    ORDER BY v.visit_id" if held.takes_in_order else "",
    )
    _write_parquet(engine, visits, staged.visits)
    engine.execute(statement("duckdb/written", visits=literal(str(staged.visits))))
    _collect_rejected(engine, settings, held.known_identities)
    deleted, restored = decide_deletions(engine, batch, settings, held)
    _write_parquet(engine, "SELECT * FROM rejected ORDER BY delivery_seq, source_line", staged.rejected)
    _write_parquet(engine, "SELECT * FROM deletions ORDER BY visit_id", staged.deletions)
    _write_parquet(engine, statement("duckdb/answers"), staged.answers)
    profile = statement("duckdb/profile", newest_known=timestamp(held.watermark))
    _write_parquet(engine, profile, staged.profile)
    lateness = statement("duckdb/lateness", watermark=timestamp(window.watermark))
    _write_parquet(engine, lateness, staged.lateness)
    return replace(
        staged,
        absent_visits=count_absent_visits(engine, batch, settings, held.visit_count),
        visits_deleted=deleted,
        visits_restored=restored,
        restated_days=count_restated_days(engine, batch, held),
    )


def _fetch_current(engine: duckdb.DuckDBPyConnection, settings: Settings, held: Held) -> None:
    """What the table holds now of every visit that the batch names, as the table `current_versions`."""
    asked = "visit_id IS NOT NULL" if _holds_all(settings) else "is_accepted"

    def keys() -> Iterator[pa.RecordBatch]:
        yield from engine.sql(f"SELECT DISTINCT visit_id FROM judged WHERE {asked}").to_arrow_reader(100_000)

    found = held.current_versions(pa.RecordBatchReader.from_batches(KEY_SCHEMA, keys()))
    engine.register("found", found)
    engine.execute(
        "CREATE TABLE current_versions AS SELECT * REPLACE"
        " (CAST(stamp AS TIMESTAMP) AS stamp, CAST(visit_date AS DATE) AS visit_date) FROM found"
    )
    engine.unregister("found")


def _holds_all(settings: Settings) -> bool:
    return settings.source.deliveries == "full"


def _collect_rejected(engine: duckdb.DuckDBPyConnection, settings: Settings, known_identities: KnownIdentities) -> None:
    joined = ", chr(31), ".join(f"coalesce({name}, '')" for name in CANONICAL)
    engine.execute(
        statement(
            "duckdb/rejected",
            raw_texts=",\n        ".join(f"texts[{place}] AS {name}" for place, name in enumerate(CANONICAL, 1)),
            source=literal(settings.source.name),
            joined_texts=joined,
        )
    )
    identities = [row[0] for row in engine.execute("SELECT DISTINCT identity FROM refused").fetchall()]
    known = pa.table({"known_identity": pa.array(sorted(known_identities(identities)), pa.string())})
    engine.register("found", known)
    engine.execute(
        "CREATE TABLE rejected AS SELECT *, identity IN (SELECT known_identity FROM found) AS known FROM refused"
    )
    engine.unregister("found")


def _write_parquet(engine: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    written = f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE {ROW_GROUP}"
    engine.execute(f"COPY ({query}) TO {literal(str(temporary))} ({written})")
    temporary.replace(path)


def _carried(settings: Settings) -> list[str]:
    return [identifier(name) for name in settings.carry]


def _carried_same(alias: str, carried: list[str]) -> str:
    return "".join(f" AND {alias}.{name} IS NOT DISTINCT FROM c.{name}" for name in carried)


def row_hash(settings: Settings) -> str:
    """The SQL of row_hash; the stamp is left out where the source has none."""
    stamp = "stamp" if settings.stamped else "CAST(NULL AS TIMESTAMP)"
    return f"hash_of({', '.join(TEXT_COLUMNS)}, visit_date, visit_cost_cents, {stamp})"
