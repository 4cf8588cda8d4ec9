"""A warehouse that was copied back from a backup, or lost, gets back what happened since: it is older than the records.

A warehouse knows all that happened until the last run that it names. What came later is told by the run records and
the journal: deliveries that later runs loaded are pending again, so that the next run loads them from raw; those that
were held, refused, discarded or reinstated are so again. The last event of a delivery counts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lib.counted import counted
from lib.deliveries import Standing, Status, mark, read_ledger, standings
from lib.errors import StoredDataChanged
from lib.files import read_json
from lib.journal import read_entries
from lib.layout import Layout
from lib.manifest import FILE_NAME
from lib.warehouse import transaction
from lib.warehouses.interface import Connection

DECIDED: dict[str, Status] = {"discard": "discarded", "reinstate": "pending"}


@dataclass(frozen=True)
class Behind:
    """How far a warehouse is behind the records of a source: the run it ends with (None: it holds none), the runs whose
    loads it lacks and the deliveries that these loaded, whether one of them was a full refresh, which only another one
    can make up for, and what was accepted in them: by rule, the worst value that a delivery was held for."""

    last_run: str | None
    lost_runs: tuple[str, ...]
    deliveries: tuple[int, ...]
    refresh: bool
    accepted: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {**asdict(self), "lost_runs": list(self.lost_runs), "deliveries": list(self.deliveries)}


@dataclass
class _Fate:
    """What became of one delivery since, as far as told."""

    status: Status
    run_id: str | None = None
    failed_rules: dict[str, float] = field(default_factory=dict)
    reason: str | None = None


def restore_marks(layout: Layout, connection: Connection, source: str) -> Behind | None:
    """Give the deliveries of `source` the marks that they were given after the warehouse's last run. How far it is
    behind; None when it lacks no load. What it knows to be loaded stays loaded.

    Raises StoredDataChanged when a later run loaded a delivery that the raw ledger lacks.
    """
    last_loaded, horizon = _reach(connection, source)
    later = _manifests_after(layout, source, horizon)
    lost = [each for each in _manifests_after(layout, source, last_loaded) if _is_loaded(each)]
    known = standings(connection, source)
    fates = _fates(layout, source, later, _began(layout, horizon))
    with transaction(connection):
        for standing in known:
            fate = fates.get(standing.delivery.sequence)
            if fate and standing.status != "loaded":
                _give_back(connection, standing, fate)
    if not lost:
        return None
    _require_taken(layout, source, lost)
    failed_rules = {each.delivery.sequence: each.failed_rules for each in standings(connection, source)}
    return Behind(
        last_run=last_loaded,
        lost_runs=tuple(each["run_id"] for each in lost),
        deliveries=tuple(sorted({mark["sequence"] for each in lost for mark in _marks(each)})),
        refresh=any(map(_is_refresh, lost)),
        accepted=_accepted(lost, failed_rules),
    )


def lost_loads(layout: Layout, connection: Connection, source: str) -> list[str]:
    """The runs that loaded by their records and that the warehouse does not know: it is older than they are."""
    last_loaded, _ = _reach(connection, source)
    return [each["run_id"] for each in _manifests_after(layout, source, last_loaded) if _is_loaded(each)]


def lost_text(run_ids: list[str]) -> str:
    """Of a warehouse that lacks these loads."""
    loads = counted(len(run_ids), "recorded load")
    return f"is older than the records: it lacks {loads}, from run {run_ids[0]} on; the next run catches up from raw"


def _reach(connection: Connection, source: str) -> tuple[str | None, str | None]:
    """The last run that loaded, and the last one that left any mark."""
    loaded = connection.execute("SELECT max(run_id) FROM runs WHERE source = ?", [source]).fetchone()[0]
    marked = connection.execute("SELECT max(run_id) FROM deliveries WHERE source = ?", [source]).fetchone()[0]
    return loaded, max((each for each in (loaded, marked) if each), default=None)


def _manifests_after(layout: Layout, source: str, run_id: str | None) -> list[dict[str, Any]]:
    manifests = []
    for each in layout.run_ids():
        if run_id is None or each > run_id:
            manifest = _read(layout, each)
            if manifest.get("source") == source:
                manifests.append({"run_id": each, **manifest})
    return manifests


def _read(layout: Layout, run_id: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(layout.record(run_id) / FILE_NAME)
    except (OSError, ValueError):  # verify tells of it
        return {}
    return content


def _is_loaded(manifest: dict[str, Any]) -> bool:
    return manifest.get("outcome") == "loaded" or bool(manifest.get("load"))


def _is_refresh(manifest: dict[str, Any]) -> bool:
    return bool((manifest.get("batch") or {}).get("kind") == "refresh")


def _accepted(lost: list[dict[str, Any]], failed_rules: dict[int, dict[str, float]]) -> dict[str, float]:
    accepted: dict[str, float] = {}
    for manifest in lost:
        seen = [failed_rules.get(each["sequence"], {}) for each in _marks(manifest)]
        for rule in (manifest.get("options") or {}).get("accept") or []:
            values = [each[rule] for each in seen if rule in each]
            accepted[rule] = max([accepted.get(rule, 0.0), *values])
    return accepted


def _marks(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run made of its deliveries; of one that died after its commit, its batch was loaded."""
    marks: list[dict[str, Any]] = manifest.get("marks") or []
    if not marks and _is_loaded(manifest):
        return [{"sequence": each["sequence"], "status": "loaded"} for each in manifest["batch"]["deliveries"]]
    return marks


