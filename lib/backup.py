"""backup: a copy of a data folder that is consistent even while a run is going on, laid out as a data folder.

No lock is taken. What makes the copy consistent is its order: which records are closed is noted first, then the
warehouse is copied as of one instant, then all that this warehouse can name (records, snapshots, decisions): each was
written before the warehouse named it, and is never changed. The whole is verified before it is given its names;
BACKUP.json comes last, and a folder without it holds no backup.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lib.clock import instant_text, now
from lib.counted import counted
from lib.deliveries import ledger_file, read_ledger, sources_held
from lib.errors import StoredDataChanged, TemporaryFailure, UsageError
from lib.files import CHUNK_BYTES, TEMPORARY_PREFIX, read_json, sha256_of_file, sync_folder, write_json
from lib.layout import Layout
from lib.manifest import FILE_NAME
from lib.provenance import actor, host
from lib.state import write_state_copy
from lib.verify import find_changes
from lib.warehouse import back_up_warehouse, extent, reading

NOTE = "BACKUP.json"
UNFINISHED = f"{TEMPORARY_PREFIX}backup"
TRIES = 5
NOT_WRITABLE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR,
    errno.ENAMETOOLONG,
}  # fmt: skip


@dataclass(frozen=True)
class Backup:
    """What a backup holds. `last_run` is the one that its warehouse ends with; `warehouse` is told where the config
    names one outside the data folder."""

    folder: Path
    deliveries: int
    snapshots: int
    records: int
    decisions: int
    bytes: int
    warehouse_version: int
    last_run: str | None
    warehouse: str | None

    @property
    def text(self) -> str:
        """In one line."""
        where = f"; look at it with --warehouse {self.warehouse}" if self.warehouse else ""
        holds = f"{counted(self.snapshots, 'snapshot')}, {counted(self.records, 'run record')}"
        return (
            f"backed up to {self.folder}: version {self.warehouse_version:,} of the tables"
            f" (last run {self.last_run or 'none'}), {holds}, "
            f"{counted(self.decisions, 'decision')}; {self.bytes / 1e6:,.1f} MB, verified{where}"
        )


class _Changed(Exception):
    """A record changed while it was copied: a run was resumed or repaired meanwhile."""


def back_up(layout: Layout, folder: Path) -> Backup:
    """Copy the data folder to `folder`, which must not exist or be empty. Staging and logs are left out.

    Raises UsageError for a folder that is not empty or lies inside the data folder, StoredDataChanged when what would
    be copied is not what it was, TemporaryFailure when there is no room; then the folder is as it was.
    """
    existed = _check_folder(layout, folder)
    building = folder / UNFINISHED
    try:
        with _plain_errors(folder):
            building.mkdir(parents=True, mode=0o700)
            folder.chmod(0o700)
            for attempt in range(TRIES):
                try:
                    backup = _copy(layout, building, folder)
                    break
                except _Changed:
                    if attempt == TRIES - 1:
                        raise TemporaryFailure(
                            f"{folder.name}: the records changed {TRIES} times while they were copied; back up again."
                        ) from None
                    shutil.rmtree(building)
                    building.mkdir(mode=0o700)
            _give_names(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        if not existed and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise
    return backup


def _check_folder(layout: Layout, folder: Path) -> bool:
    """Whether the folder exists, when it is fit for a backup."""
    if folder.resolve().is_relative_to(layout.data_dir.resolve()):
        raise UsageError(f"{folder}: lies inside the data folder; name a place outside, best on another disk.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: is not a folder; name one that does not exist or is empty.")
    if (folder / UNFINISHED).exists():
        raise UsageError(f"{folder}: holds an unfinished backup; remove it, or name another folder.")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty; name a folder that does not exist or is empty.")
    return folder.exists()


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        why = os.strerror(error.errno or 0)
        raise TemporaryFailure(f"{folder}: cannot be written ({why}); nothing was backed up.") from error


def _copy(layout: Layout, building: Path, folder: Path) -> Backup:
    layout.fetch_snapshots()
    copy = _place_of(layout, building)
    for place in (copy.raw, copy.runs, copy.state, copy.warehouse.parent):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    closed = _closed_records(layout)
    last_named = max([*closed, *_copy_warehouse(layout, copy)], default="")
    records = [each for each in layout.run_ids() if each <= last_named and (layout.record(each) / FILE_NAME).exists()]
    for run_id in records:
        _copy_record(layout, copy, run_id, closed.get(run_id))
    deliveries = sum(_copy_raw(layout, copy, source) for source in sources_held(layout))
    decisions = _copy_lines(layout.decisions, copy.decisions)
    with reading(copy) as connection:
        write_state_copy(connection, copy)
        version = connection.execute("SELECT version FROM warehouse").fetchone()[0]
        last = connection.execute("SELECT max(run_id) FROM runs").fetchone()[0]
    findings = find_changes(copy)
    if findings:
        raise StoredDataChanged(f"{findings[0].where}: {findings[0].what}; nothing was backed up; see verify.")
    files = {path.relative_to(building).as_posix(): path for path in sorted(building.rglob("*")) if path.is_file()}
    backup = Backup(
        folder=folder,
        deliveries=deliveries,
        snapshots=sum(name.startswith("raw/") and path.suffix != ".jsonl" for name, path in files.items()),
        records=len(records),
        decisions=decisions,
        bytes=sum(path.stat().st_size for path in files.values()),
        warehouse_version=version,
        last_run=last,
        warehouse=None
        if not layout.server and layout.warehouse.is_relative_to(layout.data_dir)
        else f"{copy.kind}:///{folder / copy.warehouse.name}",
    )
    write_json(building / NOTE, _note(layout, backup, files))
    return backup


def _place_of(layout: Layout, folder: Path) -> Layout:
    """The data folder that is made: its warehouse where it was within the old one; from elsewhere, where its kind
    usually is."""
    if not layout.server and layout.warehouse.is_relative_to(layout.data_dir):
        return replace(layout.like(folder), warehouse=folder / layout.warehouse.relative_to(layout.data_dir))
    return layout.like(folder)


def _closed_records(layout: Layout) -> dict[str, str]:
    """The runs whose records are closed, and each manifest's SHA-256."""
    closed = {}
    for run_id in layout.run_ids():
        path = layout.record(run_id) / FILE_NAME
        if path.exists() and read_json(path).get("ended"):
            closed[run_id] = sha256_of_file(path)
    return closed


