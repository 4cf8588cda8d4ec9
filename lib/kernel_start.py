"""The first thing that runs in the pipeline's kernels; a script, run with `-P`, whose arguments are ipykernel's own.

It ties the kernel's life to its parent's, hides values from the first cell on, and then is an ordinary IPython kernel.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

TIED_VARIABLE = "PATIENT_VISITS_TIED"
"""Environment: not empty when the system may kill this kernel as soon as the thread that started it ends."""

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Have the system kill this process with its parent. Elsewhere than on Linux, ipykernel's own look at its parent,
    once a second, must do."""
    if sys.platform != "linux" or not os.environ.get(TIED_VARIABLE):
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(os.environ.get("JPY_PARENT_PID", "0")):  # it died before the call
        os._exit(1)


def main() -> None:
    _die_with_parent()
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize()  # type: ignore[no-untyped-call]
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from lib.confidential import LOG_VARIABLE, guard_kernel

    guard_kernel(Path(os.environ[LOG_VARIABLE]))
    app.start()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
