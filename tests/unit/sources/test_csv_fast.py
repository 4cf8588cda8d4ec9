"""The fast reader beside the strict one, which has the last word: row for row, line for line, message for message."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.config import Settings, settings_from
from lib.errors import DeliveryRefused
from lib.sources.csv_fast import FastReader
from lib.sources.interface import Reading
from tests.pipeline import test_files_and_values as files
from tests.pipeline.broken_files import SMALL, broken_file
from tests.unit.sources.test_csv import GOOD, HEADER, is_visible, pieces_of, read_table, settings

Found = tuple[Reading, list[dict[str, Any]]] | str
"""What was read, by line; or the refusal."""


@contextmanager
def strict_alone() -> Iterator[None]:
    with patch.object(FastReader, "fits", return_value=False):
        yield


def read(data: bytes, config: Settings) -> Found:
    try:
        reading, table = read_table(data, config)
    except DeliveryRefused as refusal:
        return str(refusal)
    rows = sorted(table.to_pylist(), key=lambda row: row["source_line"])
    for row in rows:
        shown = row.pop("is_visible")
        assert not shown or all(is_visible(cell) for name, cell in row.items() if cell and name != "source_line")
    return reading, rows


def check(data: str | bytes, size: int = 1 << 20, config: Settings | None = None, **source: Any) -> None:
    """Both readers on the same bytes, in pieces of `size`."""
    config = config or settings(**source)
    data = data.encode() if isinstance(data, str) else data
    with pieces_of(size):
        with strict_alone():
            expected = read(data, config)
        assert read(data, config) == expected


@pytest.mark.parametrize("size", [1, 40, 64, 100, 1 << 20])
@pytest.mark.parametrize("case", GOOD)
def test_good_files(case: str, size: int) -> None:
    check(GOOD[case][0], size)


CASES = {
    **{f"good: {name}": case[0] for name, case in files.GOOD.items()},
    **{f"malformed: {name}": case[0] for name, case in files.MALFORMED.items()},
    **{f"refused: {name}": case[0] for name, case in files.REFUSED.items()},
}


@pytest.mark.parametrize("size", [256, 1 << 20])
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_file(case: str, size: int) -> None:
    check(CASES[case], size, settings_from({}, "config.yaml"))


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
def test_files_broken_at_random(size: int) -> None:
    for number in range(1, 11 if size == 1 else 61):  # a block a byte takes its time
        data, config = broken_file(number, [*SMALL.values()])
        check(data, size, settings_from(config, "config.yaml"))


LINES = st.sampled_from(
    [
        *(b"a,p,2025-12-05,2025-12-06", b"", b" ", b"a,p,q", b"a,p,q,r,s", b"\xc3\xa9,p,q,r", b"\xe9,p,q,r", b",,,"),
        *(b"\t,p,q ,r", b" a,p,q,r", b"a, p,q,r ", b'"a,p",p,q,r', b'"a', b'b",p,q,r', b'"a"x,p,q,r', b'a"b,p,q,r'),
        *(b"\0,p,q,r", b"#,p,q,r", b"a b,p\x7f,q,r", b"\xef\xbb\xbf,p,q,r", b"\xe2\x80\xa8,p,q,r", b"a,p,q\x0b,r"),
        *(b"x" * 300 + b",p,q,r", HEADER.strip().encode(), b"'a',p,q,r", b"a\\,p,q,r", b'""', b'"",p,q,r'),
        b"\xed\xa0\x80,p,q,r",
    ]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r\n", b"\r", b"\n\n", b"\n\r", b"\r\r\n", b""])


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    lines=st.lists(st.tuples(LINES, ENDS), max_size=14),
    header_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    bom=st.booleans(),
    size=st.integers(1, 150) | st.just(1 << 20),
    packed=st.booleans(),
)
@example(lines=[(b"a,p,q,r", b"\r")], header_end=b"\n", bom=False, size=30, packed=False)
@example(lines=[(b",,,", b"\n"), (b"\xef\xbb\xbf,p,q,r", b"\n")], header_end=b"\n", bom=False, size=6, packed=False)
def test_any_lines(lines: list[tuple[bytes, bytes]], header_end: bytes, bom: bool, size: int, packed: bool) -> None:
    data = b"\xef\xbb\xbf" * bom + HEADER.strip().encode() + header_end + b"".join(a + b for a, b in lines)
    check(gzip.compress(data) if packed else data, size)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    tail=st.lists(st.sampled_from([bytes([each]) for each in b"\",\n\r ;ax\t'\0\xc3\xa9\xff"]), max_size=60).map(
        b"".join
    ),
    size=st.integers(1, 80),
    delimiter=st.sampled_from([",", ";", "\t", "a", " "]),
    quote=st.sampled_from(['"', "'", "x"]),
)
def test_any_bytes(tail: bytes, size: int, delimiter: str, quote: str) -> None:
    header = HEADER.replace(",", delimiter) if delimiter not in HEADER else HEADER
    check(header.encode() + tail, size, delimiter=delimiter, quote=quote)
