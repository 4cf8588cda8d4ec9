"""Raw: what a source offers, taken as deliveries, kept byte for byte as snapshots."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from lib.clock import file_stamp, parse_instant
from lib.config import FileFormat
from lib.deliveries import Delivery, Ledger
from lib.errors import DeliveryRefused, StoredDataChanged
from lib.files import CHUNK_BYTES, TEMPORARY_PREFIX, sha256_of_file, sync_folder
from lib.layout import Layout
from lib.sources.gzipped import GZIP_MAGIC
from lib.sources.interface import Offer


def take_delivery(
    layout: Layout,
    offer: Offer,
    ledger: Ledger,
    *,
    source: str,
    clock: str,
    run_id: str,
    kind: FileFormat = "csv",
) -> Delivery | None:
    """Keep the offered bytes in the raw layer; None when they are those of the path's last delivery.

    Bytes that are known already make a delivery without a second file. `kind` is the format that they are written in.
    Raises DeliveryRefused for a file that cannot be taken; TemporaryFailure and UsageError for a query that gave no
    result. Nothing is kept then.
    """
    last = ledger.last_of(offer.key)
    if last and offer.is_still(last):
        return None
    folder = layout.raw / source
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sequence = ledger.next_sequence
    copy = folder / f"{TEMPORARY_PREFIX}{sequence:06d}"
    try:
        sha256, size = offer.copy_to(copy)
        if last and sha256 == last.sha256:
            return None
        known = ledger.snapshot_of(sha256)
        snapshot = known or f"{sequence:06d}_{file_stamp(parse_instant(clock))}_{sha256[:12]}{_ending(copy, kind)}"
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
    if layout.store:
        layout.store.fetch(path)
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


def _ending(copy: Path, kind: FileFormat) -> str:
    """How the snapshot's name ends: its format, and .gz when the bytes are so, whatever the delivered name says."""
    with copy.open("rb") as stream:
        packed = kind != "parquet" and stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return f".{kind}.gz" if packed else f".{kind}"
