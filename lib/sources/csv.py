"""A snapshot's bytes in, its records as text out: Arrow batches, exact to the physical line.

Every cell leaves as the text it came as, and a record that is not a row of the table leaves as its physical text, to be
refused by name. The strict reader decides; whatever cannot be read in two ways takes the fast one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import IO

import pyarrow as pa

from lib.config import Settings
from lib.errors import DeliveryRefused
from lib.header import match_header, trimmed
from lib.sources.csv_fast import FastReader
from lib.sources.csv_strict import BROKEN, Records, StrictReader, as_batch, field_limit, not_encoded
from lib.sources.gzipped import unpacked_chunks
from lib.sources.interface import FIELD_LIMIT, MALFORMED, Reading, records_schema

# For the strict reader small: its lists die young, so the garbage collector never walks them (half the time of 4 MiB).
CHUNK_BYTES = 256 << 10
BLOCK_BYTES = 1 << 20
STRETCH_BYTES = 16 << 10
"""How far the strict reader goes on at least, once a quote has called for it."""


def open_reader(raw: IO[bytes], settings: Settings, name: str) -> CsvReader:
    """A reader of CSV as the config says it is written."""
    return CsvReader(raw, settings, name)


class CsvReader:
    """Reads one delivery from its stored bytes. `name` is its name in messages."""

    def __init__(self, raw: IO[bytes], settings: Settings, name: str) -> None:
        self._raw, self._settings, self._name = raw, settings, name
        self._schema = records_schema(settings)
        self._strict = StrictReader(settings, name)
        self._fast: FastReader | None = None
        self._rest = b""
        self._after_header = Records(1, [], [], [0])
        self._header: tuple[str, ...] = ()
        self._rows = self._malformed = 0

    @property
    def reading(self) -> Reading:
        """What was read so far."""
        return Reading(self._rows, self._malformed, self._header, self._strict.first_line - 1)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records. Grain: one row a record; those of a batch in no order.

        `source_line` is the physical line (header 1; LF, CRLF, CR each end one; of the decompressed text) where it
        starts; then a text column per `settings.wanted` name, untrimmed; then `malformed`, the physical text of a
        record with text after a closing quote, another width than the header, or a field over FIELD_LIMIT, whose other
        texts are null. Blank lines are no records. Where `is_visible`, every cell is known to be of visible ASCII and
        inner spaces only: there is nothing to trim and no character to refuse.

        Raises DeliveryRefused when the delivery is empty, not text in the configured encoding, damaged gzip, without
        the expected header, or ends inside a quote.
        """
        with field_limit(FIELD_LIMIT):
            pieces = self._pieces()
            fields = self._read_header(pieces)
            width = len(self._header)
            if FastReader.fits(self._settings):
                self._fast = FastReader(width, fields, self._schema, self._settings)
            for piece in chain([self._after_header], pieces):
                batch = (
                    as_batch(piece, width, fields, self._schema, self._settings, self._name)
                    if isinstance(piece, Records)
                    else piece
                )
                self._rows += batch.num_rows
                self._malformed += batch.num_rows - batch.column(MALFORMED).null_count
                if batch.num_rows:
                    yield batch

    def _pieces(self) -> Iterator[Records | pa.RecordBatch]:
        """What each chunk of the text gives: records of the strict reader, batches of the fast one. At least one."""
        for chunk in chain(self._chunks(), [b""]):
            if self._fast is None:
                yield from self._strict.feed(chunk)
                continue
            self._rest += chunk
            while self._rest:
                whole = self._rest.rfind(b"\n") + 1 if chunk else len(self._rest)
                if not self._strict.is_between_records or (not whole and len(self._rest) > CHUNK_BYTES):
                    yield from self._read_strictly(0)
                elif whole:
                    yield from self._read_some(whole)
                else:
                    break
            if not chunk:
                yield from self._strict.feed(b"")

    def _read_some(self, size: int) -> Iterator[Records | pa.RecordBatch]:
        """Of the next `size` bytes the lines before a quote, fast when they can be; else the lines about the quote."""
        quote = self._rest.find(self._settings.source.quote.encode(), 0, size)
        plain = size if quote < 0 else self._rest.rfind(b"\n", 0, quote) + 1
        if not plain:
            yield from self._read_strictly(quote)
            return
        read = self._fast and self._fast.read(self._rest[:plain], self._strict.first_line)
        if not read:
            yield from self._read_strictly(plain - 1)
            return
        batch, lines = read
        self._strict.pass_over(plain, lines)
        self._rest = self._rest[plain:]
        yield batch

    def _read_strictly(self, until: int) -> Iterator[Records]:
        """A stretch, to the end of a line where there is one, beyond the given place."""
        size = self._rest.find(b"\n", max(until, STRETCH_BYTES)) + 1 or len(self._rest)
        piece, self._rest = self._rest[:size], self._rest[size:]
        yield from self._strict.feed(piece)

    def _chunks(self) -> Iterator[bytes]:
        """The bytes of the text, decompressed when they begin as gzip does."""
        return unpacked_chunks(
            self._raw, self._name, lambda packed: BLOCK_BYTES if self._fast and not packed else CHUNK_BYTES
        )

    def _read_header(self, pieces: Iterator[Records | pa.RecordBatch]) -> dict[str, int]:
        """Find the header; the field of every wanted column. The records behind it, so far, are kept."""
        for records in pieces:
            assert isinstance(records, Records)
            at = next((index for index, row in enumerate(records.rows) if row), None)
            if at is None:
                continue
            row = records.rows[at]
            if "\0" in records.text(at):  # UTF-16 without its mark reads as UTF-8 with every other character NUL
                where = f"byte {self._first_nul()} is a NUL in the header, as in UTF-16"
                raise not_encoded(self._name, self._settings, where)
            if row is BROKEN:
                line = records.first_line + records.marks[at]
                raise DeliveryRefused(
                    f"{self._name}: the header (line {line}) has text after a closing quote, or a name over "
                    f"{FIELD_LIMIT >> 20} MiB. Have it sent with a well-formed header."
                )
            self._header = tuple(map(trimmed, row))
            self._after_header = records.after(at)
            return match_header(row, self._settings, self._name)
        raise DeliveryRefused(f"{self._name}: has no header, only blank lines. Have it sent again.")

    def _first_nul(self) -> int:
        """The byte offset in the text of the first NUL character, which is there."""
        encoding = self._settings.source.encoding
        width = len("\0\0".encode(encoding)) - len("\0".encode(encoding))
        data = b""
        for chunk in self._chunks():
            data += chunk
            for at in range(len(data) - len(chunk), len(data), width):
                if not any(data[at : at + width]):
                    return at
        return len(data)
