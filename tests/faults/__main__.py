"""The fault matrix: every way to fail that can be provoked, and whether the pipeline's word held.

    make faults                             all of it
    FAULT_KILLS=20 FAULT_CALLS=7 make faults   a short one: 20 kills, every 7th file call

| variable | means | default |
| --- | --- | --- |
| FAULT_PARTS | which parts, of: steps files signals calls kills | all |
| FAULT_CALLS | the file calls of a run that are made to fail: every n-th | 1 |
| FAULT_ACTIONS | what the call does, by name, separated by commas (tests/faults/shim.py) | all |
| FAULT_KILLS | runs of the real command that are killed | 100 |
| FAULT_KIND | the warehouse of those runs: sqlite, duckdb or postgres (a server of its own) | sqlite |
| FAULT_SIGNALS | runs that get SIGINT, and as many that get SIGTERM | 3 |
| FAULT_JOBS | lanes at a time | 2 |
| FAULT_SEED | where the random instants begin | 1 |
| FAULT_FOLDER | where the clinics are; a folder in memory is quickest | /dev/shm, else the temporary folder |

Exit code 1 when anything diverged. Ctrl-C ends it with the report so far.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.faults import shim
from tests.faults.report import Report
from tests.servers.postgres import database_for_warehouses, running_postgres

ROOT = Path(__file__).resolve().parents[2]
WAREHOUSES = ("sqlite", "duckdb", "postgres")
PARTS = ("steps", "files", "signals", "calls", "kills")
SAID_EVERY = 15.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Sizes:
    """How much is tried, from the environment."""

    parts: tuple[str, ...]
    stride: int
    actions: tuple[str, ...]
    kills: int
    kind: str
    signals: int
    jobs: int
    seed: int

    @classmethod
    def read(cls) -> Sizes:
        """Ends the program with 2 and a line when a variable makes no sense."""
        parts = tuple(os.environ.get("FAULT_PARTS", " ".join(PARTS)).split())
        named = os.environ.get("FAULT_ACTIONS")
        actions = tuple(each.strip() for each in named.split(",")) if named else tuple(shim.ACTIONS)
        for name, given, known in (("FAULT_PARTS", parts, PARTS), ("FAULT_ACTIONS", actions, tuple(shim.ACTIONS))):
            if unknown := set(given) - set(known):
                sys.exit(f"{name}: there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
        kind = os.environ.get("FAULT_KIND", "sqlite")
        if kind not in WAREHOUSES:
            sys.exit(f"FAULT_KIND: there is no {kind}; there are {', '.join(WAREHOUSES)}.")
        return cls(
            parts,
            stride=max(1, _number("FAULT_CALLS", 1)),
            actions=actions,
            kills=_number("FAULT_KILLS", 100),
            kind=kind,
            signals=_number("FAULT_SIGNALS", 3),
            jobs=max(1, _number("FAULT_JOBS", 2)),
            seed=_number("FAULT_SEED", 1),
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        sys.exit(f"{name}: {text} is no number.")
    return int(text)


def lanes_of(part: str, sizes: Sizes) -> list[list[str]]:
    """The words of each lane's program after its folder; as many lanes as may be of use."""
    jobs = sizes.jobs
    if part == "calls":
        return [["sweep", str(lane), str(jobs), str(sizes.stride), *sizes.actions] for lane in range(jobs)]
    if part == "kills":
        shares = [sizes.kills // jobs + (lane < sizes.kills % jobs) for lane in range(jobs)]
        return [["kills", str(sizes.seed + lane), str(share), sizes.kind] for lane, share in enumerate(shares) if share]
    if part == "signals":
        return [["signals", str(sizes.seed), str(sizes.signals)]]
    return [["cases" if part == "files" else part]]


class Lanes:
    """The lanes that work now, each a process of its own, in a folder of its own."""

    def __init__(self, folder: Path, library: Path, report: Report) -> None:
        self.folder, self.library, self.report = folder, library, report
        self.working: dict[IO[bytes], tuple[subprocess.Popen[bytes], Path]] = {}
        self.selector = selectors.DefaultSelector()

    def start(self, words: list[str]) -> None:
        """Start one lane."""
        folder = Path(tempfile.mkdtemp(prefix=f"{words[0]}-", dir=self.folder))
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        if words[0] == "sweep":
            plan = shim.Plan(folder / "plan")
            environment |= {"LD_PRELOAD": str(self.library), "FAULT_PLAN": str(plan.path)}
        lane = subprocess.Popen(
            [sys.executable, "-m", f"tests.faults.{words[0]}", str(folder), *words[1:]],
            stdout=subprocess.PIPE, stderr=(folder / "errors").open("wb"), env=environment, cwd=ROOT,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
        assert lane.stdout is not None
        self.working[lane.stdout] = lane, folder
        self.selector.register(lane.stdout, selectors.EVENT_READ)

    def listen(self) -> None:
        """Take in what the lanes say, for a moment."""
        for key, _ in self.selector.select(SAID_EVERY):
            stream: IO[bytes] = key.fileobj  # type: ignore[assignment]
            line = stream.readline()
            if line:
                self._hear(json.loads(line))
                continue
            self.selector.unregister(stream)
            lane, folder = self.working.pop(stream)
            if lane.wait():
                last = (folder / "errors").read_text(errors="replace").strip().splitlines()[-1:]
                self.report.notes.append(f"a lane broke off ({folder.name}): {' '.join(last)}")

    def _hear(self, said: dict[str, object]) -> None:
        if "fault" in said:
            self.report.add(said)
            for each in said["wrong"]:  # type: ignore[attr-defined]
                print(f"{said['fault']}, {said['at']}: {each}", file=sys.stderr, flush=True)
        elif "skipped" in said:
            self.report.notes.append(f"skipped: {said['skipped']}")

    def stop(self) -> None:
        """Kill the lanes and whatever works in their folders."""
        for lane, folder in self.working.values():
            lane.kill()
            lane.wait()
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    about = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                    if os.fsencode(folder) in about and int(process.name) != os.getpid():
                        os.kill(int(process.name), signal.SIGKILL)


def main() -> int:
    """Run the parts one after the other; 1 when anything diverged, 130 when interrupted."""
    sizes = Sizes.read()
    report = Report()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT, too: a shell lets what it puts behind it ignore that one
        signal.signal(number, signal.default_int_handler)
    memory = Path("/dev/shm")
    place = os.environ.get("FAULT_FOLDER") or (memory if os.access(memory, os.W_OK) else None)
    interrupted = False
    with ExitStack() as used:
        if sizes.kind == "postgres":
            used.enter_context(database_for_warehouses(used.enter_context(running_postgres())))
        name = tempfile.TemporaryDirectory(prefix="faults-", dir=place, ignore_cleanup_errors=True)
        folder = Path(used.enter_context(name))
        library = shim.build(folder) if "calls" in sizes.parts else folder
        lanes = Lanes(folder, library, report)
        try:
            for part in sizes.parts:
                run_part(part, sizes, lanes)
        except KeyboardInterrupt:
            interrupted = True
            report.notes.append("interrupted: this is the report so far")
        finally:
            lanes.stop()
    print(report.text(), flush=True)
    return 130 if interrupted else int(report.divergences > 0)


def run_part(part: str, sizes: Sizes, lanes: Lanes) -> None:
    """One part, with a line of progress every now and then."""
    began = said = time.monotonic()
    before = lanes.report.tries
    for words in lanes_of(part, sizes):
        lanes.start(words)
    while lanes.working:
        lanes.listen()
        if time.monotonic() - said >= SAID_EVERY or not lanes.working:
            said = time.monotonic()
            done = f"{lanes.report.tries - before:,} tries, {lanes.report.divergences} divergences so far"
            print(f"{part:<8}{said - began:6.0f} s  {done}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(str(error))
