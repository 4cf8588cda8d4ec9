"""The state: its truth is the warehouse's row; state.json is a copy that is mended and never believed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.errors import StoredDataChanged
from lib.files import read_json
from lib.layout import Layout
from lib.state import State, check_facts_present, read_state, write_state_copy
from lib.warehouse import open_warehouse

NOON = "2025-03-01T12:00:00.000000+00:00"
LATER = "2025-03-02T00:00:00.500000+00:00"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path, None)
    made.create()
    return made


@pytest.fixture
def connection(layout: Layout) -> Iterator[sqlite3.Connection]:
    opened = open_warehouse(layout)
    yield opened
    opened.close()


def save(connection: sqlite3.Connection, source: str, watermark: str | None, as_of: str, run_id: str) -> None:
    connection.execute("INSERT INTO state VALUES (?, ?, 7, ?, ?)", [source, watermark, as_of, run_id])


def test_a_source_without_a_load_has_no_watermark_but_shares_the_clock(connection: sqlite3.Connection) -> None:
    assert read_state(connection, "north") == State(0, None, None, None, None)
    save(connection, "south", NOON, LATER, "000001-a")
    clock = datetime(2025, 3, 2, 0, 0, 0, 500000, tzinfo=UTC)
    assert read_state(connection, "north") == State(0, None, None, clock, None)
    save(connection, "north", None, NOON, "000002-b")
    assert read_state(connection, "north") == State(0, None, 7, clock, "000002-b")
    assert read_state(connection, "south").watermark == datetime(2025, 3, 1, 12, tzinfo=UTC)


def test_a_watermark_over_no_fact_of_its_source_is_an_error(connection: sqlite3.Connection) -> None:
    check_facts_present(connection, "north")
    save(connection, "north", None, NOON, "000001-a")
    check_facts_present(connection, "north")
    save(connection, "south", NOON, NOON, "000002-b")
    connection.execute(
        "INSERT INTO fact_visits (source, visit_id, patient_id, visit_date, last_updated, row_hash, delivery_seq,"
        " source_line) VALUES ('north', 'V1', 'P1', '2025-03-01', ?, ?, 1, 2)", [NOON, "0" * 64],
    )  # fmt: skip
    with pytest.raises(StoredDataChanged, match=r"no visit of south .*--full-refresh"):
        check_facts_present(connection, "south")
    check_facts_present(connection, "north")


def test_the_copy_tells_the_newest_load_and_every_source(connection: sqlite3.Connection, layout: Layout) -> None:
    assert write_state_copy(connection, layout)
    assert read_json(layout.state_file) == {"version": 0, "sources": {}}
    save(connection, "north", NOON, NOON, "000002-b")
    save(connection, "south", None, LATER, "000001-a")
    assert write_state_copy(connection, layout)
    copy = read_json(layout.state_file)
    assert (copy["source"], copy["watermark_last_updated"]) == ("north", "2025-03-01T12:00:00+00:00")
    assert copy["last_staging_row_count"] == 7 and copy["last_run_id"] == "000002-b"
    assert copy["sources"]["south"]["watermark_last_updated"] is None
    assert copy["sources"]["south"]["last_as_of"] == "2025-03-02T00:00:00.500000+00:00"
    assert layout.state_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"version": 9}', None])
def test_a_copy_that_is_not_right_is_written_again_and_a_right_one_left_alone(
    connection: sqlite3.Connection, layout: Layout, content: bytes | None
) -> None:
    save(connection, "north", NOON, NOON, "000001-a")
    write_state_copy(connection, layout)
    right = layout.state_file.read_bytes()
    assert not write_state_copy(connection, layout)
    if content is None:
        layout.state_file.unlink()
    else:
        layout.state_file.write_bytes(content)
    assert write_state_copy(connection, layout)
    assert layout.state_file.read_bytes() == right
