"""Faults that stand in the files before a run begins, or that a limited or read-only disk makes: one try each.

    python -m tests.faults.cases FOLDER     prints one JSON line a try

Each case spoils a clinic with a second delivery waiting, runs the command in a fork, looks, mends what a person would
have to mend, and lets a plain run heal the rest.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lib import load
from lib.errors import PipelineError
from lib.lock import HELD_BY_PARENT
from lib.run import Run
from tests.faults import here
from tests.faults.trial import Expected, Try, compare_outcomes, examine, forked, heal, prepare, run_here, say, told
from tests.faults.world import World

Spoil = Callable[[World], None]
GARBAGE = b"\x00garbage\xff" * 512


@dataclass(frozen=True)
class Case:
    """What is spoiled, how the command must end, and what a person puts back before the next run."""

    name: str
    spoil: Spoil
    exit_codes: tuple[int, ...]
    restore: str = ""
    words: tuple[str, ...] = ()
    says: str = ""


def _state(world: World) -> Path:
    return world.data_dir / "state" / "state.json"


def _write(path: Callable[[World], Path], content: bytes) -> Spoil:
    return lambda world: _put(path(world), content)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _cut(path: Callable[[World], Path]) -> Spoil:
    return lambda world: os.truncate(path(world), path(world).stat().st_size // 2)


def _append(path: Callable[[World], Path], content: bytes) -> Spoil:
    return lambda world: _put(path(world), (path(world).read_bytes() if path(world).exists() else b"") + content)


def _warehouse(world: World) -> Path:
    return world.warehouse


def _lock(world: World) -> Path:
    return world.data_dir / "warehouse.db.lock"


def _snapshot(world: World) -> Path:
    return min((world.data_dir / "raw" / "clinic").glob("*.csv"))


def _ledger(world: World) -> Path:
    return world.data_dir / "raw" / "clinic" / "deliveries.jsonl"


def _decisions(world: World) -> Path:
    return world.data_dir / "runs" / "decisions.jsonl"


def _manifest(world: World) -> Path:
    return max((world.data_dir / "runs").glob("[0-9]*")) / "manifest.json"


def _another_program_s(world: World) -> None:
    world.warehouse.unlink()
    with sqlite3.connect(world.warehouse) as other:
        other.execute("CREATE TABLE notes (text)")
    other.close()


def _flip(world: World) -> None:
    path = _snapshot(world)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def _leave_files(world: World) -> None:
    for folder in ("raw/clinic", "staging", "state", "runs", "logs", ""):
        (world.data_dir / folder / ".tmp-left").write_bytes(GARBAGE)
    (world.data_dir / "staging" / ".tmp-text").mkdir()
    (world.data_dir / "staging" / ".tmp-text" / "000001.parquet").write_bytes(GARBAGE)


CASES = (
    Case("state.json deleted", lambda world: _state(world).unlink(), (0,)),
    Case("state.json empty", _write(_state, b""), (0,)),
    Case("state.json truncated", _cut(_state), (0,)),
    Case("state.json garbage", _write(_state, GARBAGE), (0,)),
    Case("state.json from another future", _write(_state, b'{"version": 99, "watermark_last_updated": "2099"}'), (0,)),
    Case("lock file garbage", _write(_lock, GARBAGE), (0,)),
    Case("lock file of a dead holder", _write(_lock, b'{"pid": 1, "host": "x", "actor": "y", "purpose": "z"}\n'), (0,)),
    Case("database garbage", _write(_warehouse, GARBAGE), (6,), "warehouse.db"),
    Case("database of zero bytes", _write(_warehouse, b""), (6,), "warehouse.db"),
    Case("database cut in the middle", _cut(_warehouse), (6,), "warehouse.db"),
    Case("database deleted", lambda world: world.warehouse.unlink(), (6,), "warehouse.db", says="--full-refresh"),
    Case("database of another program", _another_program_s, (6,), "warehouse.db"),
    Case("snapshot with a flipped bit", _flip, (6,), "raw", ("--full-refresh",), "SHA-256"),
    Case("snapshot deleted", lambda world: _snapshot(world).unlink(), (6,), "raw", ("--full-refresh",)),
    Case("snapshot made writable", lambda world: _snapshot(world).chmod(0o600), (0,)),
    Case("a torn line in the ledger", _append(_ledger, b'{"source": "clinic", "sequ'), (0,)),
    Case("a torn line in the journal of decisions", _append(_decisions, b'{"time": "20'), (0,)),
    Case("a torn manifest", _cut(_manifest), (6,), "runs"),
    Case("temporary files left", _leave_files, (0,)),
)

LIMITS = (512, 4096, 16 << 10, 48 << 10, 96 << 10, 112 << 10)
"""File sizes (bytes) beyond which no file may grow; the warehouse of these clinics is about 100 KiB."""

ROOM = (0, 8, 32, 64, 128, 256, 512)
"""KiB left on a small disk."""


def try_case(world: World, prepared: Path, expected: Expected, case: Case) -> Try:
    """Spoil, run, look, restore, heal."""
    world.become(prepared)
    case.spoil(world)
    found = Try("a spoiled file", case.name)
    found.exit_code = run_here(world, 2, more=case.words)
    if found.exit_code not in case.exit_codes:
        found.wrong.append(f"ended with {found.exit_code}: {told(world).read_text(errors='replace')[-300:]}")
    if case.says not in told(world).read_text(errors="replace"):
        found.wrong.append(f"does not tell of {case.says}")
    if case.restore:
        _restore(world, prepared, case.restore)
    tables = world.tables()
    found.tables = "old" if tables == expected.old else "new" if tables == expected.new else "between"
    if found.tables != ("new" if found.exit_code == 0 else "old"):
        found.wrong.append(f"exit {found.exit_code} with {found.tables} tables")
    compare_outcomes(world, found, is_over=False)
    heal(world, expected, found)
    if json.loads(_state(world).read_text())["version"] < 2:
        found.wrong.append("state.json is not the warehouse's state")
    return found


def _restore(world: World, prepared: Path, name: str) -> None:
    """Put back what the case spoiled; what the run added (a record, a delivery) stays."""
    kept, path = prepared / "data" / name, world.data_dir / name
    if kept.is_dir():
        shutil.copytree(kept, path, dirs_exist_ok=True, copy_function=_copy_over)
    else:
        path.unlink(missing_ok=True)
        shutil.copy2(kept, path)


def _copy_over(kept: str, path: str) -> None:
    if Path(path).name != "deliveries.jsonl":
        with suppress(FileNotFoundError):
            Path(path).unlink()
        shutil.copy2(kept, path)


def try_limit(world: World, prepared: Path, expected: Expected, limit: int) -> Try:
    """A run none of whose files may grow beyond `limit`."""
    world.become(prepared)
    found = Try("RLIMIT_FSIZE", f"{limit:,} bytes")
    found.exit_code = run_here(world, 2, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    examine(world, expected, found)
    heal(world, expected, found)
    return found


def try_full_disk(world: World, prepared: Path, expected: Expected, room: int) -> Try:
    """A run on a small disk of its own that has `room` KiB left."""
    world.become(prepared)
    found = Try("a full disk", f"{room} KiB left")
    with _small_disk(world):
        ballast = world.data_dir / "ballast"
        status = os.statvfs(world.data_dir)
        ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - room * 1024)))
        found.exit_code = run_here(world, 2)
        examine(world, expected, found)
        ballast.unlink()
        heal(world, expected, found)
    return found


def try_read_only(world: World, prepared: Path, expected: Expected) -> Try:
    """A run on a disk that may only be read: found before any work."""
    world.become(prepared)
    found = Try("a read-only disk", "from the start")
    with _small_disk(world):
        _mount("-o", "remount,ro", world.data_dir)
        found.exit_code = run_here(world, 2)
        examine(world, expected, found)
        if len(world.manifests()) != 1:
            found.wrong.append("a record was begun")
        _mount("-o", "remount,rw", world.data_dir)
        heal(world, expected, found)
    return found


def may_mount(folder: Path) -> bool:
    """Whether a small disk can be mounted here."""
    with suppress(OSError, subprocess.CalledProcessError):
        _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
        _unmount(folder)
        return True
    return False


@contextmanager
def _small_disk(world: World) -> Iterator[None]:
    """The data folder moved onto a disk of 4 MiB."""
    moved = world.folder / "moved"
    world.data_dir.rename(moved)
    world.data_dir.mkdir(mode=0o700)
    _mount("-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", world.data_dir)
    try:
        shutil.copytree(moved, world.data_dir, dirs_exist_ok=True)
        yield
    finally:
        _unmount(world.data_dir)


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", folder], check=True, capture_output=True)


def try_locked(world: World, prepared: Path, expected: Expected) -> Try:
    """Another program has the database locked: a bounded wait, then exit 7."""
    world.become(prepared)
    found = Try("a locked database", "BEGIN EXCLUSIVE by another program")
    other = sqlite3.connect(world.warehouse, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        found.exit_code = run_here(world, 2)
    finally:
        other.close()
    examine(world, expected, found)
    heal(world, expected, found)
    return found


def try_orphan(world: World, prepared: Path, expected: Expected) -> Try:
    """A kernel whose parent died loads after a newer run did: fenced by the tables' version, it changes nothing."""
    world.become(prepared)
    found = Try("an orphaned kernel", "04 of the elder after the newer run's commit")
    found.exit_code = forked(lambda: _load_late(world))
    examine_fenced = found.exit_code == 5
    if not examine_fenced:
        found.wrong.append(f"the orphan ended with {found.exit_code}: {told(world).read_text(errors='replace')[-300:]}")
    tables = world.tables()
    found.tables = "new" if tables == expected.new else "between"
    if found.tables != "new":
        found.wrong.append("the orphan changed the tables")
    compare_outcomes(world, found, is_over=False)
    heal(world, expected, found)
    return found


