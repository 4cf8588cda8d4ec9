"""Content hashes: sums over rows that do not depend on order, kept by difference, true to every row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.content import count_content, differing_parts, keeping_content, write_all_hashes
from lib.layout import Layout
from lib.warehouse import add_carried_columns, open_warehouse, transaction

HASH = "a" * 64
STAMP = "2025-03-01T12:00:00.000000+00:00"
INSERT = (
    "INSERT INTO fact_visits (source, visit_id, patient_id, visit_date, visit_cost_cents, last_updated, row_hash,"
    f" delivery_seq, source_line) VALUES (?, ?, 'P1', ?, ?, '{STAMP}', '{HASH}', 1, 2)"
)


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Two days of one source, one of another, hashed."""
    layout = Layout.at(tmp_path, None)
    layout.create()
    connection = open_warehouse(layout)
    with transaction(connection), keeping_content(connection):
        connection.execute(INSERT, ["clinic", "V1", "2025-03-01", 100])
        connection.execute(INSERT, ["clinic", "V2", "2025-03-02", None])
        connection.execute(INSERT, ["north", "V1", "2025-03-01", 300])
    yield connection
    connection.close()


def hashes(connection: sqlite3.Connection) -> dict[str, tuple[int, str]]:
    rows = connection.execute("SELECT key, row_count, hash FROM content_hashes WHERE part = 'fact_visits'")
    return {row[0]: (row[1], row[2]) for row in rows}


def test_what_is_kept_is_what_a_count_of_every_row_gives(warehouse: sqlite3.Connection) -> None:
    kept = hashes(warehouse)
    assert {key: rows for key, (rows, _) in kept.items()} == {
        "clinic|2025-03-01": 1, "clinic|2025-03-02": 1, "north|2025-03-01": 1,
    }  # fmt: skip
    assert differing_parts(warehouse) == {}
    with transaction(warehouse):
        write_all_hashes(warehouse)
    assert hashes(warehouse) == kept


def test_the_order_of_writing_does_not_matter(warehouse: sqlite3.Connection) -> None:
    before = hashes(warehouse)
    with transaction(warehouse), keeping_content(warehouse):
        warehouse.execute("DELETE FROM fact_visits")
        warehouse.execute(INSERT, ["north", "V1", "2025-03-01", 300])
        warehouse.execute(INSERT, ["clinic", "V2", "2025-03-02", None])
        warehouse.execute(INSERT, ["clinic", "V1", "2025-03-01", 100])
    assert hashes(warehouse) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fact_visits SET visit_cost_cents = 101 WHERE visit_id = 'V1' AND source = 'clinic'",
        "UPDATE fact_visits SET visit_date = '2025-03-02' WHERE source = 'north'",
        "UPDATE fact_visits SET deleted_at = last_updated, deleted_seq = 2 WHERE source = 'north'",
        "DELETE FROM fact_visits WHERE source = 'north'",
        INSERT.replace("(?, ?, 'P1', ?, ?,", "('north', 'V9', 'P9', '2025-03-09', NULL,"),
        INSERT.replace("(?, ?, 'P1', ?, ?,", "('north', 'V1', 'P9', '2025-03-09', 7,")
        + " ON CONFLICT (source, visit_id) DO UPDATE SET visit_date = excluded.visit_date",
    ],
    ids=["a cost", "another day", "deleted_at", "a delete", "a new visit", "an upsert"],
)
def test_every_way_to_write_is_followed_and_a_silent_one_is_found(
    warehouse: sqlite3.Connection, statement: str
) -> None:
    with transaction(warehouse), keeping_content(warehouse):
        warehouse.execute(statement)
    assert differing_parts(warehouse) == {}
    warehouse.execute("DELETE FROM fact_visits WHERE visit_id = 'V2'")  # silently
    assert differing_parts(warehouse) == {"fact_visits": 1}


