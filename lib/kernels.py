"""Fresh kernels on this very interpreter, used once, that never outlive the process that started them.

A kernel talks over unix sockets in a private folder: no open port, no collision with another run's kernel.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from queue import Empty
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from nbclient.exceptions import DeadKernelError

from lib.confidential import LOG_VARIABLE, RUN_VARIABLE, scrubbing_pipe
from lib.errors import TemporaryFailure
from lib.kernel_start import TIED_VARIABLE
from lib.template import ForkedProcess, Template, TemplateGone

_SOCKET_PATH_BYTES = 100
"""Longest path of a unix socket that every system takes (Linux 107, macOS 103)."""

_FOLDER_PREFIX = "pv-kernel-"
_SWEEP_AFTER_SECONDS = 60

_GRACE_SECONDS = 3.0
"""How long an interrupted kernel may take to leave its cell and roll back."""

_PROVISIONER = "patient-visits"

_KERNEL_OPTIONS = (
    "--HistoryManager.enabled=False",  # no copy of the code or its outputs in a file of the user's
    "--IPKernelApp.capture_fd_output=False",  # what C libraries write goes to the log, not into the notebook
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
)


class OwnInterpreterKernelManager(KernelManager):
    """A kernel manager that runs `sys.executable`, whatever kernelspecs the user has installed: forked from `template`
    where there is one, else started afresh. `first` is what a fork calls before it listens."""

    template: Template | None = None
    first: tuple[tuple[str, str], ...] = ()
    drawers: int = 0

    @property
    def kernel_spec(self) -> KernelSpec:
        start = str(Path(__file__).with_name("kernel_start.py"))
        return KernelSpec(
            argv=[sys.executable, "-P", start, "-f", "{connection_file}", *_KERNEL_OPTIONS],
            display_name="patient visits",
            language="python",
            metadata={"kernel_provisioner": {"provisioner_name": _PROVISIONER, "config": {}}},
        )

    def client(self, **options: Any) -> Any:
        """A client on the process's shared context, which is never terminated."""
        return super().client(context=_contexts()[1], **options)


class KernelClient(AsyncKernelClient):
    """A client whose kernel runs one notebook, for this client alone."""

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Until the kernel answers and what it publishes arrives. Raises DeadKernelError; RuntimeError when it is mute.

        The base class then waits a fifth of a second more for messages of others, of which there are none.
        """
        end = time.monotonic() + (timeout or float("inf"))
        while time.monotonic() < end:
            asked = self.kernel_info()
            with suppress(Empty):
                while (reply := await self.get_shell_msg(timeout=1))["parent_header"].get("msg_id") != asked:
                    pass
                while not _is_idle(await self.get_iopub_msg(timeout=1), asked):
                    pass
                self._handle_kernel_info_reply(reply)
                return
            if not await self._async_is_alive():
                raise DeadKernelError("the kernel died before it answered")
        raise RuntimeError("the kernel did not answer in time")


def _is_idle(message: dict[str, Any], asked: str) -> bool:
    says = message["content"].get("execution_state") if message["msg_type"] == "status" else None
    return bool(says == "idle" and message["parent_header"].get("msg_id") == asked)


class TemplateProvisioner(LocalProvisioner):
    """Launches a manager's kernel; jupyter_client finds it by name."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        manager = self.parent
        assert isinstance(manager, OwnInterpreterKernelManager)
        if manager.template is None:
            return await super().launch_kernel(cmd, **options)
        try:
            process = manager.template.fork(
                cmd[cmd.index("-f") :],
                folder=options["cwd"],
                environment=options["env"],
                output=options["stderr"],
                first=manager.first,
                drawers=manager.drawers,
            )
        except TemplateGone:
            return await super().launch_kernel(cmd, **options)
        self.process: Any = process
        self.pid, self.pgid, self.cwd = process.pid, process.pid, options["cwd"]
        return self.connection_info


KernelProvisionerFactory.provisioners[_PROVISIONER] = EntryPoint(
    _PROVISIONER, f"{__name__}:{TemplateProvisioner.__name__}", KernelProvisionerFactory.GROUP_NAME
)


@cache
def _contexts() -> tuple[zmq.Context[Any], zmq.asyncio.Context]:
    """One blocking and one asynchronous ZeroMQ context for all kernels of this process.

    With contexts of their own, managers and clients terminate them at the end, which waits for every socket: one that
    an interrupt caught half made is never closed, and Ctrl-C would hang.
    """
    return zmq.Context(), zmq.asyncio.Context()


