"""Files that the disk takes in while they are written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lib import files
from lib.files import synced_behind
from tests.waiting import wait_for


def test_what_is_written_is_synced_while_the_block_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(files, "SYNC_SECONDS", 0.001)
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "large").open("wb") as stream:
        with synced_behind(stream.fileno()):
            wait_for(lambda: len(synced) > 2)
        assert set(synced) == {stream.fileno()}
        before = len(synced)
        with pytest.raises(KeyError), synced_behind(stream.fileno()):
            raise KeyError
    assert len(synced) - before <= 1, "nobody syncs after the block"


def test_a_sync_that_fails_is_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells the failure of what it wrote behind once per open file: a second sync would say that all is well."""
    told: list[int] = []

    def fsync(handle: int) -> None:
        told.append(handle)
        if len(told) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "SYNC_SECONDS", 0.001)
    monkeypatch.setattr(os, "fsync", fsync)
    with (tmp_path / "large").open("wb") as stream, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        with synced_behind(stream.fileno()):
            wait_for(lambda: told)
        os.fsync(stream.fileno())
