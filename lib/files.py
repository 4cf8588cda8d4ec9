"""Files that are whole or absent: hashed, synced and renamed, never half written."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 20
TEMPORARY_PREFIX = ".tmp-"
SYNC_SECONDS = 0.1


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries durable (a rename survives a power cut only after this)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def synced_behind(handle: int) -> Iterator[None]:
    """While the block writes a file, the disk takes in what is written: the sync at its end has less to wait for.

    Raises what a sync raises: the system tells a failure once, so that the one at the end would not raise it again."""
    done, failed = threading.Event(), list[OSError]()

    def sync() -> None:
        try:
            while not done.wait(SYNC_SECONDS):
                os.fsync(handle)
        except OSError as error:
            failed.append(error)

    behind = threading.Thread(target=sync, daemon=True)
    behind.start()
    try:
        yield
    finally:
        done.set()
        behind.join()
    for error in failed:
        raise error


@contextmanager
def whole_file(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A binary stream whose content appears at `path` only when the block ends well: temporary name, fsync, rename."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def json_text(content: Any) -> bytes:
    """JSON that a person can read and a diff can compare: sorted as given, indented, final newline."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, content: Any, mode: int = 0o600) -> None:
    """Write the content as `json_text` has it."""
    with whole_file(path, mode) as stream:
        stream.write(json_text(content))


def read_json(path: Path) -> Any:
    """The JSON in `path`; ValueError when it is not JSON, OSError when it cannot be read."""
    return json.loads(path.read_bytes())


def append_line(path: Path, content: Any) -> None:
    """Append one JSON line and sync it. A line torn by a crash has no newline and is not read as an entry."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if os.fstat(handle).st_size and not _ends_with_newline(path):
            os.write(handle, b"\n")
        os.write(handle, json.dumps(content, ensure_ascii=False).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> list[Any]:
    """The JSON entries of a file written by `append_line`, oldest first; none when the file is missing."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:  # a line torn by a crash: what it announced never took effect
            continue
    return entries


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
