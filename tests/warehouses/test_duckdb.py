"""What is DuckDB's own: its file, its one process, its log."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pytest

from lib import frames, validate, warehouse
from lib.config import Engine
from lib.errors import PipelineError, StoredDataChanged
from lib.layout import Layout
from lib.run import Run
from lib.sql import statements
from lib.verify import verify_tables
from lib.warehouse import SCHEMA_VERSION, TABLES, open_warehouse, reading, schema_statements, transaction, writing
from lib.warehouses import duckdb as kind_of_duckdb
from lib.warehouses import interface
from lib.warehouses.duckdb_driver import Connection
from tests.conformance.played import played, played_copy
from tests.pipeline.clinic import Clinic
from tests.pipeline.plain_gate import plain_gate


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic on DuckDB, two deliveries loaded."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return played_copy(Clinic(tmp_path, kind="duckdb"))


def findings(clinic: Clinic) -> list[str]:
    return [each.what for each in verify_tables(clinic.layout)]


def test_an_analyst_finds_dates_stamps_and_money(own: Clinic) -> None:
    with closing(duckdb.connect(str(own.warehouse), read_only=True)) as analyst:
        assert analyst.sql("SELECT visit_date, visit_cost, last_updated FROM fact_visits").types == [
            "DATE", "DECIMAL(18,2)", "TIMESTAMP",
        ]  # fmt: skip
        assert analyst.sql("SELECT sum(total_visit_cost) FROM daily_visit_metrics").fetchall()[0][0] is not None


def test_the_example_query_needs_no_word_about_time_zones(own: Clinic) -> None:
    """DuckDB cuts a day to its week as an instant."""
    run = Run.existing(own.layout.place, own.layout.run_ids()[-1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert frames.example_result(run)["visits"].sum() > 0


def test_a_new_warehouse_has_every_table_and_is_private(tmp_path: Path) -> None:
    layout = Layout.at(tmp_path / "data", "duckdb:///w.duckdb", Engine(memory_limit="300MiB", threads=1))
    layout.create()
    with writing(layout) as connection:
        assert kind_of_duckdb.table_names(connection) == TABLES
        said = connection.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchone()
        assert tuple(said) == ("300.0 MiB", 1)
        for reach in ("SELECT * FROM '/etc/hostname'", "COPY state TO '/tmp/x.csv'", "INSTALL httpfs"):
            with pytest.raises(duckdb.Error):
                connection.execute(reach)
    assert layout.warehouse.stat().st_mode & 0o777 == 0o600


def test_a_warehouse_that_is_missing_or_empty_is_no_new_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    own = played(Clinic(tmp_path, kind="duckdb"))  # a copy's files are new ones, and the gate would judge them
    before = own.tables()["fact_visits"]
    own.warehouse.unlink()
    assert own.run("2025-03-07T00:00:00Z").exit_code == 6 and not own.warehouse.exists()
    own.warehouse.touch()
    lost = own.run("2025-03-07T00:00:00Z")
    assert lost.exit_code == 6 and "is empty although" in lost.message
    assert own.run("2025-03-07T00:00:00Z", full_refresh=True).exit_code == 0
    assert own.tables()["fact_visits"] == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"\xde" * 20_000, "is not a sound DuckDB database"),
        (lambda data: b"x", "is not a sound DuckDB database"),
        (lambda data: data[: len(data) // 2], "is not a sound DuckDB database"),
        (lambda data: data[:4096] + b"\xff" * 8192 + data[12288:], "is not a sound DuckDB database"),
        (lambda data: b"SQLite format 3\0" + bytes(5000), "is another program's database"),
    ],
    ids=["garbage", "one byte", "cut short", "torn header", "a SQLite file"],
)  # fmt: skip
def test_a_damaged_or_foreign_file_is_told_and_stays_as_it_is(own: Clinic, damage: object, words: str) -> None:
    spoilt = damage(own.warehouse.read_bytes())  # type: ignore[operator]
    own.warehouse.write_bytes(spoilt)
    result = own.run("2025-03-07T00:00:00Z")
    assert result.exit_code == 6 and words in result.message and "\n" not in result.message, result.message
    assert own.run("2025-03-07T00:00:00Z", full_refresh=True).exit_code == 6
    assert own.warehouse.read_bytes() == spoilt


def test_another_program_s_duckdb_and_a_newer_schema_are_refused(own: Clinic) -> None:
    own.change(f"COMMENT ON TABLE warehouse IS '{kind_of_duckdb.OURS}{SCHEMA_VERSION + 1}'")
    newer = own.run("2025-03-07T00:00:00Z")
    assert newer.exit_code == 6 and f"has schema version {SCHEMA_VERSION + 1}" in newer.message
    own.change("COMMENT ON TABLE warehouse IS NULL")
    foreign = own.run("2025-03-07T00:00:00Z")
    assert foreign.exit_code == 6 and "is another program's database" in foreign.message


@pytest.mark.parametrize("table", ["fact_visits", "daily_visit_metrics"])
def test_a_table_that_is_gone_is_made_again_by_a_refresh(own: Clinic, table: str) -> None:
    before = own.tables()[table]
    own.change(f"DROP TABLE {table}")
    gone = own.run("2025-03-07T00:00:00Z")
    assert gone.exit_code == 6 and f"lacks the table {table}" in gone.message
    assert own.run("2025-03-07T00:00:00Z", full_refresh=True).exit_code == 0
    assert own.tables()[table] == before


def test_how_a_column_is_compressed_is_no_part_of_its_declaration() -> None:
    ours = [text for _, texts in schema_statements("duckdb") for text in texts]
    assert any("USING COMPRESSION" in text for text in ours)
    with closing(Connection(duckdb.connect(":memory:"))) as made_before:
        for text in ours:
            made_before.execute(re.sub(r" USING COMPRESSION \w+", "", text))
        assert kind_of_duckdb.declared_otherwise(made_before, ours) == []


def test_a_table_that_is_declared_otherwise_is_found(own: Clinic) -> None:
    own.change("ALTER TABLE lateness ADD COLUMN other INTEGER")
    assert "lateness is not declared as this release declares it" in findings(own)


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout.at(tmp_path / "data", "duckdb:///w.duckdb")
    layout.create()
    broken = lambda folder: [*statements(folder), "CREATE INDEX nowhere ON no_such_table (x)"]  # noqa: E731
    with monkeypatch.context() as failing:
        failing.setattr(warehouse, "statements", broken)
        with pytest.raises(PipelineError):
            open_warehouse(layout)
    with closing(duckdb.connect(str(layout.warehouse))) as left:
        assert left.sql("SELECT * FROM duckdb_tables()").fetchall() == []
    open_warehouse(layout).close()


@contextmanager
def held(path: Path, *, read_only: bool) -> Iterator[None]:
    """Another process that holds the file."""
    code = (
        f"import duckdb, time; c = duckdb.connect({str(path)!r}, read_only={read_only}); print('held', flush=True);"
        " time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        yield
        other.kill()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_warehouse_that_another_process_holds_is_waited_for_a_while(
    own: Clinic, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    monkeypatch.setattr(interface, "BUSY_SECONDS", 0.3)
    before = own.tables()
    with held(own.warehouse, read_only=read_only):
        began = time.monotonic()
        result = own.run("2025-03-07T00:00:00Z")
        assert result.exit_code == 7 and "run again later" in result.message and time.monotonic() - began >= 0.3
        if read_only:
            with reading(own.layout) as connection:
                assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 3
    assert own.tables() == before


def test_what_a_killed_writer_committed_is_there_and_nothing_else(own: Clinic, tmp_path: Path) -> None:
    code = (
        f"import duckdb, os; c = duckdb.connect({str(own.warehouse)!r});"
        " c.execute('UPDATE warehouse SET version = 70'); c.execute('BEGIN');"
        " c.execute('UPDATE warehouse SET version = 71'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    log = own.warehouse.with_name(f"{own.warehouse.name}.wal")
    assert killed.returncode == -signal.SIGKILL and log.exists()
    copy, backup = tmp_path / "copy.duckdb", tmp_path / "backup.duckdb"
    kind_of_duckdb.copy(own.layout, copy)
    kind_of_duckdb.back_up(own.layout, backup)
    assert log.exists() and not backup.with_name("backup.duckdb.wal").exists()
    for each in (own.warehouse, copy, backup):
        with closing(duckdb.connect(str(each), read_only=True)) as left:
            assert left.sql("SELECT version FROM warehouse").fetchall() == [(70,)]
    with writing(own.layout) as connection, transaction(connection):
        connection.execute("UPDATE warehouse SET version = 3")
    assert not log.exists() and findings(own) == []


def test_a_reader_beside_a_reader_of_this_process_keeps_its_lock(own: Clinic) -> None:
    with reading(own.layout):
        with reading(own.layout) as second:
            second.execute("SELECT 1")
        code = f"import duckdb; duckdb.connect({str(own.warehouse)!r})"
        assert b"lock" in subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr


def test_an_error_s_text_is_never_told(own: Clinic) -> None:
    with pytest.raises(PipelineError) as told, reading(own.layout) as connection:
        connection.execute("SELECT * FROM no_such_table WHERE visit_id = 'CANARY'")
    assert "CANARY" not in str(told.value) and "no_such_table" not in str(told.value)
    with pytest.raises(StoredDataChanged), kind_of_duckdb.plain_errors(own.warehouse):
        raise duckdb.Error("Corrupt database file: computed checksum")
