"""Arrow rows into PostgreSQL and out of it, by COPY: in bulk, without a Python object for a row."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from lib.config import Engine
from lib.engines.duckdb import open_database
from lib.sql import identifier, literal, statement
from lib.warehouses.interface import STAGED, Parameters

BATCH_ROWS = 50_000
SYMBOL = "\N{SYMBOL FOR NULL}"
NO_NUL = ((SYMBOL, f"{SYMBOL}1"), ("\0", f"{SYMBOL}0"))
"""U+0000, which PostgreSQL keeps in no text, stands there as ␀0, and ␀ itself as ␀1. Only refused and carried texts can
hold it; what is read by `fetch_table` is as it was."""
ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), *NO_NUL)
_TYPES = {
    pa.string(): 'TEXT COLLATE "C"',
    pa.int64(): "BIGINT",
    pa.int32(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
}


@contextmanager
def staged_tables(
    connection: Any,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[None]:
    """Temporary tables of this connection; of the visits only those that the load reads."""
    refused = connection.execute("SELECT DISTINCT visit_key FROM quarantine WHERE status IN ('open', 'waived')")
    pieces = {name: literal(str(path)) for name, path in files.items()}
    pieces["carried"] = "".join(f",\n    {identifier(name)}" for name in carried)
    pieces["read"] = "true" if refresh else "is_written OR action <> 'unchanged'"
    with open_database(engine, folder) as opened:
        opened.register("refused", pa.table({"visit_key": pa.array([row[0] for row in refused], pa.string())}))
        for name in (*STAGED, "versions"):
            query = statement(f"warehouse/staged/{name}", **pieces)
            table = "staged" if name == "visits" else name
            copy_in(connection, table, opened.sql(query).to_arrow_reader(BATCH_ROWS))
    yield


@contextmanager
def wanted_visits(connection: Any, keys: pa.RecordBatchReader, scratch: Path) -> Iterator[None]:
    copy_in(connection, "wanted", keys)
    try:
        yield
    finally:
        if not connection.is_lost:
            connection.execute("BEGIN READ WRITE")
            connection.execute("DROP TABLE temp.wanted")
            connection.execute("COMMIT")


def copy_in(connection: Any, table: str, rows: pa.RecordBatchReader) -> None:
    """Write Arrow rows into a new temporary table; a reading connection may have one too."""
    columns = ", ".join(f"{identifier(field.name)} {_type(field.type)}" for field in rows.schema)
    connection.execute("BEGIN READ WRITE")
    connection.execute(f"CREATE TEMP TABLE {identifier(table)} ({columns})")
    with connection.copy(f"COPY temp.{identifier(table)} FROM STDIN") as stream:
        for batch in rows:
            stream.write(_text(batch))
    connection.execute("COMMIT")
    connection.execute(f"ANALYZE temp.{identifier(table)}")


def fetch_table(connection: Any, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    """A query's result, streamed as CSV: empty is null, quoted empty is ''."""
    received = io.BytesIO()
    with connection.copy(f"COPY ({sql}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)", parameters) as stream:
        for piece in stream:
            received.write(piece)
    if not received.tell():
        return schema.empty_table()
    received.seek(0)
    return _as_it_was(_read(received, schema))


def _read(received: io.BytesIO, schema: pa.Schema) -> pa.Table:
    return pyarrow.csv.read_csv(
        received,
        read_options=pyarrow.csv.ReadOptions(column_names=schema.names),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _as_it_was(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if pa.types.is_string(field.type) and pc.any(pc.match_substring(column, SYMBOL)).as_py():
            for plain, written in reversed(NO_NUL):
                column = pc.replace_substring(column, written, plain)
            table = table.set_column(place, field, column)
    return table


def _type(kind: pa.DataType) -> str:
    return "TIMESTAMPTZ" if pa.types.is_timestamp(kind) else _TYPES[kind]


def _text(batch: pa.RecordBatch) -> memoryview:
    """The rows as COPY reads them."""
    tab, newline, nothing = (pa.scalar(each, pa.large_string()) for each in ("\t", "\n", ""))
    rows = pc.binary_join_element_wise(*(_cells(column) for column in batch.columns), tab)
    lines = pc.binary_join_element_wise(rows, nothing, newline)
    length = pc.sum(pc.binary_length(lines)).as_py() or 0
    return memoryview(lines.buffers()[2])[:length]


def _cells(column: pa.Array) -> pa.Array:
    text = column.cast(pa.large_string())
    if pa.types.is_string(column.type):
        for plain, escaped in ESCAPES:
            text = pc.replace_substring(text, plain, escaped)
    return pc.fill_null(text, "\\N")
