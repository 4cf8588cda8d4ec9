"""What notebook 01 does: look at the source, take new deliveries, choose the batch."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from lib.clock import instant_text, parse_instant, short_instant
from lib.config import resolve
from lib.counted import counted
from lib.decisions import record_decision
from lib.deliveries import (
    Batch,
    Delivery,
    Ledger,
    Standing,
    append_delivery,
    choose_batch,
    read_ledger,
    standings,
    sync_ledger,
)
from lib.errors import DeliveryRefused
from lib.raw import find_snapshot, take_delivery
from lib.run import Run
from lib.sources.choose import format_of
from lib.sources.files import FileOffer, ledger_key, list_offers
from lib.sources.interface import Offer
from lib.warehouse import writing


def look_at_source(run: Run) -> list[Offer]:
    """What the source offers now: files in name order, or the result of its query, which is not asked yet.

    Raises DeliveryRefused when a named file is not there, or where it was there is a folder now; UsageError for a query
    that cannot be asked.
    """
    if run.settings.source.kind == "query":
        from lib.sources.query import QueryOffer

        query = QueryOffer.of(run.settings, run.window)
        run.manifest.record(query=query.told)
        return [query]
    path = resolve(run.settings.source.path)
    if path.is_dir() and any(each.path == ledger_key(path) for each in read_ledger(run.layout, run.source)):
        raise DeliveryRefused(f"{path.name}: was a file and is a folder now; check source.path in the config.")
    return [*list_offers(run.settings.source.path)]


def take_deliveries(run: Run, offers: list[Offer]) -> list[Delivery]:
    """Take everything offered whose bytes differ from its last delivery; file by file, in name order.

    Raises DeliveryRefused for a file that cannot be taken; what was taken before it stays pending. Raises
    TemporaryFailure when the database of a query is away, UsageError when it refuses the query.
    """
    ledger = Ledger(read_ledger(run.layout, run.source))
    taken: list[Delivery] = []
    try:
        for offer in offers:
            delivery = take_delivery(
                run.layout,
                offer,
                ledger,
                source=run.source,
                clock=instant_text(run.as_of),
                run_id=run.run_id,
                kind=format_of(offer.name, run.settings),
            )
            if delivery:
                append_delivery(run.layout, delivery)
                ledger.add(delivery)
                taken.append(delivery)
    finally:
        if taken:
            run.layout.publish()
            with writing(run.layout) as connection:
                sync_ledger(run.layout, connection, run.source)
    return taken


def choose_run_batch(run: Run, offers: list[Offer]) -> Batch:
    """Choose this run's batch by the batch rule and write it into the manifest.

    Raises DeliveryRefused when nothing was ever delivered, UsageError when there is nothing to accept.
    """
    options = run.options
    known = delivery_standings(run)
    batch = choose_batch(
        _without_new_ones(run, known),
        {offer.key for offer in offers},
        full_refresh=options.full_refresh,
        accept=options.accept,
    )
    if not batch.deliveries and known:
        raise DeliveryRefused(
            "no delivery may be loaded: all are held, refused or discarded (see python run_pipeline.py deliveries); "
            "deliver a new one, accept a held one, or reinstate a discarded one."
        )
    if not batch.deliveries:
        raise DeliveryRefused(
            "the source offers no file and nothing was delivered before; check source.path in the config."
        )
    failed = {each.delivery.sequence: each.failed_rules for each in known}
    for each in batch.deliveries if options.accept else ():
        record_decision(
            run.layout,
            "accept",
            source=run.source,
            delivery=each.sequence,
            run_id=run.run_id,
            rules={rule: failed[each.sequence][rule] for rule in options.accept if rule in failed[each.sequence]},
            scope=f"run {run.run_id}, {', '.join(options.accept)}",
            reason=options.reason or "",
        )
    run.manifest.record(
        batch={
            "kind": batch.kind,
            "deliveries": [asdict(each) for each in batch.deliveries],
            "context": [asdict(each) for each in batch.context],
        }
    )
    return batch


def _without_new_ones(run: Run, known: list[Standing]) -> list[Standing]:
    """While loads are caught up that passed by an acceptance, which is accepted again: what it was not given for waits
    for the next run."""
    behind = run.manifest.get("behind") or {}
    if not behind.get("accepted"):
        return known
    return [each for each in known if each.status != "pending" or each.delivery.sequence in behind["deliveries"]]


def run_batch(run: Run) -> Batch:
    """The batch that 01 chose, from the manifest."""
    chosen = run.manifest["batch"]
    deliveries, context = ([Delivery(**each) for each in chosen[part]] for part in ("deliveries", "context"))
    return Batch(chosen["kind"], tuple(deliveries), tuple(context))


def delivery_standings(run: Run) -> list[Standing]:
    """Every delivery of the run's source and what became of it."""
    with writing(run.layout) as connection:
        return standings(connection, run.source)


