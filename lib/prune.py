"""prune: give back the room that staged files take. Whatever is removed can be made again from the snapshots."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lib.counted import counted
from lib.errors import PipelineError
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.manifest import Manifest

ENDS = {"loaded", "held", "refused"}
"""Outcomes after which a run can go on no more; see lib/resume.py."""


@dataclass(frozen=True)
class Pruned:
    """Which runs' staged files were removed, how many are kept, and how many bytes were freed."""

    runs: tuple[str, ...]
    kept: int
    bytes: int

    @property
    def text(self) -> str:
        """In one line."""
        runs = counted(len(self.runs), "run")
        return f"removed the staged files of {runs}, {self.bytes / 1e6:,.1f} MB; kept {self.kept:,}"


def prune_staging(layout: Layout, keep: int) -> Pruned:
    """Remove staging/<run id> of all runs but the newest `keep`; never that of a run that is open or can be resumed.

    Raises WarehouseLocked when a run is under way.
    """
    with hold_warehouse(layout, "prune"):
        elsewhere = layout.store.staged_runs() if layout.store else set()
        staged = [each for each in layout.run_ids() if each in elsewhere or _is_folder(layout.staged(each))]
        removed = [run_id for run_id in staged[: max(len(staged) - keep, 0)] if not _may_go_on(layout, run_id)]
        freed = sum(_remove(layout, run_id) for run_id in removed)
    return Pruned(tuple(removed), len(staged) - len(removed), freed)


def _may_go_on(layout: Layout, run_id: str) -> bool:
    """Whether the run is open, or is the newest and ended without an end of its own. An unreadable record may be."""
    try:
        manifest = Manifest.read(layout.record(run_id))
    except PipelineError:
        return True
    is_newest = run_id == layout.run_ids()[-1]
    return not manifest.get("ended") or (is_newest and manifest["outcome"] not in ENDS)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(layout: Layout, run_id: str) -> int:
    """Remove a run's staged files; their bytes."""
    if layout.store:
        return layout.store.remove_staged(run_id)
    folder = layout.staged(run_id)
    freed = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    shutil.rmtree(folder)
    return freed
