"""The run record: closed by the outer process with outcome, file hashes and the chain; repaired; verified.

A saved notebook is no proof of its outcome (a killed kernel's copy says completed): the outcome is what the outer
process saw, and whether tables were loaded is what the warehouse says.
"""

from __future__ import annotations

import grp
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lib.clock import instant_text, now
from lib.errors import UsageError
from lib.files import TEMPORARY_PREFIX, read_json, sha256_of_file
from lib.journal import journal_head
from lib.layout import NOTEBOOKS, Layout
from lib.loads import told_load
from lib.manifest import FILE_NAME, Manifest

Outcome = Literal["loaded", "held", "refused", "failed", "interrupted", "killed", "unknown"]
"""`unknown` is no record's: the warehouse could not be asked, and the next run closes the record."""
DERIVED = {FILE_NAME, "report.html"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not what it was: where, and what."""

    where: str
    what: str


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
    """Write the end of a run into its manifest: outcome, notebooks, SHA-256 of every file, the previous manifest's."""
    record = layout.record(run_id)
    manifest = Manifest.read(record)
    there = {path.name: sha256_of_file(path) for path in sorted(record.iterdir()) if _is_recorded(path)}
    end: dict[str, Any] = {
        "outcome": outcome,
        "exit_code": exit_code,
        "message": message,
        "ended": instant_text(now()),
        "recovered": recovered,
        "notebooks": [asdict(each) for each in executions or []],
        "lost": [name for name in NOTEBOOKS if f"{name}.ipynb" not in there] if recovered else [],
    }
    if attempts := manifest.get("attempts"):  # a resumed run: its last attempt ends here
        end["attempts"] = [*attempts[:-1], {**attempts[-1], **end}]
    head = journal_head(layout.decisions)
    manifest.record(
        **end,
        files=there,
        decisions={"entries": head.entries, "head_sha256": head.sha256},
        previous_manifest_sha256=_previous_hash(layout, run_id),
    )


def repair_records(layout: Layout, connection: sqlite3.Connection) -> list[str]:
    """Close the records of runs that died: loaded when the warehouse says so, else killed. The run ids repaired.

    Call it while holding the warehouse's lock: no other run is alive then.
    """
    repaired = []
    for run_id in layout.run_ids():
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


def record_load(layout: Layout, connection: sqlite3.Connection, run_id: str) -> bool:
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


def open_to_readers(layout: Layout, run_id: str, group: str | None) -> None:
    """Let the configured audit group read the record, and only it: folder 0750, files 0640. Raises UsageError."""
    if not group:
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise UsageError(f"readers_group: this machine has no group {group}.") from None
    record = layout.record(run_id)
    for folder in (layout.data_dir, layout.runs, record):
        os.chown(folder, -1, number)
    layout.data_dir.chmod(0o710)  # the way in, without a list of what is there
    for folder in (layout.runs, record):
        folder.chmod(0o750)
    for path in record.iterdir():
        os.chown(path, -1, number)
        path.chmod(0o640)


def verify_records(layout: Layout) -> list[Finding]:
    """Every record against its manifest and every manifest against the next: what was edited, is gone, or came in."""
    findings: list[Finding] = []
    for run_id in layout.run_ids():
        record = layout.record(run_id)
        try:
            manifest = read_json(record / FILE_NAME)
        except FileNotFoundError:
            findings.append(Finding(f"runs/{run_id}", "the manifest is missing"))
            continue
        except ValueError:
            findings.append(Finding(f"runs/{run_id}/{FILE_NAME}", "is not JSON any more"))
            continue
        if not manifest.get("ended"):
            continue  # running now, or killed and repaired by the next run
        findings += _verify_files(record, manifest.get("files", {}))
        if manifest.get("previous_manifest_sha256") != _previous_hash(layout, run_id):
            findings.append(Finding(f"runs/{run_id}/{FILE_NAME}", "the record before it is not what it was"))
    return findings


def read_manifests(layout: Layout) -> list[dict[str, Any]]:
    """Every run's manifest as a mapping, oldest first; unreadable ones as their run id and the outcome `unreadable`."""
    manifests = []
    for run_id in layout.run_ids():
        try:
            manifests.append(read_json(layout.record(run_id) / FILE_NAME))
        except (OSError, ValueError):
            manifests.append({"run_id": run_id, "outcome": "unreadable"})
    return manifests


def _verify_files(record: Path, files: dict[str, str]) -> list[Finding]:
    findings = []
    for name, sha256 in files.items():
        path = record / name
        if not path.is_file():
            findings.append(Finding(f"runs/{record.name}/{name}", "is missing"))
        elif sha256_of_file(path) != sha256:
            findings.append(Finding(f"runs/{record.name}/{name}", "was edited after the run"))
    for path in sorted(record.iterdir()):
        if _is_recorded(path) and path.name not in files:
            findings.append(Finding(f"runs/{record.name}/{path.name}", "came in after the run"))
    return findings


def _is_recorded(path: Path) -> bool:
    return path.is_file() and path.name not in DERIVED and not path.name.startswith(TEMPORARY_PREFIX)


def _previous_hash(layout: Layout, run_id: str) -> str | None:
    """SHA-256 of the manifest of the run before; None for the first, or where that run never had one."""
    before = [each for each in layout.run_ids() if each < run_id]
    path = layout.record(before[-1]) / FILE_NAME if before else None
    return sha256_of_file(path) if path and path.exists() else None