def offers_frame(offers: list[Offer], run: Run) -> pd.DataFrame:
    """One row per offer: its name, its size where it is known, and the last delivery of its path."""
    last = {each.path: each for each in read_ledger(run.layout, run.source)}
    return pd.DataFrame(
        {
            "file": [each.name for each in offers],
            "bytes": pd.array([each.bytes for each in offers], "Int64"),
            "last delivery": [str(last[each.key].sequence) if each.key in last else "none" for each in offers],
        }
    )


def offers_text(offers: list[Offer]) -> str:
    """What is offered, in words: `3 files`, or the result of a query."""
    if any(isinstance(each, FileOffer) for each in offers) or not offers:
        return counted(len(offers), "file")
    return "the result of a query"


def deliveries_frame(deliveries: tuple[Delivery, ...] | list[Delivery]) -> pd.DataFrame:
    """One row per delivery: sequence, file, size, hash, clock."""
    return pd.DataFrame(
        {
            "delivery": [each.sequence for each in deliveries],
            "file": [each.name for each in deliveries],
            "bytes": [each.bytes for each in deliveries],
            "sha256": [each.sha256[:12] for each in deliveries],
            "clock": [short_instant(parse_instant(each.clock)) for each in deliveries],
            "snapshot": [each.snapshot for each in deliveries],
        }
    )


def snapshots_frame(run: Run, deliveries: tuple[Delivery, ...] | list[Delivery]) -> pd.DataFrame:
    """One row per delivery: its snapshot, hashed as it was written or again, and whether it can still be written.

    Raises StoredDataChanged for a snapshot that is gone or altered.
    """
    paths = [find_snapshot(run.layout, each, run.run_id) for each in deliveries]
    return pd.DataFrame(
        {
            "delivery": [each.sequence for each in deliveries],
            "snapshot": [each.snapshot for each in deliveries],
            "bytes": [path.stat().st_size for path in paths],
            "read only": [not path.stat().st_mode & 0o222 for path in paths],
            "hash agrees": [True for _ in paths],
        }
    )


def snapshots_intact(run: Run, deliveries: tuple[Delivery, ...] | list[Delivery]) -> bool:
    """True when every snapshot is as it was received; raises StoredDataChanged, which names it, when one is not."""
    return all(find_snapshot(run.layout, each, run.run_id).exists() for each in deliveries)


def standings_frame(all_standings: list[Standing], batch: Batch) -> pd.DataFrame:
    """One row per delivery, newest first: its file, whether it is in the batch, where it stands, since which run."""
    newest_first = all_standings[::-1]
    members = {each.sequence for each in batch.deliveries}
    return pd.DataFrame(
        {
            "delivery": [each.delivery.sequence for each in newest_first],
            "file": [each.delivery.name for each in newest_first],
            "bytes": [each.delivery.bytes for each in newest_first],
            "in batch": [each.delivery.sequence in members for each in newest_first],
            "stands": [each.status for each in newest_first],
            "since run": [each.run_id for each in newest_first],
            "rows read": pd.array([each.rows_read for each in newest_first], "Int64"),
        }
    )


def batch_frame(batch: Batch) -> pd.DataFrame:
    """One row per delivery that the run reads: those of the batch, and loaded ones that take part in the order only."""
    members = [*batch.deliveries, *batch.context]
    return pd.DataFrame(
        {
            "delivery": [each.sequence for each in members],
            "file": [each.name for each in members],
            "role": ["batch"] * len(batch.deliveries) + ["order of versions only"] * len(batch.context),
            "clock": [short_instant(parse_instant(each.clock)) for each in members],
        }
    )


def window_frame(run: Run) -> pd.DataFrame:
    """What decides which rows are looked at. Grain: one row per fact, as text."""
    window = run.window
    refresh = run.options.full_refresh
    watermark = short_instant(window.watermark) if window.watermark else "none yet"
    facts = {
        "as of (the run's clock)": short_instant(run.as_of),
        "watermark (the latest update loaded)": "not used: a full refresh" if refresh else watermark,
        "lookback": f"{window.lookback_hours:g} h",
        "cutoff (rows before it are outside)": short_instant(window.cutoff) if window.cutoff else "none: every row",
    }
    return pd.DataFrame({"fact": list(facts), "is": list(facts.values())})


BATCH_WORDS = {
    "new": "what came in since the last load",
    "held": "what was held before and is tried again",
    "repeat": "the last loaded batch once more: nothing new came in",
    "refresh": "every delivery, to build the tables again",
}
"""What each kind of batch is."""