def _began(layout: Layout, run_id: str | None) -> str:
    """When the run, or its last attempt, began; "" for no run. No decision is made while a run is going on."""
    return _start(_read(layout, run_id)) if run_id else ""


def _start(manifest: dict[str, Any]) -> str:
    attempts = manifest.get("attempts") or [manifest]
    return str(attempts[-1].get("started") or "")


def _fates(layout: Layout, source: str, manifests: list[dict[str, Any]], after: str) -> dict[int, _Fate]:
    """What became of each delivery in these runs, and by decisions made after the given time; the last event counts."""
    events = [(_start(each), {**mark, "run_id": each["run_id"]}) for each in manifests for mark in _marks(each)]
    for decision in read_entries(layout.decisions):
        if decision.get("source") == source and decision.get("decision") in DECIDED and decision["time"] > after:
            status, reason = DECIDED[decision["decision"]], decision["reason"]
            told = {"status": status, "reason": reason if status == "discarded" else None}
            events.append((decision["time"], {"sequence": decision["delivery"], **told}))
    fates: dict[int, _Fate] = {}
    for _, event in sorted(events, key=lambda each: each[0]):
        before = fates.get(event["sequence"])
        fates[event["sequence"]] = _Fate(
            status=event["status"],
            run_id=event.get("run_id") or (before.run_id if before else None),
            failed_rules=event.get("failed_rules") or (before.failed_rules if before else {}),
            reason=event.get("reason"),
        )
    return fates


def _give_back(connection: Connection, standing: Standing, fate: _Fate) -> None:
    """Mark a delivery as it was; one that was loaded is pending. What it was held for is kept: an acceptance is of
    what was seen."""
    status: Status = "pending" if fate.status == "loaded" else fate.status
    run_id = fate.run_id if fate.run_id and status != "pending" else standing.run_id
    failed_rules = fate.failed_rules or standing.failed_rules
    if (status, run_id, failed_rules) != (standing.status, standing.run_id, standing.failed_rules):
        facts = {"run_id": run_id, "failed_rules": failed_rules, "reason": fate.reason}
        mark(connection, standing.delivery, status, **facts)


def _require_taken(layout: Layout, source: str, lost: list[dict[str, Any]]) -> None:
    taken = {each.sequence for each in read_ledger(layout, source)}
    for manifest in lost:
        for each in _marks(manifest):
            if each["sequence"] not in taken:
                raise StoredDataChanged(
                    f"raw/{source}/deliveries.jsonl: lacks delivery {each['sequence']}, which run {manifest['run_id']} "
                    "loaded; restore raw too, or restore runs from the backup that raw is from."
                )
