"""A source's facts written anew: what the engine counts from the staged files is what SQLite would see row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lib.clock import instant_text
from lib.config import Engine
from lib.content import count_content
from lib.engines.duckdb import open_database
from lib.layout import Layout
from lib.sql import identifier, statement
from lib.warehouse import add_carried_columns, open_warehouse, transaction
from lib.warehouses.interface import Connection
from lib.warehouses.sqlite_afresh import LANES, Batch, _sum, count_days, count_values
from lib.warehouses.sqlite_arrow import spilling
from lib.warehouses.sqlite_content import stored_columns

SOURCE = "o'clinic"
STAMP = datetime(2025, 3, 1, 12, tzinfo=UTC)
WATERMARK = STAMP + timedelta(hours=1)
NASTY = st.sampled_from(
    [
        '"',
        "\\",
        "\\u001F",
        "\x00",
        "a\x00b",
        "\x1f",
        "\x7f",
        "\r\n\t\b\f\v",
        "🏳️‍🌈",
        "e\u0301",
        "\u2028",
        "null",
        "[]",
        ",",
        "][",
    ]
)
TEXT = st.one_of(st.text(max_size=8), NASTY, st.builds("".join, st.lists(NASTY, max_size=3)))
MAYBE = st.none() | TEXT
BIG = st.integers(0, 2**62)
MANY = tuple(f"extra_{number}" for number in range(120))
"""More columns than one call of json_array takes."""

Cells = dict[str, Any]


@st.composite
def visits(draw: st.DrawFn, carried: Sequence[str] = ()) -> list[Cells]:
    ids = draw(st.lists(TEXT, min_size=1, max_size=8, unique=True))
    return [
        {
            "visit_id": visit_id,
            "patient_id": draw(st.sampled_from(["P1", "P2"]) | TEXT),
            "provider_id": draw(MAYBE),
            "diagnosis_code": draw(MAYBE),
            "visit_date": date(2025, 3, 1) + timedelta(days=draw(st.integers(0, 2))),
            "visit_cost_cents": draw(st.none() | st.integers(0, 10**15)),
            "last_updated": STAMP + timedelta(microseconds=draw(st.integers(0, 2 * 3600 * 10**6))),
            "row_hash": draw(st.sampled_from(["0" * 64, "af" * 32])),
            "delivery_seq": draw(BIG),
            "source_line": draw(BIG),
            "deleted_seq": draw(st.none() | BIG),
            **{name: draw(MAYBE) for name in carried},
        }
        for visit_id in ids
    ]


def visit(visit_id: str, /, **cells: Any) -> Cells:
    good: Cells = {
        "visit_id": visit_id, "patient_id": "P1", "provider_id": None, "diagnosis_code": None,
        "visit_date": date(2025, 3, 1), "visit_cost_cents": 100, "last_updated": STAMP, "row_hash": "0" * 64,
        "delivery_seq": 1, "source_line": 2, "deleted_seq": None,
    }  # fmt: skip
    return {**good, **cells}


@contextmanager
def new_warehouse(folder: Path, carried: Sequence[str]) -> Iterator[Connection]:
    layout = Layout.at(folder, None)
    layout.create()
    with closing(open_warehouse(layout)) as connection:
        with transaction(connection):
            add_carried_columns(connection, list(carried))
        yield connection


def staged_files(folder: Path, rows: list[Cells], carried: Sequence[str]) -> Batch:
    """The rows as staging writes them, as far as the load reads them here."""
    texts = ("visit_id", "patient_id", "provider_id", "diagnosis_code", "row_hash", *carried)
    table = {name: pa.array([row[name] for row in rows], pa.string()) for name in texts}
    table["visit_date"] = pa.array([row["visit_date"] for row in rows], pa.date32())
    costs = [None if row["visit_cost_cents"] is None else Decimal(row["visit_cost_cents"]).scaleb(-2) for row in rows]
    table["visit_cost"] = pa.array(costs, pa.decimal128(18, 2))
    table["last_updated"] = pa.array([row["last_updated"] for row in rows], pa.timestamp("us", "UTC"))
    for name in ("delivery_seq", "source_line"):
        table[name] = pa.array([row[name] for row in rows], pa.int64())
    table["is_written"] = pa.array([True] * len(rows))
    deleted = [row for row in rows if row["deleted_seq"] is not None]
    marks = pa.table(
        {
            "visit_id": pa.array([row["visit_id"] for row in deleted], pa.string()),
            "deleted_seq": pa.array([row["deleted_seq"] for row in deleted], pa.int64()),
            "deleted_at": pa.array([STAMP.replace(tzinfo=None)] * len(deleted), pa.timestamp("us")),
        }
    )
    pq.write_table(pa.table(table), folder / "visits.parquet")
    pq.write_table(marks, folder / "deletions.parquet")
    files = {name: folder / f"{name}.parquet" for name in ("visits", "deletions")}
    return Batch(files, Engine(), folder)


def insert(connection: Connection, rows: list[Cells], carried: Sequence[str]) -> None:
    for row in rows:
        is_deleted = row["deleted_seq"] is not None
        stored = {
            **row,
            "source": SOURCE,
            "visit_date": row["visit_date"].isoformat(),
            "last_updated": instant_text(row["last_updated"]),
            "deleted_at": instant_text(STAMP) if is_deleted else None,
        }
        names = ", ".join(identifier(name) for name in stored)
        marks = ", ".join("?" * len(stored))
        connection.execute(f"INSERT INTO fact_visits ({names}) VALUES ({marks})", list(stored.values()))


def check(rows: list[Cells], carried: Sequence[str]) -> None:
    with TemporaryDirectory() as name, new_warehouse(Path(name), carried) as connection:
        insert(connection, rows, carried)
        batch = staged_files(Path(name), rows, carried)
        values = {"source": SOURCE, "refresh": 1, "committed_watermark": instant_text(WATERMARK)}
        columns = stored_columns(connection, "fact_visits")  # type: ignore[arg-type]
        with open_database(batch.engine, batch.folder) as engine:
            days, counts = count_days(engine, batch, columns, values), count_values(engine, batch, values)
        sums = {("fact_visits", f"{SOURCE}|{day[0]}"): (day[1], _sum(day[-LANES:]) % 2**256) for day in days}
        assert sums == count_content(connection)
        metrics = connection.execute(
            "SELECT visit_date, count(*), sum(last_updated < ?), count(DISTINCT patient_id), count(visit_cost_cents),"
            " coalesce(sum(visit_cost_cents), 0) FROM fact_visits WHERE deleted_at IS NULL GROUP BY 1 ORDER BY 1",
            [instant_text(WATERMARK)],
        )
        assert [(day[0], *day[2:-LANES]) for day in days if day[2]] == [tuple(row) for row in metrics]
        stored = connection.execute(statement("warehouse/visit_values", "sqlite", facts="fact_visits")).fetchall()
        assert counts == sorted(tuple(row) for row in stored)


@given(visits())
@settings(max_examples=60, deadline=None)
@example([visit("V1"), visit("V2", patient_id='a"\\\x00', deleted_seq=3), visit("V3", visit_cost_cents=None)])
def test_days_counted_from_the_files_are_those_of_the_stored_rows(rows: list[Cells]) -> None:
    check(rows, ())


@given(visits(("ward", "note")))
@settings(max_examples=40, deadline=None)
@example([visit("V1", ward=None, note="null"), visit("V2", ward="]", note=None), visit("V3", ward=None, note="")])
def test_carried_columns_are_content(rows: list[Cells]) -> None:
    check(rows, ("ward", "note"))


def test_more_columns_than_one_array_holds() -> None:
    full = {name: "x" for name in MANY}
    rows = [
        visit("V1", **dict.fromkeys(MANY)),
        visit("V2", **full),
        visit("V3", **{**dict.fromkeys(MANY), MANY[50]: "y"}),
    ]
    check(rows, MANY)
    check([visit("V1", **{**dict.fromkeys(MANY), MANY[-1]: "z"}, deleted_seq=4)], MANY)


def test_what_a_load_sorts_goes_to_nameless_files_of_its_folder(tmp_path: Path) -> None:
    opened = set[str]()

    def look() -> None:
        for each in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                opened.add(str(each.readlink()))

    with new_warehouse(tmp_path, ()) as connection:
        connection.execute("PRAGMA cache_size = -1024")
        with spilling(connection, tmp_path / "staging"):  # type: ignore[arg-type]
            connection.set_progress_handler(look, 100_000)  # type: ignore[attr-defined]
            numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)"
            connection.execute(f"{numbers} SELECT hex(randomblob(40)) AS text FROM n ORDER BY text").fetchone()
            connection.set_progress_handler(None, 0)  # type: ignore[attr-defined]
        assert connection.execute("PRAGMA temp_store").fetchone()[0] == 2, "in memory again"
        assert connection.execute("PRAGMA temp_store_directory").fetchone() is None
    spilled = [each for each in opened if "etilqs" in each]
    assert spilled
    assert all(each.startswith(f"{tmp_path / 'staging'}/") and each.endswith(" (deleted)") for each in spilled)


def test_without_a_place_to_spill_what_is_sorted_stays_in_memory(tmp_path: Path) -> None:
    class Without(sqlite3.Connection):
        def execute(self, text: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute("PRAGMA unknown" if "temp_store_directory" in text else text, *parameters)

    with closing(sqlite3.connect(":memory:", factory=Without)) as connection, spilling(connection, tmp_path):
        assert connection.execute("PRAGMA temp_store").fetchone()[0] == 2