def test_a_silent_change_on_a_day_that_is_written_again_stays_found(warehouse: sqlite3.Connection) -> None:
    warehouse.execute("UPDATE fact_visits SET visit_cost_cents = 999 WHERE source = 'clinic' AND visit_id = 'V1'")
    with transaction(warehouse), keeping_content(warehouse):
        warehouse.execute(INSERT, ["clinic", "V3", "2025-03-01", 5])
        warehouse.execute("UPDATE fact_visits SET visit_cost_cents = 100 WHERE source = 'clinic' AND visit_id = 'V1'")
    assert differing_parts(warehouse) == {"fact_visits": 1}, "999 was taken off, which was never added"


def test_a_refresh_begins_its_own_source_afresh_and_leaves_the_other(warehouse: sqlite3.Connection) -> None:
    warehouse.execute("UPDATE fact_visits SET visit_cost_cents = 999")  # silently, both sources
    with transaction(warehouse), keeping_content(warehouse, afresh="clinic"):
        warehouse.execute("DELETE FROM fact_visits WHERE source = 'clinic'")
        warehouse.execute(INSERT, ["clinic", "V1", "2025-03-01", 100])
    assert differing_parts(warehouse) == {"fact_visits": 1}
    assert set(hashes(warehouse)) == {"clinic|2025-03-01", "north|2025-03-01"}


def test_a_newly_carried_column_changes_no_hash(warehouse: sqlite3.Connection) -> None:
    before = hashes(warehouse)
    with transaction(warehouse):
        add_carried_columns(warehouse, ["ward", "age_group"])
        with keeping_content(warehouse):
            pass
    assert hashes(warehouse) == before
    assert differing_parts(warehouse) == {}
    warehouse.execute("UPDATE fact_visits SET ward = 'A' WHERE source = 'north'")
    assert differing_parts(warehouse) == {"fact_visits": 1}


def test_values_that_join_alike_do_not_hash_alike(warehouse: sqlite3.Connection) -> None:
    with transaction(warehouse), keeping_content(warehouse):
        warehouse.execute("UPDATE fact_visits SET provider_id = 'ab', diagnosis_code = 'c' WHERE source = 'north'")
    warehouse.execute("UPDATE fact_visits SET provider_id = 'a', diagnosis_code = 'bc' WHERE source = 'north'")
    assert differing_parts(warehouse) == {"fact_visits": 1}


def test_text_after_a_nul_is_content_too(warehouse: sqlite3.Connection) -> None:
    with transaction(warehouse), keeping_content(warehouse):
        warehouse.execute("UPDATE fact_visits SET provider_id = ? WHERE source = 'north'", ["a\x00b"])
    warehouse.execute("UPDATE fact_visits SET provider_id = ? WHERE source = 'north'", ["a\x00c"])
    assert differing_parts(warehouse) == {"fact_visits": 1}


def test_a_transaction_that_fails_leaves_hashes_and_connection_as_they_were(warehouse: sqlite3.Connection) -> None:
    before = hashes(warehouse)
    with pytest.raises(ZeroDivisionError), transaction(warehouse), keeping_content(warehouse):
        warehouse.execute("DELETE FROM fact_visits")
        raise ZeroDivisionError
    assert hashes(warehouse) == before and differing_parts(warehouse) == {}
    with keeping_content(warehouse):  # in a transaction of its own, which ends with it
        warehouse.execute("DELETE FROM fact_visits WHERE source = 'north'")
    assert not warehouse.in_transaction and differing_parts(warehouse) == {}


def test_a_block_inside_a_block_counts_once(warehouse: sqlite3.Connection) -> None:
    with transaction(warehouse), keeping_content(warehouse), keeping_content(warehouse, tables=["fact_visits"]):
        warehouse.execute("DELETE FROM fact_visits WHERE source = 'north'")
    assert differing_parts(warehouse) == {}


def test_every_table_that_runs_write_is_counted(warehouse: sqlite3.Connection) -> None:
    warehouse.execute(
        "INSERT INTO runs (run_id, source, batch, as_of, committed, actor, version, counts)"
        f" VALUES ('000001', 'clinic', 'new', '{STAMP}', '{STAMP}', 'me', 1, '{{}}')"
    )
    warehouse.execute(f"INSERT INTO state VALUES ('clinic', NULL, 1, '{STAMP}', '000001')")
    assert differing_parts(warehouse) == {"runs": 1, "state": 1}
    assert ("runs", "000001") in count_content(warehouse)
