"""Parquet: the text of every type, and what no text stands for refused."""

from __future__ import annotations

import io
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config import Settings, settings_from
from lib.errors import DeliveryRefused
from lib.sources import parquet
from lib.sources.interface import FIELD_LIMIT, records_schema

NAME = "visits.parquet"
OURS = ("visit_id", "patient_id", "visit_date", "last_updated")
NOON = datetime(2025, 3, 1, 12, 0, 0, 123000)


def settings() -> Settings:
    return settings_from({"columns": {"provider_id": None, "diagnosis_code": None, "visit_cost": None}}, "config.yaml")


def table(visit_id: Any = ("V1",), **columns: Any) -> pa.Table:
    ids = visit_id if isinstance(visit_id, pa.Array) else pa.array(visit_id)
    texts = {name: pa.array(["x"] * len(ids)) for name in OURS[1:]}
    return pa.table({"visit_id": ids, **texts, **columns})


def written(content: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(content, stream, **options)
    return stream.getvalue()


def read(data: bytes | pa.Table) -> list[dict[str, Any]]:
    reader = parquet.open_reader(io.BytesIO(data if isinstance(data, bytes) else written(data)), settings(), NAME)
    rows: list[dict[str, Any]] = pa.Table.from_batches(reader.batches(), records_schema(settings())).to_pylist()
    assert (reader.reading.rows, reader.reading.lines) == (len(rows), len(rows))
    return rows


def refusal(data: bytes | pa.Table) -> str:
    with pytest.raises(DeliveryRefused) as refused:
        read(data)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.string(), " é\x00", " é\x00"),
        (pa.large_string(), "a", "a"),
        (pa.dictionary(pa.int32(), pa.string()), "a", "a"),
        (pa.dictionary(pa.int8(), pa.float64()), 1.0, "1.0"),
        (pa.null(), None, None),
        (pa.string(), None, None),
        (pa.bool_(), True, "true"),
        (pa.int64(), -(2**63), "-9223372036854775808"),
        (pa.uint64(), 2**64 - 1, "18446744073709551615"),
        (pa.decimal128(18, 2), Decimal("12.5"), "12.50"),
        (pa.decimal128(38, 18), Decimal(0), "0.000000000000000000"),
        (pa.decimal128(20, 10), Decimal("-0.0000000001"), "-0.0000000001"),
        (pa.decimal256(60, 0), Decimal("9" * 60), "9" * 60),
        (pa.float64(), 12.5, "12.5"),
        (pa.float64(), 100.0, "100.0"),
        (pa.float64(), 123456789012.5, "123456789012.5"),
        (pa.float64(), 0.1 + 0.2, "0.30000000000000004"),
        (pa.float64(), float("nan"), "nan"),
        (pa.float64(), float("-inf"), "-inf"),
        (pa.float32(), 12.1, "12.1"),
        (pa.date32(), date(2025, 3, 1), "2025-03-01"),
        (pa.date64(), date(1, 1, 1), "0001-01-01"),
        (pa.timestamp("ms"), NOON, "2025-03-01T12:00:00.123"),
        (pa.timestamp("us"), NOON, "2025-03-01T12:00:00.123000"),
        (pa.timestamp("ns"), NOON, "2025-03-01T12:00:00.123000000"),
        (pa.timestamp("us", "UTC"), NOON, "2025-03-01T12:00:00.123000+0000"),
        (pa.timestamp("ms", "Europe/Berlin"), datetime(2025, 2, 28, 23, 30), "2025-03-01T00:30:00.000+0100"),
        (pa.timestamp("us", "-05:30"), NOON, "2025-03-01T06:30:00.123000-0530"),
        (pa.time64("us"), NOON.time(), "12:00:00.123000"),
        (pa.uuid(), UUID(int=1).bytes, "00000000-0000-0000-0000-000000000001"),
    ],
    ids=str,
)
def test_the_text_of_a_value(kind: pa.DataType, value: Any, text: str | None) -> None:
    assert [each["visit_id"] for each in read(table(pa.array([value, None], kind)))] == [text, None]


