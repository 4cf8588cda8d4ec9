"""What is PostgreSQL's own: a server that others use too, sessions that are cut off, texts on their way by COPY."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import commit, validate
from lib.content import differing_parts, keeping_content
from lib.errors import PipelineError, TemporaryFailure, UsageError, WarehouseLocked
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.verify import verify_tables
from lib.warehouse import SCHEMA_VERSION, reading, writing
from lib.warehouses import postgres, postgres_arrow
from tests.conformance.played import MARKING, played
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row
from tests.pipeline.plain_gate import plain_gate
from tests.servers.postgres import PostgresServer, running_postgres

PIECES = ("carried", "staged_carried", "carried_updates", "kept", "standing_kept")
SWAP = "UPDATE warehouse SET version"
TEXTS = [
    "",
    " ",
    "\\",
    "\\N",
    "\\.",
    "\t",
    "a\tb",
    "\n",
    "\r\n",
    '"',
    '""',
    "'",
    ",",
    "NULL",
    "é",
    "\U0001f600",
    "%s",
    "?",
    "\0",
    "␀",
    "␀0",
    "␀1\0",
]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_warehouses: PostgresServer) -> Clinic:
    """A clinic on PostgreSQL, three deliveries loaded."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return played(Clinic(tmp_path, kind="postgres"))


def beside(own: Clinic) -> Clinic:
    """Another data folder of the same warehouse: somebody else's machine."""
    other = Clinic(own.folder / "beside", config=dict(own.config), kind="postgres", shares=own.folder)
    other.deliver(csv_text([{**row("W1"), "Ward": ""}], (*COLUMNS, "Ward")))
    other.config["source"] = {**MARKING["source"], "name": "other", "deletes": "report"}
    return other


def test_an_analyst_finds_dates_stamps_and_money(own: Clinic, postgres_warehouses: PostgresServer) -> None:
    with postgres_warehouses.connect("clinic") as analyst:
        schema = own.layout.server.schema if own.layout.server else ""
        rows = analyst.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = 'fact_visits'", [schema],
        )  # fmt: skip
        types = dict(rows.fetchall())
    assert (types["visit_date"], types["visit_cost"]) == ("date", "numeric")
    assert types["last_updated"] == "timestamp with time zone"


def test_a_second_run_on_the_server_is_refused_and_told_who_holds_it(own: Clinic) -> None:
    other = beside(own)
    with hold_warehouse(own.layout, "a long run"):
        with (
            pytest.raises(WarehouseLocked, match=r"on the server .a long run, .* since 20"),
            hold_warehouse(other.layout, "another"),
        ):
            pass
        before = own.tables()
        done = other.command("run")
        assert done.returncode == 5 and "a long run" in done.stderr, done.stdout + done.stderr
    assert own.tables() == before
    with hold_warehouse(other.layout, "another"):
        pass


