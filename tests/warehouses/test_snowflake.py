"""What is Snowflake's own, as far as its emulator goes (tests/servers/snowflake.py): one history, loaded once.

It cannot prove that writers wait for each other, that a lost session's transaction is rolled back, or what a statement
scans. The whole conformance suite runs on it with PATIENT_VISITS_TEST_CLOUDS=snowflake.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import commit, validate
from lib.errors import PipelineError
from lib.layout import Layout
from lib.verify import verify_tables
from lib.warehouse import reading, writing
from lib.warehouses.cloud import in_a_transaction
from tests.conformance.played import played
from tests.conformance.test_warehouses import content
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row
from tests.pipeline.plain_gate import plain_gate
from tests.warehouses.test_statements import check

pytestmark = pytest.mark.xdist_group("snowflake")
ASKED: set[str] = set()
"""Every statement that the history asked for."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, snowflake_warehouses: object) -> Iterator[Clinic]:
    """A clinic on Snowflake, three deliveries loaded. Tests leave its tables as they were."""
    from lib.warehouses import snowflake_driver

    ask = snowflake_driver.Connection.ask

    def asking(connection: snowflake_driver.Connection, text: str) -> object:
        ASKED.add(text)
        return ask(connection, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "evaluate_gate", plain_gate)
        patch.setattr(snowflake_driver.Connection, "ask", asking)
        yield played(Clinic(tmp_path_factory.mktemp("own"), kind="snowflake"))


def findings(clinic: Clinic) -> list[str]:
    return [each.what for each in verify_tables(clinic.layout)]


def test_the_same_deliveries_give_the_same_tables_as_in_sqlite(own: Clinic, tmp_path: Path) -> None:
    expected, found = content(played(Clinic(tmp_path))), content(own)
    assert expected["fact_visits"] and expected["quarantine"] and expected["lateness"]
    for table, rows in expected.items():
        assert found[table] == rows, table


def test_every_statement_that_was_asked_parses_strictly(own: Clinic) -> None:
    assert len(ASKED) > 150
    for text in ASKED:
        if not text.startswith("PUT "):
            check(text, "snowflake")


def test_costs_are_there_as_money(own: Clinic) -> None:
    assert own.query("SELECT visit_cost FROM fact_visits WHERE visit_id = 'V1'") == [(7.35,)]
    assert own.query("SELECT total_visit_cost FROM daily_visit_metrics WHERE visit_date = '2025-02-28'") == [(1.0,)]


@pytest.mark.parametrize(
    ("change", "back", "found"),
    [
        ("patient_id = 'P9'", "patient_id = 'P1'", "fact_visits"),
        ("visit_cost = 9.99", "visit_cost = 7.35", "cost that is not what their cents say"),
        ("ward = ''", "ward = NULL", "fact_visits"),
    ],
)
def test_a_row_that_is_changed_behind_the_pipeline_s_back_is_found(
    own: Clinic, change: str, back: str, found: str
) -> None:
    assert findings(own) == []
    own.change(f"UPDATE fact_visits SET {change} WHERE visit_id = 'V1'")
    try:
        assert any(found in each for each in findings(own)), findings(own)
    finally:
        own.change(f"UPDATE fact_visits SET {back} WHERE visit_id = 'V1'")


