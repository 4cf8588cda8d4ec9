"""The anchor: every closed record is noted, those that could not be are caught up, and a load never waits for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yaml

from lib import journal
from lib.anchor import note_records
from lib.files import read_json
from lib.journal import read_entries
from lib.record import close_record
from lib.standalone import digest
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.kept import keep_history, keep_run, layout_of, make_small, told


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Three closed records; no anchor yet."""
    make_small(monkeypatch)
    clinic = Clinic(tmp_path)
    keep_history(clinic, 3)
    return clinic


def anchor(clinic: Clinic) -> Path:
    return clinic.folder / "elsewhere" / "anchor.jsonl"


def note(clinic: Clinic) -> str | None:
    anchor(clinic).parent.mkdir(exist_ok=True)
    return note_records(layout_of(clinic), str(anchor(clinic)))


def noted(clinic: Clinic) -> list[str]:
    return [each["run_id"] for each in read_entries(anchor(clinic))]


def test_records_of_before_the_anchor_are_noted_in_order_and_once(kept: Clinic) -> None:
    layout = layout_of(kept)
    for _ in range(2):
        assert note(kept) is None
        assert noted(kept) == layout.run_ids()
    assert note_records(layout, None) is None
    last = read_entries(anchor(kept))[-1]
    manifest = layout.record(last["run_id"]) / "manifest.json"
    assert last["manifest_sha256"] == digest(manifest.read_bytes())
    assert last["decisions"] == read_json(manifest)["decisions"] and last["decisions"]["entries"] == 2
    assert anchor(kept).stat().st_mode & 0o777 == 0o600


def test_an_edited_record_is_not_noted_anew(kept: Clinic) -> None:
    """Else the next run would make the edit good."""
    assert note(kept) is None
    layout, before = layout_of(kept), anchor(kept).read_bytes()
    for run_id in (layout.run_ids()[0], layout.run_ids()[-1]):
        path = layout.record(run_id) / "manifest.json"
        path.write_bytes(path.read_bytes().replace(b'"loaded"', b'"failed"', 1))
    assert note(kept) is None and anchor(kept).read_bytes() == before
    keep_run(kept, 4, anchor(kept))
    assert any(each.startswith(f"runs/{layout.run_ids()[-2]}/") for each in told(kept.data_dir, anchor=anchor(kept)))


def test_a_record_that_was_repaired_is_noted_again(kept: Clinic) -> None:
    assert note(kept) is None
    layout = layout_of(kept)
    newest = layout.run_ids()[-1]
    close_record(layout, newest, "loaded", exit_code=8, recovered=True)
    assert note(kept) is None and noted(kept) == [*layout.run_ids(), newest]
    assert told(kept.data_dir, anchor=anchor(kept)) == []
    keep_run(kept, 4, anchor(kept))
    assert told(kept.data_dir, anchor=anchor(kept)) == []


def test_an_anchor_of_another_data_folder_is_not_written_to(kept: Clinic, tmp_path: Path) -> None:
    assert note(kept) is None
    before = anchor(kept).read_bytes()
    other = Clinic(tmp_path / "other")
    keep_run(other, 9)
    said = note_records(layout_of(other), str(anchor(kept)))
    assert said is not None and "which is not in data" in said and "each data folder needs its own" in said
    assert anchor(kept).read_bytes() == before


def test_records_in_an_archive_are_no_reason_to_stop(kept: Clinic) -> None:
    assert note(kept) is None
    archive = kept.folder / "archive"
    archive.mkdir()
    for run_id in layout_of(kept).run_ids()[:2]:
        shutil.move(layout_of(kept).record(run_id), archive)
    keep_run(kept, 4, anchor(kept))
    assert told(kept.data_dir, anchor=anchor(kept), archive=archive) == []


@pytest.mark.parametrize("case", ["a folder", "no folder", "held", "full"])
def test_an_anchor_that_cannot_be_written_is_told_and_caught_up(
    case: str, kept: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = anchor(kept)
    really_write = os.write
    with monkeypatch.context() as broken:
        if case == "a folder":
            path.mkdir(parents=True)
        elif case == "full":
            path.parent.mkdir()
            broken.setattr(os, "write", lambda handle, text: really_write(handle, text[:9]))
        elif case == "held":
            import fcntl

            path.parent.mkdir()
            broken.setattr(journal, "WAIT_SECONDS", 0.05)
            handle = os.open(path, os.O_RDWR | os.O_CREAT)
            fcntl.flock(handle, fcntl.LOCK_EX)
        said = note_records(layout_of(kept), str(path))
    assert said is not None and said.startswith("anchor: ") and said.endswith("the next run notes them.")
    if case == "a folder":
        path.rmdir()
    if case == "held":
        os.close(handle)
    path.parent.mkdir(exist_ok=True)
    assert note(kept) is None and noted(kept) == layout_of(kept).run_ids()


def test_a_run_notes_its_record_and_a_load_never_waits_for_the_anchor(tmp_path: Path) -> None:
    """By the real command."""
    clinic = Clinic(tmp_path)
    clinic.deliver([row("V1"), row("V2")])
    clinic.config = {"anchor": str(anchor(clinic))}
    ended = clinic.command("run", "--as-of", "2025-03-02T00:00:00Z")
    assert (ended.returncode, len(clinic.facts())) == (8, 2), ended.stdout + ended.stderr
    assert ended.stderr == (
        "anchor: anchor.jsonl cannot be written (No such file or directory); the records are whole, and the next run "
        "notes them.\n"
    )
    (run_id,) = layout_of(clinic).run_ids()
    assert read_json(layout_of(clinic).record(run_id) / "manifest.json")["exit_code"] == 0
    anchor(clinic).parent.mkdir()
    assert clinic.command("run").returncode == 0
    assert noted(clinic) == layout_of(clinic).run_ids() and len(noted(clinic)) == 2
    assert clinic.command("verify").returncode == 0
    shutil.rmtree(layout_of(clinic).record(noted(clinic)[-1]))
    ended = clinic.command("verify")
    assert (
        ended.returncode == 6 and f"runs/{noted(clinic)[-1]}: the record is gone; the anchor knows it" in ended.stdout
    )
    assert yaml.safe_load((clinic.folder / "config.yaml").read_text())["anchor"] == str(anchor(clinic))
