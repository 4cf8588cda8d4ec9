"""prune: staged files of old runs go, everything else stays, and nothing goes that a run may still need."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib import validate
from lib.errors import UsageError, WarehouseLocked
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.prune import prune_staging
from lib.record import Outcome, close_record
from lib.run import Run
from tests.pipeline.clinic import Clinic, row
from tests.pipeline.plain_gate import plain_gate


@pytest.fixture
def ran(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Four runs that loaded."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    clinic.deliver([row("V1")])
    for _ in range(4):
        assert clinic.run().exit_code == 0
    return clinic


def layout_of(clinic: Clinic) -> Layout:
    return Layout.at(clinic.data_dir, None)


def staged(clinic: Clinic) -> list[str]:
    """The numbers of the runs that have staged files."""
    return sorted(path.name[5:6] for path in (clinic.data_dir / "staging").iterdir() if path.is_dir())


def everything_else(clinic: Clinic) -> dict[Path, bytes]:
    apart = clinic.data_dir / "staging"
    files = (path for path in clinic.data_dir.rglob("*") if path.is_file() and path != layout_of(clinic).lock_file)
    return {path: path.read_bytes() for path in files if path.parent == apart or not path.is_relative_to(apart)}


@pytest.mark.parametrize(("keep", "left"), [(9, "1234"), (4, "1234"), (3, "234"), (1, "4"), (0, "")])
def test_the_newest_runs_keep_their_staged_files(keep: int, left: str, ran: Clinic) -> None:
    before = everything_else(ran)
    size = sum(path.stat().st_size for path in (ran.data_dir / "staging").rglob("*/*"))
    pruned = prune_staging(layout_of(ran), keep)
    assert "".join(staged(ran)) == left
    assert (len(pruned.runs), pruned.kept) == (4 - len(left), len(left))
    remaining = sum(path.stat().st_size for path in (ran.data_dir / "staging").rglob("*/*"))
    assert pruned.bytes == size - remaining
    assert everything_else(ran) == before
    assert prune_staging(layout_of(ran), keep).runs == ()


def test_nothing_but_staged_runs_is_removed(ran: Clinic) -> None:
    folder = ran.data_dir / "staging"
    (folder / "somebody's").mkdir()
    (folder / "000000-20250101T000000Z").symlink_to(ran.folder)
    (folder / "000000-note.txt").write_text("")
    prune_staging(layout_of(ran), 0)
    assert {path.name for path in folder.iterdir()} == {
        "somebody's",
        "000000-20250101T000000Z",
        "000000-note.txt",
        "dq_report.json",
    }
    assert ran.input.exists()


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [("failed", True), ("killed", True), ("interrupted", True), ("held", False), ("refused", False), ("loaded", False)],
)
def test_the_newest_run_keeps_its_own_while_it_can_be_resumed(outcome: Outcome, kept: bool, ran: Clinic) -> None:
    run = Run.existing(ran.data_dir)
    close_record(run.layout, run.run_id, outcome, exit_code=1)
    prune_staging(layout_of(ran), 0)
    assert staged(ran) == (["4"] if kept else [])


def test_an_open_run_keeps_its_own(ran: Clinic) -> None:
    for run_id in layout_of(ran).run_ids()[:2]:
        Run.existing(ran.data_dir, run_id).manifest.record(ended=None)
    (layout_of(ran).record(layout_of(ran).run_ids()[2]) / "manifest.json").write_text("{")
    prune_staging(layout_of(ran), 0)
    assert staged(ran) == ["1", "2", "3"]


def test_while_a_run_holds_the_warehouse_nothing_is_removed(ran: Clinic) -> None:
    with hold_warehouse(layout_of(ran), "a run"), pytest.raises(WarehouseLocked):
        prune_staging(layout_of(ran), 0)
    assert len(staged(ran)) == 4


def test_frames_of_a_pruned_run_say_how_to_get_them_back(ran: Clinic) -> None:
    first = layout_of(ran).run_ids()[0]
    assert len(Run.existing(ran.data_dir, first).visits()) == 1
    prune_staging(layout_of(ran), 1)
    with pytest.raises(UsageError) as gone:
        Run.existing(ran.data_dir, first).visits()
    assert str(gone.value) == (
        f"the staged rows of run {first} were pruned; python run_pipeline.py --full-refresh stages every delivery "
        "again, from the snapshots; then open that run."
    )
    assert len(Run.existing(ran.data_dir).visits()) == 1
    assert set(ran.facts()) == {"V1"}


def test_the_command(ran: Clinic) -> None:
    done = ran.command("prune", "--staging-keep", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("removed the staged files of 2 runs, ") and done.stdout.endswith("; kept 2\n")
    assert staged(ran) == ["3", "4"]
    assert ran.command("prune", "--staging-keep", "-1").returncode == 2
