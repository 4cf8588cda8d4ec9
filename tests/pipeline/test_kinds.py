"""Every kind of warehouse: what another program does to it is found, one kind's tables are the other's, all commands
work on it; and what is DuckDB's own: its file, its one process, its log."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from lib import validate, warehouse
from lib.config import Engine, settings_from
from lib.errors import PipelineError, StoredDataChanged, UsageError
from lib.layout import KINDS, Layout
from lib.rebuild import rebuild_tables
from lib.sql import statements
from lib.verify import verify_tables
from lib.warehouse import SCHEMA_VERSION, TABLES, open_warehouse, reading, transaction, writing
from lib.warehouses import duckdb as kind_of_duckdb
from lib.warehouses import interface
from lib.warehouses.choose import kind_named
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row
from tests.pipeline.plain_gate import plain_gate

MARKING = {"source": {"deliveries": "full", "deletes": "mark"}, "carry": {"ward": "Ward"}}
CONTENT = (
    "fact_visits", "daily_visit_metrics", "quarantine_rows", "quarantine", "metric_changes", "lateness", "state",
    "runs", "visit_value_counts",
)  # fmt: skip
OF_THE_MOMENT = {"run_id", "committed", "last_run_id", "superseded_in_run", "waived_at"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic on DuckDB, two deliveries loaded."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return played(Clinic(tmp_path, kind="duckdb"))


def played(clinic: Clinic) -> Clinic:
    """Three deliveries: visits that move, are corrected, refused, answered, deleted and come back; a carried column."""
    clinic.config = {**MARKING, **clinic.config}
    header = (*COLUMNS, "Ward")
    texts = (
        [row("V1"), row("V2", visit_cost="?"), row("V3", visit_cost=""), row("V4", visit_date="2025-02-27")],
        [row("V1", visit_cost="7.35"), row("V2"), row("V4", visit_date="2025-02-28", visit_cost="1")],
        [row("V1", visit_cost="7.35"), row("V2"), row("V3", patient_id='P"2\\'), row("", patient_id="")],
    )
    for day, rows in enumerate(texts, 2):
        clinic.deliver(csv_text([{**each, "Ward": "é" if day == 3 else ""} for each in rows], header))
        result = clinic.run(f"2025-03-0{day}T00:00:00Z", accept=())
        assert result.exit_code == 0, result.message
    return clinic


def content(clinic: Clinic) -> dict[str, list[tuple[object, ...]]]:
    """Every table's stored rows, without what tells when and by which run."""
    kept: dict[str, list[tuple[object, ...]]] = {}
    with closing(kind_named(clinic.kind).connect(clinic.layout, read_only=True)) as connection:
        for table in CONTENT:
            columns = [each for each in kind_named(clinic.kind).stored_columns(connection, table)]
            columns = sorted(set(columns) - OF_THE_MOMENT)
            rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            kept[table] = sorted((tuple(each) for each in rows), key=repr)
    return kept


def findings(clinic: Clinic) -> list[str]:
    return [each.what for each in verify_tables(clinic.layout)]


# Every kind


def test_the_same_deliveries_give_the_same_tables_in_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    first, *others = (content(played(Clinic(tmp_path / name, kind=name))) for name in KINDS)
    assert first["fact_visits"] and first["quarantine"] and first["lateness"]
    for other in others:
        for table in CONTENT:
            assert other[table] == first[table], table


@pytest.mark.parametrize(
    "change",
    [
        *(f"UPDATE fact_visits SET {each} WHERE visit_id = 'V1'" for each in (
            "visit_cost_cents = 999", "patient_id = 'P9'", "provider_id = NULL", "diagnosis_code = 'Z'", "ward = 'x'",
            "visit_date = '2025-01-01'", "delivery_seq = 1", "source_line = 77", "visit_id = 'V9'",
            "deleted_seq = 3", "row_hash = '" + 64 * "a" + "'",
        )),
        "DELETE FROM fact_visits WHERE visit_id = 'V1'",
        "UPDATE metric_changes SET visits_late = 5 WHERE visit_date = '2025-03-01'",
        "UPDATE quarantine SET reasons = 'invalid_visit_date'",
        "DELETE FROM quarantine_rows",
        "UPDATE deliveries SET rows_read = 9 WHERE sequence = 1",
        "UPDATE state SET last_staging_row_count = 9",
        "UPDATE runs SET actor = 'somebody'",
        "UPDATE lateness SET missed = 7",
        "UPDATE visit_value_counts SET visits = visits + 1 WHERE kind = 'provider_id'",
        "INSERT INTO visit_value_counts VALUES ('provider_id', 'D9', 'clinic', 0)",
        "UPDATE daily_visit_metrics SET patient_count = 77",
        "DELETE FROM daily_visit_metrics",
    ],
)  # fmt: skip
def test_a_row_that_is_changed_behind_the_pipeline_s_back_is_found_and_stays_found(quick: Clinic, change: str) -> None:
    played(quick)
    assert findings(quick) == []
    quick.change(change)
    assert findings(quick) != []
    quick.deliver(csv_text([{**row("V8"), "Ward": ""}, {**row("V2"), "Ward": "é"}], (*COLUMNS, "Ward")))
    if quick.run("2025-03-06T00:00:00Z").exit_code == 0 and "daily_visit_metrics" not in change:
        assert findings(quick) != [], "also after the next load"


