"""The working copies that this process has opened: whoever writes a record need not know whether it lies in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

OPENED: dict[Path, Callable[[str], None]] = {}
"""By folder: what writes a run to the store."""


def publish_record(record: Path) -> None:
    """Write to the store what a run has changed, when its record lies in a working copy that this process opened."""
    if publish := OPENED.get(record.parent.parent):
        publish(record.name)
