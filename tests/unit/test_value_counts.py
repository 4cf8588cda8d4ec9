"""Visits counted by value: whatever is written, what is asked of the counts is what the facts say."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib import analytics
from lib.content import keeping_content
from lib.layout import Layout
from lib.verify import _value_counts
from lib.warehouse import open_warehouse, transaction
from lib.warehouses.interface import Connection

KINDS = ("sqlite", "duckdb")
SOURCES = ("clinic", "north")
INSERT = (
    "INSERT INTO fact_visits (source, visit_id, patient_id, provider_id, diagnosis_code, visit_date, visit_cost_cents,"
    " last_updated, row_hash, delivery_seq, source_line) VALUES (?, ?, 'P1', ?, ?, ?, ?, '2025-03-01 00:00:00.000000"
    f"+00:00', '{'a' * 64}', 1, 2)"
)
CATEGORIES = """
    WITH counted AS (SELECT {0} AS category, count(*) AS visits FROM fact_visits
        WHERE deleted_at IS NULL AND (:source IS NULL OR source = :source) GROUP BY {0}),
    placed AS (SELECT *, row_number() OVER (ORDER BY visits DESC, category NULLS FIRST) > :top AS folded FROM counted)
    SELECT folded, CASE WHEN folded THEN NULL ELSE category END AS category, count(*) AS categories,
        sum(visits) AS visits
    FROM placed GROUP BY 1, 2
"""
BINS = """
    SELECT CASE WHEN visit_cost_cents < 100 THEN 2 ELSE length(CAST(visit_cost_cents AS VARCHAR(20))) END AS digits,
        CASE WHEN visit_cost_cents < 100 THEN 0
            ELSE CAST(substr(CAST(visit_cost_cents AS VARCHAR(20)), 1, 2) AS INTEGER) END AS "leading",
        count(*) AS visits
    FROM fact_visits
    WHERE deleted_at IS NULL AND visit_cost_cents IS NOT NULL AND (:source IS NULL OR source = :source)
    GROUP BY 1, 2
"""
COSTS = """
    SELECT visit_cost_cents AS cents FROM fact_visits
    WHERE deleted_at IS NULL AND visit_cost_cents IS NOT NULL AND (:source IS NULL OR source = :source) ORDER BY 1
