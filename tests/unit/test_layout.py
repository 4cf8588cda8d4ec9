from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lib.errors import TemporaryFailure, UsageError
from lib.layout import Layout, resolve_run_id
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


@pytest.fixture
def two_runs(tmp_path: Path) -> Layout:
    layout = Layout.at(tmp_path, None)
    for run_id in ("000007-20250301T000000Z", "000008-20250302T000000Z"):
        layout.record(run_id).mkdir(parents=True)
    return layout


@pytest.mark.parametrize("text", ["000008-20250302T000000Z", "8", "08", "000008", "000008-", "000008-2025"])
def test_a_run_is_meant_by_its_id_its_number_or_its_beginning(text: str, two_runs: Layout) -> None:
    assert resolve_run_id(two_runs, text) == "000008-20250302T000000Z"


@pytest.mark.parametrize(
    ("text", "said"),
    [("9", "there is no such run"), ("", "no such run"), ("../runs", "no such run"), ("٨", "no such run"),
     ("0000", "2 runs are meant"), ("8-2025", "no such run")],
)  # fmt: skip
def test_no_run_is_meant(text: str, said: str, two_runs: Layout) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_run_id(two_runs, text)


def test_more_than_one_run_is_meant(two_runs: Layout) -> None:
    two_runs.record("000008-20250305T000000Z").mkdir()
    assert resolve_run_id(two_runs, "000008-20250305") == "000008-20250305T000000Z"
    for text in ("8", "000008-"):
        with pytest.raises(
            UsageError, match="2 runs are meant, from 000008-20250302T000000Z to 000008-20250305T000000Z"
        ):
            resolve_run_id(two_runs, text)
