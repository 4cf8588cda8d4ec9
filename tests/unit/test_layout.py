from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lib.errors import TemporaryFailure
from lib.layout import Layout
from tests.pipeline.clinic import Clinic, row


def test_a_folder_that_cannot_be_written_is_found_before_any_work(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.deliver([row("V1")])
    assert clinic.run().exit_code == 0
    before, runs = clinic.tables(), Layout.at(clinic.data_dir, None).run_ids()
    written = Path.write_bytes

    def read_only(path: Path, content: Any) -> int:
        if path.parent.name == "raw":  # a mode says nothing to root: the disk has to
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", read_only)
    with pytest.raises(TemporaryFailure, match=r"raw: cannot be written \(Read-only file system\)"):
        Layout.at(clinic.data_dir, None).create()
    result = clinic.run()
    assert (result.exit_code, result.run) == (7, None)
    assert (clinic.tables(), Layout.at(clinic.data_dir, None).run_ids()) == (before, runs)


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)
