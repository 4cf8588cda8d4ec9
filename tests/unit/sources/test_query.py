"""A query as a source: what is bound, what is kept, and whose fault a failure is. Against SQLite and PostgreSQL."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lib.config import ROOT, load_settings, settings_from
from lib.errors import PipelineError, TemporaryFailure, UsageError
from lib.sources.query import QueryOffer
from lib.window import Window
from tests.servers.postgres import PostgresServer

CANARY = "canary7"
DAY = datetime(2025, 3, 2, tzinfo=UTC)


def offer(url: str, sql: str | None, watermark: datetime | None = None, **source: Any) -> QueryOffer:
    query = {"url": url, "sql": sql, **source.pop("query", {})}
    settings = settings_from({"source": {"kind": "query", "query": query, **source}}, "config.yaml")
    return QueryOffer.of(settings, Window(watermark, 24))


def rows(one: QueryOffer, folder: Path) -> list[dict[str, Any]]:
    one.copy_to(folder / "copy")
    found: list[dict[str, Any]] = pq.read_table(folder / "copy").to_pylist()
    (folder / "copy").unlink()
    return found


def failure(one: QueryOffer, folder: Path) -> PipelineError:
    """How asking fails. Nothing of what the database says is told, nor kept as the cause."""
    with pytest.raises(PipelineError) as failed:
        one.copy_to(folder / "copy")
    error = failed.value
    assert CANARY not in str(error) and "\n" not in str(error)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    return error


@dataclass
class Upstream:
    """A database with one table, `v`, of ids and stamps."""

    url: str
    is_postgres: bool
    since: str
    """The condition that pushes the window down."""


@pytest.fixture
def sqlite_upstream(tmp_path: Path) -> Upstream:
    path = tmp_path / "up stream?.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE v (visit_id TEXT, at TEXT)")
        connection.executemany(
            "INSERT INTO v VALUES (?, ?)", [(f"V{day}", f"2025-03-0{day}T00:00:00Z") for day in (1, 2, 3)]
        )
        connection.commit()
    return Upstream(f"sqlite:///{str(path).replace('?', '%3F')}", False, "datetime(at) >= datetime(:cutoff)")


@pytest.fixture
def postgres_upstream(postgres_server: PostgresServer) -> Upstream:
    database = postgres_server.fresh_database("upstream")
    with postgres_server.connect(database) as connection:
        connection.execute("CREATE TABLE v (visit_id text, at timestamptz)")
        connection.execute(
            "INSERT INTO v SELECT 'V' || d, make_timestamptz(2025, 3, d, 0, 0, 0, 'UTC') FROM generate_series(1, 3) d"
        )
    return Upstream(postgres_server.url(database), True, "at >= :cutoff")


@pytest.fixture(params=["sqlite_upstream", "postgres_upstream"])
def upstream(request: pytest.FixtureRequest) -> Upstream:
    found: Upstream = request.getfixturevalue(request.param)
    return found


# What is asked, and what is kept


def test_the_window_is_pushed_down(upstream: Upstream, tmp_path: Path) -> None:
    sql = f"SELECT visit_id FROM v WHERE {upstream.since} ORDER BY 1"
    assert [each["visit_id"] for each in rows(offer(upstream.url, sql), tmp_path)] == ["V1", "V2", "V3"]
    since = offer(upstream.url, sql, datetime(2025, 3, 3, tzinfo=UTC))
    assert [each["visit_id"] for each in rows(since, tmp_path)] == ["V2", "V3"]
    assert since.told == {**since.told, "cutoff": "2025-03-02T00:00:00.000000+00:00"}


def test_nothing_can_be_changed_upstream(upstream: Upstream, tmp_path: Path) -> None:
    words = "DELETE FROM v RETURNING visit_id"
    assert isinstance(failure(offer(upstream.url, words), tmp_path), UsageError)
    assert len(rows(offer(upstream.url, "SELECT * FROM v"), tmp_path)) == 3


def test_what_no_rollback_takes_back_is_refused(
    postgres_upstream: Upstream, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.connect(postgres_upstream.url.rsplit("/", 1)[1]) as connection:
        connection.execute("CREATE SEQUENCE numbers")
    error = failure(offer(postgres_upstream.url, "SELECT nextval('numbers') AS n"), tmp_path)
    assert isinstance(error, UsageError) and "SQLSTATE 25006" in str(error)


def test_the_copy_is_read_only_and_its_hash_and_size_are_told(upstream: Upstream, tmp_path: Path) -> None:
    one = offer(upstream.url, "SELECT * FROM v ORDER BY 1")
    sha256, size = one.copy_to(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "a").stat().st_size == size
    assert one.copy_to(tmp_path / "b") == (sha256, size), "the same rows, the same bytes"


def test_the_types_of_postgres_are_kept(postgres_upstream: Upstream, tmp_path: Path) -> None:
    sql = (
        "SELECT 12.50::numeric(18,2) AS cost, 9007199254740993 AS big, DATE '2025-03-01' AS day,"
        " TIMESTAMPTZ '2025-03-01 12:00+01' AS at, TIMESTAMP '2025-03-01 12:00' AS clock, true AS yes,"
        " '00123'::text AS id, NULL::text AS none, gen_random_uuid() AS uuid"
    )
    offer(postgres_upstream.url, sql).copy_to(tmp_path / "copy")
    kinds = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "copy")}
    assert kinds == {
        "cost": "decimal128(38, 2)", "big": "int64", "day": "date32[day]", "at": "timestamp[us, tz=UTC]",
        "clock": "timestamp[us]", "yes": "bool", "id": "string", "none": "null", "uuid": "string",
    }  # fmt: skip


def test_more_rows_than_a_batch_are_one_consistent_read(
    postgres_upstream: Upstream, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Rows that are committed while the result is drawn are not in it: they are in the next one."""
    database = postgres_upstream.url.rsplit("/", 1)[1]
    one = offer(postgres_upstream.url, "SELECT g, (SELECT count(*) FROM v) AS n FROM generate_series(1, 45000) g")
    with one._rows() as (_, batches):
        first = next(batches)
        with postgres_server.connect(database) as connection:
            connection.execute("INSERT INTO v VALUES ('V4', now())")
        others = [row for batch in batches for row in batch]
    assert len(first) == 20_000 and len(others) == 25_000
    assert {row[1] for row in [*first, *others]} == {3}


