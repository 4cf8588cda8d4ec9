"""Deliveries: the raw layer's ledger, where each delivery stands, and which of them make a run's batch.

The ledger `data/raw/<source>/deliveries.jsonl` holds what was taken and never changes; the warehouse holds what became
of it. A delivery that the warehouse does not know yet is pending.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from lib.content import keeping_content
from lib.counted import counted
from lib.errors import StoredDataChanged, UsageError
from lib.files import append_line, read_lines
from lib.layout import Layout
from lib.warehouses.interface import Connection

Status = Literal["pending", "loaded", "held", "refused", "discarded"]
Kind = Literal["new", "held", "repeat", "refresh", "nothing"]


@dataclass(frozen=True)
class Delivery:
    """One delivery: grain (source, sequence). `clock` is the as-of time of the run that first took it."""

    source: str
    sequence: int
    path: str
    sha256: str
    bytes: int
    snapshot: str
    clock: str
    taken_by: str

    @property
    def name(self) -> str:
        """The delivered file's name, for messages."""
        return Path(self.path).name


@dataclass(frozen=True)
class Standing:
    """A delivery and what became of it."""

    delivery: Delivery
    status: Status
    run_id: str | None = None
    header: tuple[str, ...] | None = None
    rows_read: int | None = None
    comparable: bool = False
    failed_rules: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    rules: str | None = None


