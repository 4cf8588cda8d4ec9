"""What is told of a warehouse that is not as it should be, in the same words for every kind."""

from __future__ import annotations

from pathlib import Path

from lib.errors import StoredDataChanged, TemporaryFailure
from lib.layout import Layout
from lib.warehouses import interface


def lost(layout: Layout) -> StoredDataChanged:
    found = "empty" if layout.server or layout.warehouse.exists() else "missing"
    return StoredDataChanged(
        f"{layout.warehouse.name}: the warehouse is {found} although runs were recorded; "
        "restore it from a backup, or build it again from the raw snapshots with --full-refresh."
    )


def unsound(path: Path, kind: str) -> StoredDataChanged:
    return StoredDataChanged(
        f"{path.name}: is not a sound {kind} database; restore it from a backup, "
        "or move it away and run with --full-refresh."
    )


def foreign(path: Path) -> StoredDataChanged:
    return StoredDataChanged(f"{path.name}: is another program's database; name another one with --warehouse.")


def busy(path: Path) -> TemporaryFailure:
    return TemporaryFailure(
        f"{path.name}: another program holds the warehouse for over {interface.BUSY_SECONDS:.0f} s; run again later."
    )


def unwritable(path: Path) -> TemporaryFailure:
    return TemporaryFailure(f"{path.name}: cannot be written (disk full, read-only or failing); nothing was changed.")