def test_old_stamps_of_96_bits_keep_their_year() -> None:
    data = written(table(pa.array([datetime(2500, 1, 1)], pa.timestamp("us"))), use_deprecated_int96_timestamps=True)
    assert read(data)[0]["visit_id"].startswith("2500-01-01T00:00:00")


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([["SECRET"]]), "list"),
        (pa.array([{"SECRET": 1}]), "struct"),
        (pa.array([b"SECRET"]), "binary"),
        (pa.array([1], pa.duration("s")), "duration"),
    ],
    ids=str,
)
def test_a_type_that_no_text_stands_for_is_refused(column: pa.Array, kind: str) -> None:
    message = refusal(table(column))
    assert message.startswith(f"{NAME}: visit_id is of a type that cannot be read as one value ({kind}).")
    assert "SECRET" not in message


def test_such_a_type_may_be_in_a_column_that_is_not_mapped() -> None:
    extra = {"beds": pa.array([["a"]]), "visit_id.x": pa.array([1]), "note": pa.array([{"visit_id": 1}])}
    assert [each["visit_id"] for each in read(table(**extra))] == ["V1"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (pa.table({"Id": ["SECRET"]}), "none of the 4 expected columns (visit_id, "),
        (table().drop_columns(["patient_id"]).append_column("patient", pa.array(["SECRET"])), "found patient."),
        (table().append_column("Visit_ID", pa.array(["SECRET"])), "visit_id is ambiguous"),
        (table().append_column("visit_id", pa.array(["SECRET"])), "the header repeats visit_id"),
    ],
    ids=["foreign", "missing", "ambiguous", "doubled"],
)  # fmt: skip
def test_columns_are_asked_for_as_in_any_header(content: pa.Table, told: str) -> None:
    message = refusal(content)
    assert told in message and "SECRET" not in message


def test_a_table_without_rows_is_read() -> None:
    assert read(table(pa.array([], pa.string()))) == []


def test_rows_are_numbered_over_row_groups_and_batches() -> None:
    content = table([f"V{number}" for number in range(1, 70_001)])
    rows = read(written(content, row_group_size=999))
    assert [(each["source_line"], each["visit_id"]) for each in rows[::6_999]] == [
        (number, f"V{number}") for number in range(1, 70_001, 6_999)
    ]


def test_a_text_over_the_limit_makes_its_row_malformed() -> None:
    rows = read(table(["x" * FIELD_LIMIT, "é" * FIELD_LIMIT, "y" * (FIELD_LIMIT + 1)]))
    assert [each["malformed"] is None for each in rows] == [True, True, False]
    assert (rows[2]["visit_id"], rows[2]["patient_id"]) == (None, None)
    assert rows[2]["malformed"].startswith('{"visit_id": "yyy')


def test_text_that_is_not_utf_8_is_refused() -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff")]
    )
    assert "is damaged, cut short or no Parquet (after 0 rows)" in refusal(table(broken))


def test_a_zone_that_nobody_knows_is_refused() -> None:
    assert "is damaged, cut short" in refusal(table(pa.array([NOON], pa.timestamp("us", "Mars/Olympus"))))


WHOLE = written(table([f"V{number}" for number in range(500)]))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"visit_id\nV1\n", WHOLE[4:], WHOLE[:-1], WHOLE[: len(WHOLE) // 2]])
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    assert "is damaged, cut short or no Parquet" in refusal(data)


@pytest.mark.parametrize("name", [b"\x80isit_id", b"visit_i\xff"])
def test_a_column_name_that_is_no_text_is_refused(name: bytes) -> None:
    assert "is damaged, cut short or no Parquet" in refusal(WHOLE.replace(b"visit_id", name))


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_read_never_an_error_of_ours(at: int, byte: int) -> None:
    data = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    reader = parquet.open_reader(io.BytesIO(data), settings(), NAME)
    try:
        for _ in reader.batches():
            pass
    except DeliveryRefused as refused:
        assert str(refused).startswith(NAME)
