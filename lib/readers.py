"""Who but the operator may read records: the audit group that the config names, and of the data folder only them."""

from __future__ import annotations

import grp
import os
from collections.abc import Iterable
from pathlib import Path

from lib.errors import UsageError
from lib.layout import Layout


def open_to_readers(layout: Layout, run_ids: Iterable[str], group: str | None) -> None:
    """Let the configured audit group read these runs' records, the index and the journal of decisions: folders 0750,
    files 0640. Raises UsageError when there is no such group."""
    if not group:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"readers_group: this machine has no group {group}.") from None
    records = [layout.record(run_id) for run_id in run_ids]
    _open(layout.data_dir, number, 0o710)  # the way in, without a list of what is there
    for folder in (layout.runs, *records):
        _open(folder, number, 0o750)
    for path in (*(path for path in layout.runs.iterdir() if path.is_file()), *_files(records)):
        _open(path, number, 0o640)


def _files(folders: Iterable[Path]) -> Iterable[Path]:
    return (path for folder in folders for path in folder.iterdir())


def _open(path: Path, group: int, mode: int) -> None:
    os.chown(path, -1, group)
    path.chmod(mode)
