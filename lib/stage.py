"""What notebook 02 does: stage the batch, from the snapshots' bytes to one current version per visit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lib.batch_reader import BatchReader
from lib.clock import instant_text, stored_instant
from lib.config import CANONICAL, REQUIRED
from lib.deliveries import Batch, Delivery, Standing, mark, standings
from lib.errors import DeliveryRefused, UsageError
from lib.extract import delivery_standings, run_batch
from lib.fates import count_reasons
from lib.files import TEMPORARY_PREFIX, read_json, write_json
from lib.judging import judged_batch
from lib.lookups import (
    count_visits,
    find_current_versions,
    find_known_identities,
    find_published_days,
    find_visits,
    holds_visits,
)
from lib.parts import part_hashes
from lib.run import Run
from lib.sources.interface import Reading
from lib.staging import Held, Staged, settle_batch
from lib.state import read_state
from lib.volume import comparable_rows, row_count_deviation, usual_rows
from lib.warehouse import writing
from lib.warehouses.choose import kind_of

HEADERS = "headers.json"

COLUMN_TYPES = {"visit_date": "date", "visit_cost": "decimal(18,2)", "last_updated": "instant, UTC"}
"""Of the canonical columns that are not text."""


def stage_batch(run: Run) -> dict[int, Reading]:
    """Read, judge, window and settle the batch in one pass; write visits, rejected and the batch profile; what was
    read, by delivery sequence.

    The files' SHA-256 go into the manifest: 04 loads exactly what 03 judged. Raises StoredDataChanged for an altered
    snapshot, DeliveryRefused for deliveries that are not what they should be: they are marked refused, the others stay
    as they were. Raises UsageError for one that was loaded before and that the config, changed since, cannot read.
    """
    batch = run_batch(run)
    reader = BatchReader(run.layout, run.settings, (*batch.deliveries, *batch.context))
    with judged_batch(batch, reader, run.settings, run.window, run.staging) as engine:
        reader.require_sound()
        _require_accepted(run, batch, reader.refusals)
        _note_readings(run, reader.readings)
        with writing(run.layout) as connection:
            state = read_state(connection, run.source)

            def current_versions(keys: pa.RecordBatchReader) -> pa.Table:
                scratch = run.staging / f"{TEMPORARY_PREFIX}wanted.db"
                return find_current_versions(connection, run.settings, keys, scratch)

            held = Held(
                current_versions=current_versions if holds_visits(connection, run.source) else None,
                known_identities=lambda identities: find_known_identities(connection, identities),
                visits=lambda: find_visits(connection, run.source),
                published_days=lambda: find_published_days(connection),
                watermark=state.watermark,
                visit_count=count_visits(connection, run.source),
                takes_in_order=kind_of(connection).TAKES_IN_ORDER,
            )
            staged = settle_batch(engine, batch, run.settings, run.window, held, run.staging)
            all_standings = standings(connection, run.source)
    profile = _complete_profile(run, batch, staged, all_standings)
    pq.write_table(pa.Table.from_pylist(profile), staged.profile)
    total = next(row for row in profile if row["is_batch"])
    newest = total.pop("newest_inside")
    run.manifest.record(
        counts={name: value for name, value in total.items() if isinstance(value, int) and not isinstance(value, bool)},
        reasons=count_reasons(staged.rejected),
        rows_read={str(row["delivery_seq"]): row["rows_read"] for row in profile if not row["is_batch"]},
        newest_loaded=instant_text(newest) if newest else None,
        missed_needs_hours=total["missed_needs_hours"],
        staged={
            name: sha256
            for path in (
                *(staged.visits, staged.rejected, staged.deletions, staged.answers, staged.profile, staged.lateness),
                run.staging / HEADERS,
            )
            for name, sha256 in part_hashes(path).items()
        },
    )
    return reader.readings


def read_headers(run: Run) -> dict[int, list[str]]:
    """Delivery → its column names as delivered, of every delivery that was read."""
    return {int(sequence): header for sequence, header in read_json(run.staging / HEADERS).items()}


def read_profile(run: Run) -> pd.DataFrame:
    """The batch profile: one row per delivery and one for the batch."""
    frame: pd.DataFrame = pq.read_table(run.staging / "batch_profile.parquet").to_pandas()
    return frame


def readings_frame(run: Run, readings: dict[int, Reading]) -> pd.DataFrame:
    """One row per delivery that was read: physical lines, records, and those of them that are malformed."""
    batch = run_batch(run)
    names = {each.sequence: each.name for each in (*batch.deliveries, *batch.context)}
    return pd.DataFrame(
        {
            "delivery": list(readings),
            "file": [names[sequence] for sequence in readings],
            "lines": [each.lines for each in readings.values()],
            "records": [each.rows for each in readings.values()],
            "of them malformed": [each.malformed for each in readings.values()],
        }
    )


def columns_frame(run: Run) -> pd.DataFrame:
    """One row per column of ours: the source's name for it, its type, and whether a row needs it."""
    wanted = run.settings.wanted
    names = [*CANONICAL, *run.settings.carry]
    return pd.DataFrame(
        {
            "column": names,
            "in the source": [wanted.get(name, "not mapped") for name in names],
            "type": [COLUMN_TYPES.get(name, "text") for name in names],
            "required": [name in REQUIRED and name in wanted for name in names],
        }
    )


