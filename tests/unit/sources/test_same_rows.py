"""The same rows, written as CSV, NDJSON and Parquet, are judged to be the same rows."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.config import CANONICAL, Settings
from lib.deliveries import Batch, Delivery
from lib.judging import judged_batch
from lib.sources.choose import format_named, format_of
from lib.sources.interface import records_schema
from lib.staging import row_hash
from lib.window import Window

CELLS = {
    "visit_id": st.sampled_from(["V1", "00123", "NA", "", " V2\t", "é", "V\u200b", "x,y", '"q"', "a\nb", "9" * 23]),
    "patient_id": st.sampled_from(["P1", "=cmd|x", "", "P\x00", "null"])
    | st.text(st.characters(exclude_categories=["Cs"])),
    "provider_id": st.sampled_from(["D1", "", " "]),
    "diagnosis_code": st.sampled_from(["J06.9", "", "true"]),
    "visit_date": st.sampled_from(["2025-03-01", "2025-02-30", "", "2025-03-01T10:00:00Z", "1850-01-01"]),
    "visit_cost": st.sampled_from(
        ["12.50", "12.5", "0.005", "-0", "-1", "1e3", "", "99999999999999999999", "NaN", "007"]
    ),
    "last_updated": st.sampled_from(["2025-03-01T12:00:00Z", "2025-03-01 13:00+0100", "", "2030-01-01", "soon"]),
}
Row = dict[str, str]


def as_csv(rows: list[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([CANONICAL, *([row[name] for name in CANONICAL] for row in rows)])
    return text.getvalue().encode()


def as_ndjson(rows: list[Row]) -> bytes:
    return "".join(json.dumps({name: cell or None for name, cell in row.items()}) + "\n" for row in rows).encode()


def as_parquet(rows: list[Row]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in CANONICAL])), stream)
    return stream.getvalue()


def judged(data: bytes, name: str, folder: Path) -> list[tuple[Any, ...]]:
    """Reasons, values and original texts of every row, in the order of the delivery."""
    settings = Settings()
    reader = format_named(format_of(name, settings)).open_reader(io.BytesIO(data), settings, name)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader.batches():
            yield pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1), batch.num_rows), *batch.columns], schema=schema)

    schema = records_schema(settings).insert(0, pa.field("delivery_seq", pa.int64()))
    records = pa.RecordBatchReader.from_batches(schema, batches())
    batch = Batch("new", (Delivery("clinic", 1, name, "", 0, "", "2025-03-02T06:00:00.000000+00:00", ""),))
    with judged_batch(batch, SimpleNamespace(records=records), settings, Window(None, 24), folder) as engine:
        return engine.connection.execute(
            "SELECT reasons, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents, stamp,"
            f" list_transform(texts, lambda text: coalesce(text, '')), {row_hash(settings)}"
            " FROM judged ORDER BY source_line"
        ).fetchall()


@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=30))
def test_the_same_texts_in_every_format(rows: list[Row], tmp_path: Path) -> None:
    expected = judged(as_csv(rows), "visits.csv", tmp_path)
    assert judged(as_ndjson(rows), "visits.jsonl", tmp_path) == expected
    assert judged(as_parquet(rows), "visits.parquet", tmp_path) == expected


@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    costs=st.lists(st.none() | st.decimals(0, 10_000_000, places=2), min_size=1, max_size=6),
    days=st.dates(min_value=date(1900, 1, 1)),
    stamp=st.datetimes(timezones=st.just(UTC)),
)
def test_typed_values_are_what_their_texts_are(costs: list[Any], days: Any, stamp: Any, tmp_path: Path) -> None:
    texts = [
        {"visit_id": str(at), "patient_id": "7", "provider_id": "", "diagnosis_code": "",
         "visit_date": days.isoformat(), "visit_cost": "" if cost is None else str(cost),
         "last_updated": stamp.isoformat()}
        for at, cost in enumerate(costs)
    ]  # fmt: skip
    rows = len(costs)
    typed = pa.table({
        "visit_id": pa.array(range(rows), pa.int32()),
        "patient_id": pa.array([7] * rows, pa.uint8()),
        "provider_id": pa.nulls(rows),
        "diagnosis_code": pa.nulls(rows, pa.string()),
        "visit_date": pa.array([days] * rows, pa.date32()),
        "visit_cost": pa.array(costs, pa.decimal128(18, 2)),
        "last_updated": pa.array([stamp] * rows, pa.timestamp("us", "UTC")),
    })  # fmt: skip
    stream = io.BytesIO()
    pq.write_table(typed, stream)

    def values(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [(*row[:-2], row[-1]) for row in found]

    numbers = [{**row, "visit_cost": row["visit_cost"] or None} for row in texts]
    lines = "".join(json.dumps(row).replace(f'"{row["visit_cost"]}"', f"{row['visit_cost']}") + "\n" for row in numbers)
    expected = values(judged(as_csv(texts), "visits.csv", tmp_path))
    assert values(judged(stream.getvalue(), "visits.parquet", tmp_path)) == expected
    assert values(judged(lines.encode(), "visits.ndjson", tmp_path)) == expected
