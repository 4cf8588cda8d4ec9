"""The fault matrix at a small size: `make faults` runs all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.errors import TemporaryFailure
from lib.layout import NOTEBOOKS
from tests.faults import cases, here, shim, steps
from tests.faults.trial import Expected, examine, forked, heal, prepare, run_here, told
from tests.faults.trial import Try as Tried
from tests.faults.world import World

ROOT = Path(__file__).resolve().parents[2]
SOME_STEPS = ("before 05_merge_facts", "before COMMIT", "after COMMIT", "before the record is closed")
EVERY = 89
"""Of some 480 calls that a run makes, the n-th ones that fail here."""


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Expected]]:
    """A clinic with a second delivery waiting, where it is kept, and its tables before and after."""
    folder = tmp_path_factory.mktemp("clinic")
    world, prepared = World(folder / "world"), folder / "prepared"
    yield world, prepared, prepare(world, prepared)


@pytest.fixture(scope="module")
def on_duckdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Expected]]:
    """The same clinic on a DuckDB warehouse."""
    folder = tmp_path_factory.mktemp("on_duckdb")
    world, prepared = World(folder / "world", "duckdb"), folder / "prepared"
    yield world, prepared, prepare(world, prepared)


@pytest.mark.skipif(sys.platform != "linux", reason="the library is loaded by LD_PRELOAD")
def test_errors_and_kills_at_the_nth_file_call_leave_old_tables_or_new(tmp_path: Path) -> None:
    actions = "disk full once,input/output errors from then on,SIGKILL"
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults"],
        env={
            **os.environ, "FAULT_PARTS": "calls", "FAULT_CALLS": str(EVERY), "FAULT_ACTIONS": actions,
            "FAULT_JOBS": "1", "FAULT_FOLDER": str(tmp_path),
        },
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 divergences" in done.stdout and "disk full once" in done.stdout and "SIGKILL" in done.stdout


@pytest.mark.parametrize("name", SOME_STEPS)
def test_a_kill_at_a_commit_step_leaves_old_tables_or_new(clinic: tuple[World, Path, Expected], name: str) -> None:
    trap, tables = steps.traps()[name]
    found = steps.kill_at(*clinic, name, trap, tables)
    assert found.wrong == [] and found.tables == tables


@pytest.mark.parametrize("name", steps.traps())
def test_a_kill_at_any_step_of_a_commit_into_duckdb_leaves_old_tables_or_new(
    on_duckdb: tuple[World, Path, Expected], name: str
) -> None:
    trap, tables = steps.traps()[name]
    found = steps.kill_at(*on_duckdb, name, trap, tables)
    assert found.wrong == [] and found.tables == tables


@pytest.mark.parametrize(
    "name", ["lock file of a dead holder", "a torn line in the ledger", "a torn manifest", "temporary files left"]
)
def test_a_spoiled_file_stops_the_run_or_is_passed_over(clinic: tuple[World, Path, Expected], name: str) -> None:
    case = next(each for each in cases.CASES if each.name == name)
    assert cases.try_case(*clinic, case).wrong == []


def test_a_file_that_may_not_grow_is_a_temporary_failure(clinic: tuple[World, Path, Expected]) -> None:
    found = cases.try_limit(*clinic, 4096)
    assert (found.exit_code, found.tables, found.wrong) == (7, "old", [])


def test_an_orphan_that_loads_after_a_newer_run_is_fenced(clinic: tuple[World, Path, Expected]) -> None:
    assert cases.try_orphan(*clinic).wrong == []


def test_a_run_killed_in_03_is_closed_as_killed_and_names_the_notebooks_that_were_lost(
    clinic: tuple[World, Path, Expected],
) -> None:
    world, prepared, expected = clinic
    world.become(prepared)

    def trap() -> None:
        here.STAGES["03_validate"] = lambda run: os.kill(os.getpid(), signal.SIGKILL)

    found = Tried("SIGKILL", "in 03")
    found.exit_code = run_here(world, 2, trap)
    assert found.exit_code == -signal.SIGKILL
    died = list(world.manifests().values())[-1]
    assert (died["outcome"], died["ended"]) == ("running", None)
    heal(world, expected, found)
    assert found.wrong == []
    repaired = world.manifests()[died["run_id"]]
    assert (repaired["outcome"], repaired["recovered"], repaired["lost"]) == ("killed", True, list(NOTEBOOKS[2:]))


def test_a_run_that_died_in_04_after_its_commit_is_closed_as_loaded_and_says_what(
    clinic: tuple[World, Path, Expected],
) -> None:
    world, prepared, expected = clinic
    trap, _ = steps.traps()["after COMMIT"]
    found = steps.kill_at(world, prepared, expected, "after COMMIT", trap, "new")
    assert found.wrong == []
    died, after = list(world.manifests().values())[-2:]
    assert (died["outcome"], died["recovered"], died["lost"]) == ("loaded", True, list(NOTEBOOKS[3:]))
    assert died["load"]["version"] == 2 and died["marks"] == [{"sequence": 2, "status": "loaded"}]
    assert (after["outcome"], after["batch"]["kind"]) == ("loaded", "repeat")


def test_a_disk_that_fills_after_the_commit_is_loaded_with_an_incomplete_report(
    clinic: tuple[World, Path, Expected],
) -> None:
    world, prepared, expected = clinic
    world.become(prepared)

    def trap() -> None:
        def full(*_: object) -> None:
            raise OSError(28, os.strerror(28))

        steps.pipeline.write_state_copy = _second_time(full)  # type: ignore[attr-defined]

    found = Tried("a full disk", "after the commit")
    found.exit_code = run_here(world, 2, trap)
    examine(world, expected, found)
    assert (found.exit_code, found.tables, found.wrong) == (8, "new", [])
    heal(world, expected, found)
    assert found.wrong == []


def _second_time(full: object) -> object:
    inner, calls = steps.pipeline.write_state_copy, [0]  # type: ignore[attr-defined]

    def write(*words: object) -> object:
        calls[0] += 1
        return inner(*words) if calls[0] == 1 else full(*words)  # type: ignore[operator]

    return write


def test_a_warehouse_that_does_not_answer_at_the_end_is_recorded_as_nothing(
    clinic: tuple[World, Path, Expected],
) -> None:
    world, prepared, expected = clinic
    world.become(prepared)

    def trap() -> None:
        def away(*_: object) -> object:
            raise TemporaryFailure("away")

        commit_load = steps.load.commit_load  # type: ignore[attr-defined]

        def commit(*words: object) -> object:
            commit_load(*words)
            steps.pipeline.writing = steps.pipeline.reading = away  # type: ignore[attr-defined]
            raise TemporaryFailure("away")

        steps.load.commit_load = commit  # type: ignore[attr-defined]

    found = Tried("an absent warehouse", "after the commit")
    found.exit_code = run_here(world, 2, trap)
    assert found.exit_code == 7 and "cannot be told" in told(world).read_text()
    assert world.tables() == expected.new
    assert list(world.manifests().values())[-1]["outcome"] == "running"
    heal(world, expected, found)
    assert found.wrong == []
    assert list(world.manifests().values())[1]["outcome"] == "loaded"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_run_began_ends_it_with_its_code_and_a_line(
    clinic: tuple[World, Path, Expected], number: signal.Signals, code: int
) -> None:
    world, prepared, expected = clinic
    world.become(prepared)

    def trap() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this process does with it
        steps.pipeline.repair_records = lambda *_: os.kill(os.getpid(), number)  # type: ignore[attr-defined]

    found = Tried(number.name, "before the run began", run_here(world, 2, trap))
    assert found.exit_code == code and told(world).read_text() == "interrupted: nothing was loaded; run again.\n"
    assert len(world.manifests()) == 1 and world.tables() == expected.old
    heal(world, expected, found)
    assert found.wrong == []


def test_a_run_that_hangs_is_ended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.faults.trial.HANGS_AFTER", 0.2)
    assert forked(signal.pause) is None


def test_without_a_compiler_the_sweep_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="install a C compiler"):
        shim.build(tmp_path)