def test_rows_are_drawn_as_they_are_wanted(postgres_upstream: Upstream) -> None:
    """A result need not fit into memory: the first batch is here before a later row of it fails."""
    drawn = []
    one = offer(postgres_upstream.url, "SELECT 1 / (30000 - g) AS n FROM generate_series(1, 45000) AS g")
    with pytest.raises(UsageError, match="SQLSTATE 22012"), one._rows() as (_, batches):
        drawn.append(len(next(batches)))
        next(batches)
    assert drawn == [20_000]


# Whose fault a failure is


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (f"SELECT {CANARY} FROM v", "the database refused the query ("),
        (f"SELECT * FROM {CANARY}", "the database refused the query ("),
        ("SELEC", "the database refused the query ("),
        (f"SELECT CAST(visit_id AS {CANARY}( FROM v", "the database refused the query ("),
    ],
)
def test_a_query_that_the_database_refuses_is_the_configs_fault(
    sql: str, told: str, upstream: Upstream, tmp_path: Path
) -> None:
    error = failure(offer(upstream.url, sql), tmp_path)
    assert isinstance(error, UsageError) and told in str(error)


def test_values_in_the_databases_words_stay_there(postgres_upstream: Upstream, tmp_path: Path) -> None:
    error = failure(offer(postgres_upstream.url, f"SELECT CAST('{CANARY}' || visit_id AS int) FROM v"), tmp_path)
    assert isinstance(error, UsageError) and "SQLSTATE 22P02" in str(error)