"""

codes = st.none() | st.sampled_from(["I10", "E11", "a'b", "null", "É", "0"])
costs = st.none() | st.sampled_from([0, 5, 99, 100, 101, 999, 1000, 99_999]) | st.integers(0, 10**9)
visits = st.tuples(st.sampled_from(SOURCES), st.sampled_from(["V1", "V2", "V3", "V4"]))
writes = st.one_of(
    st.tuples(st.just("write"), visits, codes, codes, costs),
    st.tuples(st.just("delete"), visits),
    st.tuples(st.just("mark"), visits),
    st.tuples(st.just("unmark"), visits),
    st.tuples(st.just("correct"), visits, codes, costs),
    st.tuples(st.just("refresh"), st.sampled_from(SOURCES), st.lists(st.tuples(codes, codes, costs), max_size=4)),
)
blocks = st.lists(st.lists(writes, max_size=6), max_size=5)


def do(connection: Connection, write: tuple[Any, ...]) -> None:
    name, *cells = write
    if name == "write":
        (source, visit_id), *values = cells
        do(connection, ("delete", (source, visit_id)))
        provider, code, cost = values
        connection.execute(INSERT, [source, visit_id, provider, code, "2025-03-01", cost])
    elif name == "delete":
        connection.execute("DELETE FROM fact_visits WHERE source = ? AND visit_id = ?", list(cells[0]))
    elif name == "correct":
        (source, visit_id), code, cost = cells
        connection.execute(
            "UPDATE fact_visits SET diagnosis_code = ?, visit_cost_cents = ?, visit_date = '2025-03-02'"
            " WHERE source = ? AND visit_id = ?",
            [code, cost, source, visit_id],
        )
    else:
        marked = "last_updated" if name == "mark" else "NULL"
        connection.execute(
            f"UPDATE fact_visits SET deleted_at = {marked} WHERE source = ? AND visit_id = ?", list(cells[0])
        )


def write_block(connection: Connection, block: list[tuple[Any, ...]]) -> None:
    """A refresh begins a source afresh, all else is kept by difference; each in a transaction of its own."""
    refreshes = [write for write in block if write[0] == "refresh"]
    with transaction(connection), keeping_content(connection):
        for write in block:
            if write[0] != "refresh":
                do(connection, write)
    for _, source, rows in refreshes:
        with transaction(connection), keeping_content(connection, afresh=source):
            connection.execute("DELETE FROM fact_visits WHERE source = ?", [source])
            for number, (provider, code, cost) in enumerate(rows):
                connection.execute(INSERT, [source, f"R{number}", provider, code, "2025-03-03", cost])


def asked(connection: Connection, name: str, **values: Any) -> list[dict[str, Any]]:
    return sorted((dict(row) for row in analytics._rows(connection, name, **values)), key=repr)


def direct(connection: Connection, query: str, **values: Any) -> list[dict[str, Any]]:
    rows = connection.execute(query, values)
    names = [column[0] for column in rows.description]
    return sorted((dict(zip(names, row, strict=True)) for row in rows), key=repr)


def quartiles(connection: Connection, source: str | None) -> dict[str, Any]:
    cents = [row["cents"] for row in direct(connection, COSTS, source=source)]
    cents.sort()
    at = {"lower_quartile_cents": 1, "median_cents": 2, "upper_quartile_cents": 3}
    return {"visits_with_cost": len(cents)} | {
        name: cents[-(-len(cents) * share // 4) - 1] if cents else None for name, share in at.items()
    }


def check(connection: Connection, layout: Layout) -> None:
    for source in (None, *SOURCES):
        for column in ("diagnosis_code", "provider_id"):
            for top in (1, 12):
                expected = direct(connection, CATEGORIES.format(column), source=source, top=top)
                assert asked(connection, "analytics/categories", kind=column, source=source, top=top) == expected
        assert asked(connection, "analytics/cost_bins", source=source) == direct(connection, BINS, source=source)
        assert asked(connection, "analytics/cost_quartiles", source=source) == [quartiles(connection, source)]
    assert _value_counts(connection, layout) == []


@pytest.mark.parametrize("kind", KINDS)
@given(blocks)
@settings(max_examples=40, deadline=None)
@example([[("write", ("clinic", "V1"), None, "I10", 100), ("write", ("north", "V1"), "D1", "I10", None)],
          [("mark", ("clinic", "V1"))], [("unmark", ("clinic", "V1")), ("correct", ("north", "V1"), None, 100)],
          [("refresh", "clinic", [(None, "E11", 5)])]])  # fmt: skip
def test_what_is_asked_of_the_counts_is_what_the_facts_say(kind: str, history: list[list[tuple[Any, ...]]]) -> None:
    with TemporaryDirectory() as name:
        layout = layout_of(Path(name), kind)
        with closing(open_warehouse(layout)) as connection:
            for block in history:
                write_block(connection, block)
                check(connection, layout)


def layout_of(folder: Path, kind: str) -> Layout:
    layout = Layout.at(folder, f"{kind}:///warehouse.{kind}")
    layout.create()
    return layout


@pytest.mark.parametrize("kind", KINDS)
def test_a_visit_altered_silently_stays_found_when_it_is_written_again(kind: str, tmp_path: Path) -> None:
    layout = layout_of(tmp_path, kind)
    with closing(open_warehouse(layout)) as connection:
        write_block(connection, [("write", ("clinic", "V1"), "D1", "I10", 100)])
        connection.execute("UPDATE fact_visits SET diagnosis_code = 'E11'")
        assert _value_counts(connection, layout) == ["visit_value_counts: 2 counts not as the facts give it"]
        write_block(connection, [("delete", ("clinic", "V1"))])
        assert _value_counts(connection, layout) == ["visit_value_counts: 2 counts not as the facts give it"]
        rows = connection.execute("SELECT value, visits FROM visit_value_counts ORDER BY value").fetchall()
        assert [tuple(row) for row in rows] == [("E11", -1), ("I10", 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_transaction_that_fails_leaves_the_counts(kind: str, tmp_path: Path) -> None:
    layout = layout_of(tmp_path, kind)
    with closing(open_warehouse(layout)) as connection:
        write_block(connection, [("write", ("clinic", "V1"), "D1", "I10", 100)])
        with pytest.raises(ZeroDivisionError), transaction(connection), keeping_content(connection):
            do(connection, ("delete", ("clinic", "V1")))
            raise ZeroDivisionError
        check(connection, layout)
        write_block(connection, [("delete", ("clinic", "V1"))])
        assert connection.execute("SELECT count(*) FROM visit_value_counts").fetchone()[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_warehouse_from_before_is_counted_once(kind: str, tmp_path: Path) -> None:
    layout = layout_of(tmp_path, kind)
    with closing(open_warehouse(layout)) as connection:
        write_block(connection, [
            ("write", ("clinic", "V1"), "D1", None, 100), ("write", ("north", "V1"), "D1", "I10", None),
            ("write", ("clinic", "V2"), "D1", "E11", 7), ("mark", ("clinic", "V2")),
        ])  # fmt: skip
        connection.execute("DROP TABLE visit_value_counts")
        if kind == "sqlite":
            connection.execute("DROP INDEX quarantine_by_status")
            connection.execute("PRAGMA user_version = 3")
        else:
            connection.execute("COMMENT ON TABLE warehouse IS 'patient visits, schema 3'")
    with closing(open_warehouse(layout)) as connection:
        check(connection, layout)
        assert connection.execute("SELECT sum(visits) FROM visit_value_counts").fetchone()[0] == 6
    assert list(tmp_path.glob("warehouse.*.schema3-*"))
