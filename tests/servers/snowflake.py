"""A Snowflake of the tests' own: fakesnow's server on loopback, one for all tests of a session.

It keeps tables and transactions as DuckDB does, a session for each connection. It has no roles, locks, costs or time
limits, and takes statements that the real one refuses; tests/warehouses/test_statements.py parses each strictly.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.environment import HERE, let_import, made, own_name
from tests.servers.listening import HOST, free_port, wait_until_it_listens

WAREHOUSE_URL = "snowflake://clinic-test/clinic"


def schema_url(folder: Path) -> str:
    """The URL of the warehouse of a test's folder: a schema of its own."""
    return f"{WAREHOUSE_URL}?schema={own_name(folder)}"


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
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        let_import(patch, packages)
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
            wait_until_it_listens(process, port)
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def snowflake_warehouses() -> Iterator[Emulator]:
    """For one module: its driver would be in the way of others' imports, on the path of every process."""
    with running_snowflake() as server:
        yield server