def test_of_two_writers_that_no_lock_kept_apart_one_loads_and_one_changes_nothing(
    own: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have staged on the same version of the tables; both commit at once."""
    other = beside(own)
    own.deliver(csv_text([{**row("V9"), "Ward": ""}], (*COLUMNS, "Ward")))
    both_staged = threading.Barrier(2)
    begin = commit.commit_load

    def together(*given: object) -> None:
        both_staged.wait(60)
        begin(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("lib.load.commit_load", together)
    monkeypatch.setattr("lib.load.hold_warehouse", lambda *given: nullcontext())
    results: dict[str, int] = {}

    def load(clinic: Clinic) -> None:
        results[clinic.folder.name] = clinic.run("2025-03-07T00:00:00Z", accept=()).exit_code

    threads = [threading.Thread(target=load, args=[each]) for each in (own, other)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert sorted(results.values()) == [0, 5], results
    assert len(own.query("SELECT * FROM runs")) == 4
    assert own.query("SELECT version FROM warehouse") == [(4,)]
    assert verify_tables(own.layout) == []


def test_rows_that_two_writers_add_at_once_are_hashed_once(own: Clinic) -> None:
    """What each reads before and after its own rows must not hold the other's."""

    def add(source: str) -> None:
        with writing(own.layout) as connection, keeping_content(connection, tables=["deliveries"]):
            connection.execute(
                "INSERT INTO deliveries (source, sequence, path, sha256, bytes, snapshot, clock, taken_by, status)"
                " SELECT ?, sequence, path, sha256, bytes, snapshot, clock, taken_by, status FROM deliveries"
                " WHERE source = 'clinic' AND sequence = 1",
                [source],
            )
            if source == "first":
                second.start()
                second.join(1)  # it waits for this transaction; unless it did, it would be done

    second = threading.Thread(target=add, args=["second"])
    add("first")
    second.join(60)
    with reading(own.layout) as connection:
        assert len(connection.execute("SELECT 1 FROM deliveries WHERE source <> 'clinic'").fetchall()) == 2
        assert differing_parts(connection) == {}


@pytest.mark.parametrize("step", ["00_swap", *commit.STEPS, "commit"])
def test_a_session_that_is_cut_off_at_any_step_of_the_commit_leaves_the_old_tables(
    own: Clinic, monkeypatch: pytest.MonkeyPatch, postgres_warehouses: PostgresServer, step: str
) -> None:
    own.deliver(csv_text([{**row("V9"), "Ward": ""}, {**row("V1", visit_cost="8"), "Ward": "x"}], (*COLUMNS, "Ward")))
    before = own.tables()
    execute = postgres.Connection.execute
    texts = {
        each: commit.statement(f"warehouse/load/{each}", "postgres", **dict.fromkeys(PIECES, ""))
        for each in commit.STEPS
    }
    marks = {"00_swap": SWAP, **{each: text.split("\n", 1)[0] for each, text in texts.items()}, "commit": "COMMIT"}
    loading = False

    def cut_off(connection: postgres.Connection, sql: str, parameters: object = (), /) -> object:
        nonlocal loading
        loading = loading or sql.startswith(SWAP)
        if loading and sql.startswith(marks[step]):
            postgres_warehouses.cut_off("clinic")
        return execute(connection, sql, parameters)

    with monkeypatch.context() as cutting:
        cutting.setattr(postgres.Connection, "execute", cut_off)
        result = own.run("2025-03-07T00:00:00Z")
    assert result.exit_code == 7 and "the server cannot be reached or has gone away" in result.message, result.message
    assert loading
    assert own.tables() == before
    assert own.run("2025-03-08T00:00:00Z").exit_code == 0
    assert own.query("SELECT count(*) FROM fact_visits WHERE visit_id = 'V9'") == [(1,)]
    assert verify_tables(own.layout) == []


def test_a_server_that_is_gone_is_a_temporary_failure_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    with running_postgres() as server:
        name = server.fresh_database("gone")
        monkeypatch.setenv("PGUSER", server.user)
        clinic = Clinic(tmp_path, config={"warehouse": f"postgresql://{server.host}:{server.port}/{name}"})
        clinic.deliver([row("V1")])
        assert clinic.run("2025-03-02T00:00:00Z").exit_code == 0
        server.stop(by=signal.SIGQUIT)
        lost = clinic.run("2025-03-03T00:00:00Z")
        assert lost.exit_code == 7 and lost.message.startswith(
            f"postgresql://{server.host}:{server.port}/{name}?schema="
        )
        done = clinic.command("run")
        assert done.returncode == 7 and "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
        server.start()
        clinic.deliver([row("V2")])
        assert clinic.run("2025-03-03T00:00:00Z").exit_code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda own: own.change("COMMENT ON TABLE warehouse IS 'mine'"), "is another program's database"),
        (
            lambda own: own.change(f"COMMENT ON TABLE warehouse IS '{postgres.OURS}{SCHEMA_VERSION + 1}'"),
            f"has schema version {SCHEMA_VERSION + 1}",
        ),
        (lambda own: own.change("DROP TABLE quarantine"), "lacks the table quarantine"),
        (
            lambda own: own.change(f"DROP SCHEMA {own.layout.server.schema} CASCADE"),
            "is empty although runs were recorded",
        ),
    ],
    ids=["another program's", "newer", "a table gone", "all gone"],
)  # fmt: skip
def test_tables_that_are_not_as_they_were_are_told_and_stay_as_they_are(
    own: Clinic, change: object, words: str
) -> None:
    change(own)  # type: ignore[operator]
    result = own.run("2025-03-07T00:00:00Z")
    assert result.exit_code == 6 and words in result.message and "\n" not in result.message, result.message


