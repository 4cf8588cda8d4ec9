"""One lane of the sweep: for every call of a small run and every action, a fault in a fork, a look, a healing run.

    python -m tests.faults.sweep FOLDER LANE LANES STRIDE ACTION…     prints one JSON line a try

Started with the library preloaded. Everything is imported once; each try is two forks of this process, which has no
thread of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from tests.faults import here, shim
from tests.faults.trial import Expected, Try, examine, heal, must_load, prepare, run_here, say
from tests.faults.world import World


def sweep(folder: Path, lane: int, lanes: int, stride: int, actions: list[str]) -> None:
    """Every `stride`-th call of the run, shared among `lanes`; a line a try on the standard output."""
    plan = shim.Plan(Path(os.environ["FAULT_PLAN"]))
    world, prepared = World(folder / "world"), folder / "prepared"
    expected = prepare(world, prepared)
    here.warm_up(world.data_dir)
    world.become(prepared)
    plan.set(world.data_dir)
    must_load(world, 2)
    kinds = plan.kinds()
    plan.set(None)
    say(calls=len(kinds))
    for at in range(1 + lane * stride, len(kinds) + 1, lanes * stride):
        for name in actions:
            action = shim.ACTIONS[name]
            if kinds[at - 1] in action.kinds:
                say(**asdict(_try(world, prepared, expected, plan, action, at, kinds[at - 1])))


def _try(
    world: World, prepared: Path, expected: Expected, plan: shim.Plan, action: shim.Action, at: int, kind: int
) -> Try:
    world.become(prepared)
    plan.set(world.data_dir, action, at)
    found = Try(action.name, f"call {at} ({shim.KINDS[kind]})")
    found.exit_code = run_here(world, 2)
    fired = plan.fired
    plan.set(None)
    examine(world, expected, found)
    if action.kills and fired and found.exit_code != -signal.SIGKILL:
        found.wrong.append(f"was not killed, but ended with {found.exit_code}")
    heal(world, expected, found)
    return found


def main() -> None:
    folder, lane, lanes, stride, *actions = sys.argv[1:]
    sweep(Path(folder), int(lane), int(lanes), int(stride), actions)


if __name__ == "__main__":
    main()