class Kernel:
    """One kernel of a run: started ahead or by its context, handed to one execution, stopped for good.

    `cwd` is the kernel's working folder; what it writes to its own stderr goes to `log`, scrubbed. With a `template` it
    is a fork of that, calls the functions `first` (module, name) before its notebook comes, and has so many `drawers`.
    Start it from the main thread: elsewhere it may outlive a killed parent by a second.
    """

    def __init__(
        self,
        run_id: str,
        cwd: Path,
        log: Path,
        template: Template | None = None,
        first: tuple[tuple[str, str], ...] = (),
        drawers: int = 1,
    ) -> None:
        self.run_id = run_id
        self.cwd = cwd
        self.log = log
        self.template = template
        self.first = first
        self.drawers = drawers
        self._manager: OwnInterpreterKernelManager | None = None
        self._folder: _PrivateFolder | None = None
        self._used = False

    @property
    def manager(self) -> OwnInterpreterKernelManager:
        """The started kernel's manager, once: a kernel that ran a notebook holds its state."""
        if self._manager is None or self._used:
            raise RuntimeError("a kernel is started first, and used once")
        self._used = True
        return self._manager

    @property
    def pid(self) -> int | None:
        """The kernel's process, None before the start and after the stop."""
        process = self._process()
        return process.pid if process else None

    @property
    def exit_code(self) -> int | None:
        """Of a kernel that died by itself: its exit code, or minus the signal that killed it. None while it runs."""
        process = self._process()
        return process.poll() if process else None

    def start(self) -> None:
        """Launch the process; it goes on starting while the caller does other things. Started already: nothing.

        Raises TemporaryFailure when there is no folder for its sockets, OSError when it cannot be launched.
        """
        if self._manager is not None:
            return
        self._folder = _PrivateFolder()
        folder = self._folder.path
        try:
            manager = OwnInterpreterKernelManager(
                context=_contexts()[0],
                connection_file=str(folder / "kernel.json"),
                transport="ipc",
                ip=str(folder / "k"),
                client_class=f"{__name__}.{KernelClient.__name__}",  # nbclient awaits its replies
                shutdown_wait_time=_GRACE_SECONDS,
            )
            manager.template, manager.first, manager.drawers = self.template, self.first, self.drawers
            self._manager = manager
            output = scrubbing_pipe(self.log)
            try:
                manager.start_kernel(cwd=str(self.cwd), env=self._environment(folder), stdout=output, stderr=output)
            finally:
                os.close(output)
        except BaseException:
            self.stop()
            raise

    def stop(self, *, interrupt: bool = False) -> None:
        """End the process and remove its folder; safe to call at any time, any number of times.

        With `interrupt` the running cell gets an interrupt and a moment to roll back. A kernel that has run its cells
        has nothing left to do (what a cell promises is on the disk when the cell ends), so it is killed outright.
        """
        process = self._process()
        try:
            if process is not None and interrupt and process.poll() is None:
                _signal_group(process, signal.SIGINT)
                assert self._manager is not None
                self._manager.request_shutdown()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)
        finally:
            if process is not None:
                _signal_group(process, signal.SIGKILL)
                process.wait()
            manager, self._manager, self._used = self._manager, None, True
            if manager is not None:
                manager.cleanup_resources()
            if self._folder is not None:
                self._folder.remove()
                self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(interrupt=kind is not None and not issubclass(kind, Exception))

    def _process(self) -> subprocess.Popen[Any] | ForkedProcess | None:
        return getattr(self._manager.provisioner, "process", None) if self._manager is not None else None

    def _environment(self, folder: Path) -> dict[str, str]:
        """The parent's environment without the user's IPython profile, and with pictures drawn into the notebook."""
        return {
            **os.environ,
            RUN_VARIABLE: self.run_id,
            LOG_VARIABLE: str(self.log.resolve()),
            # "Die with the parent" means the thread that started it: wanted only of the one that never ends.
            TIED_VARIABLE: "1" if threading.current_thread() is threading.main_thread() else "",
            "IPYTHONDIR": str(folder / "ipython"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }


class _PrivateFolder:
    """A new folder of mode 0700 whose path is short enough for sockets in it; locked while its process lives, so that a
    later one can tell and sweep what a killed process left. Raises TemporaryFailure."""

    def __init__(self) -> None:
        for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", os.environ.get("XDG_RUNTIME_DIR", "/var/tmp")]):
            if len(os.fsencode(parent)) > _SOCKET_PATH_BYTES - len(f"/{_FOLDER_PREFIX}12345678/k-5"):
                continue
            with suppress(OSError):
                _sweep(Path(parent))
                self.path = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=parent)).resolve()
                self._lock = _lock(self.path)
                return
        raise TemporaryFailure("No temporary folder with a short path can be written; set TMPDIR to one, such as /tmp.")

    def remove(self) -> None:
        """Remove the folder and let go of its lock; once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _lock(folder: Path) -> int:
    """An exclusive lock on the folder, freed by the descriptor's closing or the process's death. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep(parent: Path) -> None:
    """Remove this user's private folders that no process holds any more; young ones may not be locked yet."""
    for folder in parent.glob(_FOLDER_PREFIX + "*"):
        with suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < _SWEEP_AFTER_SECONDS:
                continue
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _signal_group(process: subprocess.Popen[Any] | ForkedProcess, number: signal.Signals) -> None:
    """Signal the kernel and what it started: it leads a process group of its own. A process reaped already: nothing."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
