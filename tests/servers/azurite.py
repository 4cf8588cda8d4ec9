"""An Azure Blob Storage of the tests' own: Azurite on loopback, with one account and one container.

It checks signatures and holds If-None-Match as the real one does; it has no roles, policies or delays, and no
hierarchical names. The driver is in an environment of its own, as on a machine that installed the extra.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.npm import npm
from tests.servers.environment import HERE, let_import, made, made_once, own_name
from tests.servers.listening import HOST, free_port, wait_until_it_listens

ACCOUNT, CONTAINER = "clinictests", "clinic"
KEY = base64.b64encode(b"CANARY-account-key").decode()


def store_url(folder: Path) -> str:
    """The URL of a test's data folder: a prefix of its own."""
    return f"abfs://{CONTAINER}/{own_name(folder)}"


def connection_string(port: int, key: str = KEY) -> str:
    """What tells the driver where the server is and who asks."""
    place = f"http://{HOST}:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={place};"


@contextmanager
def running_azurite(folder: Path) -> Iterator[int]:
    """While the block lasts, the server runs, and the driver can be imported and finds it, here and in processes that
    begin here; its port. Its files are in `folder`."""
    port = free_port()
    words = ["--silent", "--skipApiVersionCheck", "--blobHost", HOST, "--blobPort", str(port), "--location", folder]
    process = subprocess.Popen(
        ["node", _program(), *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
    )  # fmt: skip
    try:
        wait_until_it_listens(process, port)
        with pytest.MonkeyPatch.context() as patch:
            let_import(patch, made("abfs"))
            patch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(port))
            import fsspec

            fsspec.filesystem("abfs", skip_instance_cache=True).mkdir(CONTAINER)
            yield port
    finally:
        process.kill()
        process.wait()


def _program() -> Path:
    """Azurite's script, from npm by a hashed lock, fetched once."""
    source = HERE / "azurite"

    def install(half: Path) -> None:
        shutil.copytree(source, half)
        done = npm("ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=half)
        if done.returncode:
            raise RuntimeError(f"npm does not get Azurite: {done.stderr.decode()[-500:]}")

    folder = made_once("azurite", (source / "package-lock.json").read_bytes(), install)
    return folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
