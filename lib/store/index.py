"""What a working copy and its store had in common when they were last brought together: one entry an object, in a file
that the processes of one run take turns with."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.files import read_json, write_json

FILE_NAME = ".store.json"
LOCK_NAME = ".store.lock"


@dataclass
class Index:
    """`objects`: key → the object's tag and size, and the file's size and time when they were the same (null for a file
    that is fetched when it is wanted, or has gone on). `appended`: key of a file that is only appended to → its bytes
    in the store. `given`: key → SHA-256 of all that the store was asked to take, until it is known what it has."""

    path: Path
    objects: dict[str, list[Any]] = field(default_factory=dict)
    appended: dict[str, int] = field(default_factory=dict)
    given: dict[str, list[str]] = field(default_factory=dict)

    def agree(self, key: str, tag: tuple[str, int], path: Path | None) -> None:
        """The object and the file are the same now."""
        status = path.stat() if path else None
        self.objects[key] = [*tag, *((status.st_size, status.st_mtime_ns) if status else (None, None))]
        self.given.pop(key, None)

    def give(self, digests: Mapping[str, str]) -> None:
        """Note what the store is about to be asked to take, before it is: a process that dies knows of no answer. What
        was asked before stays noted, as this may never come there."""
        for key, digest in digests.items():
            if digest not in self.given.setdefault(key, []):
                self.given[key].append(digest)
        self.write()

    def write(self) -> None:
        """Write the index to its file."""
        write_json(self.path, {"objects": self.objects, "appended": self.appended, "given": self.given})

    def tag(self, key: str) -> tuple[str, int] | None:
        """The object's tag when it was last seen."""
        known = self.objects.get(key)
        return (known[0], known[1]) if known else None

    def is_published(self, key: str, path: Path) -> bool:
        """Whether the file is what the store was given or gave."""
        status = path.stat()
        return self.objects.get(key, [])[2:] == [status.st_size, status.st_mtime_ns]


@contextmanager
def open_index(folder: Path) -> Iterator[Index]:
    """The index for a block, alone; written when it ends, also badly: what agreed by then agrees."""
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        index = _read(folder / FILE_NAME)
        before = (dict(index.objects), dict(index.appended))
        try:
            yield index
        finally:
            if (index.objects, index.appended) != before:
                index.write()
    finally:
        os.close(handle)


def _read(path: Path) -> Index:
    """A missing or broken index is an empty one: everything is fetched again."""
    try:
        content = read_json(path)
        return Index(path, dict(content["objects"]), dict(content["appended"]), dict(content.get("given", {})))
    except (OSError, ValueError, KeyError, TypeError):
        return Index(path)
