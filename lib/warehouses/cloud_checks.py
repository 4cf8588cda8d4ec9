"""What Snowflake and BigQuery do not hold true by themselves, and whether their tables are as declared."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lib.sql import statement
from lib.warehouses.interface import Connection

COLUMN = re.compile(r'^    "?([a-z_0-9]+)"? ([A-Z_0-9]+)(?:\([^)]*\))?( DEFAULT \d+)?( NOT NULL)?', re.MULTILINE)
TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
Columns = Mapping[str, tuple[str, bool]]
"""Name → type, and whether it may be null."""


def declared(statements: list[str], types: Mapping[str, str]) -> dict[str, Columns]:
    """By table; `types`: what the service calls a type, where that is another name."""
    found: dict[str, Columns] = {}
    for text in statements:
        if made := TABLE.search(text):
            found[made[1]] = {
                name: (types.get(kind, kind), not required) for name, kind, _, required in COLUMN.findall(made[2])
            }
    return found


def differing(expected: Mapping[str, Columns], there: Mapping[str, Columns], text: str) -> list[str]:
    """What is not as declared; columns of texts that may be null are carried ones, where there are more."""
    wrong = []
    for table, columns in sorted(expected.items()):
        found = dict(there.get(table, {}))
        if table == "fact_visits":
            found = {name: each for name, each in found.items() if name in columns or each != (text, True)}
        if found != columns:
            wrong.append(f"{table} is not declared as this release declares it")
    return wrong


def unsound_rows(connection: Connection) -> list[str]:
    """Visits that are there twice; costs that are not what the cents say."""
    found = []
    for name, what in (
        ("visits_twice", "visits are in fact_visits more than once"),
        ("costs_that_differ", "rows say a cost that is not what their cents say"),
    ):
        count = connection.execute(statement(f"warehouse/verify/{name}", connection.kind)).fetchone()[0]
        if count:
            found.append(f"{count:,} {what}")
    return found
