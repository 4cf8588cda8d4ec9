"""Snapshot in, text Parquet out: one strict streaming reader, exact to the physical line.

Bytes → text → physical lines → records → Arrow. Nothing is sniffed, guessed or repaired: every cell leaves as the text
it came as, and a record that is not a row of the table leaves as its physical text, to be refused by name.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from lib.config import Settings
from lib.errors import DeliveryRefused
from lib.files import whole_file
from lib.header import match_header, trimmed

FIELD_LIMIT = 1 << 20
"""Characters in one field; a longer one makes its record malformed."""

RECORD_LIMIT = 16 << 20
"""Characters in one record: what is held in memory at most. A longer one is a quote left open, near enough."""

# Small chunks: their lists die young, so the garbage collector never walks them (half the time of 4 MiB ones).
CHUNK_BYTES = 256 << 10
GROUP_ROWS = 100_000
GROUP_BYTES = 16 << 20

GZIP_MAGIC = b"\x1f\x8b"
BROKEN: list[str] = [""]
"""Stands for a record that csv cannot parse. One field wide, which no row is: three columns are always mapped."""


@dataclass(frozen=True)
class Reading:
    """What was read: records (malformed ones among them), malformed records, header names, physical lines."""

    rows: int
    malformed: int
    header: tuple[str, ...]
    lines: int


@dataclass(frozen=True)
class Records:
    """Some records of a delivery. Row i spans `lines[marks[i]:marks[i + 1]]`; a blank line is a row of no fields."""

    first_line: int
    lines: list[str]
    rows: list[list[str]]
    marks: list[int]

    def after(self, row: int) -> Records:
        """The records that follow the given one."""
        return Records(self.first_line, self.lines, self.rows[row + 1 :], self.marks[row + 1 :])

    def text(self, row: int) -> str:
        """The physical text of a record, without its final line end."""
        return "".join(self.lines[self.marks[row] : self.marks[row + 1]]).rstrip("\r\n")


def read_delivery(snapshot: Path, settings: Settings, target: Path, name: str) -> Reading:
    """Write the snapshot's records to `target` (Parquet, 0600, whole or absent) as the text that they are.

    Grain: one row a record, in the delivery's order. `source_line` is the physical line (header 1; LF, CRLF, CR each
    end one; of the decompressed text) where it starts; then a text column per `settings.wanted` name, untrimmed; then
    `malformed`, the physical text of a record with text after a closing quote, another width than the header, or a
    field over FIELD_LIMIT, whose other texts are null. Blank lines are no records.

    `name` is the delivery's name in messages; `target`'s folder must exist. Raises DeliveryRefused when the snapshot is
    empty, not text in the configured encoding, damaged gzip, without the expected header, or ends inside a quote.
    """
    with snapshot.open("rb") as raw, _field_limit(FIELD_LIMIT):
        chunks = _chunks(raw, name)
        header, fields, rest = _header(_records(_blocks(chunks, settings, name), settings, name), raw, settings, name)
        schema = pa.schema(
            [("source_line", pa.int64()), *((ours, pa.string()) for ours in fields), ("malformed", pa.string())]
        )
        rows = malformed = lines = 0
        # every cell of most columns differs: a dictionary of them costs time and room
        with (
            whole_file(target) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=False) as writer,
        ):
            group: list[pa.RecordBatch] = []
            for records in rest:
                lines = records.first_line - 1 + len(records.lines)
                batch = _batch(records, len(header), fields, schema, settings, name)
                rows += batch.num_rows
                malformed += batch.num_rows - batch.column("malformed").null_count
                group.append(batch)
                if _fills_a_group(group):
                    writer.write_table(pa.Table.from_batches(group))
                    group = []
            writer.write_table(pa.Table.from_batches(group, schema))
    return Reading(rows, malformed, header, lines)


def _chunks(raw: IO[bytes], name: str) -> Iterator[bytes]:
    """The bytes of the text, decompressed when they begin as gzip does."""
    packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    raw.seek(0)
    stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb")) if packed else raw
    done = 0
    try:
        while chunk := stream.read(CHUNK_BYTES):
            done += len(chunk)
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = "is cut short" if isinstance(error, EOFError) else "is damaged, or other bytes follow it"
        raise DeliveryRefused(f"{name}: the gzip {what} (after {done:,} bytes of text). Have it sent again.") from None
    if not done:
        raise DeliveryRefused(f"{name}: is empty (0 bytes{' of text' if packed else ''}). Have it sent again.")


def _blocks(chunks: Iterable[bytes], settings: Settings, name: str) -> Iterator[list[str]]:
    """Whole physical lines with their line ends, a chunk's worth at a time, without the byte order mark."""
    # utf-8-sig would strip the mark too, but counts its errors' offsets from behind it
    encoding = settings.source.encoding
    decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
    pending, done, begun = "", 0, False
    for chunk in chain(chunks, [b""]):
        held_back = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            offset = done - held_back + getattr(error, "start", 0)
            raise _not_encoded(name, settings, f"byte {offset} is the first that is not") from None
        done += len(chunk)
        if text and not begun:
            text, begun = text.removeprefix("\ufeff"), True
        pending += text
        # a last CR waits: the LF of its line end may be in the next chunk
        end = max(pending.rfind("\n"), pending.rfind("\r", 0, -1)) + 1 if chunk else len(pending)
        if end:
            yield _lines(pending[:end])
            pending = pending[end:]
        if len(pending) > RECORD_LIMIT:
            raise DeliveryRefused(f"{name}: has a line over {RECORD_LIMIT >> 20} MiB. Have it sent with shorter lines.")


