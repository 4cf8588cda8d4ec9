"""Rows of a database as Parquet: the type of each column, whatever its values turn out to be; the same bytes again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.sources.parquet_text import texts_of
from lib.sources.query_rows import NoArrowType, write_rows

NOON = datetime(2025, 3, 1, 12)
NOON_IN_PARIS = NOON.replace(tzinfo=timezone(timedelta(hours=1)))
CLOCK, INSTANT = "2025-03-01T12:00:00.000000", "2025-03-01T11:00:00.000000+0000"


def kept(path: Path, *batches: Sequence[Any]) -> pa.Array:
    """The one column of the file that batches of its values make."""
    path.unlink(missing_ok=True)
    write_rows(path, ["value"], [[(value,) for value in batch] for batch in batches])
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return pq.read_table(path).column(0).combine_chunks()


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([1, None, -(2**63)], pa.int64(), ["1", None, "-9223372036854775808"]),
        ([2**63], pa.string(), ["9223372036854775808"]),
        ([True, False], pa.bool_(), ["true", "false"]),
        ([12.5, 100.0], pa.float64(), ["12.5", "100.0"]),
        ([Decimal("12.50"), Decimal("-0.01")], pa.decimal128(38, 2), ["12.50", "-0.01"]),
        ([Decimal("12.5"), Decimal("12.50")], pa.string(), ["12.5", "12.50"]),
        ([Decimal("NaN")], pa.string(), ["NaN"]),
        ([Decimal("1E+3")], pa.string(), ["1000"]),
        ([Decimal("9" * 39)], pa.string(), ["9" * 39]),
        (["00123", None], pa.string(), ["00123", None]),
        ([date(2025, 3, 1)], pa.date32(), ["2025-03-01"]),
        ([NOON], pa.timestamp("us"), [CLOCK]),
        ([NOON_IN_PARIS], pa.timestamp("us", "UTC"), [INSTANT]),
        ([NOON, NOON_IN_PARIS], pa.string(), [CLOCK, INSTANT]),
        ([time(1, 2, 3)], pa.string(), ["01:02:03"]),
        ([UUID(int=1)], pa.string(), ["00000000-0000-0000-0000-000000000001"]),
        ([1, 2.5, "x", True], pa.string(), ["1", "2.5", "x", "true"]),
        ([None, None], pa.null(), [None, None]),
        ([], pa.null(), []),
    ],
    ids=str,
)  # fmt: skip
def test_the_type_of_a_column_is_that_of_its_values(
    values: list[Any], kind: pa.DataType, texts: list[str | None], tmp_path: Path
) -> None:
    column = kept(tmp_path / "result", values)
    assert (column.type, texts_of(column).to_pylist()) == (kind, texts)


@pytest.mark.parametrize(
    "value", [b"\x00", ["SECRET"], {"SECRET": 1}, timedelta(1)], ids=lambda value: type(value).__name__
)
def test_what_is_no_single_value_is_refused_without_being_told(value: Any, tmp_path: Path) -> None:
    with pytest.raises(NoArrowType) as refused:
        write_rows(tmp_path / "result", ["a", "SECRET"], [[("x", value)]])
    assert str(refused.value) == f"column 2 of the result is of a type that cannot be kept ({type(value).__name__})"


SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text("ab", max_size=2),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=2), st.dates(),
    st.datetimes(), st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])),
)  # fmt: skip


def same_text(value: Any, text: str | None) -> bool:
    """Whether the text reads as the value."""
    if value is None or text is None:
        return value is None and text is None
    if isinstance(value, bool):
        return text == str(value).lower()
    if isinstance(value, (int, Decimal)):
        return Decimal(text) == value
    if isinstance(value, float):
        return math.copysign(1, float(text)) == math.copysign(1, value) and float(text) == value
    if isinstance(value, datetime):
        return datetime.fromisoformat(text) == value
    return text == (value.isoformat() if isinstance(value, date) else value)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(SCALAR, max_size=4), max_size=4))
def test_what_comes_later_never_changes_what_was_there(batches: list[list[Any]], tmp_path: Path) -> None:
    texts = texts_of(kept(tmp_path / "result", *batches)).to_pylist()
    values = [value for batch in batches for value in batch]
    assert [(value, text) for value, text in zip(values, texts, strict=True) if not same_text(value, text)] == []


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "result", tmp_path / "b" / "result"
    for path in (one, other):
        path.parent.mkdir()
        kept(path, [None, 1], [2.5], ["x"])
    assert one.read_bytes() == other.read_bytes()


def test_columns_may_have_one_name_and_rows_may_be_none(tmp_path: Path) -> None:
    write_rows(tmp_path / "result", ["a", "a"], [[(1, None)], [("x", 2)]])
    assert pq.read_schema(tmp_path / "result").names == ["a", "a"]
    write_rows(tmp_path / "none", ["a", "b"], [])
    assert (pq.read_schema(tmp_path / "none").names, pq.read_metadata(tmp_path / "none").num_rows) == (["a", "b"], 0)
