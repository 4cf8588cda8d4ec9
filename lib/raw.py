"""Raw: what the source offers, taken as deliveries, kept byte for byte as snapshots."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from lib.clock import file_stamp, parse_instant
from lib.config import ROOT, resolve
from lib.deliveries import Delivery
from lib.errors import DeliveryRefused, StoredDataChanged
from lib.files import CHUNK_BYTES, TEMPORARY_PREFIX, sha256_of_file, sync_folder
from lib.layout import Layout

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Offer:
    """One file that the source offers now. `key` is its path in the ledger."""

    path: Path
    key: str


def list_offers(source_path: str) -> list[Offer]:
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


def take_delivery(
    layout: Layout, offer: Offer, ledger: list[Delivery], *, source: str, clock: str, run_id: str
) -> Delivery | None:
    """Keep the offered bytes in the raw layer; None when they are those of the path's last delivery.

    Bytes that are known already make a delivery without a second file. Raises DeliveryRefused: not a regular file,
    cannot be read, empty, changed twice while it was read.
    """
    last = next((each for each in reversed(ledger) if each.path == offer.key), None)
    if last and _same_bytes(offer, last):
        return None
    folder = layout.raw / source
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sequence = ledger[-1].sequence + 1 if ledger else 1
    copy = folder / f"{TEMPORARY_PREFIX}{sequence:06d}"
    try:
        sha256, size = _copy_stable(offer, copy)
        if last and sha256 == last.sha256:
            return None
        known = next((each.snapshot for each in ledger if each.sha256 == sha256), None)
        snapshot = known or f"{sequence:06d}_{file_stamp(parse_instant(clock))}_{sha256[:12]}{_extension(copy)}"
        if not known:
            copy.replace(folder / snapshot)
            sync_folder(folder)
    finally:
        copy.unlink(missing_ok=True)
    return Delivery(source, sequence, offer.key, sha256, size, snapshot, clock, run_id)


def check_snapshot(layout: Layout, delivery: Delivery) -> Path:
    """The snapshot's path, after hashing it again. Raises StoredDataChanged when it is gone or altered."""
    path = _snapshot(layout, delivery)
    _compare(sha256_of_file(path), delivery)
    return path


def find_snapshot(layout: Layout, delivery: Delivery, run_id: str) -> Path:
    """The snapshot's path; hashed again, unless this very run hashed it while it wrote it. Raises StoredDataChanged.

    Stage 02 hashes every byte once more as it reads it.
    """
    is_own = delivery.taken_by == run_id and delivery.snapshot.startswith(f"{delivery.sequence:06d}_")
    return _snapshot(layout, delivery) if is_own else check_snapshot(layout, delivery)


@contextmanager
def open_snapshot(layout: Layout, delivery: Delivery) -> Iterator[IO[bytes]]:
    """The snapshot's bytes, hashed as they are read. What the block made of them is good only when it ends well.

    Raises StoredDataChanged when the snapshot is gone, and at the block's end when it is altered: in place of a
    refusal too, whose words are then about bytes that nobody delivered.
    """
    with _snapshot(layout, delivery).open("rb", buffering=0) as stream:
        hashed = _Hashed(stream)
        try:
            yield cast(IO[bytes], hashed)
        except DeliveryRefused:
            _compare(hashed.sha256(), delivery)
            raise
        _compare(hashed.sha256(), delivery)


class _Hashed:
    """A file that is hashed as it is read, each byte once, however often it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._digest, self._size = stream, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        place = self._stream.tell()
        data = self._stream.read(size)
        if place <= self._size < place + len(data):
            self._digest.update(memoryview(data)[self._size - place :])
            self._size = place + len(data)
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(place, whence)

    def tell(self) -> int:
        return self._stream.tell()

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def sha256(self) -> str:
        """Of the whole file: what was not read yet is read now."""
        self._stream.seek(self._size)
        while self.read(CHUNK_BYTES):
            pass
        return self._digest.hexdigest()


def _snapshot(layout: Layout, delivery: Delivery) -> Path:
    path = layout.raw / delivery.source / delivery.snapshot
    if not path.is_file():
        raise StoredDataChanged(
            f"raw/{delivery.source}/{delivery.snapshot}: the snapshot is missing; restore it from a backup."
        )
    return path


def _compare(sha256: str, delivery: Delivery) -> None:
    if sha256 != delivery.sha256:
        raise StoredDataChanged(
            f"raw/{delivery.source}/{delivery.snapshot}: the snapshot is not what was received (its SHA-256 differs); "
            "nothing was loaded; restore it from a backup."
        )


def ledger_key(path: Path) -> str:
    """A path as the ledger names it: relative to the project if inside."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 (links stay links)
    return str(absolute.relative_to(ROOT)) if absolute.is_relative_to(ROOT) else str(absolute)


def _offer(path: Path) -> Offer:
    return Offer(path, ledger_key(path))


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


def _same_bytes(offer: Offer, last: Delivery) -> bool:
    """Whether the path still holds its last delivery: by size first, by hash when the size is the same."""
    with _open_regular(offer.path) as handle:
        if os.fstat(handle).st_size != last.bytes:
            return False
        digest = hashlib.sha256()
        while chunk := os.read(handle, CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest() == last.sha256


def _copy_stable(offer: Offer, copy: Path) -> tuple[str, int]:
    """Copy a file that holds still, hashing on the way: its SHA-256 and size. A file that moves is read once more."""
    for _ in range(2):
        with _open_regular(offer.path) as handle, copy.open("wb") as stream:
            before, digest, size = _fingerprint(handle), hashlib.sha256(), 0
            while chunk := os.read(handle, CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                stream.write(chunk)
            stream.flush()
            os.fchmod(stream.fileno(), 0o400)
            os.fsync(stream.fileno())
            if _fingerprint(handle) == before and size == before[0]:
                if not size:
                    raise DeliveryRefused(f"{offer.path.name}: is empty (0 bytes); deliver it again.")
                return digest.hexdigest(), size
        copy.unlink()
    raise DeliveryRefused(
        f"{offer.path.name}: changed twice while it was read; deliver under another name, then rename."
    )


def _extension(copy: Path) -> str:
    """The snapshot's extension: what the bytes are, not what the name says."""
    with copy.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    return ".csv.gz" if packed else ".csv"
