from __future__ import annotations

from pathlib import Path

import pytest

from lib.store import lease, objects, place
from tests.pipeline.clinic import Clinic
from tests.servers.s3 import S3Server, store_url


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def clinic(tmp_path: Path, kind: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """An empty clinic whose data folder is on S3; nothing waits long for anything."""
    monkeypatch.setattr(objects, "PAUSES", (0.01, 0.02, 0.03))
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "SILENT_SECONDS", 1.5)
    move_to(tmp_path / "here", monkeypatch)
    return Clinic(tmp_path, kind=kind, store=store_url(tmp_path))


def move_to(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process and those that it starts work as on another machine: with a copy of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    place._working_copy.cache_clear()