def _lines(text: str) -> list[str]:
    """Physical lines with their ends: LF, CRLF and CR end one, nothing else does (`splitlines` has ten line ends)."""
    return io.StringIO(text, newline="").readlines()


def _records(blocks: Iterable[list[str]], settings: Settings, name: str) -> Iterator[Records]:
    """Parsed records, a block's worth at a time; one that a block's end cuts waits for the next. At least one item."""
    first_line, waiting, enough = 1, list[str](), 0
    for block in chain(blocks, [list[str]()]):
        waiting += block
        if block and enough and _size(waiting) < enough:
            continue
        records = _parse(first_line, waiting, settings)
        yield records
        first_line += len(records.lines)
        waiting = waiting[len(records.lines) :]
        enough = 2 * _size(waiting)  # parsed again only when doubled, so a long record costs no square of its length
        if enough > 2 * RECORD_LIMIT:
            raise DeliveryRefused(
                f"{name}: the record that starts on line {first_line} is over {RECORD_LIMIT >> 20} MiB; "
                "is a quote left open? Close it and have the file sent again."
            )
    if waiting:
        raise DeliveryRefused(
            f"{name}: ends inside a quote; the record with the quote starts on line {first_line}. "
            "Close it and have the file sent again."
        )


def _parse(first_line: int, lines: list[str], settings: Settings) -> Records:
    """The complete records at the beginning of `lines`; a last one that ends inside a quote is left out."""
    feed = _Feed(lines)
    reader = _csv_reader(feed, settings)
    rows: list[list[str]] = []
    marks, skipped = [0], 0
    while True:
        try:
            for row in reader:
                rows.append(row)
                marks.append(reader.line_num + skipped)
            break
        except csv.Error:
            start, end = marks[-1], reader.line_num + skipped
            if _size(lines[start:end]) > FIELD_LIMIT:  # too long a field stopped csv: the record may go on
                skipped += _rest_of_record(lines[start:end], feed, settings)
                end = reader.line_num + skipped
            if feed.ended:
                break
            rows.append(BROKEN)
            marks.append(end)
    return Records(first_line, lines[: marks[-1]], rows, marks)


def _rest_of_record(begun: list[str], feed: _Feed, settings: Settings) -> int:
    """How many lines a record with too long a field goes on for, taken from `feed`."""
    with _field_limit(2 * RECORD_LIMIT + 2 * CHUNK_BYTES):
        reader = _csv_reader(chain(begun, feed), settings)
        with suppress(csv.Error, StopIteration):
            next(reader)
        taken: int = reader.line_num
        return taken - len(begun)


