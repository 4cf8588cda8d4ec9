"""The template of kernels (lib/template_start.py) as its user sees it: started first of all, asked to fork.

Only the standard library is imported here: the template makes its imports while this process makes its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lib.kernel_start import TIED_VARIABLE
from lib.template_start import REQUEST_BYTES

LONG_IMPORTS = {"03_validate": (("lib.gate_library", "import_library"),)}
"""What takes a second and one notebook needs, as functions (module, name). Its kernel calls them before it listens; a
template that is kept for many runs has called them itself."""

KEPT = (*(each for calls in LONG_IMPORTS.values() for each in calls), ("lib.stages_ahead", "prepare"))
"""What a template that is kept for many runs calls: of each run somebody would have to do it again."""


class TemplateGone(Exception):
    """The template ended: a kernel must be started without it."""


class ForkedProcess:
    """A forked kernel's process, as `subprocess.Popen` would show it: no child of this one, but its group's head."""

    stdin = stdout = stderr = None

    def __init__(self, template: Template, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template = template

    def poll(self) -> int | None:
        """The exit code, or minus the signal that killed it; None while it runs."""
        if self.returncode is None:
            try:
                self.returncode = self._template.ask({"ended": self.pid})["code"]
            except TemplateGone:  # it dies with its template
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired("kernel", timeout or 0)
            self._wait_for_end(left)
        return code

    def _wait_for_end(self, seconds: float | None) -> None:
        """Until the process ended, or so many seconds are over. It is there until `poll` has told its end."""
        handle = os.pidfd_open(self.pid)
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            ended.poll(None if seconds is None else 1000 * seconds)
        finally:
            os.close(handle)

    def send_signal(self, number: int) -> None:
        """Signal the process, if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Template:
    """One template process; its kernels die with it, and it dies with this process.

    One that is `kept` serves many runs. `words` are for who reads a list of processes.
    Linux only (`supported`): elsewhere libraries do not bear a fork, and each kernel is started by itself.
    """

    supported = sys.platform == "linux"

    def __init__(self, words: Sequence[str] = (), *, kept: bool = False) -> None:
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._drawing, drawing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._asked = 0
        tied = threading.current_thread() is threading.main_thread()
        with control, drawing:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    str(Path(__file__).with_name("template_start.py")),
                    f"{control.fileno()},{drawing.fileno()}",
                    ",".join(":".join(each) for each in KEPT if kept),
                    *words,
                ],
                env={
                    **os.environ,
                    TIED_VARIABLE: "1" if tied else "",
                    "JPY_PARENT_PID": str(os.getpid()),
                    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
                    # A thread would not survive a fork: no notebook does linear algebra, and Arrow uses mimalloc.
                    "OPENBLAS_NUM_THREADS": "1",
                    "JE_ARROW_MALLOC_CONF": "background_thread:false",
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[control.fileno(), drawing.fileno()],
                start_new_session=True,
            )

    def fork(
        self,
        arguments: Sequence[str],
        *,
        folder: str,
        environment: Mapping[str, str],
        output: int,
        first: Sequence[tuple[str, str]] = (),
        drawers: int = 0,
    ) -> ForkedProcess:
        """A new kernel: ipykernel's arguments, the working folder, its environment, a descriptor for what it writes.
        `first` are functions (module, name) that it calls before it listens; so many `drawers` draw for it. Raises
        TemplateGone."""
        umask = os.umask(0o077)
        os.umask(umask)
        request = {
            "arguments": list(arguments),
            "folder": folder,
            "environment": dict(environment),
            "umask": umask,
            "first": list(first),
        }
        with ExitStack() as given:
            descriptors = [output]
            with suppress(TemplateGone):  # the kernel draws for itself
                for _ in range(drawers):
                    descriptors.append(given.enter_context(self.call("lib.drawing", "serve", draws=True)).fileno())
            return ForkedProcess(self, self.ask(request, descriptors)["pid"])

    def call(self, module: str, function: str, *, draws: bool = False) -> socket.socket:
        """This end of a socket whose other end the function gets in a new process, which ends with it or before.
        Nothing is waited for; who `draws` begins as soon as matplotlib is there. Raises TemplateGone."""
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                asked = self._drawing if draws else self._control
                socket.send_fds(asked, [json.dumps({"call": [module, function]}).encode()], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise TemplateGone from error
        return ours

    def ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Send one request and wait for its answer. Raises TemplateGone."""
        with self._lock:
            self._asked += 1
            number = self._asked
            message = json.dumps({"number": number, **request}).encode()
            try:
                socket.send_fds(self._control, [message], descriptors)
                while answer := self._control.recv(REQUEST_BYTES):
                    told: dict[str, Any] = json.loads(answer)
                    if told["number"] == number:  # another one is of a request that an interrupt cut short
                        return told
            except OSError as error:
                raise TemplateGone from error
        raise TemplateGone

    def close(self) -> None:
        """End it, and what it forked. Once or more."""
        self._control.close()
        self._drawing.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_begun: list[Template] = []


def begin_template(words: Sequence[str]) -> None:
    """Start the template that the command line asks for, before that is even read: its imports take a second. It dies
    with this process, so that one which nobody takes is no harm."""
    command = words[0] if words and not words[0].startswith("-") else "run"
    if Template.supported and command in ("run", "watch") and not {"--help", "-h"} & set(words):
        _begun.append(Template(words, kept=command == "watch"))


@contextmanager
def begun_template() -> Iterator[Template | None]:
    """The template that was begun, while the block lasts; None where none was."""
    with _begun.pop() if _begun else nullcontext() as template:
        yield template
