"""What a config says of a source, in the tables: carried and unmapped columns, null markers, dialect, zone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lib import config, validate
from lib.sql import FOLDER
from tests.pipeline.clinic import COLUMNS, Clinic, RunResult, csv_text, row
from tests.pipeline.plain_gate import plain_gate

LATER = "2025-03-01T13:00:00Z"


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def good(clinic: Clinic, content: Any) -> RunResult:
    clinic.deliver(content)
    result = clinic.run()
    assert result.exit_code == 0, result.message
    return result


def with_ward(rows: list[dict[str, str]], *wards: str) -> str:
    return csv_text([{**each, "Ward": ward} for each, ward in zip(rows, wards, strict=True)], (*COLUMNS, "Ward"))


def wards(clinic: Clinic) -> dict[str, str | None]:
    return dict(clinic.query("SELECT visit_id, ward FROM fact_visits ORDER BY visit_id"))


# Carried columns


def test_a_carried_column_is_text_in_staging_and_in_the_facts(quick: Clinic) -> None:
    quick.config = {"carry": {"ward": "Ward"}}
    result = good(quick, with_ward([row("A"), row("B"), row("C")], " 007\t", "", "=x"))
    assert wards(quick) == {"A": "007", "B": None, "C": "=x"}
    assert result.run is not None
    staged = pq.read_table(result.run.staging / "visits.parquet")
    assert staged.select(["visit_id", "ward"]).to_pydict() == {"visit_id": ["A", "B", "C"], "ward": ["007", None, "=x"]}


def test_a_carried_value_alone_makes_a_new_version_and_is_not_in_the_hash(quick: Clinic) -> None:
    quick.config = {"carry": {"ward": "Ward"}}
    good(quick, with_ward([row("A"), row("B")], "1", "1"))
    hashes = quick.query("SELECT visit_id, row_hash FROM fact_visits ORDER BY 1")
    result = good(quick, with_ward([row("A", last_updated=LATER), row("B")], "2", "2"))
    assert (result.counts["updated"], wards(quick)) == (2, {"A": "2", "B": "2"})
    after = quick.query("SELECT visit_id, row_hash FROM fact_visits ORDER BY 1")
    assert after[0] != hashes[0] and after[1] == hashes[1]


def test_a_column_is_carried_from_a_later_run_on(quick: Clinic) -> None:
    """What was loaded before has none until it is delivered again, or the tables are built again."""
    good(quick, with_ward([row("A"), row("B")], "1", "1"))
    quick.config = {"carry": {"ward": "Ward"}}
    good(quick, with_ward([row("A")], "2"))
    assert wards(quick) == {"A": "2", "B": None}
    assert quick.run(full_refresh=True).exit_code == 0
    assert wards(quick) == {"A": "2", "B": "1"}
    quick.config = {"carry": {"ward": "Ward", "unit": "Ward "}}
    assert quick.run().exit_code == 2, "two of ours from one of theirs"


def test_a_column_that_is_carried_no_longer_stays_as_it_was(quick: Clinic) -> None:
    quick.config = {"carry": {"ward": "Ward"}}
    good(quick, with_ward([row("A"), row("B")], "1", "1"))
    quick.config = {}
    result = good(quick, [row("A", visit_cost="7", last_updated=LATER), row("C")])
    assert (result.counts["updated"], result.counts["inserted"]) == (1, 1)
    assert wards(quick) == {"A": "1", "B": "1", "C": None}


def test_any_other_name_can_be_carried(quick: Clinic) -> None:
    """Every name that the statements give and the config lets through, at once, through two versions."""
    text = "\n".join(path.read_text() for path in Path(FOLDER).rglob("*.sql"))
    names = sorted(set(re.findall(r"\b[a-z][a-z0-9_]{0,62}\b", text)) - config._RESERVED)
    assert {"a", "hours", "status", "v", "visits"} <= set(names) and len(names) > 100
    names.append("select")
    quick.config = {"carry": {name: f"x {name}" for name in names}}
    columns = (*COLUMNS, *(f"x {name}" for name in names))

    def rows(*versions: tuple[str, str, str]) -> str:
        return csv_text(
            [
                row(visit, last_updated=at) | {f"x {name}": name + mark for name in names}
                for visit, at, mark in versions
            ],
            columns,
        )

    good(quick, rows(("A", "2025-03-01", "9"), ("A", "2025-03-01T02:00", "1"), ("A", "2025-03-01T01:00", "5")))
    result = good(quick, rows(("A", "2025-03-01T03:00", "3"), ("B", "2025-03-01", "7"), ("A", "2025-03-01T02:00", "8")))
    assert (result.counts["updated"], result.counts["inserted"], result.counts["superseded"]) == (1, 1, 1)
    listed = ", ".join(f'"{name}"' for name in names)
    assert quick.query(f"SELECT {listed} FROM fact_visits ORDER BY visit_id") == [
        tuple(f"{name}3" for name in names),
        tuple(f"{name}7" for name in names),
    ]


# Columns that a source does not have


def test_optional_columns_that_are_not_mapped_are_null(clinic: Clinic) -> None:
    clinic.config = {"columns": dict.fromkeys(("provider_id", "diagnosis_code", "visit_cost"))}
    needed = {"visit_id": "A", "patient_id": "P", "visit_date": "2025-03-01", "last_updated": LATER}
    result = good(clinic, csv_text([needed], tuple(needed)))
    assert result.message.startswith("PASSED: "), "no warning for ever about costs that cannot be there"
    assert clinic.query("SELECT provider_id, diagnosis_code, visit_cost_cents FROM fact_visits") == [(None, None, None)]
    assert clinic.daily() == {"2025-03-01": (1, 1, 0, None, 1)}


def test_a_column_that_is_not_mapped_is_not_read_though_it_is_there(quick: Clinic) -> None:
    quick.config = {"columns": {"visit_cost": None}}
    result = good(quick, [row("A", visit_cost="no cost")])
    assert (result.counts["refused"], quick.facts()["A"][2]) == (0, None)


def test_names_of_the_source_are_mapped(quick: Clinic) -> None:
    quick.config = {"columns": {"visit_id": "Encounter Id", "visit_date": "START", "last_updated": "Changed; at"}}
    names = {"visit_id": " encounter id", "visit_date": "Start", "last_updated": '"Changed; at"'}
    header, body = csv_text([row("A")]).split("\n", 1)
    good(quick, ",".join(names.get(each, each) for each in header.split(",")) + "\n" + body)
    assert set(quick.facts()) == {"A"}


# Values


def test_null_markers_hold_for_their_own_column(quick: Clinic) -> None:
    quick.config = {"null_markers": {"visit_cost": ["NULL", "-"], "provider_id": ["n/a"], "patient_id": ["NONE"]}}
    result = good(
        quick,
        [
            row("NULL", visit_cost="NULL", provider_id="NULL"),
            row("n/a", visit_cost=" - ", provider_id=" n/a"),
            row("lost", patient_id="NONE"),
            row("bad", visit_cost="n/a"),
        ],
    )
    assert quick.query("SELECT visit_id, provider_id, visit_cost FROM fact_visits ORDER BY 1") == [
        ("NULL", "NULL", None), ("n/a", None, None),
    ]  # fmt: skip
    assert result.reasons == {"invalid_visit_cost": 1, "missing_patient_id": 1}
    kept = quick.query("SELECT visit_id, patient_id, visit_cost FROM quarantine ORDER BY 1")
    assert kept == [("bad", "P1", "n/a"), ("lost", "NONE", "100.00")]


@pytest.mark.parametrize(
    ("separator", "quote", "encoding"),
    [(";", '"', "utf-8"), ("\t", '"', "utf-8"), ("|", "'", "cp1252"), (",", '"', "latin-1"), (";", '"', "utf-16"),
     (",", '"', "utf-16-le"), ("§", "^", "utf-8")],
)  # fmt: skip
def test_a_dialect(separator: str, quote: str, encoding: str, quick: Clinic) -> None:
    quick.config = {"source": {"delimiter": separator, "quote": quote, "encoding": encoding}}
    name = f"Gr{separator.strip()}ö{quote}ße"
    written = quote + name.replace(quote, 2 * quote) + quote
    content = csv_text([row("A", patient_id="PATIENT")]).replace(",", separator).replace("PATIENT", written)
    good(quick, content.encode(encoding))
    assert quick.facts()["A"][0] == name


@pytest.mark.parametrize(
    ("zone", "stamp", "day"),
    [
        ("UTC", "2025-01-31T23:30:00", "2025-01-31"),
        ("Europe/Berlin", "2025-01-31T22:30:00", "2025-01-31"),
        ("America/New_York", "2025-02-01T04:30:00", "2025-01-31"),
    ],
)
def test_the_zone_is_of_stamps_without_one_and_never_moves_a_visit_date(
    zone: str, stamp: str, day: str, quick: Clinic
) -> None:
    quick.config = {"source": {"timezone": zone}}
    rows = [
        row("bare", visit_date="2025-01-31T23:30:00", last_updated="2025-01-31 23:30"),
        row("zoned", visit_date="2025-01-31T23:30:00-05:00", last_updated="2025-01-31T23:30Z"),
    ]
    good(quick, rows)
    assert {visit: fact[1:4:2] for visit, fact in quick.facts().items()} == {
        "bare": (day, f"{stamp}.000000+00:00"),
        "zoned": (day, "2025-01-31T23:30:00.000000+00:00"),
    }