class _Feed:
    """Lines for csv, which says of a record cut by the end of them only that it is wrong."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = iter(lines)
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        yield from self._lines
        self.ended = True


def _csv_reader(lines: Iterable[str], settings: Settings) -> Any:
    return csv.reader(lines, delimiter=settings.source.delimiter, quotechar=settings.source.quote, strict=True)


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    """csv's own limit, which belongs to the whole process."""
    before = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _header(
    batches: Iterator[Records], raw: IO[bytes], settings: Settings, name: str
) -> tuple[tuple[str, ...], dict[str, int], Iterator[Records]]:
    """The trimmed header names, the field of every wanted column, and the records after the header."""
    for records in batches:
        at = next((index for index, row in enumerate(records.rows) if row), None)
        if at is None:
            continue
        row = records.rows[at]
        if "\0" in records.text(at):  # UTF-16 without its mark reads as UTF-8 with every other character NUL
            offset = _first_nul(raw, settings, name)
            raise _not_encoded(name, settings, f"byte {offset} is a NUL in the header, as in UTF-16")
        if row is BROKEN:
            line = records.first_line + records.marks[at]
            raise DeliveryRefused(
                f"{name}: the header (line {line}) has text after a closing quote, or a name over "
                f"{FIELD_LIMIT >> 20} MiB. Have it sent with a well-formed header."
            )
        return tuple(map(trimmed, row)), match_header(row, settings, name), chain([records.after(at)], batches)
    raise DeliveryRefused(f"{name}: has no header, only blank lines. Have it sent again.")


def _first_nul(raw: IO[bytes], settings: Settings, name: str) -> int:
    """The byte offset in the text of the first NUL character, which is there."""
    encoding = settings.source.encoding
    width = len("\0\0".encode(encoding)) - len("\0".encode(encoding))
    raw.seek(0)
    data = b""
    for chunk in _chunks(raw, name):
        data += chunk
        for at in range(len(data) - len(chunk), len(data), width):
            if not any(data[at : at + width]):
                return at
    return len(data)


def _not_encoded(name: str, settings: Settings, where: str) -> DeliveryRefused:
    return DeliveryRefused(
        f"{name}: is not {settings.source.encoding} text: {where}. Set 'encoding' under 'source' in config.yaml, "
        "or have it sent in that encoding."
    )


def _batch(
    records: Records, width: int, fields: Mapping[str, int], schema: pa.Schema, settings: Settings, name: str
) -> pa.RecordBatch:
    """The records as Arrow columns, blank lines left out, malformed ones as their text."""
    rows, starts = records.rows, records.marks[:-1]
    malformed: list[str | None] = [None] * len(rows)
    if set(map(len, rows)) - {width}:
        kept = [index for index, row in enumerate(rows) if row]
        malformed = [None if len(rows[index]) == width else records.text(index) for index in kept]
        nothing = cast(list[str], [None] * width)
        rows = [nothing if text is not None else rows[index] for index, text in zip(kept, malformed, strict=True)]
        starts = [starts[index] for index in kept]
    columns: list[Any] = [pa.array([records.first_line + start for start in starts], pa.int64())]
    try:
        columns += [pa.array(list(map(itemgetter(field), rows)), pa.string()) for field in fields.values()]
        columns.append(pa.array(malformed, pa.string()))
    except UnicodeEncodeError:  # half a surrogate pair: the codec let it pass (utf-7 does), Unicode has no such text
        last_line = records.first_line + len(records.lines) - 1
        where = f"there is half a character between lines {records.first_line} and {last_line}"
        raise _not_encoded(name, settings, where) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fills_a_group(batches: list[pa.RecordBatch]) -> bool:
    rows, size = sum(batch.num_rows for batch in batches), sum(batch.nbytes for batch in batches)
    return bool(rows >= GROUP_ROWS or size >= GROUP_BYTES)


def _size(lines: list[str]) -> int:
    return sum(map(len, lines))
