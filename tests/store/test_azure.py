"""The data folder on Azure, by the real command: what S3 is asked in full, this is asked in short."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.store.address import read_store_address
from lib.store.objects import Objects
from tests.pipeline.clinic import Clinic, row
from tests.servers.azurite import KEY, connection_string, running_azurite, store_url
from tests.store.conftest import move_to
from tests.store.test_objects import test_an_object_is_created_once, test_what_is_written_is_listed_and_read

__all__ = ["test_an_object_is_created_once", "test_what_is_written_is_listed_and_read"]


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as port:
        yield port


@pytest.fixture
def objects(tmp_path: Path, azurite: int) -> Objects:
    return Objects(read_store_address(store_url(tmp_path)))


def test_a_wrong_key_is_a_usage_error_that_does_not_show_it(
    objects: Objects, azurite: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "b3RoZXI="
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(azurite, key=wrong))
    with pytest.raises(UsageError, match="refuses access; give credentials") as told:
        Objects(objects.address).write("a", b"one")
    assert "\n" not in str(told.value) and wrong not in str(told.value) and KEY not in str(told.value)


def test_runs_go_on_from_the_store_alone(tmp_path: Path, azurite: int, monkeypatch: pytest.MonkeyPatch) -> None:
    move_to(tmp_path / "here", monkeypatch)
    clinic = Clinic(tmp_path, kind="sqlite", store=store_url(tmp_path))
    clinic.deliver([row("V1"), row("V2")])
    assert clinic.command("run").returncode == 0
    shutil.rmtree(tmp_path / "here")
    move_to(tmp_path / "there", monkeypatch)
    clinic.deliver([row("V3", last_updated="2025-03-02T00:00:00Z")])
    assert clinic.command("run").returncode == 0
    assert clinic.facts().keys() == {"V1", "V2", "V3"}
    said = clinic.command("verify")
    assert said.returncode == 0, said.stderr
    objects = Objects(read_store_address(str(clinic.store)))
    snapshots = [key for key in objects.tags("raw/clinic") if key.endswith(".csv")]
    assert len(snapshots) == 2
    objects.write(snapshots[0], b"changed")
    shutil.rmtree(tmp_path / "there")
    move_to(tmp_path / "elsewhere", monkeypatch)
    assert clinic.command("run", "--full-refresh").returncode == 6
