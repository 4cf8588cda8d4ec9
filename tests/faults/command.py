"""The real command on a world, with its kernels: started, watched, killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.faults.trial import HANGS_AFTER, told
from tests.faults.world import World
from tests.kernels import kernels_with

ROOT = Path(__file__).resolve().parents[2]
DYING_SECONDS = 5.0
"""How long a kernel may outlive its killed parent: the system kills it at once, but a busy machine takes its time."""


class Command:
    """One run of the real command in a session of its own; its words go into the world's `told` file."""

    def __init__(self, world: World, number: int, apart: str = "", **environment: str) -> None:
        self.world = world
        self.began, self.seconds = time.monotonic(), 0.0
        words = [sys.executable, str(ROOT / "run_pipeline.py"), *world.words(number)]
        with told(world, apart).open("wb") as stream:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
                env={**os.environ, **environment}, cwd=world.folder.parent,
            )  # fmt: skip

    def wait(self, usual: float = 0.0) -> int | None:
        """The exit code, minus the signal that killed it; None when it hung, and was killed. A machine where a run
        takes `usual` seconds may take longer."""
        try:
            return self.process.wait(max(HANGS_AFTER, 5 * usual))
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
            return None
        finally:
            self.seconds = time.monotonic() - self.began

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def sleep(self, seconds: float) -> bool:
        """Wait until this long after the start; False when the run ended before."""
        return self.until(lambda: time.monotonic() - self.began >= seconds)

    def until(self, condition: Callable[[], object]) -> bool:
        """Wait for something while the run lives; False when it ended before."""
        while not condition():
            if self.process.poll() is not None:
                return False
            time.sleep(0.01)
        return True

    def kill_kernel(self) -> None:
        """Kill the kernel that runs, or the next one; nothing when the run ends before."""
        while not (kernel := self.kernel()):
            if self.process.poll() is not None:
                return
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(kernel, signal.SIGKILL)

    def kernel(self) -> int | None:
        """The process id of a kernel that is there now."""
        kernels = kernels_with(self.world.data_dir)
        return random.choice(kernels) if kernels else None  # of those that run and those that wait for their notebooks


def processes_of(world: World) -> list[int]:
    """Every process that works in this world: the command and its kernels by their words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes()
            if int(folder.name) != os.getpid() and (os.fsencode(world.data_dir) + b"\0") in words:
                found.append(int(folder.name))
    return found


def still_alive(world: World, usual: float = 0.0) -> list[str]:
    """Processes of this world that do not end by themselves, in their own words; they are killed. A machine where a run
    takes `usual` seconds takes its time to end one."""
    end = time.monotonic() + max(DYING_SECONDS, usual)
    while (left := processes_of(world)) and time.monotonic() < end:
        time.sleep(0.05)
    found = []
    for each in left:
        with suppress(OSError):
            words = Path(f"/proc/{each}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            state = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0]
            found.append(f"{words[-200:]}({state})")
            os.kill(each, signal.SIGKILL)
    return found
