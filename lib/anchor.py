"""The anchor: a file kept elsewhere that knows the hash of each closed record, so that a cut-off tail is missed.

A line a closed record: time, run id, the manifest's SHA-256, how far the journal of decisions reached. The lines are
chained as the journal's are. Of a data folder's anchor nothing is ever taken away; another data folder needs another.
What somebody can do who may write both the data folder and the anchor, it cannot tell: keep it where those who run the
pipeline can append only, or copy it away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lib.clock import instant_text, now
from lib.config import resolve
from lib.errors import PipelineError, UsageError
from lib.files import sha256_of_file
from lib.journal import append_entries, read_entries
from lib.layout import RUN_ID_WIDTH, Layout
from lib.manifest import FILE_NAME, Manifest

NEXT = "the records are whole, and the next run notes them"


def note_records(layout: Layout, anchor: str | None) -> str | None:
    """Append each closed record that the anchor does not know, in order. What went wrong, in one line; else None.

    A record that was closed again, because its run was resumed or repaired, is noted again as long as no later one is.
    """
    if anchor is None:
        return None
    path = resolve(anchor)
    try:
        known = read_entries(path)
        _refuse_foreign(layout, path, known)
        lines = _missing_lines(layout, known)
        if lines:
            append_entries(path, lines)
    except OSError as error:
        return f"anchor: {path.name} cannot be written ({os.strerror(error.errno or 0)}); {NEXT}."
    except UsageError as error:
        return str(error)
    except PipelineError as error:
        return f"anchor: {str(error).partition(';')[0]}; {NEXT}."
    return None


def _refuse_foreign(layout: Layout, path: Path, known: list[dict[str, Any]]) -> None:
    """Records that the anchor knows and that are gone, though as new as the oldest that is there: of another data
    folder, or cut off. Those before it may have been moved to an archive."""
    there = layout.run_ids()
    for entry in known:
        run_id = str(entry.get("run_id"))
        if there and run_id not in there and run_id[:RUN_ID_WIDTH] >= there[0][:RUN_ID_WIDTH]:
            raise UsageError(
                f"anchor: {path.name} knows run {run_id}, which is not in {layout.data_dir.name}; look with verify, or "
                "name a new file: each data folder needs its own."
            )


def _missing_lines(layout: Layout, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    newest = known[-1] if known else {}
    noted = {entry.get("run_id") for entry in known}
    lines = []
    for run_id in layout.run_ids():
        if run_id in noted and run_id != newest.get("run_id"):
            continue
        path = layout.record(run_id) / FILE_NAME
        manifest = Manifest.read(path.parent).content if path.exists() else {}
        if not manifest.get("ended"):
            continue
        closed_again = bool(manifest.get("recovered") or manifest.get("attempts"))
        sha256 = sha256_of_file(path)
        if run_id in noted and (sha256 == newest.get("manifest_sha256") or not closed_again):
            continue
        lines.append(
            {
                "time": instant_text(now()),
                "run_id": run_id,
                "manifest_sha256": sha256,
                "decisions": manifest.get("decisions"),
            }
        )
    return lines
