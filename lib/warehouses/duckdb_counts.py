"""The counts of visits' values in DuckDB: of the facts that a block may touch they are counted before it and after it,
and the difference is added to what is stored, as with the content hashes; see lib/sql/warehouse/schema/duckdb/v4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lib.sql import statement


@contextmanager
def keeping_values(
    connection: Any, before: str | None, after: str, values: Mapping[str, Any], forget: str | None
) -> Iterator[None]:
    """`before`, `after`: the facts that the block may touch, as SQL; `before` is None where there are none. `forget`: a
    source whose facts are all written anew, so that what is stored of it does not count."""
    _execute(connection, "count_before", values, counted=_counted(before or "fact_visits", before is not None))
    if forget:
        connection.execute("DELETE FROM visit_value_counts WHERE source = ?", [forget])
    yield
    _execute(connection, "count_changes", values, counted=_counted(after, True))
    for name in ("clear_counts", "write_counts"):
        _execute(connection, name, values)
    for table in ("counts_before", "count_changes"):
        connection.execute(f"DROP TABLE temp.{table}")


def _counted(facts: str, is_any: bool) -> str:
    return statement(
        "warehouse/visit_values", "duckdb", facts=facts if is_any else f"(SELECT * FROM {facts} WHERE false)"
    )


def _execute(connection: Any, name: str, values: Mapping[str, Any], **pieces: str) -> None:
    connection.execute(statement(f"warehouse/values/{name}", "duckdb", **pieces), values)
