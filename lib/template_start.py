"""A template of kernels: a process that imports once what the notebooks need, and then is forked for each kernel.

A script, run with `-P`; its arguments are the descriptor of its socket, functions (module:name) to be called after the
imports, and, for who reads a list of processes, the words of the command. A fork has run nothing but those and an empty
picture: what one notebook does, none other sees. The template starts no thread and opens no file: there is nothing to
share. It ends when the other end of its socket is closed.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

REQUEST_BYTES = 1 << 20
KERNEL_NAME = b"visits-kernel"
"""What a list of processes calls a forked kernel; 15 bytes at most."""

_PR_SET_NAME = 15

PREPARED = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.logger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "matplotlib_inline.backend_inline",
    "matplotlib.backends.backend_agg",
    "lib.analytics",
    "lib.confidential",
    "lib.engines.duckdb",
    "lib.extract",
    "lib.fates",
    "lib.frames",
    "lib.history_plots",
    "lib.lateness",
    "lib.load",
    "lib.plots",
    "lib.rule_trends",
    "lib.run",
    "lib.run_plots",
    "lib.show",
    "lib.stage",
    "lib.validate",
    "lib.warehouses.sqlite",
    "lib.warehouses.sqlite_afresh",
    "lib.warehouses.sqlite_arrow",
    "pyarrow.dataset",
    "tornado.platform.asyncio",
)
"""What every kernel, or several notebooks, import. What costs a second and serves one notebook is not here."""


def main() -> None:
    from lib.kernel_start import die_with_parent, leave_out_unused

    die_with_parent()
    leave_out_unused()
    control = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()  # what is imported stays
    for name in PREPARED:
        importlib.import_module(name)
    for each in filter(None, sys.argv[2].split(",")):
        module, _, function = each.partition(":")
        getattr(importlib.import_module(module), function)()
    _draw_nothing()
    gc.freeze()
    _serve(control)


def _draw_nothing() -> None:
    """One empty picture: what matplotlib looks up for its first is then known to all forks."""
    from lib.figures import nothing_to_draw, png

    png(nothing_to_draw("", ""))


def _serve(control: socket.socket) -> None:
    """Answer requests: a kernel to be forked, or how one ended. One message each way, JSON."""
    while received := socket.recv_fds(control, REQUEST_BYTES, 1):
        message, descriptors, _, _ = received
        if not message:
            return
        request = json.loads(message)
        if "ended" in request:
            answer = {"code": _exit_code(request["ended"])}
        else:
            answer = {"pid": _fork(request, descriptors[0], control)}
            os.close(descriptors[0])
        control.send(json.dumps({"number": request["number"], **answer}).encode())


def _exit_code(pid: int) -> int | None:
    """Of a forked kernel that ended: its exit code, or minus the signal that killed it. None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(request: dict[str, Any], output: int, control: socket.socket) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):  # it ended already
            os.setpgid(pid, pid)  # before anyone knows it: it is stopped by its group
        return pid
    code = 1
    try:
        control.close()
        _become_kernel(request, output)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:  # never back into the template
        os._exit(code)


def _become_kernel(request: dict[str, Any], output: int) -> None:
    """What a process started afresh has: environment, folder, arguments and output of its own."""
    from lib.kernel_start import TIED_VARIABLE, die_with_parent, run_kernel

    os.environ.clear()
    os.environ.update(request["environment"], **{TIED_VARIABLE: "1", "JPY_PARENT_PID": str(os.getppid())})
    die_with_parent()
    _name_process()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, descriptor in ((0, nothing), (1, output), (2, output)):
        os.dup2(descriptor, target)
    os.close(nothing)
    os.close(output)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["kernel_start.py", *request["arguments"]]
    for name, function in request["first"]:
        getattr(importlib.import_module(name), function)()
    gc.freeze()
    gc.enable()
    run_kernel()


def _name_process() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_NAME, KERNEL_NAME, 0, 0, 0)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    main()
