"""A BigQuery of the tests' own: bqemulator on loopback, one for all tests of a session, in an environment of its own.

It has no roles, costs, quotas or partitions, and takes statements that the real one refuses;
tests/warehouses/test_statements.py parses each strictly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.environment import let_import, made, own_name
from tests.servers.listening import HOST, free_port, wait_until_it_listens

PROJECT = "clinic-1"


def schema_url(folder: Path) -> str:
    """The URL of the warehouse of a test's folder: a dataset of its own."""
    return f"bigquery://{PROJECT}/{own_name(folder)}"


@contextmanager
def running_bigquery() -> Iterator[None]:
    """While the block lasts, the driver can be imported and finds the server, here and in processes that begin here."""
    driver, emulator = made("bigquery"), made("bigquery_emulator")
    home = Path(tempfile.mkdtemp(prefix="bq-"))
    [extension] = emulator.glob("duckdb_extension_spatial/extensions/*/spatial.duckdb_extension")
    place = home / ".duckdb" / "extensions" / extension.parent.name / "linux_amd64"
    place.mkdir(parents=True)
    shutil.copy(extension, place)
    ports = free_port(), free_port()
    words = ["start", "--rest-port", str(ports[0]), "--grpc-port", str(ports[1]), "--project", PROJECT]
    code = "import sys; from bqemulator.cli import main; main()"
    with pytest.MonkeyPatch.context() as patch:
        let_import(patch, driver)
        patch.setenv("BIGQUERY_EMULATOR_HOST", f"http://{HOST}:{ports[0]}")
        process = subprocess.Popen(
            [sys._base_executable, "-c", code, *words, "--log-level", "error"],  # type: ignore[attr-defined]
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(emulator), "HOME": str(home)},
        )  # fmt: skip
        try:
            wait_until_it_listens(process, ports[0])
            yield
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def bigquery_warehouses() -> Iterator[None]:
    """For one module: its driver would be in the way of others' imports, on the path of every process."""
    with running_bigquery():
        yield
