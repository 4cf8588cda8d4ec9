"""A data folder on S3, through the runs and the real command: what is where, who sees it, what is never lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256

import pytest

from lib import validate
from lib.backup import back_up
from lib.config import settings_from
from lib.decisions import discard_delivery, read_entries, reinstate_delivery
from lib.errors import StoredDataChanged, TemporaryFailure, UsageError, WarehouseLocked
from lib.files import read_json
from lib.lock import hold_warehouse
from lib.plan import plan_run
from lib.prune import prune_staging
from lib.rebuild import rebuild_tables
from lib.record import read_manifests
from lib.run import Options, Run
from lib.store import objects, place
from lib.store.index import FILE_NAME
from lib.store.lease import hold_lease
from lib.verify import find_changes
from tests.kernels import forks_with
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.plain_gate import plain_gate
from tests.servers.s3 import CUT, SECRET, S3Server
from tests.store.conftest import move_to


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return clinic


def loaded(clinic: Clinic, day: int, *rows: dict[str, str]) -> None:
    clinic.deliver(list(rows))
    result = clinic.run(f"2025-03-0{day}T00:00:00Z")
    assert result.exit_code == 0, result.message


def key(clinic: Clinic, name: str) -> str:
    assert clinic.store is not None
    return f"{clinic.store.removeprefix('s3://')}/{name}"


def test_raw_staging_and_records_are_in_the_store_and_nothing_else(clinic: Clinic, s3_server: S3Server) -> None:
    clinic.deliver([row(f"V{number}", patient_id=f"P{number}") for number in range(12)])
    done = clinic.command("run")
    assert done.returncode == 0, done.stderr
    assert clinic.store is not None
    names = s3_server.objects(clinic.store)
    [run_id] = clinic.layout.run_ids()
    folders = {each.partition("/")[0] for each in names}
    assert folders == {"raw", "staging", "runs", "state", "lease"}
    own = {each.removeprefix(f"runs/{run_id}/") for each in names if each.startswith(f"runs/{run_id}/")}
    assert {"01_extract.ipynb", "05_analytics.ipynb", "manifest.json", "dq_report.json", "report.html"} <= own
    assert any(each.startswith("raw/clinic/000001_") for each in names)
    assert f"staging/{run_id}/visits.parquet" in names and "runs/index.html" in names
    manifest = json.loads(s3_server.ask("GET", key(clinic, f"runs/{run_id}/manifest.json"))[1])
    assert manifest["outcome"] == "loaded"
    for name, digest in manifest["files"].items():
        assert sha256(s3_server.ask("GET", key(clinic, f"runs/{run_id}/{name}"))[1]).hexdigest() == digest, name
    everything = [path.read_bytes() for path in clinic.data_dir.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in each for each in everything) and SECRET not in done.stdout + done.stderr
    assert manifest["config"]["warehouse"].startswith("sqlite:////")


def test_a_manifest_is_written_after_all_that_it_names(clinic: Clinic, s3_server: S3Server) -> None:
    """Whoever reads a closed manifest in the store finds every file of the record there, as it says."""
    lacking: list[str] = []

    def look(number: int) -> int | None:
        method, _, path = s3_server.requests[-1].partition(" ")
        if method == "HEAD" and path.endswith("/manifest.json"):  # it was just written
            manifest = json.loads(s3_server.ask("GET", path[1:])[1])
            for name, digest in manifest.get("files", {}).items() if manifest.get("ended") else ():
                status, content = s3_server.ask("GET", path[1:].replace("manifest.json", name))
                if status != 200 or sha256(content).hexdigest() != digest:
                    lacking.append(name)
            seen.append(bool(manifest.get("ended")))
        return None

    seen: list[bool] = []
    clinic.deliver([row("V1")])
    with s3_server.answering(look):
        assert clinic.command("run").returncode == 0
    assert lacking == [] and seen[-1] and not seen[0]


def test_another_machine_goes_on_where_this_one_ended(quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(quick, 2, row("V1"), row("V2", visit_cost="?"), row("V3"))
    first = quick.data_dir
    move_to(quick.folder / "there", monkeypatch)
    assert quick.data_dir != first and len(quick.layout.run_ids()) == 1
    assert len(Run.existing(quick.place).visits()) == 2, "what was staged there is brought in"
    loaded(quick, 3, row("V1", visit_cost="7"), row("V4", last_updated="2025-03-02T10:00:00Z"))
    assert quick.statuses() == ["loaded", "loaded"] and len(quick.facts()) == 3
    move_to(quick.folder / "here", monkeypatch)
    assert quick.data_dir == first and len(quick.layout.run_ids()) == 2
    loaded(quick, 4, row("V5", last_updated="2025-03-03T10:00:00Z"))
    previous = quick.layout.record(quick.layout.run_ids()[1]) / "manifest.json"
    assert find_changes(quick.layout) == [], previous
    settings = settings_from({"warehouse": quick.layout.url}, "config.yaml")
    assert rebuild_tables(quick.layout, settings, lambda line: None).differences == ()


@pytest.mark.parametrize("how", ["cut off", "cut off, then away", "killed"])
@pytest.mark.parametrize("others", [False, True])
def test_what_the_store_took_without_an_answer_undoes_nothing_that_came_after(
    how: str, others: bool, clinic: Clinic, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has the file; who wrote it does not know, and goes on. What others wrote since wins as ever."""
    run_id, name = "000001-20250302T000000Z", "01_extract.ipynb"
    path = clinic.layout.record(run_id) / name
    path.parent.mkdir(parents=True)
    path.write_text("begun")

    known = clinic.data_dir / FILE_NAME
    left: list[bytes] = []

    def die(*_: object) -> None:
        left.append(known.read_bytes())
        raise SystemExit

    def answer(number: int) -> int | None:
        return CUT if s3_server.requests[-1].startswith("HEAD") else None

    if how == "killed":
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(objects.Objects, "tag", die)
            clinic.layout.publish(run_id)
        known.write_bytes(left[0])  # as it lay at that moment
    else:
        with s3_server.answering(answer), pytest.raises(TemporaryFailure):
            clinic.layout.publish(run_id)
    if how == "cut off, then away":  # so what was asked for last never came there
        path.write_text("went on")
        with s3_server.answering(lambda number: CUT), pytest.raises(TemporaryFailure):
            clinic.layout.publish(run_id)
    stored = key(clinic, f"runs/{run_id}/{name}")
    assert s3_server.ask("GET", stored)[1] == b"begun"
    path.write_text("gone on")
    if others:
        s3_server.ask("PUT", stored, b"theirs")
    store = clinic.layout.store
    assert store is not None
    store.refresh()
    clinic.layout.publish(run_id)
    assert path.read_text() == ("theirs" if others else "gone on")
    assert s3_server.ask("GET", stored)[1].decode() == path.read_text()


