"""fakesnow's server, run by the environment that has it (tests/servers/snowflake.py), with what it lacks for us.

It has no hexadecimal format of TO_NUMBER; its COPY INTO finds no temporary table, which it looks for by the full name;
in a transaction its MERGE fails on noting a comment of the temporary table that it makes for itself; and it sends a
stamp that is null as 1970.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Any

import fakesnow
import pyarrow as pa
from fakesnow import arrow, copy_into, cursor
from sqlglot import exp

PR_SET_PDEATHSIG = 1


def _hexadecimal(expression: exp.Expr) -> exp.Expr:
    if isinstance(expression, exp.ToNumber) and expression.args.get("format"):
        given = exp.Concat(expressions=[exp.Literal.string("0x"), expression.this.copy()])
        return exp.cast(given, exp.DataType.Type.BIGINT)
    return _to_decimal(expression)


def _describe(table: exp.Table, connection: Any, database: str | None, schema: str | None) -> list[tuple[str, str]]:
    is_temporary = connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE temporary AND lower(table_name) = lower(?)", [table.name]
    ).fetchone()
    if is_temporary:
        return [(row[0], row[1]) for row in connection.execute(f"DESCRIBE temp.{table.name}").fetchall()]
    return _describe_table(table, connection, database, schema)


def _stamps(column: Any) -> pa.Array:
    whole = _stamps_with_1970(column)
    nulls = column.combine_chunks().is_null() if isinstance(column, pa.ChunkedArray) else column.is_null()
    return pa.StructArray.from_arrays(whole.flatten(), fields=list(whole.type), mask=nulls)


def _comment(catalog: str, schema: str, table: str, comment: str) -> str:
    return "SELECT 1" if table.lower() == "merge_candidates" else _insert_comment(catalog, schema, table, comment)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
    _to_decimal = cursor.transforms.to_decimal
    cursor.transforms.to_decimal = _hexadecimal
    _stamps_with_1970 = arrow.timestamp_to_sf_struct
    arrow.timestamp_to_sf_struct = _stamps
    _insert_comment = cursor.info_schema.insert_table_comment_sql
    cursor.info_schema.insert_table_comment_sql = _comment
    _describe_table = copy_into._describe_table
    copy_into._describe_table = _describe
    with fakesnow.server(port=int(sys.argv[1])):
        signal.pause()