def test_a_value_that_cannot_be_kept_is_told_by_its_column(postgres_upstream: Upstream, tmp_path: Path) -> None:
    error = failure(offer(postgres_upstream.url, f"SELECT 1 AS a, ARRAY['{CANARY}'] AS b"), tmp_path)
    assert isinstance(error, UsageError)
    assert str(error) == (
        "source.query: column 2 of the result is of a type that cannot be kept (list); cast it to text in the SQL."
    )
    broken = failure(offer(postgres_upstream.url, "SELECT TIMESTAMP 'infinity' AS at"), tmp_path)
    assert isinstance(broken, UsageError) and "refused the query (DataError" in str(broken)


def test_a_database_that_goes_away_in_the_middle_is_waited_for(
    postgres_upstream: Upstream, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    # the server ends its own connection once many rows have been sent
    ends = "CASE WHEN g = 60000 THEN pg_terminate_backend(pg_backend_pid()) END"
    sql = f"SELECT g, {ends} AS ends FROM generate_series(1, 90000) AS g"
    error = failure(offer(postgres_upstream.url, sql), tmp_path)
    assert isinstance(error, TemporaryFailure)
    assert "went away" in str(error) and error.exit_code == 7


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/x", "sqlite:////nowhere/at/all.db"])
def test_a_database_that_cannot_be_reached_is_waited_for(url: str, tmp_path: Path) -> None:
    assert isinstance(failure(offer(url, "SELECT 1"), tmp_path), TemporaryFailure)
    assert not Path("/nowhere").exists()


def test_a_locked_database_is_waited_for(sqlite_upstream: Upstream, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "up stream?.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert isinstance(failure(offer(sqlite_upstream.url, "SELECT * FROM v"), tmp_path), TemporaryFailure)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql+nodriver://db/x", "source.query.url: no driver of mysql is installed"),
        (
            "postgresql+asyncpgx://db/x",
            "the driver of postgresql is not installed; it is the extra postgres: python3 -m pip",
        ),
    ],
)
def test_a_missing_driver_is_named_with_its_extra(url: str, told: str, tmp_path: Path) -> None:
    assert told in str(failure(offer(url, "SELECT 1"), tmp_path))


def test_without_sqlalchemy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(UsageError, match=r"SQLAlchemy is not installed; it is the extra sql: .*'sqlalchemy>=2,<3'$"):
        offer("sqlite:///x.db", "SELECT 1")


