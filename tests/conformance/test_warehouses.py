"""What every kind of warehouse passes, with the data folder here or on S3: one kind's tables are the others',
what another program does to it is found, all commands work on it. With PATIENT_VISITS_TEST_STORES=s3 every case has its
data folder there too; without it, the one that compares tables has."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lib import clock, validate
from lib.clock import instant_text
from lib.config import settings_from
from lib.errors import UsageError
from lib.layout import KINDS, Layout
from lib.rebuild import rebuild_tables
from lib.verify import verify_tables
from lib.warehouses.choose import kind_named
from tests.conformance.played import played, played_copy
from tests.pipeline.clinic import COLUMNS, Clinic, csv_text, row
from tests.pipeline.plain_gate import plain_gate
from tests.servers.s3 import store_url

CLOUDS = tuple(os.environ.get("PATIENT_VISITS_TEST_CLOUDS", "").split())
"""Kinds of warehouse whose emulators are slow: tests/warehouses has a few of these cases for them."""
EVERY_KIND = (*KINDS, "postgres", *CLOUDS)
PLACES = ("disk", *os.environ.get("PATIENT_VISITS_TEST_STORES", "").split())
"""Where the data folder is."""
CONTENT = (
    "fact_visits", "daily_visit_metrics", "quarantine_rows", "quarantine", "metric_changes", "lateness", "state",
    "runs", "visit_value_counts",
)  # fmt: skip
OF_THE_MOMENT = {"run_id", "committed", "last_run_id", "superseded_in_run", "waived_at"}


@pytest.fixture(params=EVERY_KIND)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name not in KINDS:
        request.getfixturevalue(f"{name}_warehouses")
    return name


@pytest.fixture(params=PLACES)
def clinic(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Clinic:
    """An empty clinic."""
    return clinic_at(request, tmp_path, kind, request.param)


def clinic_at(request: pytest.FixtureRequest, folder: Path, kind: str, where: str) -> Clinic:
    if where == "disk":
        return Clinic(folder, kind=kind)
    request.getfixturevalue("s3_server")
    request.getfixturevalue("monkeypatch").setenv("XDG_CACHE_HOME", str(folder / "cache"))
    folder.mkdir(exist_ok=True)
    return Clinic(folder, kind=kind, store=store_url(folder))


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic whose gate is the plain one."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
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


def test_the_same_deliveries_give_the_same_tables_in_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for name in set(EVERY_KIND) - set(KINDS):
        request.getfixturevalue(f"{name}_warehouses")
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    pairs = [(name, where) for name in EVERY_KIND for where in ("disk", "s3")]
    clinics = (clinic_at(request, tmp_path / f"{name}-{where}", name, where) for name, where in pairs)
    first, *others = (content(played(each)) for each in clinics)
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
    played_copy(quick)
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
    played_copy(quick)
    double = "INSERT INTO quarantine_rows SELECT source, delivery_seq, source_line + 100, identity FROM quarantine_rows"
    quick.change(double)
    assert findings(quick) != []


def test_a_rebuild_finds_no_difference_and_then_the_one_there_is(quick: Clinic) -> None:
    played_copy(quick)
    for _, record in sorted((each.name, each) for each in (quick.data_dir / "runs").glob("0*")):
        assert (record / "manifest.json").exists()
    settings = settings_from({**quick.config, "warehouse": quick.layout.url}, "config.yaml")
    assert rebuild_tables(quick.layout, settings, lambda line: None).differences == ()
    quick.change("UPDATE fact_visits SET visit_cost_cents = 1 WHERE visit_id = 'V2'")
    [found] = rebuild_tables(quick.layout, settings, lambda line: None).differences
    assert found.table == "fact_visits" and found.columns == {"visit_cost_cents": 1}


def test_a_text_that_is_no_text_everywhere_is_kept_and_never_said_to_change(quick: Clinic) -> None:
    """U+0000 in a carried column and in a refused text."""
    quick.config = {"carry": {"ward": "Ward"}}
    rows = [
        {**row("V1"), "Ward": "a\0b"},
        {**row("V2"), "Ward": "\u2400"},
        {**row("V3", provider_id="x\0y"), "Ward": ""},
    ]
    text = csv_text(rows, (*COLUMNS, "Ward"))
    quick.deliver(text)
    assert quick.run("2025-03-02T00:00:00Z").counts["inserted"] == 2
    quick.deliver(text, "again.csv")
    again = quick.run("2025-03-03T00:00:00Z", source=quick.input.with_name("again.csv"))
    assert (again.counts["unchanged"], again.counts["newly_refused"]) == (2, 0)
    settings = settings_from({**quick.config, "warehouse": quick.layout.url}, "config.yaml")
    assert rebuild_tables(quick.layout, settings, lambda line: None).differences == ()


def test_all_commands_work(clinic: Clinic) -> None:
    """Loaded by the real command; nothing new, held, refused and refreshed; then the commands that look at it."""
    clinic.deliver([row(f"V{number}", patient_id=f"P{number}") for number in range(12)] + [row("", patient_id="P1")])
    assert clinic.command("run").returncode == 0
    now = instant_text(clock.now())
    assert clinic.run(now).exit_code == 0
    clinic.deliver([row(f"B{number}", visit_cost="?") for number in range(4)])
    assert clinic.run(now).exit_code == 4
    clinic.deliver("nothing of ours\n1\n")
    assert clinic.run(now).exit_code == 3
    clinic.deliver([row("V20", patient_id="P20")])
    assert clinic.run(now, full_refresh=True).exit_code == 0
    backup = clinic.folder / "backup"
    for words, said in (
        (["status"], "13 visits"),
        (["history"], "loaded"),
        (["plan"], "outcome"),
        (["deliveries"], "held"),
        (["quarantine"], "missing_visit_id"),
        (["why", "2025-03-01"], "new"),
        (["trace", "V1"], "current"),
        (["as-of", clinic.layout.run_ids()[0]], "1 day\n"),
        (["verify", "--rebuild"], "what raw gives when every run is done again"),
        (["backup", str(backup)], "verified"),
        (["diff", "1", "2"], ""),
        (["report"], ""),
    ):
        done = clinic.command(*words)
        assert done.returncode == 0 and said in done.stdout, (words, done.stdout + done.stderr)
    copied = Clinic(clinic.folder / "restored", kind=clinic.layout.like(backup).kind)
    shutil.copytree(backup, copied.data_dir)
    assert copied.tables() == clinic.tables()
    if clinic.store:
        return
    names = {path.name for path in clinic.data_dir.iterdir() if path.is_file()}
    files = set() if clinic.layout.server else {clinic.warehouse.name}
    assert names == {*files, f"{clinic.warehouse.name}.lock"}, "no log and no temporary file is left"


@pytest.mark.parametrize("url", ["postgres://h/x", "oracle:///x", "duckdb:x", "duckdb:///", "warehouse.duckdb"])
def test_another_url_is_a_usage_error_in_one_line(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match=r"sqlite:///path.*duckdb:///path") as told:
        Layout.at(tmp_path, url)
    assert "\n" not in str(told.value)