def test_a_copy_that_is_lost_is_fetched_again(quick: Clinic) -> None:
    quick.deliver([row(f"V{number}", patient_id=f"P{number}") for number in range(12)])
    assert quick.run().exit_code == 0
    settings = settings_from({"warehouse": quick.layout.url, "source": {"path": str(quick.input)}}, "config.yaml")
    backup = quick.folder / "backup"
    used: dict[str, Callable[[], object]] = {
        "records": lambda: [each["outcome"] for each in read_manifests(quick.layout)] == ["loaded"],
        "staged files": lambda: len(Run.existing(quick.place).visits()) == 12,
        "verify": lambda: find_changes(quick.layout) == [],
        "rebuild": lambda: rebuild_tables(quick.layout, settings, lambda line: None).differences == (),
        "plan": lambda: plan_run(quick.layout, settings, as_of=None, options=Options(full_refresh=True)).exit_code == 0,
        "backup": lambda: back_up(quick.layout, backup).snapshots == 1,
    }
    for what, is_right in used.items():
        shutil.rmtree(quick.folder / "here")
        place._working_copy.cache_clear()
        assert is_right(), what
    copied = Clinic(quick.folder / "restored")
    shutil.copytree(backup, copied.folder / "data")
    assert copied.tables() == quick.tables()


