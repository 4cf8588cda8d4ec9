"""Every statement of Snowflake's and BigQuery's warehouses, parsed strictly in their dialect: emulators take more.

The files of lib/sql as those kinds get them, and (tests/warehouses/test_<kind>.py) whatever a history asked for. Kept
plain: a MERGE reads a table and no query, names are none of the reserved words, no TRY_CAST but from text.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lib.sql import FOLDER, statement, statements
from lib.warehouses.cloud import Dialect, Piece, in_a_transaction
from tests.servers.environment import made

KINDS = ("snowflake", "bigquery")
NOT_THEIRS = ("warehouse/staged/", "warehouse/rebuild/", "warehouse/schema/", "warehouse/load/afresh/")
OTHERS_ONLY = {"warehouse/holder", "warehouse/waivers_left_out", "warehouse/load/00_standing_visits",
               "warehouse/verify/declarations", "warehouse/verify/facts_by_their_values"}  # fmt: skip
"""Of PostgreSQL, DuckDB or a copy."""


def words(text: str) -> set[str]:
    return set(text.split())


RESERVED = {
    "snowflake": words(
        "account all alter and any as between by case cast check column connect connection constraint create cross"
        " current current_date current_time current_timestamp current_user database delete distinct drop else exists"
        " false following for from full grant group gscluster having ilike in increment inner insert intersect into is"
        " issue join lateral left like localtime localtimestamp minus natural not null of on or order organization"
        " qualify regexp revoke right rlike row rows sample schema select set some start table tablesample then to"
        " trigger true try_cast union unique update using values view when whenever where with"
    ),
    "bigquery": words(
        "all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube"
        " current default define desc distinct else end enum escape except exclude exists extract false fetch following"
        " for from full group grouping groups hash having if ignore in inner intersect interval into is join lateral"
        " left like limit lookup merge natural new no not null nulls of on or order outer over partition preceding"
        " proto qualify range recursive respect right rollup rows select set some struct tablesample then to treat true"
        " unbounded union unnest using when where window with within"
    ),
}
PIECES = {
    "carried": ', "ward"', "carried_given": ', excluded."ward"', "carried_updates": ',\n    "ward" = excluded."ward"',
    "staged_carried": ', s."ward"', "kept": "", "standing_kept": "", "checked": "true", "facts": "fact_visits",
}  # fmt: skip


def dialect(kind: str) -> Dialect:
    if kind == "snowflake":
        from lib.warehouses.snowflake_dialect import DIALECT
    else:
        from lib.warehouses.bigquery_dialect import DIALECT
    return DIALECT


def check(text: str, kind: str) -> None:
    """Raises where the service would not take the statement, as far as a parser can tell."""
    packages = str(made("snowflake"))
    if packages not in sys.path:
        sys.path.append(packages)
    import sqlglot
    from sqlglot import exp

    [parsed] = sqlglot.parse(text, dialect=kind, error_level=sqlglot.ErrorLevel.RAISE)
    assert not isinstance(parsed, exp.Command), f"not understood: {text[:200]}"
    parsed.sql(dialect=kind, unsupported_level=sqlglot.ErrorLevel.RAISE)
    for merge in parsed.find_all(exp.Merge):
        assert isinstance(merge.args["using"], exp.Table), "a MERGE reads a table"
    assert not list(parsed.find_all(exp.TryCast))
    for each in parsed.find_all(exp.Identifier):
        assert each.quoted or each.name.lower() not in RESERVED[kind], f"{each.name} is reserved: {text[:200]}"


def files() -> list[str]:
    names = {
        re.sub(r"(\.\w+)?\.sql$", "", path.relative_to(FOLDER).as_posix())
        for part in ("warehouse", "analytics", "checks", "examples")
        for path in Path(FOLDER / part).rglob("*.sql")
    }
    return sorted(each for each in names if not each.startswith(NOT_THEIRS) and each not in OTHERS_ONLY)


def given(text: str) -> dict[str, Any]:
    marks = re.findall(r":([a-z_]+)", text)
    return {**dict.fromkeys(marks, "a'\\b\n"), "refresh": True, "days": Piece("IN (DATE '2025-03-01')")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", files())
def test_a_statement_parses_strictly(kind: str, name: str) -> None:
    facts = statement("checks/facts_counted", kind)
    counted = statement("warehouse/visit_values", kind, facts="fact_visits") if "values" in name else facts
    text = statement(name, kind, **PIECES, counted=counted)
    values: Any = [1] * text.count("?") if "?" in text else given(text)
    check(dialect(kind).whole(in_a_transaction(text), values), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_parses_strictly(kind: str) -> None:
    texts = statements(f"warehouse/schema/{kind}/v4")
    assert len(texts) > 12
    for text in texts:
        check(dialect(kind).whole(text, ()), kind)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MERGE INTO a USING (SELECT 1 AS x) AS b ON a.x = b.x WHEN MATCHED THEN DELETE", "reads a table"),
        ("SELECT 1 AS rows", "is reserved"),
        ("SELECT * FROM a WHERE (", "Expecting"),
    ],
)
def test_what_is_not_plain_is_found(text: str, words: str) -> None:
    with pytest.raises(Exception, match=words):
        check(text, "snowflake")
