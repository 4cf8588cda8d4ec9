"""The warehouse as a file: made, found missing or foreign, migrated, busy, lost and built again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lib import validate, warehouse
from lib.decisions import discard_delivery
from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError
from lib.layout import Layout
from lib.sql import statements
from lib.warehouse import SCHEMA_VERSION, TABLES, open_warehouse, read_warehouse, transaction
from lib.warehouses import interface, sqlite
from lib.warehouses.sqlite import plain_errors
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.plain_gate import plain_gate


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return Clinic(tmp_path)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "data", None)
    made.create()
    return made


def loaded(clinic: Clinic) -> Clinic:
    """Two deliveries loaded, the first with a refused row that the second corrects."""
    for rows in ([row("V1"), row("V2", visit_cost="?")], [row("V2"), row("V3", visit_date="2025-02-28")]):
        clinic.deliver(rows)
        result = clinic.run()
        assert result.exit_code == 0, result.message
    return clinic


def rebuilt(clinic: Clinic) -> dict[str, Any]:
    """What a full refresh gives back; runs and what changed in them are gone with the warehouse."""
    tables = clinic.tables()
    return {name: tables[name] for name in ("fact_visits", "daily_visit_metrics", "quarantine_rows")} | {
        "statuses": clinic.statuses(),
        "watermark": clinic.query("SELECT watermark_last_updated FROM state"),
        "quarantine": clinic.query("SELECT identity, status, first_delivery_seq FROM quarantine ORDER BY 1"),
    }


def refuses(clinic: Clinic, words: str) -> str:
    """A run ends with exit code 6, its message holds the words, and no record of it stays."""
    before = sorted((clinic.data_dir / "runs").glob("*"))
    result = clinic.run()
    assert result.exit_code == 6 and words in result.message, result.message
    assert "\n" not in result.message
    assert sorted((clinic.data_dir / "runs").glob("*")) == before
    return result.message


# Made, opened, refused


def test_a_new_warehouse_has_every_table_and_is_private(layout: Layout) -> None:
    connection = open_warehouse(layout)
    tables = {each[0] for each in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert tables == TABLES
    assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    connection.close()
    assert layout.warehouse.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, b"", b"x"])
def test_a_warehouse_that_is_missing_or_empty_is_no_new_start_and_a_refresh_gives_all_of_it_back(
    clinic: Clinic, content: bytes | None
) -> None:
    """One byte too: SQLite would take it for an empty file."""
    before = rebuilt(loaded(clinic))
    clinic.warehouse.unlink()
    if content is not None:
        clinic.warehouse.write_bytes(content)
    message = refuses(clinic, "is missing although" if content is None else "is empty although")
    assert "--full-refresh" in message and "backup" in message
    assert clinic.warehouse.exists() is (content is not None)
    assert clinic.run(full_refresh=True).exit_code == 0
    assert rebuilt(clinic) == before
    assert clinic.run().exit_code == 0 and rebuilt(clinic) == before


@pytest.mark.parametrize("size", [2, 100, 20_000])
def test_garbage_is_no_warehouse_and_stays_as_it_is(clinic: Clinic, size: int) -> None:
    before = rebuilt(loaded(clinic))
    clinic.warehouse.write_bytes(b"\xde" * size)
    assert "--full-refresh" in refuses(clinic, "is not a sound SQLite database")
    assert clinic.warehouse.read_bytes() == b"\xde" * size
    assert clinic.run(full_refresh=True).exit_code == 6  # never over somebody's file
    clinic.warehouse.rename(clinic.warehouse.with_suffix(".broken"))
    assert clinic.run(full_refresh=True).exit_code == 0 and rebuilt(clinic) == before


def test_a_torn_page_is_found_when_it_is_read(clinic: Clinic) -> None:
    loaded(clinic)
    content = bytearray(clinic.warehouse.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    clinic.warehouse.write_bytes(content)
    refuses(clinic, "is not a sound SQLite database")


def test_a_database_without_any_table_is_an_empty_one(clinic: Clinic) -> None:
    loaded(clinic)
    clinic.warehouse.unlink()
    with sqlite3.connect(clinic.warehouse) as blank:
        blank.execute("CREATE TABLE t (x)")
        blank.execute("DROP TABLE t")
    blank.close()
    refuses(clinic, "is empty although")


def test_another_program_s_database_is_not_touched(clinic: Clinic) -> None:
    clinic.data_dir.mkdir()
    with sqlite3.connect(clinic.warehouse) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    content = clinic.warehouse.read_bytes()
    clinic.deliver([row("V1")])
    refuses(clinic, "is another program's database; name another one with --warehouse")
    assert clinic.run(full_refresh=True).exit_code == 6
    assert clinic.warehouse.read_bytes() == content


def test_a_newer_schema_wants_a_newer_release(clinic: Clinic) -> None:
    loaded(clinic)
    with sqlite3.connect(clinic.warehouse) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = clinic.warehouse.read_bytes()
    refuses(clinic, f"has schema version {SCHEMA_VERSION + 1}, this code knows {SCHEMA_VERSION}")
    assert clinic.warehouse.read_bytes() == before


def test_an_older_schema_is_copied_then_migrated_and_keeps_its_rows(clinic: Clinic, layout: Layout) -> None:
    with sqlite3.connect(layout.warehouse) as connection:
        for text in statements("warehouse/schema/sqlite/v1"):
            connection.execute(text)
        connection.execute("INSERT INTO state VALUES ('clinic', NULL, 5, '2025-03-01T00:00:00.000000+00:00', 'r')")
        connection.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(StoredDataChanged, match="older schema; the next run migrates it"):
        read_warehouse(layout)
    clinic.deliver([row("V1")])
    assert clinic.run().exit_code == 0
    assert clinic.query("PRAGMA user_version") == [(SCHEMA_VERSION,)] and set(clinic.facts()) == {"V1"}
    assert len(clinic.query("SELECT 1 FROM sqlite_schema WHERE name = 'fact_visits_by_visit_date'")) == 1
    [copy] = layout.warehouse.parent.glob("warehouse.db.schema1-*")
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT last_staging_row_count FROM state").fetchall() == [(5,)]
    connection.close()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_fails_leaves_the_old_schema(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(layout.warehouse) as connection:
        for text in statements("warehouse/schema/sqlite/v1"):
            connection.execute(text)
        connection.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    broken = lambda folder: [*statements(folder), "CREATE INDEX nowhere ON no_such_table (x)"]  # noqa: E731
    with monkeypatch.context() as failing:
        failing.setattr(warehouse, "statements", broken)
        with pytest.raises(PipelineError):
            open_warehouse(layout)
    with sqlite3.connect(layout.warehouse) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    connection.close()
    open_warehouse(layout).close()


@pytest.mark.parametrize("table", ["fact_visits", "daily_visit_metrics"])
def test_a_table_made_from_deliveries_that_is_gone_is_offered_a_refresh_which_makes_it(
    clinic: Clinic, table: str
) -> None:
    before = rebuilt(loaded(clinic))
    with sqlite3.connect(clinic.warehouse) as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    assert "--full-refresh" in refuses(clinic, f"lacks the table {table}")
    assert clinic.run(full_refresh=True).exit_code == 0
    assert rebuilt(clinic) == before
    assert len(clinic.query("SELECT 1 FROM sqlite_schema WHERE name = 'fact_visits_by_visit_date'")) == 1


def test_another_table_that_is_gone_wants_a_backup(clinic: Clinic) -> None:
    loaded(clinic)
    with sqlite3.connect(clinic.warehouse) as connection:
        connection.execute("DROP TABLE state")
    connection.close()
    assert "backup" in refuses(clinic, "lacks the table state")
    assert clinic.run(full_refresh=True).exit_code == 6


def test_emptied_metrics_are_all_back_after_a_refresh(clinic: Clinic) -> None:
    before = rebuilt(loaded(clinic))
    with sqlite3.connect(clinic.warehouse) as connection:
        connection.execute("DELETE FROM daily_visit_metrics")
    connection.close()
    assert clinic.run(full_refresh=True).exit_code == 0 and rebuilt(clinic) == before


def test_reading_needs_a_warehouse_and_makes_none(layout: Layout) -> None:
    with pytest.raises(StoredDataChanged, match="there is no warehouse yet"):
        read_warehouse(layout)
    assert not layout.warehouse.exists()
    open_warehouse(layout).close()
    connection = read_warehouse(layout)
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM state")
    connection.close()


@pytest.mark.parametrize("url", ["postgres:///x", "sqlite:x.db", "sqlite:///", "x.db"])
def test_a_warehouse_is_named_by_a_sqlite_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="sqlite:///path"):
        Layout.at(tmp_path, url)
    assert Layout.at(tmp_path, "sqlite:///x.db").warehouse == tmp_path / "x.db"


# Busy


@contextmanager
def held_by_another(path: Path, begin: str) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(begin)
    if begin == "BEGIN":
        other.execute("SELECT * FROM deliveries").fetchone()
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.parametrize("begin", ["BEGIN EXCLUSIVE", "BEGIN IMMEDIATE", "BEGIN"])
def test_a_warehouse_that_another_program_locks_is_waited_for_a_while(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    """A writer, one that is about to write, and a reader: the last only hinders the commit."""
    before = rebuilt(loaded(clinic))
    monkeypatch.setattr(interface, "BUSY_SECONDS", 0.3)
    clinic.deliver([row("V9")])
    with held_by_another(clinic.warehouse, begin):
        began = time.monotonic()
        result = clinic.run()
        assert result.exit_code == 7 and "run again later" in result.message, result.message
        assert 0.3 <= time.monotonic() - began < 20
    after = rebuilt(clinic)
    assert {**after, "statuses": before["statuses"]} == before and after["statuses"][:2] == ["loaded", "loaded"]
    assert clinic.run().exit_code == 0 and set(clinic.facts()) == {"V1", "V2", "V3", "V9"}


def test_an_error_s_text_is_never_told(layout: Layout) -> None:
    connection = open_warehouse(layout)
    with pytest.raises(PipelineError) as told, plain_errors(layout.warehouse):
        connection.execute("SELECT * FROM no_such_table WHERE visit_id = 'CANARY'")
    assert "CANARY" not in str(told.value) and "no_such_table" not in str(told.value)
    with pytest.raises(TemporaryFailure), plain_errors(layout.warehouse):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error
    connection.close()


def test_a_transaction_is_all_or_nothing(layout: Layout) -> None:
    connection = open_warehouse(layout)
    with pytest.raises(KeyboardInterrupt), transaction(connection):
        connection.execute("UPDATE warehouse SET version = 9")
        raise KeyboardInterrupt
    assert not connection.in_transaction
    with transaction(connection):
        connection.execute("UPDATE warehouse SET version = version + 1")
    assert connection.execute("SELECT version FROM warehouse").fetchone()[0] == 1
    connection.close()


# Lost and built again


def test_a_rebuilt_warehouse_remembers_what_was_discarded_held_and_refused(clinic: Clinic) -> None:
    loaded(clinic)
    broken = [row(f"B{number}", visit_cost="?") for number in range(3)]
    for content, code in ((broken, 4), ([*broken, row("B9")], 4), ("no header at all\n1\n", 3)):
        clinic.deliver(content)  # type: ignore[arg-type]
        assert clinic.run().exit_code == code
    layout = Layout.at(clinic.data_dir, None)
    discard_delivery(layout, "clinic", 3, "another clinic's")
    before = rebuilt(clinic)
    assert before["statuses"] == ["loaded", "loaded", "discarded", "held", "refused"]
    clinic.warehouse.unlink()
    assert clinic.run(full_refresh=True).exit_code == 0
    assert rebuilt(clinic) == before
    accepted = clinic.run(accept=("refused_share", "zero_row_load"))
    assert accepted.exit_code == 0 and "B9" in clinic.facts()
    assert clinic.statuses()[2:] == ["discarded", "loaded", "refused"]


def test_two_sources_are_rebuilt_one_by_one_and_neither_loses_a_mark(clinic: Clinic) -> None:
    def source(name: str) -> Clinic:
        clinic.config = {"source": {"name": name}}
        return clinic

    loaded(source("north"))
    source("south").deliver([row("V1", visit_cost="5"), row("V4")])
    assert clinic.run().exit_code == 0
    clinic.deliver([])
    assert clinic.run().exit_code == 4
    before = rebuilt(clinic)
    assert before["statuses"] == ["loaded", "loaded", "loaded", "held"]
    clinic.warehouse.unlink()
    assert source("north").run(full_refresh=True, source=clinic.input.with_name("none*")).exit_code == 0
    assert set(clinic.facts()) == {"V1", "V2", "V3"}
    assert source("south").run(full_refresh=True).exit_code == 0
    assert rebuilt(clinic) == before


def test_what_was_accepted_once_is_accepted_again_when_the_warehouse_is_rebuilt(clinic: Clinic) -> None:
    clinic.deliver([row("B1"), *(row(f"B{number}", visit_cost="?") for number in range(2, 5))])
    assert clinic.run().exit_code == 4
    assert clinic.run(accept=("refused_share",)).exit_code == 0
    before = rebuilt(clinic)
    clinic.warehouse.unlink()
    again = clinic.run(full_refresh=True)
    assert again.exit_code == 0 and again.message.startswith("PASSED BY OVERRIDE: refused_share 75.00 %")
    assert rebuilt(clinic) == before


def test_a_refresh_without_anything_to_load_says_what_stands_in_the_way(clinic: Clinic) -> None:
    clinic.deliver([])
    assert clinic.run().exit_code == 4
    result = clinic.run(full_refresh=True)
    assert result.exit_code == 3 and "held, refused or discarded" in result.message
    assert clinic.statuses() == ["held"] and clinic.facts() == {}