# What the config may say


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://reader:{CANARY}@db/emr",
        f"postgresql://reader@db/emr?password={CANARY}",
        f"mssql+pyodbc:///?odbc_connect=PWD%3D{CANARY}",
        f"snowflake://reader@account/db?private_key={CANARY}",
        CANARY,
        f"{CANARY}.db",
        f"postgresql://[{CANARY}",
    ],
)
def test_a_url_with_a_secret_or_none_is_refused_unseen(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        offer(url, "SELECT 1")
    assert str(refused.value).startswith("config.yaml: source.query.url: ") and CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"sql": None}, "kind: query needs either query.sql or query.sql_file"),
        ({"sql_file": "x.sql"}, "kind: query needs either query.sql or query.sql_file"),
        ({"url": None}, "kind: query needs query.url"),
        ({"sql": "SELECT :since"}, "the SQL asks for :since; only :cutoff and :watermark are given"),
        (
            {"sql": None, "sql_file": "/nowhere.sql"},
            "source.query.sql_file: nowhere.sql cannot be read (FileNotFoundError)",
        ),
        ({"password_from": "a b"}, "source.query.password_from"),
    ],
    ids=str,
)
def test_a_query_that_is_not_told_whole_is_refused(content: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        offer("sqlite:///x.db", "SELECT 1", query=content)
    assert told in str(refused.value)


def test_full_deliveries_cannot_have_a_window() -> None:
    with pytest.raises(UsageError, match="deliveries are full, but the SQL leaves out rows by the window"):
        offer("sqlite:///x.db", "SELECT 1 WHERE :cutoff > ''", deliveries="full")


def test_a_cast_and_a_time_are_no_parameters(postgres_upstream: Upstream, tmp_path: Path) -> None:
    assert rows(offer(postgres_upstream.url, "SELECT '12:30:00'::text AS t, 7 % 4 AS r"), tmp_path) == [
        {"t": "12:30:00", "r": 3}
    ]


def test_stamps_of_sqlite_are_compared_as_instants_in_the_way_that_the_config_tells(tmp_path: Path) -> None:
    told = "julianday(updated_at) >= julianday(:cutoff) - 0.00001"
    assert told in (ROOT / "config.yaml").read_text()
    late, early = (
        ("2025-07-02 09:00:00", "2025-07-02T11:00:00+02:00", "2025-07-03"),
        ("2025-07-02 08:59:58", "2025-07-02"),
    )
    with closing(sqlite3.connect(tmp_path / "up.db")) as upstream:
        upstream.execute("CREATE TABLE v (updated_at TEXT)")
        upstream.executemany("INSERT INTO v VALUES (?)", [(each,) for each in (*late, *early)])
        upstream.commit()
    watermark = datetime(2025, 7, 3, 9, tzinfo=UTC)  # the cutoff is a day before
    found = rows(offer(f"sqlite:///{tmp_path}/up.db", f"SELECT updated_at FROM v WHERE {told}", watermark), tmp_path)
    assert {each["updated_at"] for each in found} == set(late)


def test_the_sql_may_be_in_a_file(sqlite_upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "visits.sql").write_text("SELECT count(*) AS n FROM v")
    one = offer(sqlite_upstream.url, None, query={"sql_file": str(tmp_path / "visits.sql")})
    assert rows(one, tmp_path) == [{"n": 3}]


def test_the_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = offer("postgresql://reader@127.0.0.1:1/x", "SELECT 1", query={"password_from": "EMR_PASSWORD"})
    assert "the environment has no variable EMR_PASSWORD" in str(failure(one, tmp_path))
    monkeypatch.setenv("EMR_PASSWORD", CANARY)
    assert one._engine().url.password == CANARY
    assert CANARY not in repr(one) and isinstance(failure(one, tmp_path), TemporaryFailure)


# The example


def test_the_example_asks_what_its_tables_can_answer(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Its query on tables as its head tells them: a late evening in UTC is the next civil day; amounts are summed."""
    text = (ROOT / "examples" / "emr_query.yaml").read_text()
    database = postgres_server.fresh_database("emr")
    with postgres_server.connect(database) as connection:
        for name, columns in re.findall(r"(?m)^# +(\w+) +\((\w+ bigint.*)\)$", text):
            connection.execute(f"CREATE TABLE {name} ({columns})")
        connection.execute(
            "INSERT INTO encounters VALUES (1, 'P1', 'D1', '2025-03-01 23:30Z', '2025-03-02 01:00Z'),"
            " (2, 'P2', NULL, '2025-03-01 10:00Z', NULL)"
        )
        connection.execute("INSERT INTO charges VALUES (1, 12.50), (1, 0.05)")
        connection.execute("INSERT INTO diagnoses VALUES (1, 2, 'B'), (1, 1, 'A')")
    settings = load_settings(ROOT / "examples" / "emr_query.yaml")
    query = settings.source.query.model_copy(update={"url": postgres_server.url(database)})
    settings = settings.model_copy(update={"source": settings.source.model_copy(update={"query": query})})
    found = rows(QueryOffer.of(settings, Window(DAY, 720)), tmp_path)
    assert [tuple(each.values()) for each in found] == [
        (1, "P1", "D1", "A", date(2025, 3, 2), Decimal("12.55"), datetime(2025, 3, 2, 1, tzinfo=UTC)),
        (2, "P2", None, None, date(2025, 3, 1), None, None),
    ]
    assert set(found[0]) == set(settings.wanted.values())
