"""The module of a kind of warehouse: imported only when it is the one in use."""

from __future__ import annotations

from lib.warehouses.interface import Connection, Kind


def kind_named(name: str) -> Kind:
    """`sqlite` or `duckdb`, as lib.layout reads it from the URL."""
    if name == "duckdb":
        from lib.warehouses import duckdb

        return duckdb
    from lib.warehouses import sqlite

    return sqlite


def kind_of(connection: Connection) -> Kind:
    return kind_named(connection.kind)