@pytest.mark.parametrize("change", ["altered", "removed"])
def test_a_snapshot_that_was_changed_in_the_store_stops_the_run(
    quick: Clinic, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    loaded(quick, 2, row("V1"))
    before = quick.tables()
    [snapshot] = (quick.data_dir / "raw" / "clinic").glob("*.csv")
    name = key(quick, f"raw/clinic/{snapshot.name}")
    if change == "altered":
        s3_server.ask("PUT", name, snapshot.read_bytes().replace(b"100.00", b"100.01"))
    else:
        s3_server.ask("DELETE", name)
    place._working_copy.cache_clear()  # the next command
    told = quick.run("2025-03-03T00:00:00Z", full_refresh=True)
    assert told.exit_code == StoredDataChanged.exit_code, told.message
    assert quick.tables() == before
    assert any(snapshot.name in each.where for each in find_changes(quick.layout))


def test_a_snapshot_is_never_written_over(quick: Clinic, s3_server: S3Server) -> None:
    """Somebody else's bytes stand under the very name."""
    quick.deliver([row("V1")])
    digest = sha256(quick.input.read_bytes()).hexdigest()
    name = key(quick, f"raw/clinic/000001_20250302T000000Z_{digest[:12]}.csv")
    s3_server.ask("PUT", name, b"somebody's")
    told = quick.run("2025-03-02T00:00:00Z")
    assert told.exit_code == StoredDataChanged.exit_code and "other bytes" in told.message
    assert s3_server.ask("GET", name)[1] == b"somebody's"


def test_lines_of_two_machines_are_told_apart_and_none_is_lost(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
) -> None:
    loaded(quick, 2, row("V1"))
    here = quick.place
    move_to(quick.folder / "there", monkeypatch)
    quick.deliver([row("V2")], "other.csv")
    assert quick.run("2025-03-03T00:00:00Z", source=quick.input.with_name("other.csv")).exit_code == 0
    ledger = here.folder / "raw" / "clinic" / "deliveries.jsonl"  # type: ignore[union-attr]
    with ledger.open("a") as stream:
        stream.write('{"somebody": "who knew nothing of it"}\n')
    with pytest.raises(WarehouseLocked, match="another machine has written"):
        here.publish()  # type: ignore[union-attr]
    here.refresh()  # type: ignore[union-attr]
    assert ledger.read_bytes() == (quick.data_dir / "raw" / "clinic" / "deliveries.jsonl").read_bytes()
    here.publish()  # type: ignore[union-attr]


def test_a_missing_piece_of_a_ledger_is_told(
    quick: Clinic, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(quick, 2, row("V1"))
    loaded(quick, 3, row("V2", last_updated="2025-03-02T00:00:00Z"))
    assert quick.store is not None
    pieces = [each for each in s3_server.objects(quick.store) if "deliveries.jsonl" in each]
    assert len(pieces) == 2
    s3_server.ask("DELETE", key(quick, pieces[0]))
    place._working_copy.cache_clear()
    with pytest.raises(StoredDataChanged, match="a piece of it is missing"):
        quick.layout.run_ids()


def test_decisions_are_in_the_store_before_they_take_effect(quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(quick, 2, row("V1"))
    quick.deliver([row(f"B{number}", visit_cost="?") for number in range(4)])
    assert quick.run("2025-03-03T00:00:00Z").exit_code == 4
    discard_delivery(quick.layout, "clinic", 2, "a test file")
    move_to(quick.folder / "there", monkeypatch)
    assert [each["decision"] for each in read_entries(quick.layout.decisions)] == ["discard"]
    reinstate_delivery(quick.layout, "clinic", 2, "it was none")
    move_to(quick.folder / "here", monkeypatch)
    assert [each["decision"] for each in read_entries(quick.layout.decisions)] == ["discard", "reinstate"]
    assert find_changes(quick.layout) == []


def test_prune_frees_the_store(quick: Clinic, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in (2, 3, 4):
        loaded(quick, day, row(f"V{day}", last_updated=f"2025-03-0{day - 1}T12:00:00Z"))
    move_to(quick.folder / "there", monkeypatch)
    pruned = prune_staging(quick.layout, keep=1)
    assert (len(pruned.runs), pruned.kept) == (2, 1) and pruned.bytes > 1000
    assert quick.store is not None
    staged = {each.split("/")[1] for each in s3_server.objects(quick.store) if each.startswith("staging/0")}
    assert staged == {quick.layout.run_ids()[-1]}


def test_one_run_at_a_time_whatever_machine_it_is_on(quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = quick.place
    with hold_warehouse(quick.layout, "a run"):
        move_to(quick.folder / "there", monkeypatch)
        monkeypatch.setattr("lib.store.lease._machine", lambda: "another")
        with (
            pytest.raises(WarehouseLocked, match=r"holds the data folder \(a run, process \d+ of"),
            quick.place.hold("b"),
        ):  # type: ignore[union-attr]
            raise AssertionError
    with hold_lease(copy.objects, "the next"):  # type: ignore[union-attr]
        pass


@pytest.mark.parametrize("same_machine", [True, False])
def test_a_holder_that_died_holds_nothing(quick: Clinic, monkeypatch: pytest.MonkeyPatch, same_machine: bool) -> None:
    """At once where its process can be looked for; else when nothing has come from it for long."""
    code = (
        "import sys, time; from lib.store.place import place_of\n"
        f"with place_of({quick.store!r}).hold('a run'):\n    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    if not same_machine:
        monkeypatch.setattr("lib.store.lease._machine", lambda: "another")
    copy = quick.place
    began = time.monotonic()
    with copy.hold("the next"):  # type: ignore[union-attr]
        waited = time.monotonic() - began
    assert (waited >= 1.5) == (not same_machine)


def test_a_holder_that_lets_go_is_not_waited_for(quick: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.store.lease.BEAT_SECONDS", 60)
    monkeypatch.setattr("lib.store.lease.SILENT_SECONDS", 60)
    holder = hold_lease(quick.place.objects, "a run")  # type: ignore[union-attr]
    holder.__enter__()
    monkeypatch.setattr("lib.store.lease._machine", lambda: "another")
    threading.Timer(0.2, holder.__exit__, (None, None, None)).start()
    began = time.monotonic()
    with hold_lease(quick.place.objects, "the next"):  # type: ignore[union-attr]
        assert time.monotonic() - began < 30


def test_a_run_that_died_after_its_commit_is_told_by_another_machine(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.deliver([row("V1")])
    assert clinic.command("run").returncode == 0
    clinic.deliver([row("V2", last_updated="2025-03-02T00:00:00Z")])
    killed = subprocess.Popen(
        [sys.executable, str(ROOT / "run_pipeline.py"), "--config", str(clinic.folder / "config.yaml"), "--data-dir",
         str(clinic.store)], cwd=clinic.folder, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while time.monotonic() < until and len(clinic.query("SELECT 1 FROM runs")) < 2:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    while forks_with(clinic.folder):  # they die with it, a moment later
        assert time.monotonic() < until
        time.sleep(0.02)
    shutil.rmtree(clinic.folder / "here")
    move_to(clinic.folder / "there", monkeypatch)
    done = clinic.command("run")
    assert done.returncode == 0, done.stderr
    manifests = [read_json(clinic.layout.record(each) / "manifest.json") for each in clinic.layout.run_ids()]
    assert [each["outcome"] for each in manifests] == ["loaded"] * 3
    assert manifests[1]["recovered"] and len(clinic.facts()) == 2
    assert find_changes(clinic.layout) == []


def test_what_cannot_be_there_is_a_usage_error(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    config = clinic.folder / "config.yaml"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "--config", str(config), "--data-dir", str(clinic.store)]
    for text, said in (
        ("{}", "name a server, or a file by its whole path"),
        (f"{{warehouse: 'sqlite:///{clinic.folder}/w.db', readers_group: root}}", "readers_group"),
    ):
        config.write_text(text)
        done = subprocess.run(command, capture_output=True, text=True, cwd=clinic.folder, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and said in done.stderr, done.stderr
    with pytest.raises(UsageError):
        place.place_of("s3://clinic/../x")
