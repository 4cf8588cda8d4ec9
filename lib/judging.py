"""Judging: records as text become typed rows with all their reasons, in one streaming plan.

The transformation is judge.sql in lib/sql/staging; this module fills in what the config says about formats and limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa

from lib import dates
from lib.batch_reader import BatchReader
from lib.clock import parse_instant
from lib.config import CANONICAL, Settings
from lib.deliveries import Batch, Delivery
from lib.engines.choose import open_engine
from lib.engines.interface import Engine
from lib.sql import identifier, statement
from lib.window import Window

FIRST_INSTANT = "TIMESTAMP '0001-01-01 00:00:00'"
LAST_INSTANT = "TIMESTAMP '9999-12-31 23:59:59.999999'"
"""What a stamp can be once its zone is taken off: years of four digits, so that stored stamps sort as text."""


CENT, MOST_EXACT = Decimal("0.01"), Decimal("9999999999999999.99")
DELIVERY_SCHEMA = pa.schema(
    [
        ("delivery_seq", pa.int64()),
        ("is_context", pa.bool_()),
        ("clock", pa.timestamp("us")),
        ("latest_visit_date", pa.date32()),
    ]
)
STEP_SCHEMA = pa.schema([("local_from", pa.timestamp("us")), ("offset_seconds", pa.int32())])


@contextmanager
def judged_batch(
    batch: Batch, reader: BatchReader, settings: Settings, window: Window, folder: Path
) -> Iterator[Engine]:
    """An engine that holds the batch's records typed and judged, as the table `judged`; it spills into `folder`.

    The records are read once; what came of each delivery, and what ended the reading, is in the reader then.
    """
    with open_engine(settings.engine, folder) as engine:
        judge_records(engine, batch, reader, settings, window)
        yield engine


def judge_records(engine: Engine, batch: Batch, reader: BatchReader, settings: Settings, window: Window) -> None:
    """Make the table `judged` of the reader's records, and `batch_deliveries` of their deliveries with their clocks."""
    deliveries = [
        (each.sequence, is_context, parse_instant(each.clock).replace(tzinfo=None), latest_visit_date(each, settings))
        for members, is_context in ((batch.deliveries, False), (batch.context, True))
        for each in members
    ]
    columns = zip(DELIVERY_SCHEMA, zip(*deliveries, strict=True), strict=True)
    found = pa.table([pa.array(cells, field.type) for field, cells in columns], DELIVERY_SCHEMA)
    engine.take("found", found)
    engine.make("batch_deliveries", "SELECT * FROM found")
    engine.drop("found")
    if settings.source.timezone != "UTC":
        steps = zip(STEP_SCHEMA, zip(*dates.offset_steps(settings.source.timezone), strict=True), strict=True)
        engine.take("zone_steps", pa.table([pa.array(cells, field.type) for field, cells in steps], STEP_SCHEMA))
    engine.read_records(reader)
    engine.keep("judged", judge_statement(engine, settings, window))
    engine.drop("records")


def judge_statement(engine: Engine, settings: Settings, window: Window) -> str:
    """The judging statement for these settings: pieces from the config, limits as literals, no value of the data."""
    columns = [*CANONICAL, *settings.carry]
    markers = settings.null_markers.model_dump()
    cleaned = [_cleaned(engine, name, markers.get(name, ()), name in settings.wanted) for name in columns]
    raw = [f"r.{name}" if name in settings.wanted else "CAST(NULL AS STRING)" for name in CANONICAL]
    utc = settings.source.timezone == "UTC"
    rules = settings.rules
    most_exact = min(rules.max_visit_cost, MOST_EXACT).quantize(CENT, ROUND_DOWN)
    if settings.stamped:
        shift = "coalesce(zone_seconds, 0)" if utc else "coalesce(zone_seconds, z.offset_seconds)"
        instant = f"seconds_before(local_stamp, {shift})"
        utc_stamp = f"CASE WHEN {instant} BETWEEN {FIRST_INSTANT} AND {LAST_INSTANT} THEN {instant} END"
    else:
        utc_stamp = "CASE WHEN NOT is_malformed THEN clock END"
    return statement(
        "staging/judge",
        engine.kind,
        raw_texts=",\n        ".join(f"{text} AS raw_{name}" for name, text in zip(CANONICAL, raw, strict=True)),
        texts=", ".join(f"raw_{name}" for name in CANONICAL),
        cleaned=",\n        ".join(cleaned),
        cast_date=_cast("visit_date", "DATE", settings.formats.visit_date),
        cast_stamp=_cast("last_updated", "TIMESTAMP", settings.formats.last_updated),
        iso=_pattern(engine, "iso"),
        visit_date=_visit_date(engine, settings),
        local_stamp=_local_stamp(engine, settings),
        utc_stamp=utc_stamp,
        zone_join="" if utc or not settings.stamped else statement("staging/zone_join", engine.kind),
        min_visit_date=f"DATE '{rules.min_visit_date.isoformat()}'",
        max_visit_cost=f"CAST('{rules.max_visit_cost:f}' AS DECIMAL(38, 18))",
        max_exact_cost=f"CAST('{most_exact:f}' AS DECIMAL(18, 2))",
        stamped=str(settings.stamped).lower(),
        clock_skew_seconds=str(rules.clock_skew_minutes * 60),
        cutoff=timestamp(window.cutoff),
        carried="".join(f",\n    {name}" for name in map(identifier, settings.carry)),
    )


def latest_visit_date(delivery: Delivery, settings: Settings) -> date:
    """The last civil date that a delivery may hold: its clock's date in the source's zone, + days."""
    local = parse_instant(delivery.clock).astimezone(ZoneInfo(settings.source.timezone))
    return local.date() + timedelta(days=settings.rules.max_future_days)


def _cleaned(engine: Engine, name: str, markers: tuple[str, ...], is_mapped: bool) -> str:
    if not is_mapped:
        return f"CAST(NULL AS STRING) AS {identifier(name)}"
    value = f"clean(r.{identifier(name)}, r.is_visible)"
    if markers:
        texts = ", ".join(engine.literal(each.strip(" \t")) for each in markers)
        value = f"CASE WHEN {value} NOT IN ({texts}) THEN {value} END"
    return f"{value} AS {identifier(name)}"


def _cast(name: str, kind: str, formats: tuple[str, ...]) -> str:
    """The engine's own cast, asked only where ISO is what is tried first."""
    return f"TRY_CAST(c.{name} AS {kind})" if formats[0] == "iso" else f"CAST(NULL AS {kind})"


def _pattern(engine: Engine, declared: str) -> str:
    return engine.literal(dates.pattern_of(declared).replace(r"\d", "[0-9]"))


def _visit_date(engine: Engine, settings: Settings) -> str:
    tries = [
        f"iso_date(c.visit_date, {_pattern(engine, each)})"
        if each == "iso"
        else f"CAST({engine.declared_clock('c.visit_date', each)} AS DATE)"
        for each in settings.formats.visit_date
    ]
    return f"coalesce({', '.join(tries)})"


def _local_stamp(engine: Engine, settings: Settings) -> str:
    tries = [
        "iso_clock(c.last_updated, written_zone)" if each == "iso" else engine.declared_clock("c.last_updated", each)
        for each in settings.formats.last_updated
    ]
    return f"coalesce({', '.join(tries)})"


def timestamp(value: datetime | None) -> str:
    """An instant, or its absence, as SQL."""
    if value is None:
        return "CAST(NULL AS TIMESTAMP)"
    return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')}'"
