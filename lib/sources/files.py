"""Files as a source: what a file, a folder or a pattern offers, and each file's bytes, taken while they hold still."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.config import ROOT, resolve
from lib.deliveries import Delivery
from lib.errors import DeliveryRefused
from lib.files import CHUNK_BYTES, synced_behind


@dataclass(frozen=True)
class FileOffer:
    """One file that the source offers now. `key` is its path in the ledger."""

    path: Path
    key: str

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def bytes(self) -> int | None:
        return self.path.stat().st_size if self.path.exists() else None

    def is_still(self, last: Delivery) -> bool:
        """Whether the path still holds its last delivery: by size first, by hash when the size is the same."""
        with _open_regular(self.path) as handle:
            if os.fstat(handle).st_size != last.bytes:
                return False
            digest = hashlib.sha256()
            while chunk := os.read(handle, CHUNK_BYTES):
                digest.update(chunk)
            return digest.hexdigest() == last.sha256

    def copy_to(self, copy: Path) -> tuple[str, int]:
        """Copy a file that holds still, hashing on the way: its SHA-256 and size. One that moves is read once more.

        Raises DeliveryRefused: not a regular file, cannot be read, empty, changed twice while it was read.
        """
        for _ in range(2):
            with _open_regular(self.path) as handle, copy.open("wb") as stream:
                before, digest, size = _fingerprint(handle), hashlib.sha256(), 0
                with synced_behind(stream.fileno()):
                    while chunk := os.read(handle, CHUNK_BYTES):
                        digest.update(chunk)
                        size += len(chunk)
                        stream.write(chunk)
                stream.flush()
                os.fchmod(stream.fileno(), 0o400)
                os.fsync(stream.fileno())
                if _fingerprint(handle) == before and size == before[0]:
                    if not size:
                        raise DeliveryRefused(f"{self.name}: is empty (0 bytes); deliver it again.")
                    return digest.hexdigest(), size
            copy.unlink()
        raise DeliveryRefused(f"{self.name}: changed twice while it was read; deliver under another name, then rename.")


def list_offers(source_path: str) -> list[FileOffer]:
    """The files of a file, folder or glob, in name order. Raises DeliveryRefused when a named file is not there.

    A folder offers its files, not its subfolders; names that begin with a dot are somebody's unfinished writing.
    """
    path = resolve(source_path)
    if any(mark in source_path for mark in "*?[") and not path.exists():
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute)
        return [_offer(each) for each in found if not each.is_dir()]
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if not each.name.startswith("."))
        return [_offer(each) for each in found if not each.is_dir()]
    return [_offer(path)]


def ledger_key(path: Path) -> str:
    """A path as the ledger names it: relative to the project if inside."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 (links stay links)
    return str(absolute.relative_to(ROOT)) if absolute.is_relative_to(ROOT) else str(absolute)


def _offer(path: Path) -> FileOffer:
    return FileOffer(path, ledger_key(path))


@contextmanager
def _open_regular(path: Path) -> Iterator[int]:
    """A descriptor of a regular file. Looks before and after it opens, without waiting: a FIFO would hang a reader."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DeliveryRefused(
                f"{path.name}: is not a regular file; name a file, a folder or a glob under 'source'."
            )
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        what = "is a broken link" if path.is_symlink() else "does not exist"
        raise DeliveryRefused(f"{path.name}: {what}; check source.path in the config, or --source.") from None
    except OSError as error:
        raise DeliveryRefused(f"{path.name}: cannot be read ({os.strerror(error.errno or 0)}).") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DeliveryRefused(f"{path.name}: is not a regular file; it changed while it was opened.")
        yield handle
    finally:
        os.close(handle)


def _fingerprint(handle: int) -> tuple[int, int, int]:
    status = os.fstat(handle)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
