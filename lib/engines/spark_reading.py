"""Reading snapshots on the cluster: pieces planned here, each read by a task there with the readers of lib/sources.

The snapshots' bytes pass through this process once, to be hashed before anything is made of them; their records are
made by the workers only. A plain CSV (no quote in it, UTF-8, no CR alone) is cut between lines and read by many
tasks; every other delivery is read by one task from its beginning to its end.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc

from lib.batch_reader import BatchReader
from lib.config import Settings
from lib.deliveries import Delivery
from lib.errors import DeliveryRefused
from lib.files import TEMPORARY_PREFIX, write_json
from lib.raw import open_snapshot
from lib.sources.choose import format_named, format_of
from lib.sources.csv_fast import FastReader
from lib.sources.gzipped import GZIP_MAGIC
from lib.sources.interface import Reading, records_schema

PIECE_BYTES = 8 << 20
HEADER_BYTES = 1 << 16
"""A longer header is no plain CSV's."""


@dataclass(frozen=True)
class Piece:
    """What one task reads: a snapshot from `start`, `size` bytes of it; all where that is None. `header`: bytes to
    be read before them, of `header_lines` lines. `line`: the physical line that the piece begins on."""

    sequence: int
    name: str
    path: str
    start: int = 0
    size: int | None = None
    header: bytes = b""
    header_lines: int = 0
    line: int = 1


def plan_pieces(reader: BatchReader) -> list[Piece]:
    """The pieces of the reader's deliveries. Raises StoredDataChanged for a snapshot that is not what was received."""
    pieces: list[Piece] = []
    for each in reader.deliveries:
        path = str((reader.layout.raw / each.source / each.snapshot).resolve())
        with open_snapshot(reader.layout, each) as raw:
            is_csv = format_of(each.name, reader.settings) == "csv" and FastReader.fits(reader.settings)
            cut = _cut(raw, reader.settings, each, path) if is_csv else []
        pieces += cut or [Piece(each.sequence, each.name, path)]
    return pieces


def _cut(raw: IO[bytes], settings: Settings, delivery: Delivery, path: str) -> list[Piece]:
    """The pieces of a plain CSV; none when it is not plain."""
    quote = settings.source.quote.encode()
    block = raw.read(PIECE_BYTES)
    header = _header(block)
    if header is None or block.startswith(GZIP_MAGIC):
        return []
    header_lines = header.count(b"\n")
    pieces: list[Piece] = []
    start, line = 0, 1
    while block:
        if not block.endswith(b"\n") and (more := _rest_of_line(raw)):
            block += more
        if quote in block or block.count(b"\r") != block.count(b"\r\n"):
            return []
        lines = block.count(b"\n") + (not block.endswith(b"\n"))
        before = header if start else b""
        skipped = header_lines if start else 0
        pieces.append(Piece(delivery.sequence, delivery.name, path, start, len(block), before, skipped, line))
        start, line = start + len(block), line + lines
        block = raw.read(PIECE_BYTES)
    return pieces


def _header(block: bytes) -> bytes | None:
    """The bytes up to the end of the first line that is not blank."""
    begin = 0
    while (end := block.find(b"\n", begin, HEADER_BYTES) + 1) > 0:
        if block[begin:end].removeprefix(b"\xef\xbb\xbf" if not begin else b"").strip(b"\r\n"):
            return block[:end]
        begin = end
    return None


def _rest_of_line(raw: IO[bytes]) -> bytes:
    rest = b""
    while chunk := raw.read(HEADER_BYTES):
        end = chunk.find(b"\n") + 1
        if end:
            raw.seek(end - len(chunk), io.SEEK_CUR)
            return rest + chunk[:end]
        rest += chunk
    return rest


def read_piece(piece: Piece, number: int, settings: Settings, told: str) -> Iterator[pa.RecordBatch]:
    """A task's work: the records of a piece, with their delivery_seq. What was read is told in a file of the folder
    `told`: a task that is done again tells the same."""
    schema = batch_schema(settings)
    with Path(piece.path).open("rb") as stream:
        raw: IO[bytes] = stream
        if piece.size is not None:
            stream.seek(piece.start)
            raw = io.BytesIO(piece.header + stream.read(piece.size))
        kind = format_named(format_of(piece.name, settings))
        reader = kind.open_reader(raw, settings, piece.name)
        shift = piece.line - 1 - piece.header_lines
        refusal = None
        try:
            for batch in reader.batches():
                lines, *others = batch.columns
                if shift:
                    lines = pc.add(lines, shift)
                sequence = pa.repeat(pa.scalar(piece.sequence, pa.int64()), batch.num_rows)
                yield pa.RecordBatch.from_arrays([sequence, lines, *others], schema=schema)
        except DeliveryRefused as refused:
            refusal = str(refused)
    found = reader.reading
    reading = [found.rows, found.malformed, found.header, found.lines - piece.header_lines]
    path = Path(told) / f"{number}.json"
    if not path.exists():
        write_json(path, {"sequence": piece.sequence, "reading": reading, "refusal": refusal})


def gather(reader: BatchReader, pieces: list[Piece], told: Path) -> None:
    """Put into the reader what the tasks told of each delivery. A refusal by a task that read a part of a delivery is
    found anew, for its words to name the right byte or line."""
    for number in range(len(pieces)):
        each = json.loads((told / f"{number}.json").read_bytes())
        rows, malformed, header, lines = each["reading"]
        before = reader.readings.get(each["sequence"], Reading(0, 0, (), 0))
        reader.readings[each["sequence"]] = Reading(
            before.rows + rows, before.malformed + malformed, tuple(header), before.lines + lines
        )
        if each["refusal"]:
            reader.refusals.setdefault(each["sequence"], DeliveryRefused(each["refusal"]))
    for sequence in reader.refusals:
        reader.readings.pop(sequence, None)
        if sum(each.sequence == sequence for each in pieces) > 1:
            delivery = next(each for each in reader.deliveries if each.sequence == sequence)
            with open_snapshot(reader.layout, delivery) as raw:
                reader.refusals[sequence] = _refusal(raw, reader, delivery) or reader.refusals[sequence]


def _refusal(raw: IO[bytes], reader: BatchReader, delivery: Delivery) -> DeliveryRefused | None:
    try:
        for _ in format_named("csv").open_reader(raw, reader.settings, delivery.name).batches():
            pass
    except DeliveryRefused as refusal:
        return refusal
    return None


def batch_schema(settings: Settings) -> pa.Schema:
    """The columns of `records`."""
    return records_schema(settings).insert(0, pa.field("delivery_seq", pa.int64()))


def packed_code(root: Path, folder: Path) -> Path:
    """lib as an archive that workers import, so that they read by this very code."""
    path = folder / f"{TEMPORARY_PREFIX}lib.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for each in sorted((root / "lib").rglob("*.py")):
            archive.write(each, each.relative_to(root))
    return path
