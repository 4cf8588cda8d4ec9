"""One run at a time per warehouse: a lock that the operating system frees when its holder dies. A warehouse on a server
has another there, for those who come from other folders and machines, and a data folder on object storage too."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.clock import now, short_instant
from lib.errors import WarehouseLocked
from lib.layout import Layout
from lib.provenance import actor, host
from lib.warehouses.choose import server_kind

HELD_BY_PARENT = "PATIENT_VISITS_RUN"
"""Set by run_pipeline.py for its kernels: the lock of this run is held by the parent. Should the parent die, a kernel
that goes on is fenced by the tables' version."""


@contextmanager
def hold_warehouse(layout: Layout, purpose: str) -> Iterator[None]:
    """Hold the warehouse for the block. Raises WarehouseLocked, naming the holder."""
    with ExitStack() as held:
        held.enter_context(hold_file(layout.lock_file, purpose))
        if layout.store:
            held.enter_context(layout.store.hold(purpose))
        if layout.server:
            held.enter_context(server_kind(layout.kind).hold_server(layout, f"{purpose}, {actor()} on {host()}"))
        yield


@contextmanager
def hold_file(lock_file: Path, purpose: str) -> Iterator[None]:
    """Hold this lock for the block. Raises WarehouseLocked, naming the holder."""
    lock_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WarehouseLocked(
                f"another run holds the warehouse ({_holder(handle)}); run again when it has ended."
            ) from None
        holder = {
            "pid": os.getpid(),
            "host": host(),
            "actor": actor(),
            "purpose": purpose,
            "since": short_instant(now()),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(holder) + "\n").encode(), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        who = f"process {holder['pid']} of {holder['actor']} on {holder['host']}"
        return f"{holder['purpose']}, {who}, since {holder['since']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "holder unknown"
