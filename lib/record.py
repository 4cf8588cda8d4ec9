"""The run record: closed by the outer process with outcome, file hashes and the chain; repaired.

A saved notebook is no proof of its outcome (a killed kernel's copy says completed): the outcome is what the outer
process saw, and whether tables were loaded is what the warehouse says.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lib.clock import instant_text, now
from lib.errors import UsageError
from lib.files import TEMPORARY_PREFIX, read_json, sha256_of_file
from lib.first_screen import first_screen, runs_before
from lib.journal import journal_head
from lib.layout import NOTEBOOKS, Layout
from lib.loads import told_load
from lib.manifest import FILE_NAME, Manifest
from lib.run_in_words import standing_overrides
from lib.stamp import stamp_notebooks
from lib.warehouses.interface import Connection

Outcome = Literal["loaded", "held", "refused", "failed", "interrupted", "killed", "unknown"]
"""`unknown` is no record's: the warehouse could not be asked, and the next run closes the record."""
DERIVED = {FILE_NAME, "report.html"}
HEAD_BYTES = 1024
"""Of a manifest, what says when it began and ended."""


def close_record(
    layout: Layout,
    run_id: str,
    outcome: Outcome,
    *,
    exit_code: int | None,
    message: str | None = None,
    executions: list[Any] | None = None,
    recovered: bool = False,
) -> None:
    """Write the end of a run into its notebooks (the first cell) and its manifest: outcome, notebooks, SHA-256 of every
    file, the previous manifest's."""
    record = layout.record(run_id)
    manifest = Manifest.read(record)
    end: dict[str, Any] = {
        "outcome": outcome,
        "exit_code": exit_code,
        "message": message,
        "ended": instant_text(now()),
        "recovered": recovered,
        "notebooks": [asdict(each) for each in executions or []],
        "lost": [name for name in NOTEBOOKS if not (record / f"{name}.ipynb").exists()] if recovered else [],
    }
    if attempts := manifest.get("attempts"):  # a resumed run: its last attempt ends here
        end["attempts"] = [*attempts[:-1], {**attempts[-1], **end}]
    end["standing_overrides"] = standing_overrides(next(runs_before(layout, run_id, manifest["source"]), None))
    stamp_notebooks(record, first_screen(layout, run_id, end))
    head = journal_head(layout.decisions)
    manifest.record(
        **end,
        files={path.name: sha256_of_file(path) for path in sorted(record.iterdir()) if _is_recorded(path)},
        decisions={"entries": head.entries, "head_sha256": head.sha256},
        previous_manifest_sha256=_previous_hash(layout, run_id),
    )


def repair_records(layout: Layout, connection: Connection) -> list[str]:
    """Close the records of runs that died: loaded when the warehouse says so, else killed. The run ids repaired.

    Call it while holding the warehouse's lock: no other run is alive then.
    """
    repaired = []
    for run_id in layout.run_ids():
        if _says_that_it_ended(layout.record(run_id) / FILE_NAME):
            continue
        try:
            manifest = Manifest.read(layout.record(run_id))
        except UsageError:  # died before its manifest: nothing was begun
            if not any(layout.record(run_id).iterdir()):
                layout.record(run_id).rmdir()
            continue
        if manifest.get("ended"):
            continue
        loaded = record_load(layout, connection, run_id)
        close_record(layout, run_id, "loaded" if loaded else "killed", exit_code=None, recovered=True)
        repaired.append(run_id)
    return repaired


def record_load(layout: Layout, connection: Connection, run_id: str) -> bool:
    """Whether the warehouse says that the run loaded. If so its manifest says what, though 04 died before."""
    loaded = told_load(connection, run_id)
    if loaded is None:
        return False
    manifest = Manifest.read(layout.record(run_id))
    if not manifest.get("load"):
        manifest.record(
            load=loaded.to_json(),
            marks=[{"sequence": each["sequence"], "status": "loaded"} for each in manifest["batch"]["deliveries"]],
        )
    return True


def read_manifests(layout: Layout, newest: int | None = None) -> list[dict[str, Any]]:
    """Every run's manifest as a mapping, or those of so many newest ones, oldest first; unreadable ones as their run id
    and the outcome `unreadable`."""
    manifests = []
    run_ids = layout.run_ids()
    for run_id in run_ids[-newest:] if newest else run_ids:
        try:
            manifests.append(read_json(layout.record(run_id) / FILE_NAME))
        except (OSError, ValueError):
            manifests.append({"run_id": run_id, "outcome": "unreadable"})
    return manifests


def _says_that_it_ended(manifest: Path) -> bool:
    """By its first lines: of ten thousand records, those that are closed are not read whole at every run's begin."""
    with suppress(OSError), manifest.open("rb") as stream:
        return b'\n  "ended": "' in stream.read(HEAD_BYTES)
    return False


def _is_recorded(path: Path) -> bool:
    return path.is_file() and path.name not in DERIVED and not path.name.startswith(TEMPORARY_PREFIX)


def _previous_hash(layout: Layout, run_id: str) -> str | None:
    """SHA-256 of the manifest of the run before that has one; None for the first."""
    before = (layout.record(each) / FILE_NAME for each in reversed(layout.run_ids()) if each < run_id)
    return next((sha256_of_file(path) for path in before if path.exists()), None)
