"""The reader: every cell verbatim, every physical line exact, every way a file can be wrong refused by name."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lib.config import Settings, settings_from
from lib.errors import DeliveryRefused
from lib.sources import csv as csv_source
from lib.sources import csv_strict
from lib.sources.csv import CsvReader
from lib.sources.interface import Reading, records_schema

NAME = "patient_visits.csv"
OURS = ("visit_id", "patient_id", "visit_date", "last_updated")
HEADER = ",".join(OURS) + "\n"
Row = tuple[int, str | None, str | None, str | None, str | None, str | None]
"""source_line, the four texts, malformed"""


def settings(**source: Any) -> Settings:
    columns = {"provider_id": None, "diagnosis_code": None, "visit_cost": None}
    return settings_from({"source": source, "columns": columns}, "config.yaml")


def read_table(data: str | bytes, config: Settings) -> tuple[Reading, pa.Table]:
    reader = CsvReader(io.BytesIO(data.encode() if isinstance(data, str) else data), config, NAME)
    table = pa.Table.from_batches(reader.batches(), records_schema(config))
    return reader.reading, table


def is_visible(cell: str) -> bool:
    """What staging relies upon: nothing to trim, no character to refuse."""
    return cell == cell.strip(" \t") and all(" " <= each <= "~" for each in cell)


def read(data: str | bytes, **source: Any) -> tuple[Reading, list[Row]]:
    reading, table = read_table(data, settings(**source))
    assert table.column_names == ["source_line", *OURS, "malformed", "is_visible"]
    assert csv.field_size_limit() == LIMIT_BEFORE
    for each in table.to_pylist():
        assert not each["is_visible"] or all(is_visible(each[name]) for name in OURS)
    rows = sorted(tuple(row.values()) for row in table.drop_columns(["is_visible"]).to_pylist())
    assert (reading.rows, reading.malformed) == (len(rows), sum(row[-1] is not None for row in rows))
    return reading, rows


def refusal(data: str | bytes, **source: Any) -> str:
    with pytest.raises(DeliveryRefused) as caught:
        read_table(data, settings(**source))
    message = str(caught.value)
    assert message.startswith(f"{NAME}: ") and message.isprintable() and "canary" not in message
    assert csv.field_size_limit() == LIMIT_BEFORE
    return message


@contextmanager
def pieces_of(size: int) -> Iterator[None]:
    """Chunks, blocks and stretches of so many bytes: every place is a piece's end sooner or later."""
    with (
        patch.object(csv_source, "CHUNK_BYTES", size),
        patch.object(csv_source, "BLOCK_BYTES", size),
        patch.object(csv_source, "STRETCH_BYTES", size),
    ):
        yield


LIMIT_BEFORE = csv.field_size_limit()
A, B = (f"{visit},p,2025-12-05,2025-12-06" for visit in "ab")


def row(line: int, visit: str) -> Row:
    return (line, visit, "p", "2025-12-05", "2025-12-06", None)


def bad(line: int, text: str) -> Row:
    return (line, None, None, None, None, text)


