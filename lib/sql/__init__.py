"""The statements: one a file, opened by a comment that states grain, key and interval.

`staging/` is the engine's; `warehouse/`, `analytics/`, `checks/` are the warehouse's. A statement is `name.sql` where
every kind of engine or warehouse understands it, else a file a kind: `name.sqlite.sql`, `name.duckdb.sql`;
`name.cloud.sql` is for Snowflake and BigQuery, as lib/warehouses/cloud.py brings it to them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent
FAMILIES = {"snowflake": "cloud", "bigquery": "cloud"}
"""Kinds that share statements."""


@cache
def _text(name: str, kind: str | None) -> str:
    named = [f"{name}.{each}.sql" for each in (kind, FAMILIES.get(kind or "")) if each]
    path = next((FOLDER / each for each in named if (FOLDER / each).exists()), FOLDER / f"{name}.sql")
    return path.read_text(encoding="utf-8")


def statement(name: str, kind: str | None = None, **pieces: str) -> str:
    """The statement of that name: the kind's own where there is one, else everyone's. `$piece` marks in it take SQL
    pieces made by lib, never a value of the data."""
    return Template(_text(name, kind)).substitute(pieces)


def statements(folder: str) -> list[str]:
    """Every statement of a folder, by file name."""
    return [path.read_text(encoding="utf-8") for path in sorted((FOLDER / folder).glob("*.sql"))]


def identifier(name: str) -> str:
    """A checked name, quoted for SQL. The config holds names to letters, digits, underscores."""
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise ValueError("not a plain SQL identifier")
    return f'"{name}"'


def literal(text: str) -> str:
    """A text of the config as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"