def _load_late(world: World) -> None:
    here.stand_in()
    run = here.begin(world.config, world.data_dir, world.words(2)[-1])
    for name in ("01_extract", "02_stage", "03_validate"):
        here.STAGES[name](Run.existing(world.data_dir, run.run_id))
    if run_here(world, 2) != 0:
        os._exit(70)
    os.environ[HELD_BY_PARENT] = run.run_id
    try:
        load.load_visits(Run.existing(world.data_dir, run.run_id))
    except PipelineError as error:
        told(world).write_text(str(error))
        os._exit(error.exit_code)
    os._exit(0)


def try_all(folder: Path) -> None:
    """Every case once; a line a try on the standard output."""
    world, prepared = World(folder / "world"), folder / "prepared"
    expected = prepare(world, prepared)
    for case in CASES:
        say(**asdict(try_case(world, prepared, expected, case)))
    for limit in LIMITS:
        say(**asdict(try_limit(world, prepared, expected, limit)))
    if may_mount(prepared / "inbox"):
        for room in ROOM:
            say(**asdict(try_full_disk(world, prepared, expected, room)))
        say(**asdict(try_read_only(world, prepared, expected)))
    else:
        say(skipped="a full disk, a read-only disk: only root may mount a small one")
    say(**asdict(try_locked(world, prepared, expected)))
    say(**asdict(try_orphan(world, prepared, expected)))


if __name__ == "__main__":
    try_all(Path(sys.argv[1]))
