"""Parquet: the mapped columns of every row, as the text that stands for the value of its type (parquet_text.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib.config import Settings
from lib.errors import DeliveryRefused
from lib.header import match_header, trimmed
from lib.sources.interface import FIELD_LIMIT, Reading, records_schema
from lib.sources.parquet_text import has_text, texts_of
from lib.sources.visible import are_visible

BATCH_ROWS = 65_536


def open_reader(raw: IO[bytes], settings: Settings, name: str) -> ParquetReader:
    """A reader of Parquet."""
    return ParquetReader(raw, settings, name)


class ParquetReader:
    """Reads one delivery from its stored bytes. `name` is its name in messages."""

    def __init__(self, raw: IO[bytes], settings: Settings, name: str) -> None:
        self._raw, self._settings, self._name = raw, settings, name
        self._schema = records_schema(settings)
        self._header: tuple[str, ...] = ()
        self._rows = self._malformed = 0

    @property
    def reading(self) -> Reading:
        """What was read so far."""
        return Reading(self._rows, self._malformed, self._header, self._rows)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records, as lib/sources/interface.py has them; `source_line` is the row's number, the first being 1.

        Malformed is a row with a text over FIELD_LIMIT.

        Raises DeliveryRefused when the bytes are no whole Parquet file, when a column is missing, ambiguous or
        duplicated, and when a mapped one is of a type that no text stands for.
        """
        with self._damage_refused():
            file = pq.ParquetFile(
                pa.PythonFile(self._raw, mode="r"),
                coerce_int96_timestamp_unit="us",  # as nanoseconds, years after 2262 would turn into others
                page_checksum_verification=True,
                pre_buffer=False,
            )
            names = file.schema_arrow.names
        self._header = tuple(map(trimmed, names))
        fields = match_header(names, self._settings, self._name, of_text=False)
        for ours, place in fields.items():
            kind = file.schema_arrow.field(place).type
            if not has_text(kind):
                raise DeliveryRefused(
                    f"{self._name}: {ours} is of a type that cannot be read as one value ({_kind_name(kind)}). "
                    "Have it written as text, a number, a date or a time."
                )
        mapped = [names[place] for place in fields.values()]
        with self._damage_refused():
            for rows in file.iter_batches(BATCH_ROWS, columns=mapped, use_threads=False):
                batch = self._batch([rows.column(name) for name in mapped])
                self._rows += batch.num_rows
                yield batch

    def _batch(self, columns: list[pa.Array]) -> pa.RecordBatch:
        rows = len(columns[0])
        texts = [texts_of(column) for column in columns]
        malformed: pa.Array = pa.nulls(rows, pa.string())
        too_long = _too_long(texts)
        if pc.any(too_long).as_py():
            names = [field.name for field in self._schema][1:-2]
            told = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in _rows(texts)]
            malformed = pc.if_else(too_long, pa.array(told, pa.string()), None)
            texts = [pc.if_else(too_long, None, text) for text in texts]
            self._malformed += rows - malformed.null_count
        numbers = pa.array(range(self._rows + 1, self._rows + 1 + rows), pa.int64())
        return pa.RecordBatch.from_arrays([numbers, *texts, malformed, are_visible(texts, rows)], schema=self._schema)

    @contextmanager
    def _damage_refused(self) -> Iterator[None]:
        """Refuse what the reader of Parquet cannot read; a disk that fails is not the fault of the delivery."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise DeliveryRefused(
                f"{self._name}: is damaged, cut short or no Parquet (after {self._rows:,} rows). Have it sent again."
            ) from None


def _too_long(texts: list[pa.Array]) -> pa.Array:
    """Per row, whether any text is over FIELD_LIMIT characters."""
    found = pa.repeat(False, len(texts[0]))
    for text in texts:
        if (pc.max(pc.binary_length(text)).as_py() or 0) > FIELD_LIMIT:
            found = pc.or_(found, pc.fill_null(pc.greater(pc.utf8_length(text), FIELD_LIMIT), False))
    return found


def _rows(texts: list[pa.Array]) -> Iterator[tuple[str | None, ...]]:
    return zip(*(text.to_pylist() for text in texts), strict=True)


def _kind_name(kind: pa.DataType) -> str:
    """A type in a word, without the names that a nested one has inside."""
    return str(kind).partition("<")[0].partition("[")[0]
