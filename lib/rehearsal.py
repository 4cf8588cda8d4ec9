"""A rehearsal: the pipeline's stages in this process, on a copy of the tables, in a folder that is removed at the end.

Nothing outside that folder is written or locked. The warehouse is copied whole while others may write; snapshots are
read where they lie, by links; what is new (snapshots, ledger lines, staging, run records) goes into the folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lib import extract, load, stage, validate
from lib.deliveries import ledger_file, read_ledger
from lib.interrupts import Terminated
from lib.layout import Layout
from lib.manifest import FILE_NAME
from lib.run import Run
from lib.warehouse import copy_of_warehouse, extent

PREFIX = "patient-visits-"
HELD = "held"
"""A file in the scratch folder that its process holds locked."""
ABANDONED_SECONDS = 3600


@contextmanager
def scratch_layout(layout: Layout) -> Iterator[Layout]:
    """A layout of its own folder (0700, in the system's folder for temporary files) with `layout`'s raw and records.

    It has no warehouse yet: `copy_warehouse` gives it one. The folder is removed when the block ends, however it ends;
    one that was left by a process that was killed is removed by the next.
    """
    os.umask(0o077)
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder, _termination_unwinds():
        held = os.open(Path(folder) / HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            scratch = layout.like(Path(folder).resolve())
            scratch.create()
            _link_raw(layout, scratch)
            _link_records(layout, scratch)
            yield scratch
        finally:
            os.close(held)


def copy_warehouse(layout: Layout, scratch: Layout) -> None:
    """Copy the warehouse as of one instant; nothing when there is none. Raises StoredDataChanged, TemporaryFailure."""
    if layout.is_blank_file:
        scratch.warehouse.touch()
    elif extent(layout):
        copy_of_warehouse(layout, scratch.warehouse)


def rehearse(run: Run) -> str:
    """Everything that notebooks 01 to 04 do with a run that has begun; the gate's word. Raises what they raise."""
    offers = extract.look_at_source(run)
    extract.take_deliveries(run, offers)
    extract.choose_run_batch(run, offers)
    stage.stage_batch(run)
    decision = validate.require_gate(run, validate.judge_batch(run))
    load.load_visits(run)
    return decision


def _remove_abandoned() -> None:
    """Scratch folders whose process is gone: nobody holds them, and they are not just being made."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid() or time.time() - folder.stat().st_mtime < ABANDONED_SECONDS:
                continue
            held = os.open(folder / HELD, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(held)


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """SIGTERM ends the block like Ctrl-C, so that the folder goes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _link_raw(layout: Layout, scratch: Layout) -> None:
    """Each source's ledger as a copy, to which a rehearsal may append; its snapshots as links."""
    layout.fetch_snapshots()
    folders = [each for each in layout.raw.iterdir() if each.is_dir()] if layout.raw.is_dir() else []
    for folder in folders:
        ledger = ledger_file(layout, folder.name)
        if not ledger.exists():
            continue
        (scratch.raw / folder.name).mkdir(mode=0o700)
        shutil.copyfile(ledger, ledger_file(scratch, folder.name))
        for name in {each.snapshot for each in read_ledger(scratch, folder.name)}:
            if (folder / name).exists():
                (scratch.raw / folder.name / name).symlink_to((folder / name).resolve())


def _link_records(layout: Layout, scratch: Layout) -> None:
    """The journal of decisions as a copy; every run's folder with a link to its manifest: a new run id goes on."""
    if layout.decisions.exists():
        shutil.copyfile(layout.decisions, scratch.decisions)
    for run_id in layout.run_ids():
        scratch.record(run_id).mkdir(mode=0o700)
        manifest = layout.record(run_id) / FILE_NAME
        if manifest.exists():
            (scratch.record(run_id) / FILE_NAME).symlink_to(manifest.resolve())
