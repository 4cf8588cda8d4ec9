"""One fault, what came of it, and what must hold afterwards: the rules of the whole matrix."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.layout import NOTEBOOKS
from tests.faults import here
from tests.faults.world import Content, World, differences, published
from tests.privacy.canaries import hits, spilled

HANGS_AFTER = 120.0
"""Seconds after which a run that has not ended is a divergence."""


@dataclass
class Try:
    """One fault and what came of it. `tables`: `old`, `new` or `between`; `wrong`: whatever is not as it must be."""

    fault: str
    at: str
    exit_code: int | None = None
    tables: str = ""
    wrong: list[str] = field(default_factory=list)
    outcome_mismatches: int = 0
    leftovers: int = 0


@dataclass(frozen=True)
class Expected:
    """The tables before the second delivery and after it, undisturbed."""

    old: Content
    new: Content


def forked(body: Callable[[], Any]) -> int | None:
    """How a fork that does `body` and ends ends: its exit code, minus the signal that killed it, None when it hung."""
    child = os.fork()
    if not child:
        try:
            body()
        finally:
            os._exit(71)
    end = time.monotonic() + HANGS_AFTER
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_here(
    world: World, number: int, first: Callable[[], Any] = lambda: None, more: tuple[str, ...] = ()
) -> int | None:
    """How a run by the clock of delivery `number` ends, in a fork; `first` is done there before it."""

    def body() -> None:
        first()
        here.be_command([*world.words(number), *more], told(world))

    return forked(body)


def told(world: World, apart: str = "") -> Path:
    """The file with the last run's words; beside the world, so that no fault concerns it. `apart`: of a second run."""
    return world.folder.with_name(f"{world.folder.name}.told{apart}")


def prepare(world: World, prepared: Path) -> Expected:
    """A clinic with one delivery loaded and a second one waiting, kept in `prepared`, and what its tables must say."""
    world.begin()
    world.deliver(1)
    must_load(world, 1)
    world.deliver(2)
    world.keep(prepared)
    old = world.tables()
    must_load(world, 2)
    return Expected(old, world.tables())


def must_load(world: World, number: int) -> None:
    code = run_here(world, number)
    if code != 0:
        raise RuntimeError(f"an undisturbed run ended with {code}: {told(world).read_text()}")


def examine(world: World, expected: Expected, found: Try) -> None:
    """What must hold right after a fault: old tables or new, and an exit code and a record that say which."""
    tables = world.tables()
    found.tables = "old" if tables == expected.old else "new" if tables == expected.new else "between"
    if found.tables == "between":
        found.wrong += [f"tables neither old nor new: {each}" for each in differences(tables, expected.new)]
    words = told(world).read_text(errors="replace")
    if found.exit_code is None:
        found.wrong.append(f"no end within {HANGS_AFTER:.0f} s")
    elif found.exit_code >= 0:
        allowed = (0, 8) if found.tables == "new" else (7,)
        if "the warehouse does not answer" in words:  # on a disk that fails: no outcome is told, and the record is open
            allowed = (7,)
        if found.exit_code not in allowed:
            found.wrong.append(f"exit {found.exit_code} with {found.tables} tables: {words.strip()[-300:]}")
        if "Traceback" in words:
            found.wrong.append("a traceback on the terminal")
    compare_outcomes(world, found, is_over=False)


def heal(world: World, expected: Expected, found: Try) -> None:
    """A plain run after the fault must load, end in exactly the undisturbed tables, and leave nothing behind."""
    code = run_here(world, 2)
    if code != 0:
        found.wrong.append(f"the next run ended with {code}: {told(world).read_text(errors='replace').strip()[-300:]}")
        return
    after = differences(world.published(), published(expected.new))
    found.wrong += [f"after the next run, {each}" for each in after]
    left = world.leftovers()
    found.leftovers = len(left)
    found.wrong += [f"left behind: {each}" for each in left]
    compare_outcomes(world, found, is_over=True)
    found.wrong += verify(world)


def verify(world: World) -> list[str]:
    """What the command `verify` finds in a healed clinic: snapshots, the records' chain, every row by its hash."""
    answer = told(world, ".verify")
    code = forked(lambda: here.be_command(["verify", *world.words(1)[1:5]], answer))
    return [] if code == 0 else [f"verify ended with {code}: {answer.read_text(errors='replace').strip()[-300:]}"]


def compare_outcomes(world: World, found: Try, *, is_over: bool) -> None:
    """A closed record says loaded exactly when the warehouse has the run; after a good run every record is closed. And
    no patient is shown."""
    loaded = world.loaded_runs()
    for run_id, manifest in world.manifests().items():
        if not manifest.get("ended"):
            if is_over and manifest:
                found.wrong.append(f"record {run_id[:6]} is still open")
            continue
        if (manifest["outcome"] == "loaded") != (run_id in loaded):
            found.outcome_mismatches += 1
            found.wrong.append(f"record {run_id[:6]} says {manifest['outcome']}; the warehouse says otherwise")
        if is_over and manifest["outcome"] == "loaded" and not manifest.get("load"):
            found.wrong.append(f"record {run_id[:6]} does not say what was loaded")
        if manifest["outcome"] == "killed" and not manifest["recovered"]:
            found.wrong.append(f"record {run_id[:6]} was killed, but is not marked recovered")
        lost = [name for name in NOTEBOOKS if f"{name}.ipynb" not in manifest["files"]]
        if manifest["recovered"] and manifest["exit_code"] is None and manifest["lost"] != lost:
            found.wrong.append(f"record {run_id[:6]} does not name the notebooks that were lost")
    found.wrong += spills(world)


def spills(world: World) -> list[str]:
    """Where a patient's values are and may not be: in a record, a log, the state's copy, the command's words."""
    words = [path for path in world.folder.parent.glob(f"{world.folder.name}.told*") if path.is_file()]
    found = {path.name: hits(path.read_text(errors="replace")) for path in words}
    told_of = [f"said to a terminal: {', '.join(sorted(held))}" for held in found.values() if held]
    return [f"shows a patient: {each}" for each in (*told_of, *spilled(world.data_dir))]


def say(**facts: Any) -> None:
    """One JSON line for the program that started this lane."""
    print(json.dumps(facts), flush=True)