GOOD = {
    "plain": (f"{HEADER}{A}\n{B}\n", [row(2, "a"), row(3, "b")]),
    "byte order mark": (f"\ufeff{HEADER}{A}\n", [row(2, "a")]),
    "CRLF": (f"{HEADER}{A}\n{B}\n".replace("\n", "\r\n"), [row(2, "a"), row(3, "b")]),
    "CR": (f"{HEADER}{A}\n{B}\n".replace("\n", "\r"), [row(2, "a"), row(3, "b")]),
    "mixed line ends": (f"{HEADER}{A}\r\n{B}\r{A}\n", [row(2, "a"), row(3, "b"), row(4, "a")]),
    "LF CR is two line ends": (f"{HEADER}{A}\n\r{B}\n", [row(2, "a"), row(4, "b")]),
    "CR CRLF is two line ends": (f"{HEADER}{A}\r\r\n{B}\n", [row(2, "a"), row(4, "b")]),
    "no final newline": (f"{HEADER}{A}\n{B}", [row(2, "a"), row(3, "b")]),
    "final CR": (f"{HEADER}{A}\r", [row(2, "a")]),
    "blank lines": (f"\n\r\n{HEADER}\n{A}\n\n\n{B}\n\n", [row(5, "a"), row(8, "b")]),
    "quoted comma": (f'{HEADER}"a,1",p,2025-12-05,2025-12-06\n', [row(2, "a,1")]),
    "quoted quote": (f'{HEADER}"a""1",p,2025-12-05,2025-12-06\n', [row(2, 'a"1')]),
    "only quotes": (f'{HEADER}"""",p,2025-12-05,2025-12-06\n', [row(2, '"')]),
    "quoted empty": (f'{HEADER}"",p,2025-12-05,2025-12-06\n', [row(2, "")]),
    "quoted newline": (f'{HEADER}"a\n1",p,2025-12-05,2025-12-06\n{B}\n', [row(2, "a\n1"), row(4, "b")]),
    "quoted CRLF": (f'{HEADER}"a\r\n1",p,2025-12-05,2025-12-06\r\n{B}\n', [row(2, "a\r\n1"), row(4, "b")]),
    "quoted blank lines": (f'{HEADER}"\n\n",p,2025-12-05,2025-12-06\n{B}\n', [row(2, "\n\n"), row(5, "b")]),
    "quote inside an unquoted field": (f'{HEADER}a"1",p,2025-12-05,2025-12-06\n', [row(2, 'a"1"')]),
    "space before a quote": (f'{HEADER} "a",p,2025-12-05,2025-12-06\n', [row(2, ' "a"')]),
    "quoted header": (f'"visit_id",{HEADER[9:]}{A}\n', [row(2, "a")]),
    "newline in an extra name": (f'"x\ny",{HEADER}1,{A}\n', [row(3, "a")]),
    "spaces stay": (f"{HEADER} a\t,p,2025-12-05,2025-12-06\n", [row(2, " a\t")]),
    "ids verbatim": (f"{HEADER}NA,null,00123,12345678901234567890123\n",
                     [(2, "NA", "null", "00123", "12345678901234567890123", None)]),
    "NUL, control, zero-width, bidi": (f"{HEADER}\0,\x1b\x0c,\u200b,\u202e\n",
                                       [(2, "\0", "\x1b\x0c", "\u200b", "\u202e", None)]),
    "what str.splitlines takes for line ends": (
        f"{HEADER}\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029,p,2025-12-05,2025-12-06\n{B}\n",
        [row(2, "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), row(3, "b")],
    ),
    "not only ASCII": (f"{HEADER}Größe 测试 😀,p,2025-12-05,2025-12-06\n", [row(2, "Größe 测试 😀")]),
    "rows that begin with #": (f"{HEADER}#a,p,2025-12-05,2025-12-06\n", [row(2, "#a")]),
    "header repeated inside the data": (f"{HEADER}{A}\n{HEADER}", [row(2, "a"), (3, *OURS, None)]),
    "header by another case and order, an extra column": (
        "LAST_UPDATED,Extra, Visit_ID ,patient_id,visit_date\n2025-12-06,x,a,p,2025-12-05\n", [row(2, "a")]),
    "header only": (HEADER, []),
    "header only, no newline": (HEADER.strip(), []),
    "short row": (f"{HEADER}a,p,2025-12-05\n{B}\n", [bad(2, "a,p,2025-12-05"), row(3, "b")]),
    "long row": (f"{HEADER}{A},x\r\n{B}\n", [bad(2, f"{A},x"), row(3, "b")]),
    "spaces are no blank line": (f"{HEADER}  \n{B}\n", [bad(2, "  "), row(3, "b")]),
    "short row of two lines": (f'{HEADER}"a\r1",p\n{B}\n', [bad(2, '"a\r1",p'), row(4, "b")]),
    "text after a closing quote": (f'{HEADER}"a"x,p,q,r\n{B}\n', [bad(2, '"a"x,p,q,r'), row(3, "b")]),
    "space after a closing quote": (f'{HEADER}"a" ,p,q,r\n{B}\n', [bad(2, '"a" ,p,q,r'), row(3, "b")]),
    "text after a closing quote on another line": (f'{HEADER}"a\n1"x,"p\n{B}\n', [bad(2, '"a\n1"x,"p'), row(4, "b")]),
    "text after a closing quote at the end": (f'{HEADER}{A}\n"b"x', [row(2, "a"), bad(3, '"b"x')]),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
@pytest.mark.parametrize("case", GOOD)
def test_read(case: str, chunk: int) -> None:
    text, expected = GOOD[case]
    with pieces_of(chunk):
        reading, rows = read(text)
    assert rows == expected
    assert reading.lines == len(re.findall(r"\r\n|\r|\n|[^\r\n]\Z", text))


def test_header_is_returned_trimmed_and_in_order() -> None:
    reading, _ = read(f" Ward ,,{HEADER}1,2,{A}\n")
    assert reading == Reading(rows=1, malformed=0, header=("Ward", "", *OURS), lines=2)


def test_declared_dialect() -> None:
    text = f"{HEADER}'a;''1''',p,2025-12-05,2025-12-06\n".replace(",", ";")
    assert read(text, delimiter=";", quote="'")[1] == [row(2, "a;'1'")]


def test_a_column_that_is_not_mapped_is_absent_and_a_carried_one_present() -> None:
    columns = dict.fromkeys(("provider_id", "diagnosis_code", "visit_cost", "last_updated")) | {"visit_id": "Id"}
    config = settings_from({"source": {"deliveries": "full"}, "columns": columns, "carry": {"ward": "station"}}, "c")
    (only,) = read_table("Id,patient_id,visit_date,Station\na,p,2025-12-05,7\n", config)[1].to_pylist()
    texts = {"visit_id": "a", "patient_id": "p", "visit_date": "2025-12-05", "ward": "7"}
    assert only == {"source_line": 2, **texts, "malformed": None, "is_visible": False}


# Encodings


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-16-le", "shift_jis", "gb18030"])
@pytest.mark.parametrize("chunk", [4, 1 << 18])
def test_declared_encoding(encoding: str, chunk: int) -> None:
    cell = "語" if encoding in ("shift_jis", "gb18030") else "é"
    data = f"{HEADER}{cell},p,2025-12-05,2025-12-06\n".encode(encoding)
    with pieces_of(chunk):
        assert read(data, encoding=encoding)[1] == [row(2, cell)]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
@pytest.mark.parametrize(
    ("case", "encoding", "before", "broken"),
    [
        ("latin-1", "utf-8", f"{HEADER}Gr".encode(), b"\xf6\xdfe,canary\n"),
        ("invalid UTF-8 behind a byte order mark", "utf-8", codecs.BOM_UTF8 + HEADER.encode(), b"\xff"),
        ("the same with utf-8-sig configured", "utf-8-sig", codecs.BOM_UTF8 + HEADER.encode(), b"\xff"),
        ("a character cut by the end", "utf-8", f"{HEADER}é".encode(), b"\xe6\xb5"),
        ("a surrogate in UTF-8", "utf-8", f"{HEADER}é".encode(), b"\xed\xa0\x80,p"),
        ("UTF-16 with its mark", "utf-8", b"", HEADER.encode("utf-16")),
        ("UTF-16 without its mark", "utf-8", b"v", HEADER.encode("utf-16-le")[1:]),
        ("big-endian UTF-16 without its mark", "utf-8", b"", HEADER.encode("utf-16-be")),
        ("UTF-16 after blank lines", "utf-8", b"\n", "\n".encode("utf-16-le")[1:] + HEADER.encode("utf-16-le")),
        ("UTF-16 read as latin-1", "latin-1", b"\xff\xfev", HEADER.encode("utf-16-le")[1:]),
        ("half a pair in UTF-16", "utf-16", HEADER.encode("utf-16"), b"\x00\xdcx\x00"),
        ("NUL in a UTF-16 header", "utf-16", "\u0100".encode("utf-16"), f"\0,{HEADER}".encode("utf-16-le")),
        ("undefined in cp1252", "cp1252", HEADER.encode() + b"\xe9", b"\x81"),
        ("shift_jis", "shift_jis", f"{HEADER}語".encode("shift_jis"), b"\x83\x01,p\n"),
    ],
)
def test_not_in_the_configured_encoding(case: str, encoding: str, before: bytes, broken: bytes, chunk: int) -> None:
    width = 2 if encoding == "utf-16" else 1
    with pieces_of(chunk * width):
        message = refusal(before + broken, encoding=encoding)
    assert f"is not {settings(encoding=encoding).source.encoding} text: byte {len(before)} is" in message


def test_undecodable_byte_beyond_the_first_chunk_of_a_gzip() -> None:
    before = f"{HEADER}{'é,p,2025-12-05,2025-12-06'}\n".encode() * 20_000
    assert len(before) > 3 * csv_source.CHUNK_BYTES
    assert f"utf-8 text: byte {len(before)} " in refusal(gzip.compress(before + b"\xe9"))


def test_half_a_character_that_a_codec_lets_pass() -> None:
    assert "is not utf-7 text" in refusal(HEADER.encode() + b"+2AA-,p,q,r\n", encoding="utf-7")


# Refused deliveries


@pytest.mark.parametrize(
    ("case", "data", "said"),
    [
        ("0 bytes", b"", "is empty (0 bytes)"),
        ("0 bytes in a gzip", gzip.compress(b"", mtime=0), "is empty (0 bytes of text)"),
        ("only a byte order mark", codecs.BOM_UTF8, "has no header"),
        ("only blank lines", b"\n\r\n\r", "has no header, only blank lines"),
        ("unclosed quote to end of file", f'{HEADER}{A}\n"canary,p\n{B}\n', "record with the quote starts on line 3"),
        ("unclosed quote on the last line", f'{HEADER}{A}\nb,"canary', "starts on line 3"),
        ("doubled quote at the end", f'{HEADER}"canary""', "starts on line 2"),
        ("unclosed quote in a later field", f'{HEADER}"a\n1",p,"canary\n', "starts on line 2"),
        ("unclosed quote in the header", f'\n"{HEADER}', "starts on line 2"),
        ("text after a closing quote in the header", f'\n"visit_id"x{HEADER[8:]}', "header (line 2) has text after"),
        ("wrong delimiter", HEADER.replace(",", ";"), "the delimiter configured is ','"),
        ("no header", "a,canary,2025-12-05,2025-12-06\n", "none of the 4 expected columns"),
        ("missing column", "visit_id,patient_id,visit_date,STOP\n", "is missing (last_updated); found STOP."),
        ("duplicated column", f"visit_id,{HEADER}", "the header repeats visit_id."),
        ("ambiguous column", f"VISIT_ID,{HEADER}", "visit_id is ambiguous"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 1 << 18])
def test_refused(case: str, data: str | bytes, said: str, chunk: int) -> None:
    with pieces_of(chunk):
        assert said in refusal(data)


def test_unclosed_quote_of_many_megabytes() -> None:
    with patch.object(csv_strict, "RECORD_LIMIT", 3 << 20):
        assert "record that starts on line 2 is over 3 MiB" in refusal(f'{HEADER}"{A}\n' + f"{B}\n" * 200_000)


def test_a_line_without_end() -> None:
    with patch.object(csv_strict, "RECORD_LIMIT", 1 << 20):
        assert "has a line over 1 MiB" in refusal(HEADER + "x" * (2 << 20))


# gzip


def test_gzip_by_its_magic_bytes() -> None:
    assert read(gzip.compress(f"{HEADER}{A}\n".encode()))[1] == [row(2, "a")]


def test_gzip_of_two_members() -> None:
    assert read(gzip.compress(f"{HEADER}{A}\n".encode()) + gzip.compress(B.encode()))[1][1] == row(3, "b")


WHOLE = gzip.compress(f"{HEADER}{A}\n{B}\n".encode() * 50, mtime=0)  # the same bytes, so the same test ids, each time


@pytest.mark.parametrize(
    ("case", "data"),
    [
        *((f"truncated to {kept}", WHOLE[:kept]) for kept in (2, 9, 20, len(WHOLE) // 2)),
        *((f"truncated by {cut}", WHOLE[:-cut]) for cut in (8, 1)),
        ("one byte of trailing garbage", WHOLE + b"x"),
        ("trailing garbage", WHOLE + b"canary"),
        ("a second member cut short", WHOLE + WHOLE[:30]),
        ("altered sum", WHOLE[:-8] + bytes([WHOLE[-8] ^ 1]) + WHOLE[-7:]),
        ("altered body", WHOLE[:40] + bytes([WHOLE[40] ^ 0xFF]) + WHOLE[41:]),
        ("altered method", WHOLE[:2] + b"\x07" + WHOLE[3:]),
    ],
)  # fmt: skip
def test_damaged_gzip(case: str, data: bytes) -> None:
    assert "the gzip is " in refusal(data)


# Long fields


def test_field_of_exactly_1_mib_is_a_value() -> None:
    cell = "é" * (1 << 20)
    assert read(f"{HEADER}{cell},p,2025-12-05,2025-12-06\n{B}\n")[1] == [row(2, cell), row(3, "b")]


@pytest.mark.parametrize("rest", [",p,q,r", ',p,q,"r\ns"', ',p,q,"r"s', ""])
def test_field_over_1_mib(rest: str) -> None:
    record = "x" * ((1 << 20) + 1) + rest
    rows = read(f"{HEADER}{A}\n{record}\n{B}\n")[1]
    assert rows == [row(2, "a"), bad(3, record), row(4 + rest.count("\n"), "b")]


def test_quoted_field_over_1_mib_hides_no_rows_and_invents_none() -> None:
    record = '"' + f"{A}\n" * 60_000 + '",p,q,r'
    rows = read(f"{HEADER}{A}\n{record}\r\n{B}\n")[1]
    assert rows == [row(2, "a"), bad(3, record), row(60_004, "b")]


# Batches


@pytest.mark.parametrize("size", [1, 999, 1 << 20])
def test_many_batches_keep_lines(size: int) -> None:
    text = HEADER + "".join(f"v{i},p,2025-12-05,2025-12-06\n" + "\n" * (i % 3 == 0) for i in range(5_000))
    with pieces_of(size):
        _, rows = read(text)
    assert [(each[0], each[1]) for each in rows] == [(2 + i + (i + 2) // 3, f"v{i}") for i in range(5_000)]


# Any table


SPECIAL = st.sampled_from(['"', '""', ",", "\n", "\r", "\r\n", "\u2028", "\x0b", "\x85", "\ufeff", "\0", " ", "é", "x"])
CELL = st.lists(SPECIAL | st.text(max_size=3), max_size=4).map("".join)
CELLS = st.lists(CELL, min_size=4, max_size=4)
RECORD = st.tuples(st.sampled_from(["row", "row", "row", "blank", "short", "long", "tail"]), CELLS, st.booleans())
LINE_END = st.sampled_from(["\n", "\r", "\r\n"])


def written(cell: str, quoted: bool) -> str:
    if quoted or any(mark in cell for mark in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    table=st.lists(st.tuples(RECORD, LINE_END), max_size=8),
    bom=st.booleans(),
    final_end=st.booleans(),
    chunk=st.integers(1, 80),
)
def test_any_table_reads_as_it_was_written(
    table: list[tuple[tuple[str, list[str], bool], str]],
    bom: bool,
    final_end: bool,
    chunk: int,
) -> None:
    text, end, expected = HEADER, "\n", list[Row]()
    for (kind, cells, quoted), next_end in table:
        if kind == "blank":
            if end == "\r" and next_end == "\n":  # together they would be one line end
                continue
            end = next_end
            text += end
            continue
        line = 1 + len(re.findall(r"\r\n|\r|\n", text))
        if kind == "short":
            cells = cells[:3]
        elif kind == "long":
            cells = [*cells, ""]
        record = ",".join(written(cell, quoted) for cell in cells)
        if kind == "tail":
            record = '"' + cells[0].replace('"', '""') + '"x' + (',"' if quoted else "")
        expected.append((line, *cells, None) if kind == "row" else bad(line, record))  # type: ignore[arg-type]
        end = next_end
        text += record + end
    if not final_end and expected and table[-1][0][0] != "blank":
        text = text.removesuffix(end)
    with pieces_of(chunk):
        _, rows = read(("\ufeff" if bom else "") + text)
    assert rows == expected
