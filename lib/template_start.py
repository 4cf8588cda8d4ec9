"""A template of kernels: a process that imports once what the notebooks need, and then is forked for each kernel.

A script, run with `-P`; its arguments are the descriptors of two sockets, functions (module:name) to be called after
the imports, and, for who reads a list of processes, the words of the command. A fork has run nothing but those: what
one notebook does, none other sees. The template starts no thread and opens no file: there is nothing to share. It ends
when the other end of its socket is closed.

By the second socket processes are asked for that draw (lib/drawing.py). Those are forks of a fork, which alone imports
matplotlib: kernels do without, and need not wait for it. It leaves in the midst of the imports, as soon as there is
what both need, and makes its own beside those of the template.
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
from typing import Any, NoReturn

REQUEST_BYTES = 1 << 20
MOST_DESCRIPTORS = 8
KERNEL_NAME, BESIDE_NAME = b"visits-kernel", b"visits-beside"
"""What a list of processes calls a forked kernel, and what makes pictures or pages beside them; 15 bytes at most."""

_PR_SET_NAME = 15

SHARED = ("pandas", "lib.drawing")
"""What kernels and pictures import, numpy and pyarrow with it: half of the time that the template's imports take."""

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
    "lib.analytics",
    "lib.confidential",
    "lib.engines.duckdb",
    "lib.extract",
    "lib.fates",
    "lib.frames",
    "lib.lateness",
    "lib.load",
    "lib.rule_trends",
    "lib.run",
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

DRAWING = ("matplotlib.backends.backend_agg", "lib.plots", "lib.run_plots", "lib.history_plots")
"""What a picture needs."""


def main() -> None:
    from lib.deferred import imports_of_the_pictures
    from lib.kernel_start import die_with_parent, leave_out_unused

    die_with_parent()
    leave_out_unused()
    control, drawing = (socket.socket(fileno=int(each)) for each in sys.argv[1].split(","))
    gc.disable()  # what is imported stays
    _import_all(SHARED)
    if not os.fork():
        control.close()
        _tie(BESIDE_NAME)
        with imports_of_the_pictures():
            _import_all(DRAWING)
        sys.modules["lib.plots"].draw_once()
        _serve(drawing)
    drawing.close()
    _import_all(PREPARED)
    for each in filter(None, sys.argv[2].split(",")):
        module, _, function = each.partition(":")
        getattr(importlib.import_module(module), function)()
    _serve(control)


def _import_all(names: tuple[str, ...]) -> None:
    for name in names:
        importlib.import_module(name)


def _serve(control: socket.socket) -> NoReturn:
    """Answer requests: a kernel to be forked, a process that calls a function, or how a kernel ended. One message each
    way, JSON; to a call there is no answer."""
    gc.freeze()
    called: list[int] = []
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, MOST_DESCRIPTORS)
        if not message:
            os._exit(0)
        request = json.loads(message)
        called = [each for each in called if _exit_code(each) is None]  # of a kernel's end its user asks
        if "call" in request:
            called.append(_fork(request, descriptors, control))
        else:
            ended = request.get("ended")
            answer = {"code": _exit_code(ended)} if ended else {"pid": _fork(request, descriptors, control)}
            control.send(json.dumps({"number": request["number"], **answer}).encode())
        for descriptor in descriptors:
            os.close(descriptor)


def _exit_code(pid: int) -> int | None:
    """Of a forked kernel that ended: its exit code, or minus the signal that killed it. None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _fork(request: dict[str, Any], descriptors: list[int], control: socket.socket) -> int:
    pid = os.fork()
    if pid:
        with suppress(OSError):  # it ended already
            os.setpgid(pid, pid)  # before anyone knows it: it is stopped by its group
        return pid
    code = 1
    try:
        control.close()
        if "call" in request:
            _call(request["call"], *descriptors)
        else:
            _become_kernel(request, *descriptors)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:  # never back into the template
        os._exit(code)


def _call(called: list[str], descriptor: int) -> None:
    """The function of the descriptor, in a process that ends with the template."""
    _tie(BESIDE_NAME)
    gc.freeze()
    gc.enable()
    module, function = called
    getattr(importlib.import_module(module), function)(descriptor)


def _tie(name: bytes) -> None:
    """Have a fork end with the process that it is a fork of, and be listed by this name."""
    from lib.kernel_start import tie_to

    tie_to(os.getppid())
    _name_process(name)


def _become_kernel(request: dict[str, Any], output: int, *drawers: int) -> None:
    """What a process started afresh has: environment, folder, arguments and output of its own; and who draws for it."""
    from lib.drawing import DRAWERS_VARIABLE
    from lib.kernel_start import run_kernel

    os.environ.clear()
    os.environ.update(request["environment"], **{DRAWERS_VARIABLE: ",".join(map(str, drawers))})
    for drawer in drawers:
        os.set_inheritable(drawer, False)
    _tie(KERNEL_NAME)
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


def _name_process(name: bytes) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    main()
