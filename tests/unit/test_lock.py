"""One run at a time: the second is told who holds the warehouse, and a dead holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.errors import WarehouseLocked
from lib.lock import hold_file

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from lib.lock import hold_file
with hold_file(Path(sys.argv[1]), "a long run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_holder_is_told_of_the_first_and_gets_its_turn(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "warehouse.db.lock"
    with hold_file(lock, "the first run"):
        words = rf"the first run, process {os.getpid()} of .* since 20.*run again"
        with pytest.raises(WarehouseLocked, match=words), hold_file(lock, "the second"):
            pytest.fail("two hold it")
        assert "the first run" in lock.read_text()  # the one turned away wrote nothing
    with hold_file(lock, "the second"):
        assert "the second" in lock.read_text() and "first" not in lock.read_text()
    assert lock.stat().st_mode & 0o777 == 0o600


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(RuntimeError), hold_file(lock, "a run"):
        raise RuntimeError
    with hold_file(lock, "the next"):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\xfe"])
def test_a_lock_file_that_says_nothing_sensible_still_locks(tmp_path: Path, content: bytes) -> None:
    lock = tmp_path / "lock"
    with hold_file(lock, "a run"):
        lock.write_bytes(content)
        with pytest.raises(WarehouseLocked, match="holder unknown"), hold_file(lock, "another"):
            pytest.fail("two hold it")


def test_a_killed_holder_frees_it_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(WarehouseLocked, match=rf"a long run, process {holder.pid}"), hold_file(lock, "mine"):
            pytest.fail("two hold it")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    began = time.monotonic()
    with hold_file(lock, "mine"):
        assert time.monotonic() - began < 1
