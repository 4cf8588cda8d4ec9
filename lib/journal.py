"""The journal's chain: lines that are appended, never changed, each bound to the one before by that one's SHA-256.

A line is one JSON object. Its first key is the time; its last ones are `previous_sha256`, the SHA-256 of the line
before (null in the first), and `sha256`, its own without that key. An edit, a deletion, an insertion or another order
breaks the chain where it happened; a tail that was cut off is missed by the head that every run's manifest keeps.
Entries written before there was a chain stand at the beginning, held by the first chained one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.errors import TemporaryFailure

BEGINNING = b'{"time": "'
WHOLE = re.compile(rb'(\{.*), "sha256": "([0-9a-f]{64})"\}')
NOT_BOUND = "does not follow the entry before it: one was edited, deleted, inserted or moved there"
WAIT_SECONDS, WAIT_STEP = 10.0, 0.05


@dataclass(frozen=True)
class Line:
    """One whole line of the journal: its number, its entry, and whether it is what was written."""

    number: int
    entry: dict[str, Any]
    sha256: str
    sound: bool
    chained: bool


@dataclass(frozen=True)
class Break:
    """Where the journal is not what was written: line number, decision if it can be told, what is wrong."""

    number: int
    decision: str | None
    what: str


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
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _take_turn(handle)
        before = _read_all(handle)
        whole = _whole_lines(before)
        body = json.dumps({**entry, "previous_sha256": whole[-1].sha256 if whole else None}, ensure_ascii=False)
        line = f'{body[:-1]}, "sha256": "{_digest(body.encode())}"}}\n'.encode()
        text = line if not before or before.endswith(b"\n") else b"\n" + line
        try:
            if os.write(handle, text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, len(before))  # what was not wholly written is no entry
            raise
    finally:
        os.close(handle)


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Every entry, oldest first; none when there is no journal. A torn line is none: what it announced never was."""
    return [each.entry for each in _whole_lines(_content(path))]


def journal_head(path: Path) -> Head:
    """How far the journal reaches now."""
    whole = _whole_lines(_content(path))
    return Head(len(whole), whole[-1].sha256 if whole else None)


def head_after(path: Path, entries: int) -> str | None:
    """The SHA-256 of the line of the given entry (1 the first); None where the journal does not reach so far."""
    whole = _whole_lines(_content(path))
    return whole[entries - 1].sha256 if 0 < entries <= len(whole) else None


def find_breaks(path: Path) -> list[Break]:
    """Every place where the journal is not what was written, by line number."""
    content = _content(path)
    whole = _whole_lines(content)
    breaks = [Break(number, None, "is no entry (any more)") for number in _strange_lines(content, whole)]
    previous, chained = None, False
    for line in whole:
        named = line.entry.get("decision")
        decision = named if isinstance(named, str) else None
        if not line.sound:
            breaks.append(Break(line.number, decision, "was edited"))
        elif line.chained and line.entry.get("previous_sha256") != previous:
            breaks.append(Break(line.number, decision, NOT_BOUND))
        elif chained and not line.chained:
            breaks.append(Break(line.number, decision, "is bound to no entry: it was inserted"))
        previous, chained = line.sha256, chained or line.chained
    return sorted(breaks, key=lambda each: each.number)


def _take_turn(handle: int) -> None:
    for _ in range(round(WAIT_SECONDS / WAIT_STEP)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(WAIT_STEP)
    raise TemporaryFailure("decisions.jsonl: another program holds the journal of decisions; run again later.")


def _read_all(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0)


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _whole_lines(content: bytes) -> list[Line]:
    """The lines that hold an entry, by line number from 1. What cannot be read as one is left out."""
    lines = []
    for number, text in enumerate(content.split(b"\n"), 1):
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        found = WHOLE.fullmatch(text)
        chained = "previous_sha256" in entry or "sha256" in entry
        sound = not chained or bool(found and _digest(found[1] + b"}") == found[2].decode())
        lines.append(Line(number, entry, _digest(text), sound, chained))
    return lines


def _strange_lines(content: bytes, whole: list[Line]) -> list[int]:
    """The numbers of lines that hold no entry, but for those that a crash left torn: the beginning of an entry, at the
    tail without a line end, or ended by the entry that came next."""
    lines = content.split(b"\n")
    entries = {each.number for each in whole}
    last = max(entries, default=0)
    strange = []
    for number, text in enumerate(lines, 1):
        is_tail = number == len(lines)
        if number in entries or (is_tail and not text):
            continue
        begins = bool(text) and (text.startswith(BEGINNING) or BEGINNING.startswith(text))
        if not (begins and not WHOLE.match(text) and (is_tail or number < last)):
            strange.append(number)
    return strange