def test_who_may_not_come_in_or_names_no_database_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_warehouses: PostgresServer
) -> None:
    url = f"postgresql://{postgres_warehouses.host}:{postgres_warehouses.port}"
    with pytest.raises(UsageError, match="no such database"), writing(Layout.at(tmp_path, f"{url}/nowhere")):
        pass
    with postgres_warehouses.connect() as connection:
        connection.execute("CREATE ROLE reader LOGIN")
    monkeypatch.setenv("PGUSER", "reader")
    with pytest.raises(UsageError, match="grant it CREATE"), writing(Layout.at(tmp_path, f"{url}/clinic?schema=r")):
        pass
    monkeypatch.setenv("PGUSER", "nobody_at_all")
    with pytest.raises(UsageError, match="set PGUSER"), writing(Layout.at(tmp_path, f"{url}/clinic")):
        pass


def test_an_error_s_text_is_never_told(own: Clinic) -> None:
    with pytest.raises(PipelineError) as told, reading(own.layout) as connection:
        connection.execute("SELECT * FROM no_such_table WHERE visit_id = 'CANARY'")
    assert "CANARY" not in str(told.value) and "no_such_table" not in str(told.value)


def test_a_reader_can_write_no_table(own: Clinic) -> None:
    with pytest.raises(TemporaryFailure), reading(own.layout) as connection:
        connection.execute("DELETE FROM fact_visits")


def test_a_table_that_is_declared_otherwise_is_found(own: Clinic) -> None:
    own.change("ALTER TABLE lateness ADD COLUMN other INTEGER", "ALTER TABLE state ALTER last_as_of DROP NOT NULL")
    found = [each.what for each in verify_tables(own.layout)]
    assert "lateness is not declared as this release declares it" in found
    assert "state is not declared as this release declares it" in found


def test_what_is_amiss_on_the_server_is_amiss_in_its_copy(own: Clinic, tmp_path: Path) -> None:
    for name in ("sound", "altered"):
        copy = Layout.at(tmp_path / name, "duckdb:///copy.duckdb")
        copy.create()
        postgres.copy(own.layout, copy.warehouse)
        with reading(copy) as connection:
            differing = dict(differing_parts(connection))
        assert differing == ({} if name == "sound" else {"fact_visits": 1, "quarantine": 1})
        own.change(
            "UPDATE fact_visits SET patient_id = 'P9' WHERE visit_id = 'V1'", "UPDATE quarantine SET reasons = 'x'"
        )


def test_without_the_driver_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None; sys.argv = ['run_pipeline.py', 'run', '--data-dir', sys.argv[1],"
        " '--warehouse', 'postgresql:///clinic']; import runpy; runpy.run_path('run_pipeline.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True)
    assert done.returncode == 2 and "install 'psycopg[binary]>=" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def connection(postgres_warehouses: PostgresServer) -> Iterator[postgres.Connection]:
    url = f"postgresql://{postgres_warehouses.host}:{postgres_warehouses.port}/clinic?schema=texts"
    with closing(postgres.connect(Layout.at(Path("data"), url))) as opened:
        yield opened


@given(
    st.lists(st.tuples(st.none() | st.sampled_from(TEXTS) | st.text(), st.none() | st.integers(-(2**63), 2**63 - 1)))
)
@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_text_comes_back_as_it_went(
    connection: postgres.Connection, rows: list[tuple[str | None, int | None]]
) -> None:
    """U+0000 too, which no text holds there."""
    texts = [text and text.encode("utf-8", "replace").decode() for text, _ in rows]
    schema = pa.schema([("text", pa.string()), ("number", pa.int64())])
    table = pa.table(
        [pa.array(texts, pa.string()), pa.array([number for _, number in rows], pa.int64())], schema=schema
    )
    postgres_arrow.copy_in(connection, "texts", pa.RecordBatchReader.from_batches(schema, table.to_batches()))
    try:
        back = postgres_arrow.fetch_table(connection, "SELECT * FROM temp.texts", [], schema)
    finally:
        connection.execute("DROP TABLE temp.texts")
    assert back["text"].to_pylist() == texts and back["number"].to_pylist() == table["number"].to_pylist()


def test_marks_in_texts_and_comments_are_none(connection: postgres.Connection) -> None:
    row = connection.execute(
        "SELECT ':a ? %s scratch.x', :a || '%' -- :b ?\n, CAST(1 AS text)::int", {"a": "é'"}
    ).fetchone()
    assert row is not None and tuple(row) == (":a ? %s scratch.x", "é'%", 1)
