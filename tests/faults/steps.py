"""SIGKILL before every step of the commit, around COMMIT, and around each copy made after it.

python -m tests.faults.steps FOLDER     prints one JSON line a try
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lib import commit, load, pipeline
from tests.faults.trial import Expected, Try, examine, heal, prepare, run_here, say
from tests.faults.world import World

Trap = Callable[[], None]


def traps() -> dict[str, tuple[Trap, str]]:
    """By name: what sets the trap in a process that is about to run, and the tables that must then be found. Before
    each step is after the one before it."""
    return {
        **{f"before {step}": (_at_statement(step), "old") for step in commit.STEPS},
        "before COMMIT": (_at_commit, "old"),
        "after COMMIT": (lambda: _wrap(load, "commit_load", after=True), "new"),
        "before the state's copy": (lambda: _wrap(pipeline, "write_state_copy", call=2), "new"),
        "after the state's copy": (lambda: _wrap(pipeline, "write_state_copy", call=2, after=True), "new"),
        "before the record is closed": (lambda: _wrap(pipeline, "close_record"), "new"),
        "after the record is closed": (lambda: _wrap(pipeline, "close_record", after=True), "new"),
        "after the page": (lambda: _wrap(pipeline, "write_report", after=True), "new"),
    }


def kill_at_steps(folder: Path) -> None:
    """Every trap once."""
    world, prepared = World(folder / "world"), folder / "prepared"
    expected = prepare(world, prepared)
    for name, (trap, tables) in traps().items():
        say(**asdict(kill_at(world, prepared, expected, name, trap, tables)))


def kill_at(world: World, prepared: Path, expected: Expected, name: str, trap: Trap, tables: str) -> Try:
    world.become(prepared)
    found = Try("SIGKILL at a commit step", name)
    found.exit_code = run_here(world, 2, trap)
    examine(world, expected, found)
    if found.exit_code != -signal.SIGKILL:
        found.wrong.append(f"was not killed, but ended with {found.exit_code}")
    if found.tables != tables:
        found.wrong.append(f"{found.tables} tables")
    heal(world, expected, found)
    return found


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_statement(step: str) -> Trap:
    def trap() -> None:
        found = commit.statement  # type: ignore[attr-defined]

        def statement(name: str, *words: str, **pieces: str) -> str:
            if name.endswith(f"/{step}"):
                _die()
            text: str = found(name, *words, **pieces)
            return text

        commit.statement = statement  # type: ignore[attr-defined]

    return trap


def _at_commit() -> None:
    """The only transaction of a run that moves the tables' version on."""
    transaction = commit.transaction

    @contextmanager
    def watched(connection: Any) -> Iterator[None]:
        with transaction(connection):
            yield
            _die()

    commit.transaction = watched


def _wrap(module: Any, name: str, *, call: int = 1, after: bool = False) -> None:
    inner, calls = getattr(module, name), 0

    def wrapped(*words: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            _die()
        answer = inner(*words, **named)
        if calls == call:
            _die()
        return answer

    setattr(module, name, wrapped)


if __name__ == "__main__":
    kill_at_steps(Path(sys.argv[1]))
