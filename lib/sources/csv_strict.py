"""Bytes → text → physical lines → records: exact to the line, and the authority on what a record is.

Nothing is sniffed, guessed or repaired. It is fed bytes a piece at a time and gives records as soon as they are whole.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, cast

import pyarrow as pa

from lib.config import Settings
from lib.errors import DeliveryRefused
from lib.sources.interface import FIELD_LIMIT, RECORD_LIMIT

BROKEN: list[str] = [""]
"""Stands for a record that csv cannot parse. One field wide, which no row is: three columns are always mapped."""


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


class StrictReader:
    """Gives the records of the bytes that it is fed; what a piece's end cuts waits for the next piece.

    `name` is the delivery's name in messages. `first_line` is the physical line that the next record starts on.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self.first_line = 1
        self._settings, self._name = settings, name
        # utf-8-sig would strip the mark too, but counts its errors' offsets from behind it
        encoding = settings.source.encoding
        self._decoder = codecs.getincrementaldecoder("utf-8" if encoding == "utf-8-sig" else encoding)()
        self._done, self._begun, self._text = 0, False, ""
        self._waiting, self._enough = list[str](), 0

    @property
    def is_between_records(self) -> bool:
        """Whether nothing waits: the next byte begins a record."""
        return not (self._waiting or self._text or self._decoder.getstate()[0])

    def pass_over(self, size: int, lines: int) -> None:
        """Go on behind so many bytes, of whole lines, that another reader has read."""
        self._done += size
        self.first_line += lines

    def feed(self, piece: bytes) -> Iterator[Records]:
        """The records that the piece completes; b"" is the end of the text. Raises DeliveryRefused: not in the
        configured encoding, a line or record over the limit, an end inside a quote."""
        if lines := self._lines(piece):
            yield from self._records(lines)
        if not piece:
            yield from self._records([])
            if self._waiting:
                raise DeliveryRefused(
                    f"{self._name}: ends inside a quote; the record with the quote starts on line {self.first_line}. "
                    "Close it and have the file sent again."
                )
        elif len(self._text) > RECORD_LIMIT:
            raise DeliveryRefused(
                f"{self._name}: has a line over {RECORD_LIMIT >> 20} MiB. Have it sent with shorter lines."
            )

    def _lines(self, piece: bytes) -> list[str]:
        """The physical lines that the piece completes, with their ends, without the byte order mark."""
        held_back = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeError as error:
            offset = self._done - held_back + getattr(error, "start", 0)
            raise not_encoded(self._name, self._settings, f"byte {offset} is the first that is not") from None
        self._done += len(piece)
        if text and not self._begun:
            text, self._begun = text.removeprefix("\ufeff"), True
        self._text += text
        # a last CR waits: the LF of its line end may be in the next piece
        end = max(self._text.rfind("\n"), self._text.rfind("\r", 0, -1)) + 1 if piece else len(self._text)
        whole, self._text = self._text[:end], self._text[end:]
        return _lines(whole)

    def _records(self, lines: list[str]) -> Iterator[Records]:
        self._waiting += lines
        if lines and self._enough and _size(self._waiting) < self._enough:
            return
        records = _parse(self.first_line, self._waiting, self._settings)
        yield records
        self.first_line += len(records.lines)
        self._waiting = self._waiting[len(records.lines) :]
        # parsed again only when doubled, so a long record costs no square of its length
        self._enough = 2 * _size(self._waiting)
        if self._enough > 2 * RECORD_LIMIT:
            raise DeliveryRefused(
                f"{self._name}: the record that starts on line {self.first_line} is over {RECORD_LIMIT >> 20} MiB; "
                "is a quote left open? Close it and have the file sent again."
            )


def as_batch(
    records: Records, width: int, fields: Mapping[str, int], schema: pa.Schema, settings: Settings, name: str
) -> pa.RecordBatch:
    """The records as Arrow columns, blank lines left out, malformed ones as their text. `width`: the header's."""
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
        raise not_encoded(name, settings, where) from None
    return pa.RecordBatch.from_arrays([*columns, pa.repeat(False, len(rows))], schema=schema)


def not_encoded(name: str, settings: Settings, where: str) -> DeliveryRefused:
    """The refusal of a delivery that is not text in the configured encoding."""
    return DeliveryRefused(
        f"{name}: is not {settings.source.encoding} text: {where}. Set 'encoding' under 'source' in config.yaml, "
        "or have it sent in that encoding."
    )


@contextmanager
def field_limit(characters: int) -> Iterator[None]:
    """csv's own limit, which belongs to the whole process."""
    before = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _lines(text: str) -> list[str]:
    """Physical lines with their ends: LF, CRLF and CR end one, nothing else does (`splitlines` has ten line ends)."""
    return io.StringIO(text, newline="").readlines()


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
    with field_limit(4 * RECORD_LIMIT):
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


def _size(lines: list[str]) -> int:
    return sum(map(len, lines))
