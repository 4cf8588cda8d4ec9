"""Which records need no trimming and hold no character to refuse: staging then passes over both checks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc


def are_visible(columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """Per row, whether every text of `columns` is of visible ASCII, with spaces inside only. Nulls are."""
    each = [pc.fill_null(_is_visible(column), True) for column in columns]
    return reduce(pc.and_, each, pa.repeat(True, rows))


def _is_visible(column: pa.Array) -> pa.Array:
    is_ascii = pc.and_(pc.string_is_ascii(column), pc.or_(pc.ascii_is_printable(column), pc.equal(column, "")))
    return pc.and_(is_ascii, pc.equal(pc.ascii_trim(column, " "), column))
