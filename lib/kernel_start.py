"""The first thing that runs in the pipeline's kernels; a script, run with `-P`, whose arguments are ipykernel's own.
A kernel forked from a template (lib/template_start.py) comes in by `run_kernel`.

It ties the kernel's life to its parent's, opens no port, hides values from the first cell on, and then is an ordinary
IPython kernel.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

TIED_VARIABLE = "PATIENT_VISITS_TIED"
"""Environment: not empty when the system may kill this kernel as soon as the thread that started it ends."""

ROOT = str(Path(__file__).resolve().parent.parent)
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the system kill this process with its parent. Elsewhere than on Linux, ipykernel's own look at its parent,
    once a second, must do."""
    if sys.platform != "linux" or not os.environ.get(TIED_VARIABLE):
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(os.environ.get("JPY_PARENT_PID", "0")):  # it died before the call
        os._exit(1)


def tie_to(parent: int) -> None:
    """Have the system kill this process, a fork of `parent`, with it."""
    os.environ.update({TIED_VARIABLE: "1", "JPY_PARENT_PID": str(parent)})
    die_with_parent()


def _open_no_port(folder: Path) -> None:
    """Have what forked processes print come by a unix socket too: for that alone ipykernel listens on a TCP port."""
    import zmq
    from ipykernel.iostream import IOPubThread
    from zmq.eventloop.zmqstream import ZMQStream

    address = f"ipc://{folder / 'k-f'}"

    def listen(thread: Any) -> None:
        thread._pipe_uuid = os.urandom(16)
        pipe = thread.socket.context.socket(zmq.PULL)
        pipe.linger = 0
        pipe.bind(address)
        thread._pipe_in = ZMQStream(pipe, thread.io_loop)
        thread._pipe_in.on_recv(thread._handle_pipe_msg)

    def connect(_: Any) -> tuple[Any, Any]:
        context = zmq.Context()  # of its own: the process was forked
        pipe = context.socket(zmq.PUSH)
        pipe.linger = 3000
        pipe.connect(address)
        return context, pipe

    IOPubThread._setup_pipe_in = listen  # type: ignore[method-assign]
    IOPubThread._setup_pipe_out = connect  # type: ignore[method-assign]


def leave_out_unused() -> None:
    """As if not installed: what IPython and DuckDB import, a tenth of a second each, to debug and to draw a bar of how
    far a query is. Nobody is there to do the one or see the other."""
    for name in ("debugpy", "ipywidgets"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def run_kernel() -> None:
    """Be an IPython kernel, by the arguments in `sys.argv`, until it is shut down."""
    _open_no_port(Path(sys.argv[sys.argv.index("-f") + 1]).parent)
    leave_out_unused()
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize()  # type: ignore[no-untyped-call]
    if ROOT not in sys.path:
        sys.path.append(ROOT)
    from lib.confidential import LOG_VARIABLE, guard_kernel

    guard_kernel(Path(os.environ[LOG_VARIABLE]))
    app.start()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    die_with_parent()
    run_kernel()
