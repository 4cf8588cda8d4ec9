"""Staging: judged rows, placed in the window, become one current version per visit, with what loading it will do.

The transformation is the SQL in lib/sql/staging, run in the order of `settle_batch`. Most visits have one contending
version and go straight through; only the contended ones are ordered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from lib.config import CANONICAL, TEXT_COLUMNS, Settings
from lib.deletions import count_absent_visits, count_restated_days, decide_deletions
from lib.deliveries import Batch
from lib.engines.interface import Engine
from lib.judging import timestamp
from lib.lookups import no_versions
from lib.sql import identifier, statement
from lib.window import Window

CurrentVersions = Callable[[pa.RecordBatchReader], pa.Table]
"""Given visit_ids, the table's current versions: visit_id, stamp, delivery_seq, source_line, row_hash, visit_date,
deleted_seq, carried."""

KnownIdentities = Callable[[list[str]], set[str]]
"""Given identities of refused texts, those that the quarantine holds already."""


@dataclass(frozen=True)
class Held:
    """What staging asks of the tables: questions that are answered when asked (`current_versions` is None where they
    hold no visit of the source), and what is known at once: the watermark, how many visits of the source they hold,
    and whether visits come in cheaper in the order of their ids."""

    current_versions: CurrentVersions | None
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


def settle_batch(engine: Engine, batch: Batch, settings: Settings, window: Window, held: Held, folder: Path) -> Staged:
    """Settle the batch that `engine` has judged beside what the tables hold, and write it into `folder`."""
    staged = Staged.in_folder(folder)
    _fetch_current(engine, settings, held)
    carried = _carried(settings)
    also = "".join(f",\n    {name}" for name in carried)
    hashed = row_hash(settings)

    def stated(name: str, **pieces: str) -> str:
        return statement(f"staging/{name}", engine.kind, **pieces)

    engine.view("versions", stated("versions", carried=also))
    engine.make("contended", stated("contended"))
    engine.make(
        "ordered",
        stated(
            "order_versions",
            row_hash=hashed,
            carried=also,
            carried_differ="".join(f" OR lag({name}) OVER w IS DISTINCT FROM {name}" for name in carried),
            refresh=str(batch.kind == "refresh").lower(),
        ),
    )
    engine.make("settled", stated("settle"))
    shown = "".join(f",\n    o.{name}" for name in carried)
    engine.make("staged_contended", stated("staged", carried=shown, carried_same=_carried_same("o", carried)))
    engine.drop("ordered")
    older = "NOT is_inside AND NOT is_context" if window.cutoff else "false"
    engine.make("outside", stated("outside", row_hash=hashed, carried_same=_carried_same("j", carried), older=older))
    visits = stated(
        "visits",
        source=engine.literal(settings.source.name),
        row_hash=hashed,
        carried=also,
        ordered="\n    ORDER BY v.visit_id" if held.takes_in_order else "",
    )
    engine.write(visits, staged.visits)
    engine.read_staged("staged_visits", staged.visits)
    engine.view("staged", stated("written"))
    _collect_rejected(engine, settings, held.known_identities)
    deleted, restored = decide_deletions(engine, batch, settings, held)
    engine.write("SELECT * FROM rejected ORDER BY delivery_seq, source_line", staged.rejected)
    engine.write("SELECT * FROM deletions ORDER BY visit_id", staged.deletions)
    engine.write(stated("answers"), staged.answers)
    engine.write(stated("profile", newest_known=timestamp(held.watermark)), staged.profile, few=True)
    engine.write(stated("lateness", watermark=timestamp(window.watermark)), staged.lateness, few=True)
    return replace(
        staged,
        absent_visits=count_absent_visits(engine, batch, settings, held.visit_count),
        visits_deleted=deleted,
        visits_restored=restored,
        restated_days=count_restated_days(engine, batch, held),
    )


def _fetch_current(engine: Engine, settings: Settings, held: Held) -> None:
    """What the table holds now of every visit that the batch names, as the table `current_versions`."""
    asked = "visit_id IS NOT NULL" if _holds_all(settings) else "is_accepted"
    if held.current_versions is None:
        engine.take("answered", no_versions(settings))
    else:
        engine.ask("answered", f"SELECT DISTINCT visit_id FROM judged WHERE {asked}", held.current_versions)
    carried = "".join(f",\n    {name}" for name in _carried(settings))
    engine.make("current_versions", statement("staging/current_versions", engine.kind, carried=carried))
    engine.drop("answered")


def _holds_all(settings: Settings) -> bool:
    return settings.source.deliveries == "full"


def _collect_rejected(engine: Engine, settings: Settings, known_identities: KnownIdentities) -> None:
    joined = ", chr(31), ".join(f"coalesce({name}, '')" for name in CANONICAL)
    raw_texts = ",\n        ".join(f"text_at(texts, {place}) AS {name}" for place, name in enumerate(CANONICAL, 1))
    source = engine.literal(settings.source.name)
    refused = statement("staging/rejected", engine.kind, raw_texts=raw_texts, source=source, joined_texts=joined)
    engine.make("refused", refused)

    def known(identities: pa.RecordBatchReader) -> pa.Table:
        asked = identities.read_all()["identity"].to_pylist()
        return pa.table({"known_identity": pa.array(sorted(known_identities(asked)), pa.string())})

    engine.ask("known", "SELECT DISTINCT identity FROM refused", known)
    engine.make("rejected", "SELECT *, identity IN (SELECT known_identity FROM known) AS known FROM refused")
    engine.drop("known")


def _carried(settings: Settings) -> list[str]:
    return [identifier(name) for name in settings.carry]


def _carried_same(alias: str, carried: list[str]) -> str:
    return "".join(f" AND {alias}.{name} IS NOT DISTINCT FROM c.{name}" for name in carried)


def row_hash(settings: Settings) -> str:
    """The SQL of row_hash; the stamp is left out where the source has none."""
    stamp = "stamp" if settings.stamped else "CAST(NULL AS TIMESTAMP)"
    return f"hash_of({', '.join(TEXT_COLUMNS)}, visit_date, visit_cost_cents, {stamp})"
