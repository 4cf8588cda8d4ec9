"""The one text that stands for each value of a type, so that typed columns are judged as texts are.

A date is `2025-12-06`; a time stamp `2025-12-06T12:00:00` with the digits of its unit, and where its type has a zone
the offset behind it: the clock of that zone, whose civil date it is. A whole number and a decimal are their digits, a
decimal with all its places. A float is the shortest text that reads as the same number (Python's repr): a cost of 12.5
is what 12.50 is, but an id that somebody made a float has become `123.0`. True is `true`. A UUID is its usual text.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

PLAIN_PLACES = range(7)
"""Decimal places with which Arrow never writes an exponent."""


def has_text(kind: pa.DataType) -> bool:
    """Whether values of this type have a text."""
    return _writer(kind) is not None


def texts_of(column: pa.Array) -> pa.Array:
    """Each value's text; null where there is none. Raises pa.ArrowInvalid for text that is not UTF-8."""
    write = _writer(column.type)
    assert write is not None, "has_text was asked first"
    return write(column)


def _writer(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    if types.is_dictionary(kind):
        return _dictionary if has_text(kind.value_type) else None
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _string
    if types.is_timestamp(kind):
        return _stamp
    if types.is_floating(kind):
        return _float
    if types.is_decimal(kind):
        return _cast if kind.scale in PLAIN_PLACES else _decimal
    if isinstance(kind, pa.UuidType):
        return _uuid
    is_plain = (types.is_integer, types.is_boolean, types.is_date, types.is_time, types.is_null)
    return _cast if any(check(kind) for check in is_plain) else None


def _cast(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _string(column: pa.Array) -> pa.Array:
    column.validate(full=True)  # readers of Parquet take the writer's word that it is UTF-8
    return column.cast(pa.string())


def _dictionary(column: pa.DictionaryArray) -> pa.Array:
    return texts_of(column.dictionary).take(column.indices)


def _stamp(column: pa.Array) -> pa.Array:
    return pc.strftime(column, format="%Y-%m-%dT%H:%M:%S" + ("%z" if column.type.tz else ""))


def _float(column: pa.Array) -> pa.Array:
    numbers = (
        column if types.is_float64(column.type) else column.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    )
    return pa.array([None if number is None else repr(number) for number in numbers.to_pylist()], pa.string())


def _decimal(column: pa.Array) -> pa.Array:
    return pa.array([None if number is None else f"{number:f}" for number in column.to_pylist()], pa.string())


def _uuid(column: pa.Array) -> pa.Array:
    return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
