"""One JSON object a line: every value as the text it was written as; what cannot be read in one way is refused by name.

Lines end with LF or CRLF; the text is UTF-8, as JSON is. Objects need not have the same keys: the header is all keys
that any of them has, in the order of their coming, and a key that a line lacks is null there. So a required column must
be in some line; an optional one may be in none, for writers often leave nulls out.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import IO, Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

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
Cells = tuple[Any, ...]
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
        self._wanted: list[str | None] = [None] * len(self._places)
        self._keys: dict[str, None] = {}
        self._rows = self._malformed = self._lines = self._done = 0

    @property
    def reading(self) -> Reading:
        """What was read so far."""
        return Reading(self._rows, self._malformed, tuple(map(trimmed, self._keys)), self._lines)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records, as lib/sources/interface.py has them; `source_line` is the line, the first being 1.

        Malformed is a line that is not one JSON object, has a key twice in an object, a list or an object as a wanted
        value, a wanted text over FIELD_LIMIT or with half a character. Blank lines are no records.

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
        rows: list[Cells | None] = []
        texts: list[str] = []
        for number, line in enumerate(lines, self._lines + 1):
            text = self._decoded(line)
            if stripped := text.strip(JSON_SPACE):
                numbers.append(number)
                rows.append(self._row(stripped))
                texts.append(text)
        self._lines += len(lines)
        columns = self._columns(rows)
        if columns is None:  # a cell that is no text, or too long: each is looked at by itself
            rows = [row and _as_texts(row) for row in rows]
            columns = self._columns(rows)
            assert columns is not None
        malformed = [None if row else text.rstrip("\r") for row, text in zip(rows, texts, strict=True)]
        self._malformed += rows.count(None)
        ends = [pa.array(malformed, pa.string()), are_visible(columns, len(rows))]
        return pa.RecordBatch.from_arrays([pa.array(numbers, pa.int64()), *columns, *ends], schema=self._schema)

    def _columns(self, rows: list[Cells | None]) -> list[pa.Array] | None:
        """The rows' texts by column, null where a row is malformed; None when any cell cannot be one."""
        nothing = (None,) * len(self._places)
        try:
            columns = [pa.array(each, pa.string()) for each in zip(*(row or nothing for row in rows), strict=True)]
        except (pa.ArrowException, UnicodeEncodeError):
            return None
        if any((pc.max(pc.binary_length(each)).as_py() or 0) > FIELD_LIMIT for each in columns):
            return None
        return columns or [pa.array([], pa.string())] * len(self._places)

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

    def _row(self, text: str) -> Cells | None:
        """The wanted values of a line, stripped of space, in the schema's order; None when it is no such object."""
        try:
            record, end = _DECODE(text)
        except (ValueError, RecursionError):
            return None
        if type(record) is not dict or end != len(text):
            return None
        if not record.keys() <= self._keys.keys():
            for key in record:
                self._note_key(key)
        return tuple(map(record.get, self._wanted))

    def _note_key(self, key: str) -> None:
        """Note a key, which may be one that no line had before, and whose column it is.

        A column that comes under two keys refuses the delivery in the end, so the last one is as good as any."""
        if key in self._keys or not _is_text(key):
            return
        if len(self._keys) == MOST_KEYS:
            raise DeliveryRefused(
                f"{self._name}: its lines have over {MOST_KEYS:,} different keys; is a value used as a key? "
                "Have it sent with a fixed set of keys."
            )
        self._keys[key] = None
        place = self._places.get(trimmed(key).casefold())
        if place is not None:
            self._wanted[place] = key


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, of which no key stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _as_texts(cells: Cells) -> Cells | None:
    """A row whose cells are texts or null; None when one is neither."""
    texts = tuple(TEXTS[cell] if isinstance(cell, bool) else cell for cell in cells)
    return texts if all(cell is None or _is_text(cell) for cell in texts) else None


def _is_text(cell: Any) -> bool:
    """Whether it is text, and not too long: an escape may write half a surrogate pair, which no encoding has."""
    if not isinstance(cell, str) or len(cell) > FIELD_LIMIT:
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


_DECODE: Callable[[str], tuple[Any, int]] = json.JSONDecoder(
    object_pairs_hook=_once,
    parse_float=str,  # a number is the text that it was written as
    parse_int=str,
    parse_constant=_no_number,
).raw_decode