def further_columns(run: Run) -> int:
    """How many columns of the batch's deliveries are neither mapped nor carried; they stay in the snapshots."""
    return len({name for header in read_headers(run).values() for name in _extra_columns(run, header)})


def _require_accepted(run: Run, batch: Batch, refusals: dict[int, DeliveryRefused]) -> None:
    if not refusals:
        return
    loaded = {each.delivery.sequence for each in delivery_standings(run) if each.status == "loaded"}
    for sequence, refusal in refusals.items():
        if sequence in loaded:  # its bytes are what they were: it is the config that changed
            raise UsageError(
                f"{refusal} This is delivery {sequence}, loaded before by another config; "
                "nothing was changed: mend the config."
            )
    _mark_refused(run, [(each, refusals[each.sequence]) for each in batch.deliveries if each.sequence in refusals])
    first, *others = refusals.values()
    more = f" (and {len(others)} more {'is' if len(others) == 1 else 'are'} refused)" if others else ""
    raise DeliveryRefused(f"{first}{more}")


def _note_readings(run: Run, readings: dict[int, Reading]) -> None:
    run.manifest.record(
        readings={
            str(sequence): {"rows": each.rows, "malformed": each.malformed, "lines": each.lines}
            for sequence, each in readings.items()
        }
    )
    # Not in the record: names of unknown columns may be a patient's, where a lost line end ran the first row into them.
    write_json(run.staging / HEADERS, {str(sequence): list(each.header) for sequence, each in readings.items()})


def _mark_refused(run: Run, refusals: list[tuple[Delivery, DeliveryRefused]]) -> None:
    with writing(run.layout) as connection:
        for delivery, refusal in refusals:
            mark(connection, delivery, "refused", run_id=run.run_id, reason=str(refusal))
    run.manifest.record(marks=[{"sequence": each.sequence, "status": "refused"} for each, _ in refusals])
    run.end("refused", str(refusals[0][1]))


def _complete_profile(run: Run, batch: Batch, staged: Staged, all_standings: list[Standing]) -> list[dict[str, Any]]:
    """The engine's counts, and what only the history of deliveries can tell."""
    rows: list[dict[str, Any]] = pq.read_table(staged.profile).to_pylist()
    found = read_headers(run)
    members = {each.sequence for each in batch.deliveries}
    loaded = [each for each in all_standings if each.status == "loaded" and each.delivery.sequence not in members]
    extra_before = _extra_columns(run, loaded[-1].header or ()) if loaded else None
    comparable = comparable_rows(loaded) if batch.is_new else []
    usual = usual_rows(comparable)
    held = sum(each.status == "held" and each.delivery.sequence not in members for each in all_standings)
    unloaded = {each.delivery.sequence for each in all_standings if each.status != "loaded"}
    staged_before = loaded if batch.kind == "refresh" else [each for each in all_standings if each.status == "loaded"]
    of_other_rules = sum(each.rules not in (None, run.settings.rules_digest) for each in staged_before)
    for row in rows:
        is_batch = row["is_batch"]
        newest, oldest_missed = row.pop("newest_accepted"), row.pop("oldest_missed")
        headers = [found[each] for each in members if is_batch or each == row["delivery_seq"]]
        extra_now = {name for header in headers for name in _extra_columns(run, header)}
        row.update(
            new_batch=batch.is_new or (batch.kind == "refresh" and row["delivery_seq"] in unloaded),
            expected_rows=usual * len(members) if usual and is_batch else usual,
            row_count_deviation=row_count_deviation(row["rows_read"], comparable, len(members) if is_batch else 1),
            unexpected_columns=len(extra_now - extra_before) if extra_before is not None else 0,
            absent_columns=len(extra_before - extra_now) if extra_before is not None else 0,
            held_deliveries=held if is_batch else 0,
            absent_visits=staged.absent_visits if is_batch else None,
            visits_deleted=staged.visits_deleted if is_batch else 0,
            visits_restored=staged.visits_restored if is_batch else 0,
            restated_days=staged.restated_days if is_batch else None,
            changed_rules=of_other_rules if is_batch else 0,
            hours_since_newest=_hours(run.as_of, newest),
            missed_needs_hours=_hours(run.window.watermark, oldest_missed),
        )
        if not run.settings.stamped:
            row["same_stamp_changes"] = 0
    return rows


def _extra_columns(run: Run, header: Any) -> set[str]:
    wanted = {name.strip(" \t").casefold() for name in run.settings.wanted.values()}
    return {name for name in header if name.strip(" \t").casefold() not in wanted}


def _hours(later: datetime | None, earlier: datetime | None) -> float | None:
    if later is None or earlier is None:
        return None
    return (later.replace(tzinfo=None) - earlier.replace(tzinfo=None)).total_seconds() / 3600


def newest_loaded(run: Run) -> datetime | None:
    """The greatest accepted `last_updated` inside the window of this batch."""
    return stored_instant(run.manifest.get("newest_loaded"))
