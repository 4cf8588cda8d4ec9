"""One lane of random kills of the real command: the parent, or a kernel alone, at any instant of a run.

    python -m tests.faults.kills FOLDER SEED COUNT KIND     prints one JSON line a try

A killed run is looked at, then the next one starts, which repairs or loads and may be killed in its turn. Every fourth
or so is left alone: it must load, and end in exactly the tables of a twin clinic that nothing ever disturbed.
"""

from __future__ import annotations

import random
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from tests.faults.command import Command, still_alive
from tests.faults.trial import Expected, Try, compare_outcomes, must_load, say, told, verify
from tests.faults.world import World, differences

PARENT, KERNEL, NOTHING = "SIGKILL of the command", "SIGKILL of a kernel alone", "left alone"


class Lane:
    """A clinic whose runs are killed, and its undisturbed twin."""

    def __init__(self, folder: Path, seed: int, kind: str) -> None:
        self.random = random.Random(seed)
        self.world, self.twin = World(folder / "world", kind), World(folder / "twin", kind)
        self.world.begin()
        self.twin.begin(self.world.input)
        self.number = 0
        self.seconds = 0.0
        self.killed = 0

    def deliver(self) -> Expected:
        """The next delivery; the tables before it and after it."""
        old = self.twin.published()
        self.number += 1
        self.world.deliver(self.number)
        must_load(self.twin, self.number)
        return Expected(old, self.twin.published())

    def measure(self) -> None:
        """Two undisturbed runs, for their length: the first is slower, nothing is in the system's cache. Raises
        RuntimeError when they do not load: whatever the matrix found then would not be for the faults."""
        for _ in range(2):
            found = self.let_live(self.deliver())
            if found.wrong:
                raise RuntimeError(f"an undisturbed run diverged: {found.wrong[0]}")

    def let_live(self, expected: Expected) -> Try:
        """A run that nobody disturbs must load and leave nothing behind."""
        found = Try(NOTHING, f"delivery {self.number}")
        command = Command(self.world, self.number)
        found.exit_code = command.wait(self.seconds)
        taken = command.seconds
        self.seconds = taken if not self.seconds else 0.7 * self.seconds + 0.3 * taken
        if found.exit_code != 0:
            found.wrong.append(f"ended with {found.exit_code}: {told(self.world).read_text()[-300:]}")
        self.look(found, expected, is_over=found.exit_code == 0)
        if found.tables != "new":
            found.wrong.append(f"{found.tables} tables after a run that nobody disturbed")
        found.wrong += verify(self.world)
        if left := self.world.leftovers():
            found.leftovers = len(left)
            found.wrong += [f"left behind: {each}" for each in left]
        return found

    def kill(self, expected: Expected) -> Try:
        """A run that loses its parent or a kernel at a random instant."""
        target = self.random.choice((PARENT, KERNEL))
        instant = self.random.uniform(0, self.seconds)
        found = Try(target, f"delivery {self.number}, {instant:.2f} s of {self.seconds:.2f} s")
        command = Command(self.world, self.number)
        if command.sleep(instant):
            if target == PARENT:
                command.kill()
            else:
                command.kill_kernel()
        found.exit_code = command.wait(self.seconds)
        self.killed += found.exit_code != 0
        self.look(found, expected, is_over=found.exit_code == 0)
        self._judge(found)
        return found

    def look(self, found: Try, expected: Expected, *, is_over: bool) -> None:
        """What must hold after any run of the real command: an end, no process left, old tables or new."""
        if found.exit_code is None:
            found.wrong.append("it hung")
        if left := still_alive(self.world, self.seconds):
            found.wrong.append(f"{len(left)} processes outlived the run: {'; '.join(left)}")
        tables = self.world.published()
        found.tables = "new" if tables == expected.new else "old" if tables == expected.old else "between"
        if found.tables == "between":
            found.wrong += [f"neither old nor new: {each}" for each in differences(tables, expected.new)]
        if "Traceback" in told(self.world).read_text(errors="replace"):
            found.wrong.append("a traceback on the terminal")
        compare_outcomes(self.world, found, is_over=is_over)

    def _judge(self, found: Try) -> None:
        code = found.exit_code
        if found.fault == PARENT and code not in (-signal.SIGKILL, 0):
            found.wrong.append(f"was killed, but ended with {code}")
        if found.fault == KERNEL and code not in (0, 1, 7, 8):
            found.wrong.append(f"a killed kernel ended the run with {code}")
        if code in (0, 8) and found.tables != "new":
            found.wrong.append(f"exit {code} with {found.tables} tables")


def kill_at_random(folder: Path, seed: int, count: int, kind: str) -> None:
    """Kill `count` runs; a line a try on the standard output."""
    lane = Lane(folder, seed, kind)
    lane.measure()
    while lane.killed < count:
        expected = lane.deliver()
        for _ in range(min(lane.random.randint(3, 5), count - lane.killed)):
            found = lane.kill(expected)
            say(**asdict(found))
            if found.tables == "new":
                expected = Expected(expected.new, expected.new)
        say(**asdict(lane.let_live(expected)))


if __name__ == "__main__":
    kill_at_random(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
