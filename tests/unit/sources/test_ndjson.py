"""NDJSON: values as they were written, one object a line, and every other line refused by name."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest

from lib.config import Settings, settings_from
from lib.errors import DeliveryRefused
from lib.sources import ndjson
from lib.sources.interface import Reading, records_schema

NAME = "visits.ndjson"
OURS = ("visit_id", "patient_id", "visit_date", "visit_cost", "last_updated")
GOOD = {"visit_id": "V1", "patient_id": "P1", "visit_date": "2025-03-01", "last_updated": "2025-03-01T12:00:00Z"}


def settings() -> Settings:
    return settings_from({"columns": {"provider_id": None, "diagnosis_code": None}}, "config.yaml")


def read(data: str | bytes) -> tuple[Reading, list[dict[str, Any]]]:
    reader = ndjson.open_reader(io.BytesIO(data.encode() if isinstance(data, str) else data), settings(), NAME)
    rows = pa.Table.from_batches(reader.batches(), records_schema(settings())).to_pylist()
    assert (reader.reading.rows, reader.reading.malformed) == (len(rows), sum(bool(each["malformed"]) for each in rows))
    return reader.reading, rows


def refusal(data: str | bytes) -> str:
    with pytest.raises(DeliveryRefused) as refused:
        read(data)
    return str(refused.value)


def line(**cells: Any) -> str:
    return json.dumps({**GOOD, **cells}) + "\n"


def cost_of(written: str) -> Any:
    """The cost's text, of a line that writes it so."""
    _, row = read(line() + json.dumps(GOOD)[:-1] + f', "visit_cost": {written}}}\n')[1]
    return row["visit_cost"] if row["malformed"] is None else "malformed"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("12.50", "12.50"),
        ("12.5", "12.5"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("9" * 5000, "9" * 5000),
        ("1e3", "1e3"),
        ("-0", "-0"),
        ('"12.50"', "12.50"),
        ('""', ""),
        ('" 12 "', " 12 "),
        (r'"\u00e9\ud83d\ude00"', "é😀"),
        ("null", None),
        ("true", "true"),
        ("false", "false"),
        ("NaN", "malformed"),
        ("-Infinity", "malformed"),
        ("012", "malformed"),
        (".5", "malformed"),
        ("[12]", "malformed"),
        ('{"amount": 12}', "malformed"),
        (r'"\ud83d"', "malformed"),
        ('"a\tb"', "malformed"),
        ('"' + "x" * (1 << 20) + '"', "x" * (1 << 20)),
        ('"' + "x" * (1 + (1 << 20)) + '"', "malformed"),
    ],
    ids=lambda text: repr(text)[:24],
)
def test_a_value_is_the_text_that_it_was_written_as(written: str, text: Any) -> None:
    assert cost_of(written) == text


@pytest.mark.parametrize(
    "wrong",
    [
        "[1, 2]",
        "12",
        '"V1"',
        "null",
        "V1,P1,2025-03-01",
        '{"visit_id": "V2"',
        '{"visit_id": "V2"} {"visit_id": "V3"}',
        '{"visit_id": "V2", "visit_id": "V3"}',
        "{'visit_id': 'V2'}",
        "[" * 100_000,
        line(visit_id="V2", ward=float("nan")).rstrip("\n"),
        line(visit_id="V2").replace("}", ', "ward": {"bed": 1, "bed": 2}}').rstrip("\n"),
    ],
    ids=lambda text: text[:40],
)
def test_a_line_that_is_no_single_object_is_malformed_with_its_text(wrong: str) -> None:
    reading, rows = read(line() + wrong + "\r\n" + line(visit_id="V4"))
    assert [(each["source_line"], each["visit_id"], each["malformed"]) for each in rows] == [
        (1, "V1", None),
        (2, None, wrong),
        (3, "V4", None),
    ]
    assert reading == Reading(3, 1, tuple(GOOD), 3)


