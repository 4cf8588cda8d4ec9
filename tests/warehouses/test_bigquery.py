"""What is BigQuery's own, as far as its emulator goes (tests/servers/bigquery.py): one history, loaded once.

It cannot prove that transactions see one instant, that of two writers one is aborted, or what a statement scans.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lib import validate
from lib.verify import verify_tables
from tests.conformance.played import played
from tests.conformance.test_warehouses import content
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row
from tests.pipeline.plain_gate import plain_gate
from tests.warehouses.test_statements import check

pytestmark = pytest.mark.xdist_group("bigquery")
ASKED: set[str] = set()
"""Every statement that the history asked for."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, bigquery_warehouses: object) -> Iterator[Clinic]:
    """A clinic on BigQuery, three deliveries loaded."""
    from lib.warehouses import bigquery_driver

    ask = bigquery_driver.Connection.ask

    def asking(connection: bigquery_driver.Connection, text: str) -> object:
        ASKED.add(text)
        return ask(connection, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "evaluate_gate", plain_gate)
        patch.setattr(bigquery_driver.Connection, "ask", asking)
        yield played(Clinic(tmp_path_factory.mktemp("own"), kind="bigquery"))


def test_the_same_deliveries_give_the_same_tables_as_in_sqlite(own: Clinic, tmp_path: Path) -> None:
    expected, found = content(played(Clinic(tmp_path))), content(own)
    assert expected["fact_visits"] and expected["quarantine"] and expected["lateness"]
    for table, rows in expected.items():
        assert found[table] == rows, table
    assert verify_tables(own.layout) == []


def test_every_statement_that_was_asked_parses_strictly_and_the_merge_names_its_days(own: Clinic) -> None:
    assert len(ASKED) > 100
    for text in ASKED:
        if not text.startswith("CALL "):
            check(text, "bigquery")
    merges = [text for text in ASKED if text.startswith("MERGE INTO fact_visits")]
    assert merges and all("f.visit_date IN (DATE '2025-0" in text for text in merges)


def test_an_error_in_the_middle_of_the_commit_leaves_the_old_tables(
    own: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.warehouses import bigquery_driver

    own.deliver(csv_text([{**row("V9"), "Ward": ""}], (*COLUMNS, "Ward")))
    before = own.tables()
    ask = bigquery_driver.Connection.ask
    reached: list[str] = []

    def failing(connection: bigquery_driver.Connection, text: str) -> object:
        if text.startswith("INSERT INTO runs"):
            reached.append(text)
            raise bigquery_driver.exceptions.ServiceUnavailable("gone")
        return ask(connection, text)

    with monkeypatch.context() as patch:
        patch.setattr(bigquery_driver.Connection, "ask", failing)
        result = own.run("2025-03-07T00:00:00Z")
    assert reached and result.exit_code == 7 and "has gone away" in result.message, result.message
    assert own.tables() == before


def test_a_changed_row_is_found(own: Clinic) -> None:
    own.change("UPDATE fact_visits SET patient_id = 'P9' WHERE visit_id = 'V1'")
    assert any("fact_visits" in each.what for each in verify_tables(own.layout))
