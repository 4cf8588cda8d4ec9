"""The module of a kind of warehouse: imported only when it is the one in use."""

from __future__ import annotations

from lib.warehouses.interface import Connection, Kind, ServerKind


def kind_named(name: str) -> Kind:
    """`sqlite`, `duckdb` or a server's, as lib.layout reads it from the URL."""
    if name == "duckdb":
        from lib.warehouses import duckdb

        return duckdb
    if name == "sqlite":
        from lib.warehouses import sqlite

        return sqlite
    return server_kind(name)


def server_kind(name: str) -> ServerKind:
    """`postgres`, `snowflake`, `bigquery`. Raises UsageError where its driver is not installed."""
    if name == "snowflake":
        from lib.warehouses import snowflake

        return snowflake
    if name == "bigquery":
        from lib.warehouses import bigquery

        return bigquery
    from lib.warehouses import postgres

    return postgres


def kind_of(connection: Connection) -> Kind:
    return kind_named(connection.kind)
