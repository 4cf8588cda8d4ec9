"""Run a command and watch all its processes: wall clock, processor seconds, and the memory of all at one moment.

Memory is summed over the processes as PSS (a page that n processes share counts 1/n for each), so that kernels forked
from one template are not charged for the same pages twice; the sum of RSS stands beside it. Linux only for PSS:
elsewhere it is 0 and RSS counts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_LOOK_SECONDS = 0.05
_LOOK_SHARE = 0.05
"""Between two looks lie at least so many seconds, and so many that looking takes at most this share of the time."""


@dataclass(frozen=True)
class Took:
    """What a command took: exit code, seconds by the wall clock, processor seconds of the whole tree (those that it
    waited for), peak bytes of all its processes at one moment by PSS and by RSS, its output's last lines."""

    exit_code: int
    seconds: float
    cpu: float
    pss: int
    rss: int
    tail: str
    began: float

    @property
    def memory(self) -> int:
        """Peak bytes: PSS where the system tells it."""
        return self.pss or self.rss


@dataclass
class _Peaks:
    pss: int = 0
    rss: int = 0
    known: set[int] = field(default_factory=set)
    cpu: dict[int, float] = field(default_factory=dict)

    def look(self, root: int) -> None:
        """One look at the tree. A process once seen stays followed, also when its parent has gone."""
        self.known = {pid for seen in (self.known | {root}) for pid in with_children(seen)}
        pss = rss = 0
        for pid in sorted(self.known):
            try:
                one = memory_of(pid)
                self.cpu[pid] = sum(psutil.Process(pid).cpu_times()[:2])
            except (OSError, psutil.Error):  # it ended meanwhile
                self.known.discard(pid)
                continue
            pss, rss = pss + one[0], rss + one[1]
        self.pss, self.rss = max(self.pss, pss), max(self.rss, rss)


def unwound_by_sigterm() -> None:
    """SIGTERM ends this process as Ctrl-C does: what it began is stopped, and its folders are removed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def watched(command: list[str], *, cwd: Path, log: Path, env: dict[str, str] | None = None) -> Took:
    """Run `command` to its end; what it prints goes to `log`."""
    peaks, ended = _Peaks(), threading.Event()
    began, clock = time.monotonic(), time.time()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=cwd, env=os.environ | (env or {}), stdout=stream, stderr=subprocess.STDOUT
        )
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
        except BaseException:  # the benchmark itself was interrupted
            process.terminate()
            process.wait()
            raise
        finally:
            ended.set()
            watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = max(usage.ru_utime + usage.ru_stime, sum(peaks.cpu.values()))
    tail = "\n".join(log.read_text(errors="replace").strip().splitlines()[-5:])
    return Took(process.returncode, seconds, cpu, peaks.pss, peaks.rss, tail, clock)


def _watch(root: int, peaks: _Peaks, ended: threading.Event) -> None:
    pause = _LOOK_SECONDS
    while not ended.wait(pause):
        began = time.monotonic()
        peaks.look(root)
        pause = max(_LOOK_SECONDS, (time.monotonic() - began) / _LOOK_SHARE)


def with_children(root: int) -> list[int]:
    """The process and all that descend from it, as far as the system tells now."""
    found = [root]
    try:
        if not Path("/proc").exists():
            return [root, *(each.pid for each in psutil.Process(root).children(recursive=True))]
        for task in Path(f"/proc/{root}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += with_children(int(child))
    except (OSError, psutil.Error):  # it ended, or a thread of it
        pass
    return found


def memory_of(pid: int) -> tuple[int, int]:
    """PSS and RSS of one process in bytes; nothing of one that has ended."""
    if not Path("/proc").exists():
        return 0, psutil.Process(pid).memory_info().rss
    told = {"Pss": 0, "Rss": 0}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        lines = []
    for line in lines:
        name, _, rest = line.partition(":")
        if name in told:
            told[name] = int(rest.split()[0]) * 1024
    return told["Pss"], told["Rss"]
