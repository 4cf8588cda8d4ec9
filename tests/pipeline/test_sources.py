"""Histories of every kind of source: NDJSON and Parquet files, and queries of a database, through whole runs."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib.cli.options import given_settings
from lib.config import settings_from
from lib.files import read_json
from lib.layout import Layout
from lib.plan import plan_run
from lib.rebuild import rebuild_tables
from lib.run import Options
from tests.pipeline.clinic import COLUMNS, Clinic, row
from tests.servers.postgres import PostgresServer

DAY = "2025-03-0{}T00:00:00Z"
SINCE = "SELECT * FROM visits WHERE datetime(last_updated) >= datetime(:cutoff) ORDER BY visit_id, last_updated"
CANARY = "canary7"
Rows = list[dict[str, str]]


def ndjson(rows: Rows) -> str:
    """A row a line; the cost as a number, what is blank left out."""
    text = "".join(json.dumps({name: cell for name, cell in each.items() if cell}) + "\n" for each in rows)
    return text.replace('"100.00"', "100.00")


def parquet(rows: Rows, **typed: pa.DataType) -> bytes:
    stream = io.BytesIO()
    columns = {name: pa.array([each[name] or None for each in rows], pa.string()) for name in COLUMNS}
    pq.write_table(pa.table({name: each.cast(typed.get(name, each.type)) for name, each in columns.items()}), stream)
    return stream.getvalue()


def without_place(clinic: Clinic) -> dict[str, tuple[Any, ...]]:
    """Every fact but for its delivery and line."""
    return {visit: fact[:-2] for visit, fact in clinic.facts().items()}


# Files


ROWS = [row("V1"), row("V2", visit_cost="12.50", provider_id=""), row("V3", visit_date="2025-02-27")]
TYPED = {
    "visit_cost": pa.decimal128(18, 2),
    "visit_date": pa.date32(),
    "last_updated": pa.timestamp("us", "UTC"),
}


def test_every_format_makes_the_same_tables(tmp_path: Path) -> None:
    found = []
    for name, content in {
        "visits.csv": ROWS,
        "visits.ndjson": ndjson(ROWS),
        "visits.parquet": parquet(ROWS),
        "typed.parquet": parquet(ROWS, **TYPED),
    }.items():
        clinic = Clinic(tmp_path / name)
        result = clinic.run(source=clinic.deliver(content, name))
        assert (result.exit_code, result.counts["staged"], result.reasons) == (0, 3, {})
        hashes = clinic.query("SELECT visit_id, row_hash FROM fact_visits ORDER BY 1")
        found.append((without_place(clinic), clinic.daily(), hashes))
    assert found[1:] == found[:1] * 3


def test_a_snapshot_is_named_by_its_format(clinic: Clinic) -> None:
    inbox = clinic.deliver(ndjson([row("V1")]), "a.jsonl").parent
    clinic.deliver(gzip.compress(ndjson([row("V2")]).encode()), "b.ndjson")
    clinic.deliver(parquet([row("V3")]), "c.PARQUET")
    clinic.deliver([row("V4")], "d.txt")
    assert clinic.run(source=inbox).exit_code == 0
    assert set(clinic.facts()) == {"V1", "V2", "V3", "V4"}
    endings = [path.name.partition(".")[2] for path in sorted((clinic.data_dir / "raw" / "clinic").glob("0*"))]
    assert endings == ["ndjson", "ndjson.gz", "parquet", "csv"]


def test_a_line_that_is_no_object_is_quarantined_with_its_text(clinic: Clinic) -> None:
    clinic.config = {"gate": {"min_failing_rows": 9}}
    path = clinic.deliver(ndjson([row("V1")]) + '{"visit_id": "V2",\n' + ndjson([row("V3")]), "visits.ndjson")
    assert clinic.run(source=path).reasons == {"malformed_row": 1}
    assert clinic.query("SELECT source_line, malformed FROM quarantine_rows JOIN quarantine USING (identity)") == [
        (2, '{"visit_id": "V2",')
    ]
    assert [fact[-1] for fact in clinic.facts().values()] == [1, 3]


def test_an_extra_key_is_drift(clinic: Clinic) -> None:
    path = clinic.deliver(ndjson([row("V1")]), "visits.ndjson")
    clinic.run(source=path)
    clinic.deliver(ndjson([row("V1"), {**row("V2"), "ward": "7"}]), "visits.ndjson")
    result = clinic.run(DAY.format(3), source=path)
    assert result.run is not None
    rules = {each["id"]: each["passed"] for each in read_json(result.run.record / "dq_report.json")["rules"]}
    assert (result.exit_code, rules["schema_drift"]) == (0, False)


def test_a_damaged_parquet_is_refused_and_a_whole_one_loads(clinic: Clinic) -> None:
    path = clinic.deliver(parquet([row("V1")]), "visits.parquet")
    clinic.run(source=path)
    before = clinic.tables()
    clinic.deliver(parquet([row("V2")])[:-9], "visits.parquet")
    refused = clinic.run(DAY.format(3), source=path)
    assert (refused.exit_code, clinic.tables(), clinic.statuses()) == (3, before, ["loaded", "refused"])
    assert refused.message == (
        "visits.parquet: is damaged, cut short or no Parquet (after 0 rows). Have it sent again."
    )
    clinic.deliver(parquet([row("V2")]), "visits.parquet")
    assert clinic.run(DAY.format(3), source=path).exit_code == 0
    assert set(clinic.facts()) == {"V1", "V2"}


def test_a_format_that_the_name_does_not_tell_is_told_by_the_config(clinic: Clinic) -> None:
    clinic.deliver(parquet([row("V1")]))
    assert clinic.run().exit_code == 3
    clinic.config = {"source": {"format": "parquet"}}
    assert clinic.run().exit_code == 0, "the refused delivery is still offered, and is read as the config says now"
    assert set(clinic.facts()) == {"V1"}


# Queries


class Upstream:
    """A clinic whose source is a query of an SQLite database."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "upstream.db"
        self.clinic = Clinic(folder)
        self.ask(SINCE)

    def ask(self, sql: str, **source: Any) -> None:
        self.clinic.config = {
            "source": {"kind": "query", "query": {"url": f"sqlite:///{self.path}", "sql": sql}, **source}
        }

    def hold(self, *rows: dict[str, str]) -> None:
        """Make the database hold just these visits."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS visits ({', '.join(COLUMNS)})")
            connection.execute("DELETE FROM visits")
            connection.executemany(
                f"INSERT INTO visits VALUES ({', '.join('?' * len(COLUMNS))})", [tuple(each.values()) for each in rows]
            )
            connection.commit()

    @property
    def read(self) -> list[int]:
        """Rows that each delivery held."""
        raw = self.clinic.data_dir / "raw" / "clinic"
        return [pq.read_metadata(path).num_rows for path in sorted(raw.glob("*.parquet"))]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def test_the_first_run_asks_for_all_rows_and_later_ones_for_the_window(upstream: Upstream) -> None:
    days = {f"V{day}": DAY.format(day) for day in range(1, 6)}
    upstream.hold(*(row(visit, last_updated=stamp) for visit, stamp in days.items()))
    assert upstream.clinic.run(DAY.format(5)).exit_code == 0
    upstream.hold(*(row(visit, last_updated=stamp, visit_cost="7.5") for visit, stamp in days.items()))
    assert upstream.clinic.run(DAY.format(6)).exit_code == 0
    assert upstream.read == [5, 2], "the lookback is a day"
    assert [fact[2] for fact in upstream.clinic.facts().values()] == [10000, 10000, 10000, 750, 750]
    assert upstream.clinic.run(DAY.format(6), full_refresh=True).exit_code == 0
    assert upstream.read == [5, 2, 5], "a full refresh asks for all rows, and heals what the window left out"
    assert {fact[2] for fact in upstream.clinic.facts().values()} == {750}


def test_an_unchanged_result_is_no_delivery_and_one_that_comes_back_is(upstream: Upstream) -> None:
    upstream.ask("SELECT * FROM visits ORDER BY visit_id", deliveries="full")
    a, b = [row("V1")], [row("V1", visit_cost="1", last_updated="2025-03-01T13:00:00Z")]
    for rows in (a, a, b, a):
        upstream.hold(*rows)
        assert upstream.clinic.run().exit_code == 0
    assert upstream.clinic.statuses() == ["loaded"] * 3
    assert len(upstream.read) == 2, "known bytes make no second file"
    assert upstream.clinic.facts()["V1"][2] == 100, "the older version that came back changes nothing"


def test_a_database_that_is_away_changes_nothing(upstream: Upstream) -> None:
    upstream.hold(row("V1"))
    upstream.clinic.run()
    before, kept = upstream.clinic.tables(), sorted((upstream.clinic.data_dir / "raw").rglob("*"))
    upstream.path.rename(upstream.path.with_suffix(".away"))
    away = upstream.clinic.run(DAY.format(3))
    assert away.exit_code == 7 and "the database cannot be reached" in away.message
    assert upstream.clinic.tables() == before
    assert sorted((upstream.clinic.data_dir / "raw").rglob("*")) == kept
    upstream.path.with_suffix(".away").rename(upstream.path)
    upstream.hold(row("V1"), row("V2"))
    assert upstream.clinic.run(DAY.format(3)).exit_code == 0
    assert set(upstream.clinic.facts()) == {"V1", "V2"}


def test_a_database_that_fails_in_the_middle_leaves_no_snapshot(upstream: Upstream) -> None:
    upstream.hold(row("V1"))
    upstream.clinic.run()
    before, kept = upstream.clinic.tables(), sorted((upstream.clinic.data_dir / "raw").rglob("*"))
    # the 45,001st row, two batches in, is one that no database can make
    many = "WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 50000)"
    upstream.ask(f"{many} SELECT n AS visit_id, CASE WHEN n > 45000 THEN abs(-9223372036854775807 - 1) END AS x FROM g")
    failed = upstream.clinic.run(DAY.format(3))
    assert failed.exit_code == 2 and "the database refused the query (OperationalError)" in failed.message
    assert (upstream.clinic.tables(), sorted((upstream.clinic.data_dir / "raw").rglob("*"))) == (before, kept)


def test_a_result_without_a_required_column_is_refused(upstream: Upstream) -> None:
    upstream.hold(row("V1"))
    upstream.ask("SELECT visit_id, visit_id AS patient FROM visits")
    refused = upstream.clinic.run()
    assert (refused.exit_code, upstream.clinic.statuses()) == (3, ["refused"])
    assert refused.message.startswith("query.parquet: 6 expected columns are missing (patient_id, ")


def test_what_files_delivered_and_what_a_query_does_are_one_source(upstream: Upstream) -> None:
    clinic = upstream.clinic
    asking, clinic.config = clinic.config, {}
    clinic.deliver([row("V1"), row("V2")])
    assert clinic.run().exit_code == 0
    clinic.config = asking
    upstream.hold(row("V2", visit_cost="5", last_updated="2025-03-01T13:00:00Z"), row("V3"))
    assert clinic.run(DAY.format(3)).exit_code == 0
    incremental = clinic.tables()["fact_visits"]
    assert set(clinic.facts()) == {"V1", "V2", "V3"}
    assert clinic.run(DAY.format(3), full_refresh=True).exit_code == 0
    assert [each[:7] for each in clinic.tables()["fact_visits"]] == [each[:7] for each in incremental]


def test_plan_asks_and_leaves_no_trace_and_rebuild_asks_nothing(upstream: Upstream) -> None:
    clinic = upstream.clinic
    upstream.hold(row("V1"))
    clinic.run()
    upstream.hold(row("V1"), row("V2"))
    kept = {path: path.read_bytes() for path in clinic.data_dir.rglob("*") if path.is_file()}
    settings = settings_from(clinic.config, "config.yaml")
    planned = plan_run(clinic.layout, settings, as_of=DAY.format(3), options=Options())
    assert (planned.exit_code, planned.visits("inserted")) == (0, 1)
    assert {path: path.read_bytes() for path in clinic.data_dir.rglob("*") if path.is_file()} == kept
    clinic.run(DAY.format(3))
    upstream.path.unlink()
    assert rebuild_tables(Layout.at(clinic.data_dir, None), settings, lambda line: None).differences == ()


# Through the real command


def test_ndjson_and_parquet_by_the_command(clinic: Clinic) -> None:
    inbox = clinic.deliver(gzip.compress(ndjson([row("V1"), row("V2")]).encode()), "a.ndjson.gz").parent
    clinic.deliver(parquet([row("V3")], **TYPED), "b.parquet")
    ran = clinic.command("run", "--source", str(inbox), "--as-of", DAY.format(2))
    assert (ran.returncode, set(clinic.facts())) == (0, {"V1", "V2", "V3"}), ran.stderr


def test_a_query_of_postgres_by_the_command(clinic: Clinic, postgres_server: PostgresServer) -> None:
    database = postgres_server.fresh_database("upstream")
    with postgres_server.connect(database) as connection:
        connection.execute(
            "CREATE TABLE visits (visit_id text, patient_id text, provider_id text, diagnosis_code text,"
            " visit_date date, visit_cost numeric(18, 2), last_updated timestamptz)"
        )
        connection.execute(
            "INSERT INTO visits VALUES (%s, 'P1', NULL, 'J06.9', '2025-03-01', 12.50, '2025-03-01 13:00+01')", [CANARY]
        )
    sql = "SELECT * FROM visits WHERE last_updated >= :cutoff OR last_updated IS NULL ORDER BY visit_id"
    clinic.config = {"source": {"kind": "query", "query": {"url": postgres_server.url(database), "sql": sql}}}
    ran = clinic.command("run", "--as-of", DAY.format(2))
    assert ran.returncode == 0, ran.stderr
    assert clinic.facts()[CANARY][:4] == ("P1", "2025-03-01", 1250, "2025-03-01T12:00:00.000000+00:00")
    before = clinic.tables()

    with postgres_server.connect(database) as connection:
        connection.execute("ALTER TABLE visits RENAME COLUMN last_updated TO changed")
    refused = clinic.command("run")
    assert refused.returncode == 2, refused.stderr
    assert "source.query: the database refused the query (ProgrammingError, SQLSTATE 42703)" in refused.stderr
    assert clinic.tables() == before

    told = [ran, refused]
    records = [path for path in clinic.data_dir.rglob("*") if path.is_file() and path.parts[-3] in ("runs", "logs")]
    assert records
    assert CANARY not in "".join(each.stdout + each.stderr for each in told)
    assert [path.name for path in records if CANARY.encode() in path.read_bytes()] == []


def test_a_file_goes_before_the_query() -> None:
    asking = {"kind": "query", "query": {"url": "sqlite:///emr.db", "sql": "SELECT 1"}}
    given = given_settings("export.csv", None, None)
    content = {"source": {**asking, **{name.removeprefix("source__"): value for name, value in given.items()}}}
    assert settings_from(content, "config.yaml").source.kind == "files"
    assert given_settings(None, None, None) == {}
