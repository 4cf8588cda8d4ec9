"""What a text in the place of a data folder means: a folder, or a working copy of one on object storage."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from lib.config import ROOT, resolve
from lib.errors import UsageError
from lib.lock import HELD_BY_PARENT
from lib.store.address import is_store_url, read_store_address
from lib.store.working_copy import WorkingCopy, folder_of

Place = Path | WorkingCopy
"""Where a data folder is."""


def place_of(data_dir: str | Place) -> Place:
    """The folder, relative ones from the project's root; of a URL its working copy, brought up to date when this
    process first asks for it. Raises UsageError for another URL, TemporaryFailure for a store that does not answer."""
    if isinstance(data_dir, WorkingCopy):
        return data_dir
    return _working_copy(data_dir) if isinstance(data_dir, str) and is_store_url(data_dir) else resolve(data_dir)


def told(place: Place) -> str:
    """What the notebooks are given and the record says: a path from the project's root where it lies below that."""
    if isinstance(place, WorkingCopy):
        return place.url
    return str(place.relative_to(ROOT) if place.is_relative_to(ROOT) else place)


def log_folder(data_dir: str | Path) -> Path:
    """Where the logs of a data folder are, which are private to this machine; asks no store. An address that is none
    has the logs of the default data folder."""
    if not isinstance(data_dir, str) or not is_store_url(data_dir):
        return resolve(data_dir) / "logs"
    try:
        return folder_of(read_store_address(data_dir)) / "logs"
    except UsageError:
        return resolve("data") / "logs"


@functools.cache
def _working_copy(url: str) -> WorkingCopy:
    address = read_store_address(url)
    copy = WorkingCopy(address, folder_of(address))
    if not os.environ.get(HELD_BY_PARENT):  # a kernel of a run: its parent has the copy up to date, and to itself
        copy.refresh()
    return copy
