"""Staging: records as text become typed, judged rows, placed in the window, one current version per visit.

The transformation is the SQL in lib/sql/duckdb, run in the order of `stage_batch`; this module fills in what the config
says about formats and limits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from lib import dates
from lib.clock import parse_instant
from lib.config import CANONICAL, TEXT_COLUMNS, Settings
from lib.deletions import count_absent_visits, count_restated_days, decide_deletions
from lib.deliveries import Batch
from lib.engine import open_engine
from lib.files import TEMPORARY_PREFIX
from lib.sql import identifier, literal, statement
from lib.window import Window

FIRST_INSTANT = "TIMESTAMP '0001-01-01 00:00:00'"
LAST_INSTANT = "TIMESTAMP '9999-12-31 23:59:59.999999'"
"""What a stamp can be once its zone is taken off: years of four digits, so that stored stamps sort as text."""


CurrentVersions = Callable[[pa.RecordBatchReader], pa.Table]
"""Given visit_ids, the table's current versions: visit_id, stamp, delivery_seq, source_line, row_hash, visit_date,
deleted_seq, carried."""

KnownIdentities = Callable[[list[str]], set[str]]
"""Given identities of refused texts, those that the quarantine holds already."""


@dataclass(frozen=True)
class Held:
    """What staging asks of the tables: questions that are answered when asked, and what is known at once: the
    watermark, and how many visits of the source the table holds."""

    current_versions: CurrentVersions
    known_identities: KnownIdentities
    visits: Callable[[], pa.Table]
    published_days: Callable[[], list[str]]
    watermark: datetime | None
    visit_count: int


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
    absent_visits: int | None
    visits_deleted: int
    visits_restored: int
    restated_days: int | None


def stage_batch(
    batch: Batch,
    texts: dict[int, Path],
    settings: Settings,
    window: Window,
    held: Held,
    folder: Path,
) -> Staged:
    """Stage the batch whose text Parquet files are `texts` (by delivery sequence) into `folder`."""
    with open_engine(settings.engine, folder) as engine:
        register_batch(engine, batch, texts, settings, held.watermark)
        engine.execute(judge_statement(settings, window))
        _fetch_current(engine, settings, held.current_versions)
        carried = _carried(settings)
        pieces = {
            "carried": "".join(f",\n    {name}" for name in carried),
            "row_hash": row_hash(settings),
        }
        engine.execute(statement("duckdb/versions", **pieces))
        engine.execute(
            statement(
                "duckdb/order_versions",
                carried_differ="".join(f" OR lag({name}) OVER w IS DISTINCT FROM {name}" for name in carried),
                refresh=str(batch.kind == "refresh").lower(),
            )
        )
        engine.execute(statement("duckdb/settle"))
        engine.execute(
            statement(
                "duckdb/staged",
                carried="".join(f",\n    o.{name}" for name in carried),
                carried_same="".join(f" AND o.{name} IS NOT DISTINCT FROM c.{name}" for name in carried),
            )
        )
        engine.execute("DROP TABLE ordered")  # the largest; nothing below reads it
        engine.execute(
            statement(
                "duckdb/outside",
                row_hash=pieces["row_hash"],
                carried_same="".join(f" AND j.{name} IS NOT DISTINCT FROM c.{name}" for name in carried),
            )
        )
        _collect_rejected(engine, settings, held.known_identities)
        deleted, restored = decide_deletions(engine, batch, settings, held)
        staged = Staged(
            visits=folder / "visits.parquet",
            rejected=folder / "rejected.parquet",
            deletions=folder / "deletions.parquet",
            answers=folder / "answers.parquet",
            profile=folder / "batch_profile.parquet",
            lateness=folder / "lateness.parquet",
            absent_visits=count_absent_visits(engine, batch, settings, held.visit_count),
            visits_deleted=deleted,
            visits_restored=restored,
            restated_days=count_restated_days(engine, batch, held),
        )
        _write_parquet(engine, _visits_query(settings), staged.visits)
        _write_parquet(engine, "SELECT * FROM rejected ORDER BY delivery_seq, source_line", staged.rejected)
        _write_parquet(engine, "SELECT * FROM deletions ORDER BY visit_id", staged.deletions)
        _write_parquet(engine, statement("duckdb/answers"), staged.answers)
        _write_parquet(engine, statement("duckdb/profile"), staged.profile)
        lateness = statement("duckdb/lateness", watermark=_timestamp(window.watermark))
        _write_parquet(engine, lateness, staged.lateness)
        return staged


def judge_statement(settings: Settings, window: Window) -> str:
    """The judging statement for these settings: pieces from the config, limits as literals, no value of the data."""
    columns = [*CANONICAL, *settings.carry]
    markers = settings.null_markers.model_dump()
    cleaned = [_cleaned(name, markers.get(name, ()), name in settings.wanted) for name in columns]
    utc = settings.source.timezone == "UTC"
    rules = settings.rules
    if settings.stamped:
        shift = "coalesce(zone_seconds, 0)" if utc else "coalesce(zone_seconds, z.offset_seconds)"
        instant = f"local_stamp - to_seconds({shift})"
        utc_stamp = f"CASE WHEN {instant} BETWEEN {FIRST_INSTANT} AND {LAST_INSTANT} THEN {instant} END"
    else:
        utc_stamp = "CASE WHEN NOT is_malformed THEN clock END"
    return statement(
        "duckdb/judge",
        cleaned=",\n        ".join(cleaned),
        visit_date=_visit_date(settings),
        local_stamp=_local_stamp(settings),
        zone_seconds=_written_zone(settings),
        utc_stamp=utc_stamp,
        zone_join=""
        if utc or not settings.stamped
        else "ASOF LEFT JOIN zone_steps AS z ON p.local_stamp >= z.local_from",
        min_visit_date=f"DATE '{rules.min_visit_date.isoformat()}'",
        max_visit_cost=f"CAST('{rules.max_visit_cost:f}' AS DECIMAL(38, 18))",
        stamped=str(settings.stamped).lower(),
        clock_skew_seconds=str(rules.clock_skew_minutes * 60),
        cutoff=_timestamp(window.cutoff),
        carried="".join(f",\n    {name}" for name in _carried(settings)),
    )


def latest_visit_date(clock: str, settings: Settings) -> str:
    """The last civil date that a delivery with this clock may hold: the clock's date in the source's zone, + days."""
    local = parse_instant(clock).astimezone(ZoneInfo(settings.source.timezone))
    return (local.date() + timedelta(days=settings.rules.max_future_days)).isoformat()


def register_batch(
    engine: duckdb.DuckDBPyConnection,
    batch: Batch,
    texts: dict[int, Path],
    settings: Settings,
    newest_known: datetime | None,
) -> None:
    """Give the engine the batch's deliveries with their clocks, their records as text, and the zone's offsets."""
    engine.execute(
        "CREATE TABLE batch_deliveries (delivery_seq BIGINT, is_context BOOLEAN, clock TIMESTAMP,"
        " latest_visit_date DATE, newest_known TIMESTAMP)"
    )
    for members, is_context in ((batch.deliveries, False), (batch.context, True)):
        for each in members:
            engine.execute(
                "INSERT INTO batch_deliveries VALUES (?, ?, ?, ?, ?)",
                [each.sequence, is_context, parse_instant(each.clock).replace(tzinfo=None),
                 latest_visit_date(each.clock, settings), newest_known and newest_known.replace(tzinfo=None)],
            )  # fmt: skip
    parts = [
        f"SELECT {sequence} AS delivery_seq, * FROM read_parquet({literal(str(path))})"
        for sequence, path in sorted(texts.items())
    ]
    engine.execute("CREATE VIEW records AS " + " UNION ALL BY NAME ".join(parts))
    if settings.source.timezone != "UTC":
        engine.execute("CREATE TABLE zone_steps (local_from TIMESTAMP, offset_seconds INTEGER)")
        engine.executemany("INSERT INTO zone_steps VALUES (?, ?)", dates.offset_steps(settings.source.timezone))


def _fetch_current(engine: duckdb.DuckDBPyConnection, settings: Settings, current_versions: CurrentVersions) -> None:
    """What the table holds now of every visit that the batch names, as the table `current_versions`."""
    asked = "visit_id IS NOT NULL" if _holds_all(settings) else "is_accepted"
    keys = engine.sql(f"SELECT DISTINCT visit_id FROM judged WHERE {asked}").to_arrow_reader(100_000)
    found = current_versions(keys)
    engine.register("found", found)
    engine.execute(
        "CREATE TABLE current_versions AS SELECT * REPLACE"
        " (CAST(stamp AS TIMESTAMP) AS stamp, CAST(visit_date AS DATE) AS visit_date) FROM found"
    )
    engine.unregister("found")


def _holds_all(settings: Settings) -> bool:
    return settings.source.deliveries == "full"


def _collect_rejected(engine: duckdb.DuckDBPyConnection, settings: Settings, known_identities: KnownIdentities) -> None:
    raw = [f"r.{name}" if name in settings.wanted else f"CAST(NULL AS VARCHAR) AS {name}" for name in CANONICAL]
    joined = ", chr(31), ".join(f"coalesce({name}, '')" for name in CANONICAL)
    engine.execute(
        statement(
            "duckdb/rejected",
            raw_texts=",\n        ".join(raw),
            source=literal(settings.source.name),
            joined_texts=joined,
        )
    )
    identities = [row[0] for row in engine.execute("SELECT DISTINCT identity FROM rejected").fetchall()]
    known = pa.table({"known_identity": pa.array(sorted(known_identities(identities)), pa.string())})
    engine.register("known_texts", known)
    engine.execute("ALTER TABLE rejected ADD COLUMN known BOOLEAN")
    engine.execute("UPDATE rejected SET known = identity IN (SELECT known_identity FROM known_texts)")
    engine.unregister("known_texts")


def _visits_query(settings: Settings) -> str:
    carried = "".join(f", {name}" for name in _carried(settings))
    return (
        f"SELECT {literal(settings.source.name)} AS source, visit_id, patient_id, provider_id, diagnosis_code,"
        " visit_date, cost_of(visit_cost_cents) AS visit_cost, CAST(stamp AS TIMESTAMPTZ) AS last_updated, row_hash,"
        " delivery_seq, source_line, action, is_written, CAST(latest_stamp AS TIMESTAMPTZ) AS latest_stamp, latest_seq,"
        f" latest_line, last_seq, last_line{carried} FROM staged ORDER BY visit_id"
    )


def _write_parquet(engine: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    temporary = path.with_name(TEMPORARY_PREFIX + path.name)
    engine.execute(f"COPY ({query}) TO {literal(str(temporary))} (FORMAT parquet, COMPRESSION zstd)")
    temporary.replace(path)


def _carried(settings: Settings) -> list[str]:
    return [identifier(name) for name in settings.carry]


def _timestamp(value: datetime | None) -> str:
    if value is None:
        return "CAST(NULL AS TIMESTAMP)"
    return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}'"


def row_hash(settings: Settings) -> str:
    """The SQL of row_hash; the stamp is left out where the source has none."""
    stamp = "stamp" if settings.stamped else "CAST(NULL AS TIMESTAMP)"
    return f"hash_of({', '.join(TEXT_COLUMNS)}, visit_date, visit_cost_cents, {stamp})"


def _cleaned(name: str, markers: tuple[str, ...], is_mapped: bool) -> str:
    if not is_mapped:
        return f"CAST(NULL AS VARCHAR) AS {identifier(name)}"
    texts = ", ".join(literal(each.strip(" \t")) for each in markers)
    return f"clean(r.{identifier(name)}, CAST([{texts}] AS VARCHAR[])) AS {identifier(name)}"


def _pattern(declared: str) -> str:
    return literal(dates.pattern_of(declared).replace(r"\d", "[0-9]"))


def _visit_date(settings: Settings) -> str:
    tries = [
        f"iso_date(c.visit_date, {_pattern(each)})"
        if each == "iso"
        else f"declared_clock(c.visit_date, {_pattern(each)}, {literal(each)})::DATE"
        for each in settings.formats.visit_date
    ]
    return f"coalesce({', '.join(tries)})"


def _local_stamp(settings: Settings) -> str:
    tries = [
        f"iso_clock(c.last_updated, {_pattern(each)})"
        if each == "iso"
        else f"declared_clock(c.last_updated, {_pattern(each)}, {literal(each)})"
        for each in settings.formats.last_updated
    ]
    return f"coalesce({', '.join(tries)})"


def _written_zone(settings: Settings) -> str:
    pattern = _pattern("iso")
    return f"CASE WHEN regexp_full_match(c.last_updated, {pattern}) THEN zone_seconds(iso_zone(c.last_updated)) END"
