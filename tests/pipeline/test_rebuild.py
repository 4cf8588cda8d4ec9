"""verify --rebuild: a sound history of any kind shows no difference; every kind of tampering is found and counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from lib import validate
from lib.config import settings_from
from lib.content import keeping_content, write_all_hashes
from lib.decisions import discard_delivery
from lib.errors import StoredDataChanged
from lib.files import read_json, write_json
from lib.layout import Layout
from lib.rebuild import Rebuilt, rebuild_tables
from lib.verify import verify_tables
from lib.warehouse import open_warehouse, transaction
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.plain_gate import plain_gate


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def layout(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def load(clinic: Clinic, rows: list[dict[str, str]] | None, day: int, code: int = 0, **how: Any) -> None:
    """Deliver and run at 2025-03-`day`; it must end with `code`."""
    if rows is not None:
        clinic.deliver(rows)
    result = clinic.run(f"2025-03-{day:02d}T00:00:00Z", **how)
    assert result.exit_code == code, result.message


def rebuild(clinic: Clinic, lines: list[str] | None = None) -> Rebuilt:
    settings = settings_from({**clinic.config}, "config.yaml")
    return rebuild_tables(layout(clinic), settings, (lines if lines is not None else []).append)


def at(day: int, visit_id: str, **cells: str) -> dict[str, str]:
    """A row updated at 01:00 of 2025-03-`day`."""
    return row(visit_id, last_updated=f"2025-03-{day:02d}T01:00:00Z", **cells)


def bad(count: int) -> list[dict[str, str]]:
    return [row(f"B{n}", patient_id="", last_updated="2025-03-01T01:00:00Z") for n in range(count)]


RULES = ("missing_required_share", "refused_share")


def late_missed_moved_and_refused(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1"), at(1, "V2", visit_date="2025-02-28"), at(1, "V3", visit_cost="")], 2)
    moved = at(2, "V2", visit_date="2025-03-01")
    old = row("V5", last_updated="2025-02-01T01:00:00Z")
    load(clinic, [moved, old, row("V4", last_updated="2025-02-28T12:00:00Z"), at(2, "V6", visit_cost="x")], 3)
    load(clinic, [at(3, "V6", visit_cost="6.00"), at(3, "V1", patient_id="")], 4)


def repeats(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1"), at(1, "V2")], 2)
    load(clinic, None, 3)
    load(clinic, None, 4)
    load(clinic, [at(4, "V3")], 5)
    load(clinic, None, 6)


def a_missed_row_that_a_wider_window_caught(clinic: Clinic) -> None:
    load(clinic, [at(3, "V1")], 4)
    load(clinic, [at(4, "V1"), row("V2", last_updated="2025-02-01T01:00:00Z")], 5)
    load(clinic, None, 6, lookback_hours=2000.0)
    assert set(clinic.facts()) == {"V1", "V2"}


def held_then_accepted(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1")], 2)
    load(clinic, [at(2, "V2"), at(2, "V1", visit_cost="7"), *bad(5)], 3, code=4)
    clinic.deliver([at(3, "V3"), at(3, "V1", visit_cost="8")], "later.csv")
    load(clinic, None, 4, source=clinic.input.with_name("later.csv"))
    load(clinic, None, 5, accept=RULES)
    assert set(clinic.facts()) == {"V1", "V2", "V3"}


def discarded(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1")], 2)
    load(clinic, [at(2, "V2"), *bad(5)], 3, code=4)
    discard_delivery(layout(clinic), "clinic", 2, "a test file")
    load(clinic, [at(3, "V3")], 4)


def refused_delivery(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1")], 2)
    clinic.deliver('visit_id,patient_id\n"V1')
    load(clinic, None, 3, code=3)
    load(clinic, [at(3, "V3")], 4)


def refreshed_under_other_rules(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1"), at(1, "V2", visit_cost="900")], 2)
    load(clinic, [at(2, "V3"), row("V0", last_updated="2025-01-01T00:00:00Z")], 3)
    clinic.config = {"rules": {"max_visit_cost": 500}, "gate": {"max_refused_share": 1.0}}
    load(clinic, None, 4, full_refresh=True)
    load(clinic, [at(4, "V4", visit_cost="700"), at(4, "V5")], 5)


def carried_columns(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1")], 2)
    clinic.config = {"carry": {"ward": "Ward"}}
    clinic.deliver("visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated,Ward\n"
                   "V1,P1,D1,J06.9,2025-03-01,100.00,2025-03-02T01:00:00Z,A\n")  # fmt: skip
    load(clinic, None, 3)


def two_sources(clinic: Clinic) -> None:
    load(clinic, [at(1, "V1"), at(1, "V2")], 2)
    clinic.config = {"source": {"name": "north"}}
    load(clinic, [at(2, "V1", patient_id="P9"), at(2, "V7")], 3)
    clinic.config = {}
    load(clinic, [at(3, "V1", visit_cost="3")], 4)


def deletes_and_restorations(clinic: Clinic) -> None:
    clinic.config = {"source": {"deliveries": "full", "deletes": "mark"}}
    load(clinic, [at(1, "V1"), at(1, "V2")], 2)
    load(clinic, [at(1, "V1")], 3)
    load(clinic, [at(1, "V1"), at(1, "V2"), at(1, "V3")], 4)
    load(clinic, [at(1, "V3")], 5)


def without_stamps(clinic: Clinic) -> None:
    clinic.config = {"columns": {"last_updated": None}, "source": {"deliveries": "full"}}
    for day, cost in ((2, "1.00"), (3, "2.00"), (4, "1.00")):
        clinic.deliver(
            f"visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost\nV1,P,,,2025-03-01,{cost}\n"
        )
        load(clinic, None, day)


HISTORIES = [
    late_missed_moved_and_refused, repeats, a_missed_row_that_a_wider_window_caught, held_then_accepted, discarded,
    refused_delivery, refreshed_under_other_rules, carried_columns, two_sources, deletes_and_restorations,
    without_stamps,
]  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES, ids=[each.__name__ for each in HISTORIES])
def test_a_sound_history_has_no_difference(quick: Clinic, history: Callable[[Clinic], None]) -> None:
    history(quick)
    before = quick.warehouse.read_bytes()
    lines: list[str] = []
    rebuilt = rebuild(quick, lines)
    assert rebuilt.differences == () and rebuilt.other_code == 0
    assert rebuilt.runs == len(lines) == quick.query("SELECT count(*) FROM runs")[0][0]
    assert quick.warehouse.read_bytes() == before
    assert verify_tables(layout(quick)) == []


def test_rules_that_changed_since_are_counted(quick: Clinic) -> None:
    load(quick, [at(1, "V1")], 2)
    quick.config = {"rules": {"max_visit_cost": 500}}
    assert rebuild(quick).other_rules == 1


def altered(clinic: Clinic, *statements: str) -> None:
    """What one does who knows the hashes: alter rows, then hash everything again."""
    connection = open_warehouse(layout(clinic))
    with transaction(connection):
        for statement in statements:
            connection.execute(statement)
        write_all_hashes(connection)
    connection.close()


FACT = (
    "INSERT INTO fact_visits (source, visit_id, patient_id, visit_date, last_updated, row_hash, delivery_seq,"
    " source_line) SELECT source, 'V99', patient_id, visit_date, last_updated, row_hash, delivery_seq, source_line"
    " FROM fact_visits WHERE visit_id = 'V1'"
)
TAMPERED: dict[str, tuple[str, str]] = {
    "a changed cost": (
        "UPDATE fact_visits SET visit_cost_cents = 1 WHERE visit_id = 'V1'",
        "fact_visits: 1 visit not the same (visit_cost_cents 1)",
    ),
    "changed lineage": (
        "UPDATE fact_visits SET source_line = 9, delivery_seq = 7 WHERE visit_id = 'V1'",
        "fact_visits: 1 visit not the same (delivery_seq 1, source_line 1)",
    ),
    "a deleted fact": ("DELETE FROM fact_visits WHERE visit_id IN ('V1', 'V2')", "fact_visits: 2 visits missing"),
    "an added fact": (FACT, "fact_visits: 1 visit supported by no delivery"),
    "a marked deletion": (
        "UPDATE fact_visits SET deleted_at = last_updated, deleted_seq = 1 WHERE visit_id = 'V3'",
        "fact_visits: 1 visit not the same (deleted_at 1, deleted_seq 1)",
    ),
    "a changed metric": (
        "UPDATE daily_visit_metrics SET total_visit_cost_cents = 5",
        "daily_visit_metrics: 1 day not the same (total_visit_cost_cents 1)",
    ),
    "a changed change": (
        "UPDATE metric_changes SET visit_count_after = 50",
        "metric_changes: 5 changes of a day not the same (visit_count_after 5)",
    ),
    "a refusal taken out": (
        "DELETE FROM quarantine WHERE visit_key = 'V1'",
        "quarantine: 1 entry missing",
    ),
    "a refusal closed": (
        "UPDATE quarantine SET status = 'superseded' WHERE visit_key = 'V1'",
        "quarantine: 1 entry not the same (status 1)",
    ),
    "a state set back": (
        "UPDATE state SET watermark_last_updated = '2025-01-01T00:00:00.000000+00:00'",
        "state: 1 source not the same (watermark_last_updated 1)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "text"), TAMPERED.values(), ids=TAMPERED.keys())
def test_every_kind_of_tampering_is_found_and_counted(quick: Clinic, statement: str, text: str) -> None:
    late_missed_moved_and_refused(quick)
    altered(quick, statement)
    assert text in [each.text for each in rebuild(quick).differences]


def test_the_keys_are_there_to_be_revealed(quick: Clinic) -> None:
    late_missed_moved_and_refused(quick)
    altered(quick, "DELETE FROM fact_visits WHERE visit_id = 'V1'")
    [facts] = [each for each in rebuild(quick).differences if each.table == "fact_visits"]
    assert facts.missing == [("clinic", "V1")] and "V1" not in facts.text


def test_a_waived_entry_is_no_difference(quick: Clinic) -> None:
    late_missed_moved_and_refused(quick)
    altered(
        quick,
        "UPDATE quarantine SET status = 'waived', waived_by = 'me', waived_at = '2025-03-05', waived_why = 'agreed',"
        " waived_until = '2025-04-01' WHERE visit_key = 'V1'",
    )
    assert rebuild(quick).differences == ()
    altered(quick, "UPDATE quarantine SET reasons = 'none' WHERE visit_key = 'V1'")
    assert [each.text for each in rebuild(quick).differences] == ["quarantine: 1 entry not the same (reasons 1)"]


def test_a_manifest_or_snapshot_that_is_gone_or_altered_is_named(quick: Clinic) -> None:
    late_missed_moved_and_refused(quick)
    first = layout(quick).run_ids()[0]
    manifest = layout(quick).record(first) / "manifest.json"
    content = manifest.read_bytes()
    changed = read_json(manifest)
    changed["window"]["lookback_hours"] = 1
    for harm in (
        manifest.unlink,
        lambda: manifest.write_bytes(b"{"),
        lambda: write_json(manifest, changed),
        lambda: write_json(manifest, {**changed, "counts": {}}),
    ):
        harm()
        with pytest.raises(StoredDataChanged, match=f"runs/{first}/manifest.json"):
            rebuild(quick)
        manifest.write_bytes(content)
    snapshot = next(each for each in (layout(quick).raw / "clinic").iterdir() if each.suffix == ".csv")
    snapshot.chmod(0o600)
    snapshot.write_bytes(snapshot.read_bytes() + b"\n")
    with pytest.raises(StoredDataChanged, match=snapshot.name):
        rebuild(quick)


def test_the_command_says_what_differs_and_ends_with_6(clinic: Clinic) -> None:
    clinic.deliver([at(1, "V1"), at(1, "V2")])
    assert clinic.run().exit_code == 0
    sound = clinic.command("verify", "--rebuild")
    assert sound.returncode == 0 and "1 of 1" in sound.stdout and "every run is done again" in sound.stdout
    altered(
        clinic,
        "UPDATE fact_visits SET visit_cost_cents = 1",
        "UPDATE daily_visit_metrics SET total_visit_cost_cents = 2, avg_visit_cost_cents = 1",
        "UPDATE metric_changes SET total_visit_cost_cents_after = 2, avg_visit_cost_cents_after = 1",
        "UPDATE visit_value_counts SET value = '1' WHERE kind = 'visit_cost_cents'",
    )
    assert clinic.command("verify").returncode == 0, "only raw can tell"
    found = clinic.command("verify", "--rebuild")
    assert found.returncode == 6 and "2 visits not the same (visit_cost_cents 2)" in found.stdout
    assert "--full-refresh" in found.stderr and "V1" not in found.stdout + found.stderr
    assert clinic.command("verify", "--rebuild", "--reveal").returncode == 2


def test_what_verify_finds_without_a_rebuild(quick: Clinic) -> None:
    late_missed_moved_and_refused(quick)
    harms = {
        "UPDATE fact_visits SET visit_cost_cents = 1 WHERE visit_id = 'V1'": "fact_visits: the rows of 1 day",
        "UPDATE daily_visit_metrics SET patient_count = 0": "not as the facts give it",
        "UPDATE runs SET counts = '{}'": "is not what its manifest says",
        "UPDATE state SET last_as_of = '2026-01-01T00:00:00.000000+00:00'": "state or version",
        "UPDATE warehouse SET version = 9": "state or version",
        "UPDATE deliveries SET sha256 = 'x'": "clinic: 3 deliveries not as the ledger in raw says",
        "UPDATE quarantine SET reasons = 'x'": "quarantine: the rows of 1 source",
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN SELECT 1; END": "1 trigger",
        "DROP INDEX fact_visits_by_patient": "fact_visits_by_patient is not declared",
    }
    sound = quick.warehouse.read_bytes()
    for statement, what in harms.items():
        connection = sqlite3.connect(quick.warehouse, isolation_level=None)
        connection.execute(statement)
        connection.close()
        found = "; ".join(each.what for each in verify_tables(layout(quick)))
        assert what in found, statement
        quick.warehouse.write_bytes(sound)
    assert verify_tables(layout(quick)) == []


def test_a_change_that_is_made_properly_is_no_finding(quick: Clinic) -> None:
    late_missed_moved_and_refused(quick)
    connection = open_warehouse(layout(quick))
    with transaction(connection), keeping_content(connection, tables=["quarantine"]):
        connection.execute("UPDATE quarantine SET status = 'waived', waived_by = 'me' WHERE visit_key = 'V1'")
    connection.close()
    assert verify_tables(layout(quick)) == []