def test_visits_are_staged_in_the_order_of_their_ids_for_tables_that_are_filled_so(clinic: Clinic) -> None:
    clinic.deliver([row("V2"), row("V3"), row("V1"), row("V2", visit_cost="1")])
    result = clinic.run("2025-03-02T00:00:00Z")
    assert result.exit_code == 0, result.message
    (path,) = clinic.layout.staging.glob("*/visits.parquet")
    ids = pq.read_table(path)["visit_id"].to_pylist()
    assert sorted(ids) == ["V1", "V2", "V3"]
    assert ids == sorted(ids) or not kind_named(clinic.kind).TAKES_IN_ORDER


def test_a_row_twice_is_found(quick: Clinic) -> None:
    played(quick)
    double = "INSERT INTO quarantine_rows SELECT source, delivery_seq, source_line + 100, identity FROM quarantine_rows"
    quick.change(double)
    assert findings(quick) != []


def test_a_rebuild_finds_no_difference_and_then_the_one_there_is(quick: Clinic) -> None:
    played(quick)
    for _, record in sorted((each.name, each) for each in (quick.data_dir / "runs").glob("0*")):
        assert (record / "manifest.json").exists()
    settings = settings_from({**quick.config, "warehouse": quick.layout.url}, "config.yaml")
    assert rebuild_tables(quick.layout, settings, lambda line: None).differences == ()
    quick.change("UPDATE fact_visits SET visit_cost_cents = 1 WHERE visit_id = 'V2'")
    [found] = rebuild_tables(quick.layout, settings, lambda line: None).differences
    assert found.table == "fact_visits" and found.columns == {"visit_cost_cents": 1}


def test_all_commands_work(clinic: Clinic) -> None:
    """Loaded, nothing new, held, refused, full refresh by the real command; then what looks at it."""
    clinic.deliver([row(f"V{number}", patient_id=f"P{number}") for number in range(12)] + [row("", patient_id="P1")])
    assert clinic.command("run").returncode == 0
    assert clinic.command("run").returncode == 0
    clinic.deliver([row(f"B{number}", visit_cost="?") for number in range(4)])
    assert clinic.command("run").returncode == 4
    clinic.deliver("nothing of ours\n1\n")
    assert clinic.command("run").returncode == 3
    clinic.deliver([row("V20", patient_id="P20")])
    assert clinic.command("run", "--full-refresh").returncode == 0
    backup = clinic.folder / "backup"
    for words, said in (
        (["status"], "13 visits"),
        (["history"], "loaded"),
        (["plan"], "outcome"),
        (["deliveries"], "held"),
        (["quarantine"], "missing_visit_id"),
        (["why", "2025-03-01"], "new"),
        (["trace", "V1"], "current"),
        (["as-of", clinic.layout.run_ids()[0]], "1 days"),
        (["verify", "--rebuild"], "what raw gives when every run is done again"),
        (["backup", str(backup)], "verified"),
        (["diff", "1", "2"], ""),
        (["report"], ""),
    ):
        done = clinic.command(*words)
        assert done.returncode == 0 and said in done.stdout, (words, done.stdout + done.stderr)
    copied = Clinic(clinic.folder / "restored", kind=clinic.kind)
    shutil.copytree(backup, copied.data_dir)
    assert copied.tables() == clinic.tables()
    names = {path.name for path in clinic.data_dir.iterdir() if path.is_file()}
    assert names == {clinic.warehouse.name, f"{clinic.warehouse.name}.lock"}, "no log and no temporary file is left"


@pytest.mark.parametrize("url", ["postgres://h/x", "oracle:///x", "duckdb:x", "duckdb:///", "warehouse.duckdb"])
def test_another_url_is_a_usage_error_in_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"sqlite:///path.*duckdb:///path") as told:
        Layout.at(tmp_path, url)
    assert "\n" not in str(told.value)


# DuckDB's own


def test_an_analyst_finds_dates_stamps_and_money(own: Clinic) -> None:
    with closing(duckdb.connect(str(own.warehouse), read_only=True)) as analyst:
        assert analyst.sql("SELECT visit_date, visit_cost, last_updated FROM fact_visits").types == [
            "DATE", "DECIMAL(18,2)", "TIMESTAMP",
        ]  # fmt: skip
        assert analyst.sql("SELECT sum(total_visit_cost) FROM daily_visit_metrics").fetchall()[0][0] is not None


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


def test_a_warehouse_that_is_missing_or_empty_is_no_new_start(own: Clinic) -> None:
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
