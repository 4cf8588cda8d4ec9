"""Spark stages what DuckDB stages: visits, refused rows, deletions, answers, lateness and profile, row for row."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lib.engines import spark, spark_reading
from tests.conformance.played import played
from tests.engines.inside.staged_twice import StagedTwice
from tests.engines.inside.texts import CELLS, broken
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row

ANY = {"gate": {"min_failing_rows": 1_000_000}}
BERLIN = {
    "source": {"timezone": "Europe/Berlin", "delimiter": ";"},
    "formats": {
        "visit_date": ["iso", "%m/%d/%Y", "%-d.%-m.%y", "%d %b %Y", "%B %-d, %Y"],
        "last_updated": ["iso", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y%m%d%H%M%S.%f", "%y-%m-%d %-H.%M"],
    },
    "null_markers": {"provider_id": ["NULL", "it's \\N"], "visit_cost": ["n/a"]},
    "rules": {"min_visit_date": "0200-01-01", "max_visit_cost": "123.455"},
    "carry": {"ward": "Ward"},
}


def deliver_and_run(clinic: Clinic, day: int, text: str | bytes, path: str = "visits.csv") -> None:
    if isinstance(text, bytes):
        clinic.input.with_name(path).write_bytes(text)
    else:
        clinic.deliver(text, path)
    result = clinic.run(f"2025-03-{day:02d}T06:00:00Z", source=clinic.input.parent, accept=())
    assert result.exit_code == 0, result.message


def test_every_text_of_every_column(tmp_path: Path, twice: StagedTwice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, as large inputs are; and in several pieces, read by several tasks."""
    monkeypatch.setattr(spark, "COMPILED_FROM", 0)
    monkeypatch.setattr(spark_reading, "PIECE_BYTES", 4000)
    clinic = Clinic(tmp_path, config=ANY)
    cells = [{**row(f"V{number}"), name: text} for number, (name, text) in enumerate(CELLS)]
    fuzzed = [{**row(f"F{number}"), **broken(random.Random(number))} for number in range(300)]
    deliver_and_run(clinic, 2, csv_text([*cells, *fuzzed]))
    plain = [each for each in cells if not {'"', "\n", "\r"} & set("".join(each.values()))]
    deliver_and_run(clinic, 3, csv_text(plain) + "wrong,width\n")


def test_declared_formats_zones_markers_and_limits(tmp_path: Path, twice: StagedTwice) -> None:
    clinic = Clinic(tmp_path, config={**ANY, **BERLIN})
    texts = [
        *({"visit_date": text} for text in (
            "2/28/2025", "02/28/2025", "02/30/2025", "1.2.25", "01.02.69", "1.2.68", "03 Mar 2024", "03 mAR 2024",
            "03 Foo 2024", "March 3, 2024", "MAY 31, 0999", "may 32, 2024", "0200-01-01", "0199-12-31", "12/31/0000",
        )),
        *({"last_updated": text} for text in (
            "2024-10-27T02:30:00", "2025-03-30T02:30:00", "2024-10-27T02:30:00+01:00", "1893-03-31", "0001-01-01",
            "27.10.2024 02:30", "31.03.2024 02:59", "01/01/2025 12:00:00 AM", "01/01/2025 12:59:59 pm",
            "01/01/2025 00:00:00 AM", "01/01/2025 13:00:00 PM", "20250101235959.5", "20250101235960.5", "24-12-31 9.05",
            "24-12-31 24.05", "1999-06-01 12:00", "1980-04-06T02:30",
        )),
        *({"visit_cost": text} for text in ("n/a", "N/A", "123.455", "123.4550001", "123.4549", "0000123.455")),
        *({"provider_id": text} for text in ("NULL", "it's \\N", " NULL\t", "null")),
    ]  # fmt: skip
    rows = [{**row(f"V{number}"), "Ward": f"w{number}", **each} for number, each in enumerate(texts)]
    text = csv_text(rows, (*COLUMNS, "Ward")).replace(";", " ").replace(",", ";")
    deliver_and_run(clinic, 2, text.replace("March 3;", "March 3,").replace("31;", "31,").replace("32;", "32,"))


def test_deletions_refusals_and_answers(tmp_path: Path, twice: StagedTwice) -> None:
    twice.first = 2
    played(Clinic(tmp_path, kind="duckdb"))


def test_late_missed_corrected_and_unchanged_versions(tmp_path: Path, twice: StagedTwice) -> None:
    twice.first = 2
    clinic = Clinic(tmp_path, config=ANY)

    def at(visit_id: str, stamp: str, **cells: str) -> dict[str, str]:
        return row(visit_id, last_updated=f"2025-03-{stamp}Z", **cells)

    deliver_and_run(clinic, 2, csv_text([at("V1", "01T12:00"), at("V2", "01T12:00"), at("V3", "01T11:00")]), "1.csv")
    clinic.deliver(
        csv_text([at("V1", "02T12:00", visit_cost="5"), at("V2", "01T12:00", visit_cost="6"), row("")]), "2.csv"
    )
    clinic.deliver(
        csv_text([at("V1", "02T12:00", visit_cost="5"), at("V4", "02T11:59:59.1234567"), row("", patient_id="x")]),
        "3.csv",
    )
    deliver_and_run(clinic, 4, csv_text([at("V5", "03T12:00", visit_date="2025-03-02")]), "4.csv")
    late = [at("V1", "01T00:00", visit_cost="9"), at("V9", "01T10:00"), at("V3", "01T11:00"), at("V5", "x")]
    late += [
        at("", "01T10:00"),
        at("V5", "03T11:00"),
        at("V6", "02T12:00"),
        at("V2", "03T12:00", visit_date="2025-02-27"),
    ]
    deliver_and_run(clinic, 5, csv_text(late), "5.csv")
    assert clinic.run("2025-03-06T00:00:00Z", source=clinic.input.parent, full_refresh=True, accept=()).exit_code == 0


def test_a_source_without_a_stamp(tmp_path: Path, twice: StagedTwice) -> None:
    twice.first = 2
    clinic = Clinic(tmp_path, config={"columns": {"last_updated": None}, "source": {"deliveries": "full"}, **ANY})
    deliver_and_run(clinic, 2, csv_text([row("V1"), row("V2"), row("V3", visit_cost="x")]))
    deliver_and_run(clinic, 3, csv_text([row("V1"), row("V2", visit_cost="1"), row("V3")]))


def test_the_records_are_never_sent_to_every_worker(
    tmp_path: Path, twice: StagedTwice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor collected here for that: Spark takes what is read from a few pieces for few rows."""
    plans = []
    keep = spark.SparkEngine.keep

    def planned(engine: spark.SparkEngine, name: str, query: str) -> None:
        if name == "judged":
            plans.append(engine._session.sql(query)._jdf.queryExecution().executedPlan().toString())
        keep(engine, name, query)

    monkeypatch.setattr(spark.SparkEngine, "keep", planned)
    deliver_and_run(Clinic(tmp_path, config=ANY), 2, csv_text([row("V1")]))
    [plan] = plans
    lines = plan.splitlines()
    read = next(number for number, line in enumerate(lines) if "MapInArrow" in line)
    depths = [len(line) - len(line.lstrip(" :+-*()0123456789")) for line in lines]
    above, depth = [], depths[read]
    for number in range(read, -1, -1):
        if depths[number] < depth:
            above, depth = [*above, lines[number]], depths[number]
    assert any("Join" in line for line in above), "it is read below the join with its deliveries"
    assert not any("BroadcastExchange" in line for line in above), plan
