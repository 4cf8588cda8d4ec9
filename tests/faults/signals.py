"""Faults that only the real command with its kernels can show: Ctrl-C, SIGTERM, two runs at once, a foreign kernelspec.

python -m tests.faults.signals FOLDER SEED COUNT     prints one JSON line a try
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from tests.faults.command import Command, still_alive
from tests.faults.kills import Lane
from tests.faults.trial import Expected, Try, say, told

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupt(lane: Lane, expected: Expected, number: signal.Signals) -> Try:
    """A run that is asked to end at a random instant, once its record is begun."""
    instant = lane.random.uniform(0, lane.seconds)
    found = Try(number.name, f"{instant:.2f} s of {lane.seconds:.2f} s")
    begun = len(lane.world.manifests())
    command = Command(lane.world, lane.number)
    command.sleep(instant)
    command.until(lambda: len(lane.world.manifests()) > begun)
    command.kill(number)
    found.exit_code = command.wait(lane.seconds)
    lane.look(found, expected, is_over=False)
    outcome = list(lane.world.manifests().values())[-1].get("outcome")
    allowed = {(CODES[number], "interrupted"), (8, "loaded"), (0, "loaded")}
    # before the first notebook, or before a manifest was written: the next run closes it, or takes the folder away
    if outcome in (None, "running") and found.exit_code == CODES[number]:
        outcome = "interrupted"
    if (found.exit_code, outcome) not in allowed:
        found.wrong.append(f"exit {found.exit_code}, recorded as {outcome}: {told(lane.world).read_text()[-300:]}")
    if (outcome == "loaded") != (found.tables == "new") and expected.old != expected.new:
        found.wrong.append(f"recorded as {outcome} with {found.tables} tables")
    return found


def two_at_once(lane: Lane, expected: Expected) -> Try:
    """Of two runs at once one loads; the other ends with 5 and names it."""
    found = Try("two runs at once", "the second while the first's kernel works")
    first = Command(lane.world, lane.number)
    first.until(first.kernel)
    second = Command(lane.world, lane.number, apart=".second")
    second_code = second.wait(lane.seconds)
    words = told(lane.world, ".second").read_text()
    if second_code != 5 or f"process {first.process.pid} " not in words:
        found.wrong.append(f"the second ended with {second_code}: {words[-300:]}")
    found.exit_code = first.wait(lane.seconds)
    if found.exit_code != 0:
        found.wrong.append(f"the first ended with {found.exit_code}")
    lane.look(found, expected, is_over=True)
    return found


def foreign_kernelspec(lane: Lane, expected: Expected) -> Try:
    """The user's own python3 kernelspec fails: it is not used."""
    found = Try("a foreign kernelspec", "python3 in the user's folder fails")
    home = lane.world.folder / "home"
    spec = home / ".local" / "share" / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    command = Command(lane.world, lane.number, HOME=str(home))
    found.exit_code = command.wait(lane.seconds)
    if found.exit_code != 0:
        found.wrong.append(f"ended with {found.exit_code}: {told(lane.world).read_text()[-300:]}")
    lane.look(found, expected, is_over=True)
    return found


def try_all(folder: Path, seed: int, count: int) -> None:
    """Each case, the signals `count` times each; a line a try on the standard output."""
    lane = Lane(folder, seed, "sqlite")
    lane.measure()
    say(**asdict(two_at_once(lane, lane.deliver())))
    say(**asdict(foreign_kernelspec(lane, lane.deliver())))
    for number in (signal.SIGINT, signal.SIGTERM) * count:
        expected = lane.deliver()
        say(**asdict(interrupt(lane, expected, number)))
        say(**asdict(lane.let_live(Expected(expected.new, expected.new))))
    still_alive(lane.world)


if __name__ == "__main__":
    try_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