def test_blank_lines_count_as_lines_and_are_no_records() -> None:
    reading, rows = read("\n" + line() + " \t\r\n\n" + line(visit_id="V2").rstrip("\n"))
    assert [(each["source_line"], each["visit_id"]) for each in rows] == [(2, "V1"), (5, "V2")]
    assert reading.lines == 5


def test_keys_vary_by_line_and_the_header_is_all_of_them() -> None:
    reading, rows = read(line() + line(visit_id="V2", visit_cost=7, ward="x"))
    assert reading.header == (*GOOD, "visit_cost", "ward")
    assert [(each["visit_id"], each["visit_cost"]) for each in rows] == [("V1", None), ("V2", "7")]


def test_names_are_matched_as_in_any_header() -> None:
    reading, rows = read(line().replace('"visit_id"', '" Visit_ID\\t"'))
    assert rows[0]["visit_id"] == "V1"
    assert reading.header[0] == "Visit_ID"


def test_extra_keys_may_hold_anything() -> None:
    reading, rows = read(line(ward={"bed": [1, {"a": 1}]}, note=None))
    assert (reading.header, rows[0]["malformed"]) == ((*GOOD, "ward", "note"), None)


def test_an_optional_column_may_be_in_no_line() -> None:
    assert read(line())[1][0]["visit_cost"] is None


@pytest.mark.parametrize(
    ("data", "told"),
    {
        "no text": ("", "is empty (0 bytes). Have it sent again."),
        "blank lines": ("\n \n", "has no record, only blank lines."),
        "no object": ("1\n2\n", "no line is a JSON object."),
        "CSV": ("visit_id,patient_id\nV1,P1\n", "no line is a JSON object."),
        "foreign": ('{"Id": "SECRET9"}\n', "none of the 5 expected columns (visit_id, patient_id,"),
        "required": (line().replace("patient_id", "patient"), "column is missing (patient_id); found patient."),
        "two spellings": (line() + line().replace("visit_id", "VISIT_ID"), "visit_id is ambiguous, the header has"),
        "spellings of one line": (line(Visit_Id="V9"), "visit_id is ambiguous, the header has visit_id, Visit_Id."),
        "latin-1": (line().encode() + b'{"visit_id": "\xe9"}', f"not utf-8 text: byte {len(line()) + 14} is the first"),
        "cut in a character": (line().encode() + "é".encode()[:1], f"not utf-8 text: byte {len(line())} is the first"),
        # the same bytes, so the same test ids, each time
        "gzip cut short": (gzip.compress(line().encode(), mtime=0)[:-9], "the gzip is cut short"),
        "after gzip": (gzip.compress(line().encode(), mtime=0) + b"x", "the gzip is damaged, or other bytes follow it"),
        "keys without end": (
            "".join(line(**{f"k{number}": 1}) for number in range(1000)),
            "its lines have over 1,000 different keys; is a value used as a key?",
        ),
        "endless line": ('{"visit_id": "' + "x" * (17 << 20), "has a line over 16 MiB."),
    }.values(),
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_a_delivery_that_cannot_be_read_is_refused(data: str | bytes, told: str) -> None:
    message = refusal(data)
    assert message.startswith(f"{NAME}: ") and told in message
    assert "SECRET9" not in message and "\n" not in message


def test_bom_and_gzip() -> None:
    marked = b"\xef\xbb\xbf" + line().encode()
    assert read(marked)[1] == read(line())[1] == read(gzip.compress(marked))[1]
    assert f"byte {len(marked)} is" in refusal(marked + b"\xff")


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_chunks_may_end_anywhere(size: int) -> None:
    data = line() + "\r\n" + line(visit_id="é😀", visit_cost="x") + "oops\n" + line(visit_id="V3").rstrip("\n")
    whole = read(data)
    with patch.object(ndjson, "CHUNK_BYTES", size):
        assert read(data) == whole


def test_visible_rows_are_told() -> None:
    found = [
        each["is_visible"] for each in read(line() + line(visit_id=" V") + line(visit_id="é") + line(visit_id="a b"))[1]
    ]
    assert found == [True, False, False, True]