@pytest.mark.parametrize("step", ["INSERT INTO runs", "COMMIT"])
def test_an_error_in_the_middle_of_the_commit_leaves_the_old_tables(
    own: Clinic, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from lib.warehouses import snowflake_driver

    own.deliver(csv_text([{**row("V9"), "Ward": ""}, {**row("V1", visit_cost="8"), "Ward": "x"}], (*COLUMNS, "Ward")))
    before = own.tables()
    ask = snowflake_driver.Connection.ask
    reached: list[str] = []
    loading = False

    def failing(connection: snowflake_driver.Connection, text: str) -> object:
        nonlocal loading
        loading = loading or text.startswith("UPDATE warehouse SET version = version + 1")
        if loading and not reached and step in text:
            reached.append(text)
            raise snowflake_driver.connector.errors.OperationalError("gone")
        return ask(connection, text)

    with monkeypatch.context() as patch:
        patch.setattr(snowflake_driver.Connection, "ask", failing)
        result = own.run("2025-03-07T00:00:00Z")
    assert reached and result.exit_code == 7 and "has gone away" in result.message, result.message
    assert own.tables() == before
    assert findings(own) == []


def test_of_two_runs_on_one_version_of_the_tables_the_second_changes_nothing(
    own: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have staged; the other one has loaded when this one commits."""
    own.deliver(csv_text([{**row("V9"), "Ward": ""}], (*COLUMNS, "Ward")))
    begin = commit.commit_load
    after_the_other: list[dict[str, list[tuple[object, ...]]]] = []

    def commit_later(*given: object) -> None:
        own.change("UPDATE warehouse SET version = version + 1")
        after_the_other.append(own.tables())
        begin(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("lib.load.commit_load", commit_later)
        result = own.run("2025-03-07T00:00:00Z")
    assert result.exit_code == 5 and "the tables have changed" in result.message, result.message
    assert own.tables() == after_the_other[0]
    own.change("UPDATE warehouse SET version = version - 1")
    assert findings(own) == []


def test_tables_that_were_made_in_part_are_made_whole(tmp_path: Path, snowflake_warehouses: object) -> None:
    layout = Clinic(tmp_path, kind="snowflake").layout
    layout.create()
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        from lib.warehouses import snowflake, snowflake_driver

        execute = snowflake_driver.Connection.execute

        def interrupted(connection: snowflake_driver.Connection, sql: str, parameters: object = (), /) -> object:
            if "EXISTS quarantine" in sql:
                raise KeyboardInterrupt
            return execute(connection, sql, parameters)

        patch.setattr(snowflake_driver.Connection, "execute", interrupted)
        with writing(layout):
            pass
    with snowflake.plain_errors(layout.warehouse), writing(layout) as connection:
        assert snowflake.schema_version(connection) == 4
        assert connection.execute("SELECT version FROM warehouse").fetchall() == [(0,)]


def test_no_transaction_takes_a_change_of_tables(own: Clinic) -> None:
    with writing(own.layout) as connection:
        connection.execute("BEGIN")
        with pytest.raises(PipelineError, match="may be in no transaction"):
            connection.execute("ALTER TABLE fact_visits ADD COLUMN x VARCHAR")
        connection.execute("ROLLBACK")
    assert in_a_transaction("-- Why.\nCREATE TEMP TABLE a AS\nSELECT 1") == "-- Why.\nINSERT INTO temp.a\nSELECT 1"


def test_a_reader_can_write_no_table_and_no_error_tells_a_value(own: Clinic) -> None:
    with pytest.raises(PipelineError, match="opened to be read"), reading(own.layout) as connection:
        connection.execute("DELETE FROM fact_visits")
    with pytest.raises(PipelineError) as told, reading(own.layout) as connection:
        connection.execute("SELECT * FROM no_such_table WHERE visit_id = 'CANARY'")
    assert "CANARY" not in str(told.value) and "no_such_table" not in str(told.value)


def test_another_program_s_tables_stay_as_they_are(own: Clinic) -> None:
    own.change("COMMENT ON TABLE warehouse IS 'mine'")
    try:
        result = own.run("2025-03-07T00:00:00Z")
        assert result.exit_code == 6 and "is another program's database" in result.message
    finally:
        own.change("COMMENT ON TABLE warehouse IS 'patient visits, schema 4'")


def test_what_is_amiss_there_is_amiss_in_its_copy(own: Clinic, tmp_path: Path) -> None:
    from lib.content import differing_parts
    from lib.warehouses import snowflake

    own.change("UPDATE fact_visits SET patient_id = 'P9' WHERE visit_id = 'V1'")
    try:
        copy = Layout.at(tmp_path, "duckdb:///copy.duckdb")
        copy.create()
        snowflake.copy(own.layout, copy.warehouse)
        with reading(copy) as connection:
            assert dict(differing_parts(connection)) == {"fact_visits": 1}
    finally:
        own.change("UPDATE fact_visits SET patient_id = 'P1' WHERE visit_id = 'V1'")


@pytest.mark.parametrize(
    ("url", "module", "words"),
    [
        ("snowflake://a/clinic", "snowflake.connector", "install 'snowflake-connector-python>="),
    ],
)
def test_without_the_driver_one_line_says_what_to_install(tmp_path: Path, url: str, module: str, words: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv = ['run_pipeline.py', 'run', '--data-dir', sys.argv[1],"
        f" '--warehouse', {url!r}]; import runpy; runpy.run_path('run_pipeline.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
