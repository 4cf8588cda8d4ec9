"""The journal's chain: lines that are appended, never changed, each bound to the one before by that one's SHA-256.

A line is one JSON object. Its first key is the time; its last ones are `previous_sha256`, the SHA-256 of the line
before (null in the first), and `sha256`, its own without that key. An edit, a deletion, an insertion or another order
breaks the chain where it happened (lib/standalone.py finds it); a tail that was cut off is missed by the head that
every run's manifest keeps. Entries written before there was a chain stand at the beginning, held by the first chained
one. The journal of decisions is one such file, the anchor another.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.errors import TemporaryFailure
from lib.standalone import digest, whole_lines

WAIT_SECONDS, WAIT_STEP = 10.0, 0.05


@dataclass(frozen=True)
class Head:
    """How far a journal reaches: its entries, and the SHA-256 of the last one's line (None when there is none)."""

    entries: int
    sha256: str | None


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Append an entry to the chain and sync it; two writers take turns. Its first key must be `time`.

    A line that a crash left torn is ended, and the chain goes on from the last whole one. Raises TemporaryFailure when
    another writer holds the journal for long, OSError when it cannot be written; then it is as it was.
    """
    append_entries(path, [entry])


def append_entries(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Append several entries at once; see `append_entry`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _take_turn(handle, path.name)
        before = _read_all(handle)
        whole = whole_lines(before)
        previous = whole[-1].sha256 if whole else None
        lines = b"" if not before or before.endswith(b"\n") else b"\n"
        for entry in entries:
            body = json.dumps({**entry, "previous_sha256": previous}, ensure_ascii=False)
            line = f'{body[:-1]}, "sha256": "{digest(body.encode())}"}}'.encode()
            lines, previous = lines + line + b"\n", digest(line)
        try:
            if os.write(handle, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, len(before))  # what was not wholly written is no entry
            raise
    finally:
        os.close(handle)


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Every entry, oldest first; none when there is no journal. A torn line is none: what it announced never was."""
    return [each.entry for each in whole_lines(_content(path))]


def journal_head(path: Path) -> Head:
    """How far the journal reaches now."""
    whole = whole_lines(_content(path))
    return Head(len(whole), whole[-1].sha256 if whole else None)


def _take_turn(handle: int, name: str) -> None:
    for _ in range(round(WAIT_SECONDS / WAIT_STEP)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(WAIT_STEP)
    raise TemporaryFailure(f"{name}: another program holds the journal; run again later.")


def _read_all(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
