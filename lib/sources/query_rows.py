"""Rows of a database as Parquet: each column as the type of its values where Arrow has it, else as their text.

A database need not have one type a column (SQLite has none), and a stream does not tell at its beginning what will
come. So the type of a column is that of the values so far; where others come, what is written is written again, as the
text that parquet_text.py gives, which is how it would have been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from lib.sources.parquet_text import texts_of

BATCH_ROWS = 20_000
"""Rows in memory, and in a row group: the same rows are the same bytes, however they came."""

MOST_DIGITS, MOST_PLACES = 38, 18
ALONE = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), date: pa.date32(), str: pa.string()}
"""The types of columns that hold nothing else."""
SCALARS = (bool, int, float, Decimal, str, date, datetime, time, UUID)


class NoArrowType(ValueError):
    """A value that is no single one: a list, a mapping, bytes."""


def write_rows(path: Path, names: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]]) -> None:
    """Write batches of rows to a new file. Raises NoArrowType, and whatever drawing from `batches` raises."""
    schema = pa.schema([pa.field(name, pa.null()) for name in names])
    writer = _writer(path, schema)
    try:
        for rows in filter(None, batches):
            columns = [_column(place, values) for place, values in enumerate(zip(*rows, strict=True), 1)]
            wider = _wider(schema, [column.type for column in columns])
            if wider != schema:
                writer.close()
                writer, schema = _written_again(path, wider), wider
            writer.write_batch(_as_schema(columns, schema), row_group_size=BATCH_ROWS)
    finally:
        writer.close()


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def _written_again(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer of the wider schema that has what was written of the narrower one."""
    narrow = path.with_name(f"{path.name}-narrow")
    path.replace(narrow)
    try:
        writer = _writer(path, schema)
        before = pq.ParquetFile(narrow)
        for number in range(before.num_row_groups):
            table = before.read_row_group(number, use_threads=False)
            columns = [column.combine_chunks() for column in table.columns]
            writer.write_batch(_as_schema(columns, schema), row_group_size=BATCH_ROWS)
        return writer
    finally:
        narrow.unlink()


def _wider(schema: pa.Schema, kinds: Sequence[pa.DataType]) -> pa.Schema:
    """The schema that holds both: of two types of a column that differ, text."""
    both = zip(schema, kinds, strict=True)
    return pa.schema([pa.field(field.name, _common(field.type, kind)) for field, kind in both])


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    return other if pa.types.is_null(one) else pa.string()


def _as_schema(columns: Sequence[pa.Array], schema: pa.Schema) -> pa.RecordBatch:
    fitting = [
        column if column.type == field.type else texts_of(column).cast(field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(fitting, schema=schema)


def _column(place: int, values: Sequence[Any]) -> pa.Array:
    kinds = set(map(type, values)) - {type(None)}
    for kind in kinds:
        if kind not in SCALARS:
            raise NoArrowType(f"column {place} of the result is of a type that cannot be kept ({kind.__name__})")
    if kinds == {datetime}:
        return _stamps(values)
    if kinds == {Decimal}:
        return _decimals(values)
    if kinds == {int}:
        present = [value for value in values if value is not None]
        if not -(2**63) <= min(present) <= max(present) < 2**63:
            return _texts(values)
    arrow = pa.null() if not kinds else ALONE.get(next(iter(kinds))) if len(kinds) == 1 else None
    return _texts(values) if arrow is None else pa.array(values, arrow)


def _stamps(values: Sequence[datetime | None]) -> pa.Array:
    """Instants in UTC where all have a zone; clocks without one where none has."""
    zoned = {value.tzinfo is not None for value in values if value is not None}
    if len(zoned) == 2:
        return _texts(values)
    return pa.array(values, pa.timestamp("us", "UTC" if zoned == {True} else None))


def _decimals(values: Sequence[Decimal | None]) -> pa.Array:
    """As decimals where all have the same places, as a declared scale gives them."""
    parts = [value.as_tuple() for value in values if value is not None]
    places = {each.exponent for each in parts}
    scale = next(iter(places))
    if len(places) > 1 or not isinstance(scale, int) or not -MOST_PLACES <= scale <= 0:
        return _texts(values)
    if max(len(each.digits) for each in parts) > MOST_DIGITS:
        return _texts(values)
    return pa.array(values, pa.decimal128(MOST_DIGITS, -scale))


def _texts(values: Sequence[Any]) -> pa.Array:
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    """The text that parquet_text.py gives for the value in a column of its own type."""
    if isinstance(value, datetime):
        zone, clock = ("", value) if value.tzinfo is None else ("+0000", value.astimezone(UTC).replace(tzinfo=None))
        return clock.isoformat(timespec="microseconds") + zone
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