@dataclass(frozen=True)
class Batch:
    """The deliveries of one run, in sequence. `context` are deliveries loaded after the oldest of them: their versions
    take part in the order of versions, so that a delivery accepted late cannot overwrite what came after it."""

    kind: Kind
    deliveries: tuple[Delivery, ...] = ()
    context: tuple[Delivery, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether the gate judges it as a load: not the last batch run again, nor a refresh."""
        return self.kind in ("new", "held")


class Ledger:
    """Every delivery ever taken from a source, in sequence, found by its path and by its bytes."""

    def __init__(self, deliveries: Iterable[Delivery]) -> None:
        self.next_sequence = 1
        self._last_of: dict[str, Delivery] = {}
        self._snapshots: dict[str, str] = {}
        for each in deliveries:
            self.add(each)

    def add(self, delivery: Delivery) -> None:
        """One that was taken after all others."""
        self.next_sequence = delivery.sequence + 1
        self._last_of[delivery.path] = delivery
        self._snapshots.setdefault(delivery.sha256, delivery.snapshot)

    def last_of(self, path: str) -> Delivery | None:
        """The last delivery of a path."""
        return self._last_of.get(path)

    def snapshot_of(self, sha256: str) -> str | None:
        """The name of the file that keeps these bytes already."""
        return self._snapshots.get(sha256)


def ledger_file(layout: Layout, source: str) -> Path:
    return layout.raw / source / "deliveries.jsonl"


def sources_held(layout: Layout) -> list[str]:
    """The sources of which anything was ever taken, by name."""
    folders = layout.raw.iterdir() if layout.raw.is_dir() else ()
    return sorted(each.name for each in folders if ledger_file(layout, each.name).is_file())


def read_ledger(layout: Layout, source: str) -> list[Delivery]:
    """Every delivery ever taken from `source`, oldest first."""
    return [Delivery(**entry) for entry in read_lines(ledger_file(layout, source))]


def append_delivery(layout: Layout, delivery: Delivery) -> None:
    """Append a taken delivery to the ledger; `sync_ledger` makes it pending."""
    append_line(ledger_file(layout, delivery.source), asdict(delivery))


def sync_ledger(layout: Layout, connection: Connection, source: str) -> None:
    """Make every delivery of the ledger known to the warehouse; those it does not know are pending.

    Raises StoredDataChanged when the ledger lacks one that the warehouse knows: the next would be given its number.
    """
    known = dict(connection.execute("SELECT sequence, sha256 FROM deliveries WHERE source = ?", [source]).fetchall())
    ledger = read_ledger(layout, source)
    if lacking := known.items() - {(each.sequence, each.sha256) for each in ledger}:
        lacks = f"lacks delivery {min(lacking)[0]} as the warehouse knows it"
        remedy = "restore raw from the backup that the warehouse is from."
        if not ledger:
            lacks = f"is not there, and the warehouse has {counted(len(known), 'delivery', 'deliveries')} of {source}"
            remedy = f"name the data folder that they were taken in (--data-dir), or {remedy}"
        raise StoredDataChanged(f"raw/{source}/deliveries.jsonl: {lacks}; {remedy}")
    unknown = [each for each in ledger if each.sequence not in known]
    if not unknown:
        return
    with keeping_content(connection, tables=["deliveries"]):
        connection.executemany(
            "INSERT INTO deliveries (source, sequence, path, sha256, bytes, snapshot, clock, taken_by, status)"
            " VALUES (:source, :sequence, :path, :sha256, :bytes, :snapshot, :clock, :taken_by, 'pending')",
            [asdict(each) for each in unknown],
        )


def standings(connection: Connection, source: str) -> list[Standing]:
    """Every delivery of `source` and what became of it, in sequence."""
    rows = connection.execute("SELECT * FROM deliveries WHERE source = ? ORDER BY sequence", [source])
    return [_standing(row) for row in rows]


def mark(connection: Connection, delivery: Delivery, status: Status, **facts: Any) -> None:
    """Set a delivery's status, and what is learned with it (run_id, header, rows_read, failed_rules, reason)."""
    values: dict[str, Any] = {"status": status, **facts}
    for name in ("header", "failed_rules"):
        if name in values:
            values[name] = json.dumps(values[name])
    columns = ", ".join(f"{name} = :{name}" for name in values)
    with keeping_content(connection, tables=["deliveries"]):
        connection.execute(
            f"UPDATE deliveries SET {columns} WHERE source = :key_source AND sequence = :key_sequence",
            {**values, "key_source": delivery.source, "key_sequence": delivery.sequence},
        )


def choose_batch(
    all_standings: list[Standing], offered: set[str], *, full_refresh: bool = False, accept: tuple[str, ...] = ()
) -> Batch:
    """The batch rule. `offered` are the paths that the source offers now, as last taken.

    Pending deliveries; if none, held ones that the source still offers; if none, refused ones that it still offers (the
    config may have been mended since); if none, the last loaded batch again. With `accept` the
    held ones, pending ones waiting for the next run. A full refresh takes all that are loaded or pending,
    and held ones that failed nothing but accepted rules.
    """
    by_status: dict[str, list[Standing]] = {}
    for each in all_standings:
        by_status.setdefault(each.status, []).append(each)
    held = by_status.get("held", [])
    accepted = [each for each in held if accept and set(each.failed_rules) <= set(accept)]
    if accept and not accepted:
        raise UsageError(_nothing_to_accept(held, accept))
    if full_refresh:
        chosen = by_status.get("loaded", []) + by_status.get("pending", []) + accepted
        return _batch("refresh", chosen, ())
    if accept:
        return _batch("held", accepted, by_status.get("loaded", ()))
    if pending := by_status.get("pending"):
        return _batch("new", pending, by_status.get("loaded", ()))
    if still_offered := _newest_offered(held, all_standings, offered):
        return _batch("held", still_offered, by_status.get("loaded", ()))
    if refused := _newest_offered(by_status.get("refused", []), all_standings, offered):
        return _batch("new", refused, by_status.get("loaded", ()))
    if loaded := by_status.get("loaded"):
        last_run = max(each.run_id or "" for each in loaded)
        return _batch("repeat", [each for each in loaded if each.run_id == last_run], loaded)
    return Batch("nothing")


def _newest_offered(some: list[Standing], all_standings: list[Standing], offered: set[str]) -> list[Standing]:
    """Those of `some` that are still the newest delivery of a path which the source offers."""
    newest = {each.delivery.path: each.delivery.sequence for each in all_standings}
    return [
        each for each in some if each.delivery.path in offered and newest[each.delivery.path] == each.delivery.sequence
    ]


def _batch(kind: Kind, chosen: list[Standing], loaded: Any) -> Batch:
    deliveries = tuple(sorted((each.delivery for each in chosen), key=lambda delivery: delivery.sequence))
    inside = {delivery.sequence for delivery in deliveries}
    oldest = min(inside, default=0)
    since = [each.delivery for each in loaded if each.delivery.sequence > oldest]
    return Batch(kind, deliveries, tuple(each for each in since if each.sequence not in inside))


def _nothing_to_accept(held: list[Standing], accept: tuple[str, ...]) -> str:
    if not held:
        return "--accept: no delivery is held; there is nothing to accept."
    failed = sorted({rule for each in held for rule in each.failed_rules})
    return f"--accept {', '.join(accept)}: the held deliveries failed {', '.join(failed)}; accept all of these."


def _standing(row: Any) -> Standing:
    names = Delivery.__dataclass_fields__
    return Standing(
        Delivery(**{name: row[name] for name in names}),
        status=row["status"],
        run_id=row["run_id"],
        header=tuple(json.loads(row["header"])) if row["header"] else None,
        rows_read=row["rows_read"],
        comparable=bool(row["comparable"]),
        failed_rules=json.loads(row["failed_rules"]) if row["failed_rules"] else {},
        reason=row["reason"],
        rules=row["rules"],
    )
