"""A port for a server of the tests' own, and the wait until it listens there."""

from __future__ import annotations

import socket
import subprocess
import time

HOST = "127.0.0.1"
START_SECONDS = 90


def free_port() -> int:
    """One that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the process takes connections. Raises RuntimeError when it ends or takes too long."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection((HOST, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing listens at port {port}: {process.args!r}")
