"""backup: a copy that is whole, private, consistent whatever goes on meanwhile, and a data folder by itself."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib import backup, validate
from lib.backup import NOTE, UNFINISHED, back_up
from lib.decisions import discard_delivery
from lib.errors import StoredDataChanged, TemporaryFailure, UsageError
from lib.files import read_json, sha256_of_file
from lib.layout import Layout
from lib.run import Run
from lib.state import write_state_copy
from lib.verify import find_changes
from lib.warehouse import reading
from lib.warehouses import interface
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.plain_gate import plain_gate

BAD = [row(f"bad{number}", patient_id="") for number in range(4)]


@pytest.fixture
def quick(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """A clinic with the plain gate, one delivery loaded, one held."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    load(clinic, 1)
    clinic.deliver([row("V0"), *BAD])
    assert clinic.run("2025-03-02T00:00:00Z").exit_code == 4
    return clinic


def load(clinic: Clinic, number: int) -> None:
    """Deliver a visit of its own and load it."""
    clinic.deliver([row(f"V{number}", last_updated=f"2025-03-01T12:00:{number % 60:02}Z")])
    assert clinic.run("2025-03-02T00:00:00Z").exit_code == 0


def layout_of(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def changes(folder: Path) -> list[Any]:
    return find_changes(Layout.at(folder, None))


def copied(clinic: Clinic, name: str = "copy") -> Clinic:
    """A clinic whose data folder is the backup."""
    other = Clinic(clinic.folder / f"of-{name}")
    shutil.copytree(clinic.folder / name, other.data_dir)
    shutil.copy2(clinic.input, other.input)
    return other


def test_a_backup_is_a_data_folder_with_everything_but_staging_and_logs(quick: Clinic) -> None:
    discard_delivery(layout_of(quick), "clinic", 2, "a test file")
    folder = quick.folder / "copy"
    made = back_up(layout_of(quick), folder)
    assert sorted(path.name for path in folder.iterdir()) == [NOTE, "raw", "runs", "state", "warehouse.db"]
    assert (made.deliveries, made.snapshots, made.records, made.decisions, made.warehouse_version) == (2, 2, 2, 1, 1)
    assert made.text.startswith(f"backed up to {folder}: version 1 of the tables (last run 000001-")
    for path in quick.data_dir.rglob("*"):
        place = path.relative_to(quick.data_dir)
        if path.is_file() and place.parts[0] in ("raw", "runs"):
            assert (folder / place).read_bytes() == path.read_bytes(), place
    note = read_json(folder / NOTE)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {NOTE}
    assert note["files"] == {name: sha256_of_file(folder / name) for name in files}
    assert (note["warehouse_version"], note["last_run"], note["of"]) == (1, made.last_run, str(quick.data_dir))
    other = copied(quick)
    assert other.tables() == quick.tables() and other.statuses() == ["loaded", "discarded"]
    assert changes(folder) == []


def test_a_backup_is_private(quick: Clinic) -> None:
    before = os.umask(0o000)
    try:
        back_up(layout_of(quick), quick.folder / "copy")
    finally:
        os.umask(before)
    for path in [quick.folder / "copy", *(quick.folder / "copy").rglob("*")]:
        mode = path.stat().st_mode & 0o777
        is_snapshot = path.parent.parent.name == "raw" and path.suffix == ".csv"
        assert mode == (0o700 if path.is_dir() else 0o400 if is_snapshot else 0o600), path


def test_a_run_on_the_backup_goes_on_from_there(quick: Clinic) -> None:
    back_up(layout_of(quick), quick.folder / "copy")
    other = copied(quick)
    load(other, 5)
    assert set(other.facts()) == {"V1", "V5"} and set(quick.facts()) == {"V1"}
    manifest = Run.existing(other.data_dir).manifest
    assert manifest["run_id"].startswith("000003-") and manifest["behind"] is None
    assert changes(other.data_dir) == []


# What goes on meanwhile


def meanwhile(clinic: Clinic) -> Callable[[], None]:
    """Once: a load, a held delivery, a discard of it."""
    done: list[bool] = []

    def happen() -> None:
        if not done:
            done.append(True)
            load(clinic, 7)
            clinic.deliver([row("V8"), *BAD, row("bad9", patient_id="")])
            assert clinic.run("2025-03-02T00:00:00Z").exit_code == 4
            discard_delivery(layout_of(clinic), "clinic", 4, "a test file")

    return happen


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["_closed_records", "_copy_warehouse", "_copy_record", "_copy_raw", "_copy_lines"])
def test_a_run_between_any_two_steps_leaves_a_consistent_copy(
    step: str, when: str, quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, happen = getattr(backup, step), meanwhile(quick)

    def interrupted(*arguments: Any) -> Any:
        if when == "before":
            happen()
        result = original(*arguments)
        happen()
        return result

    before = quick.tables()
    monkeypatch.setattr(backup, step, interrupted)
    back_up(layout_of(quick), quick.folder / "copy")
    assert changes(quick.folder / "copy") == []
    other = copied(quick)
    with reading(layout_of(other)) as connection:
        named = connection.execute("SELECT run_id FROM runs UNION SELECT run_id FROM deliveries WHERE run_id NOT NULL")
        assert all(layout_of(other).record(each[0]).is_dir() for each in named)
    assert other.tables() in (before, quick.tables())
    other.run("2025-03-02T00:00:00Z")  # what the source offers meanwhile is discarded, there as here, or comes in
    assert Run.existing(other.data_dir).manifest["behind"] is None
    assert changes(other.data_dir) == []


def test_the_record_of_a_run_that_has_loaded_and_still_reports_is_in_the_copy_and_closed_there(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENT_VISITS_RUN", "elsewhere")
    with monkeypatch.context() as going_on:
        going_on.setattr(Run, "end", lambda *_: None)
        load(quick, 3)
    run = Run.existing(quick.data_dir)
    assert run.manifest["ended"] is None
    made = back_up(layout_of(quick), quick.folder / "copy")
    assert (made.records, made.last_run) == (3, run.run_id)
    assert changes(quick.folder / "copy") == []


def test_the_record_of_a_run_that_has_not_loaded_is_left_out(quick: Clinic) -> None:
    from lib.config import settings_from

    run = Run.begin(settings_from({"source": {"path": str(quick.input)}}, "config"), data_dir=quick.data_dir)
    assert back_up(layout_of(quick), quick.folder / "copy").records == 2
    assert not (quick.folder / "copy" / "runs" / run.run_id).exists()


def test_a_record_that_is_reopened_while_it_is_copied_begins_the_copy_again(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, copies = backup._copy_record, []

    def reopened(layout: Layout, copy: Layout, run_id: str, closed: str | None) -> None:
        copies.append(run_id)
        if len(copies) == 2:
            Run.existing(layout.data_dir, run_id).manifest.record(finished=[])
        original(layout, copy, run_id, closed)

    monkeypatch.setattr(backup, "_copy_record", reopened)
    back_up(layout_of(quick), quick.folder / "copy")
    assert len(copies) == 4 and changes(quick.folder / "copy") == []
    monkeypatch.setattr(backup, "_copy_record", lambda *_: (_ for _ in ()).throw(backup._Changed))
    with pytest.raises(TemporaryFailure, match="the records changed 5 times"):
        back_up(layout_of(quick), quick.folder / "again")
    assert not (quick.folder / "again").exists()


def test_every_backup_of_a_loop_verifies_while_runs_load(quick: Clinic) -> None:
    over, made, failed = threading.Event(), [], []

    def keep_backing_up() -> None:
        number = 0
        while not over.is_set():
            try:
                made.append(back_up(layout_of(quick), quick.folder / f"copy{number}"))
            except Exception as error:
                failed.append(error)
            number += 1

    thread = threading.Thread(target=keep_backing_up)
    thread.start()
    try:
        for number in range(10, 18):
            load(quick, number)
    finally:
        over.set()
        thread.join()
    assert not failed and len(made) > 3
    versions = [each.warehouse_version for each in made]
    assert versions == sorted(versions) and len(set(versions)) > 2
    for each in made:
        assert changes(each.folder) == []
        with reading(Layout.at(each.folder, None)) as connection:
            assert connection.execute("SELECT count(*) FROM fact_visits").fetchone()[0] == each.warehouse_version
            assert not write_state_copy(connection, Layout.at(each.folder, None)), "the state's copy is its own"


# What is refused, and what is left then


def test_the_folder_must_be_new_or_empty_and_outside(quick: Clinic) -> None:
    full, file = quick.folder / "full", quick.folder / "file"
    (full / "some").mkdir(parents=True)
    file.write_text("")
    unfinished = quick.folder / "unfinished"
    (unfinished / UNFINISHED).mkdir(parents=True)
    for folder, said in (
        (full, "is not empty; name a folder that does not exist or is empty"),
        (file, "is not a folder"),
        (unfinished, "holds an unfinished backup; remove it"),
        (quick.data_dir / "backup", "lies inside the data folder"),
    ):
        with pytest.raises(UsageError, match=said):
            back_up(layout_of(quick), folder)
    assert list(full.iterdir()) == [full / "some"] and not (quick.data_dir / "backup").exists()
    empty = quick.folder / "empty"
    empty.mkdir()
    assert back_up(layout_of(quick), empty).records == 2


def test_what_is_not_what_it_was_is_not_backed_up(quick: Clinic) -> None:
    snapshot = next((quick.data_dir / "raw" / "clinic").glob("*.csv"))
    kept = snapshot.read_bytes()
    snapshot.chmod(0o600)
    snapshot.write_bytes(kept.replace(b"100.00", b"900.00"))
    with pytest.raises(StoredDataChanged, match=f"raw/clinic/{snapshot.name}: .*; nothing was backed up; see verify"):
        back_up(layout_of(quick), quick.folder / "copy")
    assert not (quick.folder / "copy").exists()


def test_without_a_warehouse_there_is_nothing_to_back_up(clinic: Clinic) -> None:
    with pytest.raises(StoredDataChanged, match="there is no warehouse yet"):
        back_up(layout_of(clinic), clinic.folder / "copy")
    assert not (clinic.folder / "copy").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["_sync", "_copy_file", "write_json", "_give_names"])
def test_a_disk_that_is_full_or_fails_leaves_nothing(
    call: str, number: int, quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(backup, call, fail)
    empty = quick.folder / "empty"
    empty.mkdir()
    for folder in (quick.folder / "copy", empty):
        with pytest.raises(TemporaryFailure) as failed:
            back_up(layout_of(quick), folder)
        assert str(failed.value) == f"{folder}: cannot be written ({os.strerror(number)}); nothing was backed up."
    assert not (quick.folder / "copy").exists() and list(empty.iterdir()) == []


def test_a_warehouse_that_another_program_locks_is_waited_for_within_bounds(
    quick: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interface, "BUSY_SECONDS", 0.3)
    other = sqlite3.connect(quick.warehouse, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TemporaryFailure, match="another program holds the warehouse"):
        back_up(layout_of(quick), quick.folder / "copy")
    other.execute("ROLLBACK")
    assert not (quick.folder / "copy").exists()
    assert back_up(layout_of(quick), quick.folder / "copy").records == 2


# The real command


def start(clinic: Clinic, *words: str, limit: int | None = None) -> subprocess.Popen[str]:
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump({"source": {"path": str(clinic.input)}}))
    tight = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_pipeline.py"), *words, "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=tight, cwd=clinic.folder,
    )  # fmt: skip


def test_the_command_copies_verifies_and_says_where_it_failed(quick: Clinic) -> None:
    here = ("--data-dir", str(quick.data_dir))
    for limit in (20_000, 400_000):  # too small for a snapshot or the warehouse; too small for a record
        full = start(quick, "backup", "copy", *here, limit=limit)
        out, errors = full.communicate(timeout=60)
        if limit == 20_000:
            assert (full.returncode, out, errors.count("\n")) == (7, "", 1), errors
            assert errors.startswith(f"{quick.folder}/copy: cannot be written (")
            assert not (quick.folder / "copy").exists()
        shutil.rmtree(quick.folder / "copy", ignore_errors=True)
    done = start(quick, "backup", "copy", *here)
    out, errors = done.communicate(timeout=60)
    assert (done.returncode, errors) == (0, "") and out.startswith(f"backed up to {quick.folder}/copy: version 1")
    verified = start(quick, "verify", "--data-dir", "copy")
    out, errors = verified.communicate(timeout=60)
    assert verified.returncode == 0, out + errors
    again = start(quick, "backup", "copy", *here)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 2 and "is not empty" in errors and errors.count("\n") == 1


def test_a_killed_backup_is_recognised(quick: Clinic) -> None:
    process = start(quick, "backup", "copy", "--data-dir", str(quick.data_dir))
    building = quick.folder / "copy" / UNFINISHED
    end = time.monotonic() + 60
    while not building.exists() and time.monotonic() < end:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (quick.folder / "copy" / NOTE).exists()
    with pytest.raises(UsageError, match="holds an unfinished backup"):
        back_up(layout_of(quick), quick.folder / "copy")
