"""Pieces of a delivery, each read by itself as a worker of Spark reads it: together they are what one reader reads."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lib.batch_reader import BatchReader
from lib.config import settings_from
from lib.deliveries import Delivery
from lib.engines import spark_reading
from lib.engines.spark_reading import batch_schema, gather, plan_pieces, read_piece
from lib.errors import DeliveryRefused, StoredDataChanged
from lib.layout import Layout

HEADER = b"visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated\n"
LINES = [b"V%d,P1,,J06.9,2025-03-01,%d,2025-03-01T12:00:00Z\n" % (number, number) for number in range(40)]
PLAIN = HEADER + b"".join(LINES)


def reader_of(folder: Path, data: bytes, name: str = "visits.csv", **source: Any) -> BatchReader:
    layout = Layout.at(folder / "data", None)
    snapshot = layout.raw / "clinic" / name
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    snapshot.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    delivery = Delivery("clinic", 7, name, sha256, len(data), name, "2025-03-02T06:00:00.000000+00:00", "000001-x")
    return BatchReader(layout, settings_from({"source": source}, "config.yaml"), (delivery,))


def rows(batches: list[pa.RecordBatch], reader: BatchReader) -> list[dict[str, Any]]:
    """In the order of their lines; what only saves the judging a look is left out."""
    found = pa.Table.from_batches(batches, batch_schema(reader.settings)).drop_columns("is_visible").to_pylist()
    return sorted(found, key=lambda row: row["source_line"])


def read_in_pieces(folder: Path, reader: BatchReader) -> tuple[list[pa.RecordBatch], int]:
    told = folder / "told"
    told.mkdir()
    pieces = plan_pieces(reader)
    batches = [
        batch for number, piece in enumerate(pieces) for batch in read_piece(piece, number, reader.settings, str(told))
    ]
    gather(reader, pieces, told)
    return batches, len(pieces)


@pytest.mark.parametrize(
    ("data", "is_cut"),
    [
        (PLAIN, True),
        (PLAIN.rstrip(b"\n"), True),
        (PLAIN.replace(b"\n", b"\r\n"), True),
        (b"\xef\xbb\xbf\n\n" + PLAIN, True),
        (HEADER + b"\n\n".join(LINES), True),
        (HEADER + b"".join(LINES[:9]) + b"wrong,width\n" + b" V99 ,P\xc3\xa9,,,,,\n" + b"".join(LINES[9:]), True),
        (HEADER + LINES[0] + b"\xef\xbb\xbfV50,P1,,J06.9,2025-03-01,1,2025-03-01\n" * 40, True),
        (HEADER, True),
        (PLAIN.replace(b"V33,", b'"V33",'), False),
        (PLAIN.replace(b"V33,P1,,J06.9", b'"V\n33",P1,,J06.9'), False),
        (PLAIN.replace(b"\n", b"\r"), False),
        (PLAIN.replace(b"12:00:00Z\nV9,", b"12:00:00Z\rV9,"), False),
        (gzip.compress(PLAIN), False),
    ],
    ids=(
        "plain", "no last line end", "CRLF", "mark and blank lines first", "blank lines", "malformed and not ASCII",
        "marks that are text", "header only", "quotes", "a line end in quotes", "CR", "one CR", "gzip",
    ),
)  # fmt: skip
def test_pieces_give_the_records_and_lines_of_the_whole(
    data: bytes, is_cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_reading, "PIECE_BYTES", 300)
    whole = reader_of(tmp_path, data)
    expected = rows(list(whole.records), whole)
    reader = reader_of(tmp_path, data)
    batches, pieces = read_in_pieces(tmp_path, reader)
    assert rows(batches, reader) == expected
    assert reader.readings == whole.readings and not reader.refusals
    assert (pieces > 1) == (is_cut and len(data) > 300)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"V33,", b"V\xff33,"),
        PLAIN.replace(b"V33,", b'"V33,'),
        HEADER.replace(b"visit_id", b"id") + PLAIN,
        b"",
    ],
    ids=("not UTF-8", "ends inside a quote", "no such column", "empty"),
)
def test_a_delivery_is_refused_in_the_same_words(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_reading, "PIECE_BYTES", 300)
    whole = reader_of(tmp_path, data)
    list(whole.records)
    reader = reader_of(tmp_path, data)
    read_in_pieces(tmp_path, reader)
    assert str(reader.refusals[7]) == str(whole.refusals[7]) and isinstance(reader.refusals[7], DeliveryRefused)
    assert reader.readings == whole.readings == {}


def test_an_altered_snapshot_is_found_before_a_worker_reads_it(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, PLAIN)
    snapshot = reader.layout.raw / "clinic" / "visits.csv"
    snapshot.write_bytes(PLAIN.replace(b"V33", b"V34"))
    with pytest.raises(StoredDataChanged, match="not what was received"):
        plan_pieces(reader)


def test_what_is_not_csv_is_one_piece(tmp_path: Path) -> None:
    row = b'{"visit_id": "V1", "patient_id": "P1", "visit_date": "2025-03-01", "last_updated": "2025-03-01"}\n'
    reader = reader_of(tmp_path, row * 3, "visits.ndjson")
    whole = reader_of(tmp_path, row * 3, "visits.ndjson")
    batches, pieces = read_in_pieces(tmp_path, reader)
    assert pieces == 1 and rows(batches, reader) == rows(list(whole.records), whole)
