"""Whole lines without quotes, read a block at a time: what the strict reader would give, at a tenth of its price.

It takes only what cannot be read in two ways, and says so when it does not: such a block goes to the strict reader.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from lib.config import Settings
from lib.sources.interface import FIELD_LIMIT

LF, CR, SPACE, LAST_VISIBLE = 10, 13, 32, 126

Places = npt.NDArray[np.intp]


class FastReader:
    """Reads blocks of a delivery whose header, of `width` names, is known. `fields`: the field of each column."""

    def __init__(self, width: int, fields: Mapping[str, int], schema: pa.Schema, settings: Settings) -> None:
        self._width, self._schema = width, schema
        self._delimiter = ord(settings.source.delimiter)
        self._flags, self._odds = np.empty(0, bool), np.empty(0, bool)
        names = [str(field) for field in range(width)]
        wanted = [str(field) for field in fields.values()]
        self._read = pa.csv.ReadOptions(use_threads=False, column_names=names, block_size=1 << 30)
        self._convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.string()),
            include_columns=wanted,
            strings_can_be_null=False,
            check_utf8=False,  # the block is checked as a whole: fields that are not wanted too
        )

    @staticmethod
    def fits(settings: Settings) -> bool:
        """Whether deliveries of this dialect can be read so at all."""
        source = settings.source
        is_plain = source.delimiter.isascii() and (source.delimiter > " " or source.delimiter == "\t")
        return is_plain and source.quote.isascii() and source.encoding in ("utf-8", "utf-8-sig")

    def read(self, block: bytes, first_line: int) -> tuple[pa.RecordBatch, int] | None:
        """The records of a block of whole lines without the quote character, and how many lines it has.

        None when only the strict reader can tell: a CR that ends a line alone, what is not UTF-8, a line too long, a
        byte order mark at the beginning, which Arrow would take away.
        """
        if not block.endswith(b"\n"):  # the end of the text
            block += b"\n"
        has_cr = b"\r" in block
        has_mark = block.startswith(codecs.BOM_UTF8)
        if has_mark or (has_cr and block.count(b"\r") != block.count(b"\r\n")) or not _is_utf8(block):
            return None
        data = np.frombuffer(block, np.uint8)
        if len(data) > len(self._flags):  # room for a byte's flags is made once: a block's worth of new memory is dear
            self._flags, self._odds = np.empty(len(data), bool), np.empty(len(data), bool)
        ends = self._places(data, LF)
        starts = np.concatenate(([0], ends[:-1] + 1))
        if (ends - starts).max() > FIELD_LIMIT:
            return None
        lengths = ends - starts - (data[ends - 1] == CR) if has_cr else ends - starts
        records = np.flatnonzero(lengths)
        table, refused = self._parse(block) if len(records) else (self._nothing(), [])
        wrong, kept = records[refused], np.delete(records, refused)
        texts = [block[starts[line] : ends[line]].decode().rstrip("\r") for line in wrong]
        delimiter = chr(self._delimiter)
        if table.num_rows != len(kept) or any(text.count(delimiter) == self._width - 1 for text in texts):
            return None
        visible = np.ones(len(ends), bool)
        visible[np.searchsorted(ends, self._odd(data, ends, has_cr))] = False
        good = [kept + first_line, *map(_whole, table.columns)]
        batch = self._batch([*good, pa.nulls(len(kept), pa.string()), visible[kept]])
        if len(wrong):
            nothing = [pa.nulls(len(wrong), pa.string())] * (len(self._schema) - 3)
            malformed = self._batch([wrong + first_line, *nothing, texts, pa.repeat(False, len(wrong))])
            batch = pa.concat_batches([batch, malformed])
        return batch, len(ends)

    def _parse(self, block: bytes) -> tuple[pa.Table, list[int]]:
        """The lines that are as wide as the header, and the places of those that are not, among all lines but blank
        ones."""
        refused: list[int] = []

        def refuse(row: pa.csv.InvalidRow) -> str:
            refused.append(row.number - 1)
            return "skip"

        dialect = pa.csv.ParseOptions(
            delimiter=chr(self._delimiter), quote_char=False, ignore_empty_lines=True, invalid_row_handler=refuse
        )
        table = pa.csv.read_csv(
            pa.py_buffer(block), read_options=self._read, parse_options=dialect, convert_options=self._convert
        )
        return table, refused

    def _odd(self, data: npt.NDArray[np.uint8], ends: Places, has_cr: bool) -> Places:
        """Where a byte is no visible ASCII and no line end, or a blank stands at the edge of a cell."""
        odd = self._odds[: len(data)]
        above = np.subtract(data, SPACE, out=odd.view(np.uint8))  # what is less turns round, and is above too
        np.greater(above, LAST_VISIBLE - SPACE, out=odd)
        odd[ends] = False
        if self._delimiter < SPACE:
            odd[data == self._delimiter] = False
        if has_cr:
            odd[ends - 1] &= data[ends - 1] != CR
        spaces = self._places(data, SPACE)
        if len(spaces):
            edges = np.array([self._delimiter, LF, CR], np.uint8)
            before, after = data[spaces - 1], data[spaces + 1]
            odd[spaces] = np.isin(before, edges) | np.isin(after, edges)
        return np.flatnonzero(odd)

    def _places(self, data: npt.NDArray[np.uint8], byte: int) -> Places:
        return np.flatnonzero(np.equal(data, byte, out=self._flags[: len(data)]))

    def _nothing(self) -> pa.Table:
        return pa.table({name: pa.array([], pa.string()) for name in self._convert.include_columns})

    def _batch(self, columns: list[object]) -> pa.RecordBatch:
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
