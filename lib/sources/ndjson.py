"""One JSON object a line: every value as the text it was written as; what cannot be read in one way is refused by name.

Lines end with LF or CRLF; the text is UTF-8, as JSON is. Objects need not have the same keys: the header is all keys
that any of them has, in the order of their coming, and a key that a line lacks is null there. So a required column must
be in some line; an optional one may be in none, for writers often leave nulls out.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import IO, Any, NoReturn

import pyarrow as pa

from lib.config import REQUIRED, Settings
from lib.errors import DeliveryRefused
from lib.header import match_header, trimmed
from lib.sources.gzipped import unpacked_chunks
from lib.sources.interface import FIELD_LIMIT, RECORD_LIMIT, Reading, records_schema
from lib.sources.visible import are_visible

CHUNK_BYTES = 256 << 10
MOST_KEYS = 1_000
"""Different keys in one delivery: beyond it, keys are likely values, such as ids."""

JSON_SPACE = " \t\r\n"
TEXTS = {True: "true", False: "false"}


def open_reader(raw: IO[bytes], settings: Settings, name: str) -> NdjsonReader:
    """A reader of lines of JSON."""
    return NdjsonReader(raw, settings, name)


class NdjsonReader:
    """Reads one delivery from its stored bytes. `name` is its name in messages."""

    def __init__(self, raw: IO[bytes], settings: Settings, name: str) -> None:
        self._raw, self._settings, self._name = raw, settings, name
        self._schema = records_schema(settings)
        self._places = {trimmed(theirs).casefold(): place for place, theirs in enumerate(settings.wanted.values())}
        self._keys: dict[str, int | None] = {}
        self._rows = self._malformed = self._lines = self._done = 0

    @property
    def reading(self) -> Reading:
        """What was read so far."""
        return Reading(self._rows, self._malformed, tuple(map(trimmed, self._keys)), self._lines)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records, as lib/sources/interface.py has them; `source_line` is the line, the first being 1.

        Malformed is a line that is not one JSON object, has a key twice, a list or an object as a wanted value, a text
        over FIELD_LIMIT or with half a character. Blank lines are no records.

        Raises DeliveryRefused when the delivery is empty, not UTF-8, damaged gzip, without a required column in any
        line, with a column under two keys, or with a line over RECORD_LIMIT.
        """
        for lines in self._whole_lines():
            batch = self._batch(lines)
            self._rows += batch.num_rows
            if batch.num_rows:
                yield batch
        if not self._rows:
            raise DeliveryRefused(f"{self._name}: has no record, only blank lines. Have it sent again.")
        if not self._keys:
            raise DeliveryRefused(f"{self._name}: no line is a JSON object. Have it sent as one object a line.")
        optional = self._settings.wanted.keys() - set(REQUIRED)
        match_header(list(self._keys), self._settings, self._name, may_lack=optional, of_text=False)

    def _whole_lines(self) -> Iterator[list[bytes]]:
        """The lines of each chunk, as they are completed, without their LF."""
        rest = b""
        for chunk in unpacked_chunks(self._raw, self._name, lambda packed: CHUNK_BYTES):
            first, *others = chunk.split(b"\n")
            if not others:
                rest += first
                if len(rest) > RECORD_LIMIT:
                    raise DeliveryRefused(
                        f"{self._name}: has a line over {RECORD_LIMIT >> 20} MiB. Have it sent with shorter lines."
                    )
                continue
            *whole, last = others
            yield [rest + first, *whole]
            rest = last
        if rest:
            yield [rest]

    def _batch(self, lines: list[bytes]) -> pa.RecordBatch:
        if not self._lines:
            marked, lines[0] = lines[0], lines[0].removeprefix(codecs.BOM_UTF8)
            self._done += len(marked) - len(lines[0])
        numbers: list[int] = []
        rows: list[tuple[str | None, ...]] = []
        malformed: list[str | None] = []
        for number, line in enumerate(lines, self._lines + 1):
            text = self._decoded(line)
            if not text.strip(JSON_SPACE):
                continue
            row = self._row(text)
            numbers.append(number)
            rows.append(row or self._nothing)
            malformed.append(None if row else text.rstrip("\r"))
        self._lines += len(lines)
        self._malformed += len(malformed) - malformed.count(None)
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        columns = columns or [pa.array([], pa.string())] * (len(self._schema) - 3)
        ends = [pa.array(malformed, pa.string()), are_visible(columns, len(rows))]
        return pa.RecordBatch.from_arrays([pa.array(numbers, pa.int64()), *columns, *ends], schema=self._schema)

    def _decoded(self, line: bytes) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise DeliveryRefused(
                f"{self._name}: is not utf-8 text: byte {self._done + error.start} is the first that is not. JSON is "
                "UTF-8; have it sent so."
            ) from None
        self._done += len(line) + 1
        return text

    @property
    def _nothing(self) -> tuple[None, ...]:
        return tuple(repeat(None, len(self._places)))

    def _row(self, text: str) -> tuple[str | None, ...] | None:
        """The wanted values of a line, in the schema's order; None when it is malformed."""
        try:
            pairs = _DECODE(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(pairs, _Pairs) or len(dict(pairs)) != len(pairs):
            return None
        row: list[str | None] = [None] * len(self._places)
        for key, value in pairs:
            place = self._keys[key] if key in self._keys else self._new_key(key)
            if place is None or value is None:
                continue
            cell = TEXTS[value] if isinstance(value, bool) else value
            if not isinstance(cell, str) or len(cell) > FIELD_LIMIT or not _has_text(cell):
                return None
            row[place] = cell
        return tuple(row)

    def _new_key(self, key: str) -> int | None:
        """Note a key that no line had before; the place of its column, None when it is none's."""
        if len(self._keys) == MOST_KEYS:
            raise DeliveryRefused(
                f"{self._name}: its lines have over {MOST_KEYS:,} different keys; is a value used as a key? "
                "Have it sent with a fixed set of keys."
            )
        if not _has_text(key):
            return None
        self._keys[key] = self._places.get(trimmed(key).casefold())
        return self._keys[key]


class _Pairs(list[tuple[str, Any]]):
    """An object's keys and values as they stand, a key that stands twice among them."""


def _no_number(text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _has_text(text: str) -> bool:
    """Whether it is text: an escape may write half a surrogate pair, which no encoding has."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_DECODE: Callable[[str], Any] = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_float=str,  # a number is the text that it was written as
    parse_int=str,
    parse_constant=_no_number,
).decode
