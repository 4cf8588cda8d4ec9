"""Notices files that come, or change, where a source offers them: whole ones, not those that are being written."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lib.config import resolve
from lib.errors import DeliveryRefused
from lib.sources.files import list_offers

Fingerprint = tuple[int, int, int]
"""Bytes, nanoseconds of the last change, inode."""

POLL_SECONDS = 0.5
"""How often the source is looked at, whatever the system tells: it tells nothing of network folders."""

REST_SECONDS = 2.0
"""How long a file must have stayed as it is, where nothing is told of it."""

_CLOSE_WRITE, _MOVED_TO, _MODIFY = 0x8, 0x80, 0x2
_EVENT = struct.Struct("iIII")


class Arrivals:
    """The files that `source_path` (a file, a folder, a pattern) offers, watched while the block lasts.

    A file is whole when the system says that its writer closed it or that it was renamed; where the system says
    nothing, when it has not changed for a while.
    """

    def __init__(self, source_path: str) -> None:
        self._source_path = source_path
        self._known: dict[str, Fingerprint] = {}
        self._seen: dict[str, tuple[Fingerprint, float]] = {}
        self._closed: set[str] = set()
        self._events = _listen(_folder_of(resolve(source_path)))

    def whole(self) -> dict[str, Fingerprint]:
        """The files that came or changed since they were `taken`, as soon as all of them are whole; else none."""
        found, now = self._look(), time.monotonic()
        before, self._seen = self._seen, {}
        for path, print in found.items():
            seen = before.get(path)
            self._seen[path] = seen if seen and seen[0] == print else (print, now)
        new = {path: print for path, print in found.items() if self._known.get(path) != print}
        at_rest = {path for path in new if path in self._closed or now - self._seen[path][1] >= REST_SECONDS}
        return new if at_rest == set(new) else {}

    def taken(self, files: dict[str, Fingerprint]) -> None:
        """These files, as they were then, are no news any more."""
        self._known |= files
        self._closed -= set(files)

    def wait(self, stopped: Callable[[], bool]) -> None:
        """Until something happens in the folder, `POLL_SECONDS` are over or `stopped` says so."""
        end = time.monotonic() + POLL_SECONDS
        while (left := end - time.monotonic()) > 0 and not stopped():
            if self._events is None:
                time.sleep(min(left, 0.1))
            elif select.select([self._events], [], [], left)[0]:
                self._read_events(self._events)
                return

    def _look(self) -> dict[str, Fingerprint]:
        found = {}
        with suppress(DeliveryRefused):  # a named file that is not there: nothing has come
            for offer in list_offers(self._source_path):
                with suppress(OSError):
                    status = offer.path.stat()
                    found[str(offer.path)] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found

    def _read_events(self, events: int) -> None:
        folder = _folder_of(resolve(self._source_path))
        with suppress(BlockingIOError):
            told = os.read(events, 1 << 16)
            while told:
                _, mask, _, size = _EVENT.unpack_from(told)
                path = str(folder / os.fsdecode(told[_EVENT.size : _EVENT.size + size].rstrip(b"\0")))
                if mask & (_CLOSE_WRITE | _MOVED_TO):
                    self._closed.add(path)
                elif mask & _MODIFY:
                    self._closed.discard(path)
                told = told[_EVENT.size + size :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events is not None:
            os.close(self._events)


def _folder_of(path: Path) -> Path:
    """The folder in which files come: the path itself, or the last one before a name or a pattern."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _listen(folder: Path) -> int | None:
    """A descriptor of the system's notices about a folder (inotify); None where there are none."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    events: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if events < 0:
        return None
    if library.inotify_add_watch(events, os.fsencode(folder), _CLOSE_WRITE | _MOVED_TO | _MODIFY) < 0:
        os.close(events)
        return None
    return events
