"""A Snowflake of the tests' own: fakesnow's server on loopback, one for all tests of a session.

It keeps tables and transactions as DuckDB does, a session for each connection. It has no roles, locks, costs or time
limits, and takes statements that the real one refuses; tests/warehouses/test_statements.py parses each strictly.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from tests.servers.environment import HERE, made

HOST = "127.0.0.1"
START_SECONDS = 60
WAREHOUSE_URL = "snowflake://clinic-test/clinic"


def schema_url(folder: Path) -> str:
    """The URL of the warehouse of a test's folder: a schema of its own."""
    return f"{WAREHOUSE_URL}?schema=v{sha256(bytes(folder)).hexdigest()[:16]}"


@dataclass
class Emulator:
    """A server's process and port."""

    process: subprocess.Popen[bytes]
    port: int

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_snowflake() -> Iterator[Emulator]:
    """While the block lasts, the driver can be imported and finds the server, here and in processes that begin here."""
    packages = made("snowflake")
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(packages)])))
        patch.setattr(sys, "path", [*sys.path, str(packages)])
        for name, value in {"USER": "tests", "PASSWORD": "CANARY", "HOST": HOST, "PORT": str(port)}.items():
            patch.setenv(f"SNOWFLAKE_{name}", value)
        patch.setenv("SNOWFLAKE_PROTOCOL", "http")
        patch.setenv("SNOWFLAKE_HOME", str(packages))
        process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "snowflake_emulator.py"), str(port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        server = Emulator(process, port)
        try:
            _wait(server)
            yield server
        finally:
            server.stop()


def _wait(server: Emulator) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            socket.create_connection((HOST, server.port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("fakesnow does not start")


@pytest.fixture(scope="session")
def snowflake_warehouses() -> Iterator[Emulator]:
    with running_snowflake() as server:
        yield server