def _copy_warehouse(layout: Layout, copy: Layout) -> set[str]:
    """Copy the warehouse as of one instant. The runs that it names."""
    if extent(layout) is None:
        raise StoredDataChanged(f"{layout.warehouse.name}: there is no warehouse yet, so there is nothing to back up.")
    back_up_warehouse(layout, copy.warehouse)
    copy.warehouse.chmod(0o600)
    _sync(copy.warehouse)
    with reading(copy) as connection:
        rows = connection.execute(
            "SELECT run_id FROM runs UNION SELECT run_id FROM deliveries WHERE run_id IS NOT NULL"
        )
        return {row[0] for row in rows if layout.record(row[0]).is_dir()}


def _copy_record(layout: Layout, copy: Layout, run_id: str, closed: str | None) -> None:
    """Copy a record; `closed` is its manifest's SHA-256, None for one that was open: of a run that has loaded and still
    writes its report, say. As long as it is open any mixture will do: the next run there closes it. Raises _Changed."""
    source, target = layout.record(run_id), copy.record(run_id)
    target.mkdir(mode=0o700)
    try:
        copied = _copy_file(source / FILE_NAME, target / FILE_NAME)
        names = {path.name for path in source.iterdir() if not path.name.startswith(TEMPORARY_PREFIX)}
        for name in sorted(names - {FILE_NAME}):
            _copy_file(source / name, target / name)
        if closed is None and not read_json(target / FILE_NAME).get("ended"):
            return
        if (closed or copied) != copied or sha256_of_file(source / FILE_NAME) != copied:
            raise _Changed
    except FileNotFoundError:  # renamed by a run that is resumed
        raise _Changed from None


def _copy_raw(layout: Layout, copy: Layout, source: str) -> int:
    """Copy a source's ledger and the snapshots that it names; how many deliveries."""
    (copy.raw / source).mkdir(mode=0o700)
    deliveries = _copy_lines(ledger_file(layout, source), ledger_file(copy, source))
    for delivery in {each.snapshot: each for each in read_ledger(copy, source)}.values():
        try:
            _copy_file(layout.raw / source / delivery.snapshot, copy.raw / source / delivery.snapshot, 0o400)
        except FileNotFoundError:
            continue  # told by the verification
    return deliveries


def _copy_lines(source: Path, target: Path) -> int:
    """Copy the whole lines of a file that others append to; how many."""
    if not source.exists():
        return 0
    content = source.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    target.write_bytes(whole)
    target.chmod(0o600)
    _sync(target)
    return whole.count(b"\n")


def _copy_file(source: Path, target: Path, mode: int = 0o600) -> str:
    """Copy a file's bytes and give it `mode`; the SHA-256 of what was written."""
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, CHUNK_BYTES)
    target.chmod(mode)
    _sync(target)
    return sha256_of_file(target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _note(layout: Layout, backup: Backup, files: dict[str, Path]) -> dict[str, object]:
    return {
        "backup_version": 1,
        "made": instant_text(now()),
        "actor": actor(),
        "host": host(),
        "of": layout.store.url if layout.store else str(layout.data_dir),
        "warehouse_version": backup.warehouse_version,
        "last_run": backup.last_run,
        "deliveries": backup.deliveries,
        "snapshots": backup.snapshots,
        "records": backup.records,
        "decisions": backup.decisions,
        "bytes": backup.bytes,
        "files": {name: sha256_of_file(path) for name, path in files.items()},
    }


def _give_names(building: Path, folder: Path) -> None:
    """Move what was built to its place, the note last: only then is it a backup."""
    for folder_made in (each for each in building.rglob("*") if each.is_dir()):
        sync_folder(folder_made)
    for path in sorted(building.iterdir(), key=lambda each: each.name == NOTE):
        path.rename(folder / path.name)
    building.rmdir()
    sync_folder(folder)
    sync_folder(folder.parent)
