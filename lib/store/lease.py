"""One run at a time in a data folder on object storage, whatever machine it is on.

No store frees a lock when its holder dies, and clocks of machines differ. So a holder's object, `lease/<number>`, is
written again every few seconds as long as it lives, and whoever finds it watches, by a clock of his own, whether it
changes. Numbers only grow: to hold the lease is to have created the object of the highest number, which a store lets
one do. A holder that was believed dead and wakes up is fenced by the warehouse's version, as any orphan.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lib.clock import now, short_instant
from lib.errors import PipelineError, WarehouseLocked
from lib.provenance import actor, host
from lib.store.objects import AlreadyThere, Objects

FOLDER = "lease"
BEAT_SECONDS = 5.0
SILENT_SECONDS = 30.0
"""A holder that writes nothing for so long is dead."""


@contextmanager
def hold_lease(objects: Objects, purpose: str) -> Iterator[None]:
    """Hold the data folder for the block. Raises WarehouseLocked, naming the holder."""
    number = _next_number(objects)
    holder = {
        "purpose": purpose, "pid": os.getpid(), "machine": _machine(), "host": host(), "actor": actor(),
        "since": short_instant(now()), "beat": 0,
    }  # fmt: skip
    try:
        objects.create(_key(number), _text(holder))
    except AlreadyThere:
        raise WarehouseLocked("another run took the data folder at this moment; run again when it has ended.") from None
    with suppress(PipelineError):  # room only: the highest number is the one that counts
        for key in objects.tags(FOLDER):
            if key < _key(number):
                objects.remove(key)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(objects, _key(number), holder, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(PipelineError):  # a store that is away: the others see that nothing comes any more
            objects.write(_key(number), _text({**holder, "released": True}))


def _next_number(objects: Objects) -> int:
    """One above the highest, once nobody holds that. Raises WarehouseLocked."""
    keys = sorted(objects.tags(FOLDER))
    if not keys:
        return 1
    highest = keys[-1]
    holder = _read(objects, highest)
    if not holder.get("released") and not _is_dead_here(holder):
        _wait_for_silence(objects, highest, holder)
    return int(highest.rpartition("/")[2]) + 1


def _wait_for_silence(objects: Objects, key: str, holder: dict[str, Any]) -> None:
    """Return once the holder has let go or its object has not changed for long. Raises WarehouseLocked at the first
    sign of life."""
    before, until = objects.tag(key), time.monotonic() + SILENT_SECONDS
    while time.monotonic() < until:
        time.sleep(min(1.0, SILENT_SECONDS))
        if objects.tag(key) != before:
            if _read(objects, key).get("released"):
                return
            who = "process {pid} of {actor} on {host}, since {since}".format_map(_Known(holder))
            raise WarehouseLocked(
                f"another run holds the data folder ({holder.get('purpose', 'holder unknown')}, {who}); run again "
                "when it has ended."
            )


def _beat(objects: Objects, key: str, holder: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        holder["beat"] += 1
        with suppress(Exception):  # the store's absence is told by who needs it
            objects.write(key, _text(holder))


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone."""
    machine = _machine()
    if machine is None or holder.get("machine") != machine or not isinstance(holder.get("pid"), int):
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return bool(holder["pid"] == os.getpid())  # what this process held before it let go without a word


def _machine() -> str | None:
    """This machine since it was started, and what it can see of its processes; None where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _read(objects: Objects, key: str) -> dict[str, Any]:
    """The holder; a removed or unreadable object is nobody's."""
    try:
        holder = json.loads(objects.read(key) or b'{"released": true}')
    except ValueError:
        return {"released": True}
    return holder if isinstance(holder, dict) else {"released": True}


def _key(number: int) -> str:
    return f"{FOLDER}/{number:012d}"


def _text(holder: dict[str, Any]) -> bytes:
    return (json.dumps(holder) + "\n").encode()


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "unknown"
