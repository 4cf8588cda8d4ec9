"""verify --rebuild: the tables built again from raw in a scratch warehouse, compared by content with those there are.

What the recorded runs did is done again in their order: each one's settings, batch, window and clock from its manifest,
through reading, staging and the commit; the gate has judged already. Rows that were missed are missed again, so a sound
history shows no difference.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from lib import load, stage
from lib.clock import instant_text
from lib.config import Settings, settings_from
from lib.counted import counted
from lib.deliveries import sync_ledger
from lib.errors import DeliveryRefused, StoredDataChanged, UsageError
from lib.files import read_json, sha256_of_file
from lib.layout import Layout
from lib.manifest import FILE_NAME, MANIFEST_VERSION, Manifest
from lib.provenance import code_hashes
from lib.rehearsal import copy_warehouse, scratch_layout
from lib.run import Run
from lib.sql import identifier, statement, statements
from lib.state import read_state
from lib.warehouse import extent, open_warehouse, transaction, writing
from lib.warehouses.choose import kind_named, kind_of
from lib.warehouses.interface import Connection

COMPARED = {
    "fact_visits": (["visit"], ("source", "visit_id")),
    "daily_visit_metrics": (["day"], ("visit_date",)),
    "visit_value_counts": (["value"], ("kind", "value", "source")),
    "metric_changes": (["change of a day", "changes of a day"], ("run_id", "visit_date")),
    "lateness": (["hour of a run", "hours of a run"], ("run_id", "hours")),
    "quarantine": (["entry", "entries"], ("identity",)),
    "quarantine_rows": (["refused row"], ("source", "delivery_seq", "source_line")),
    "runs": (["run"], ("run_id",)),
    "state": (["source"], ("source",)),
}
"""Each table's rows in words, and its key."""
OF_THE_MOMENT = {"runs": {"committed", "actor", "counts"}}
"""Columns that tell when and by whom; counts are held against the manifest."""
JUDGED_BEFORE = "PASSED"


@dataclass(frozen=True)
class Difference:
    """How one table differs from what its deliveries give. `columns`: of the differing rows, how many in each column.
    The keys of the rows are there for `--reveal` alone."""

    table: str
    missing: list[tuple[Any, ...]]
    unsupported: list[tuple[Any, ...]]
    differing: list[tuple[Any, ...]]
    columns: dict[str, int]

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.unsupported) + len(self.differing)

    @property
    def text(self) -> str:
        """In words, by kind; counts only."""
        row = COMPARED[self.table][0]
        inside = ", ".join(f"{name} {count:,}" for name, count in self.columns.items())
        kinds = [
            (self.missing, "missing"),
            (self.unsupported, "supported by no delivery"),
            (self.differing, f"not the same ({inside})"),
        ]
        return f"{self.table}: " + "; ".join(f"{counted(len(keys), *row)} {words}" for keys, words in kinds if keys)


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild found. `other_code`: runs made by other code than this; `other_rules`: staged under other rules
    than the config's now. Differences may come from either."""

    runs: int
    differences: tuple[Difference, ...]
    other_code: int = 0
    other_rules: int = 0


@dataclass
class _Replay:
    """Where the runs are done again."""

    layout: Layout
    scratch: Layout
    rules: dict[str, str | None] = field(default_factory=dict)


def rebuild_tables(layout: Layout, settings: Settings, progress: Callable[[str], None]) -> Rebuilt:
    """Do every recorded run again in a scratch folder; what differs. `progress` gets a line a run.

    Raises StoredDataChanged, naming it, when a manifest or snapshot is gone or altered.
    """
    if extent(layout) is None:
        raise StoredDataChanged(
            f"{layout.warehouse.name}: there is no warehouse yet; run python run_pipeline.py first."
        )
    with scratch_layout(layout) as scratch:
        kept = replace(scratch, warehouse=scratch.data_dir / f"kept-{scratch.warehouse.name}")
        copy_warehouse(layout, kept)
        with writing(kept) as connection:  # migrated, when it is of an older schema
            runs = [dict(row) for row in connection.execute("SELECT * FROM runs ORDER BY version")]
        open_warehouse(scratch, rebuild=True).close()
        replay = _Replay(layout, scratch)
        other_code = 0
        code = _of_lib(code_hashes())
        for number, row in enumerate(runs, 1):
            progress(f"{row['run_id']}  {row['source']}  {row['batch']:<8}{number:,} of {len(runs):,}")
            manifest = _read_manifest(layout, row)
            other_code += _of_lib(manifest.get("code", {})) != code
            _do_again(replay, row, manifest)
        differences = _compare(scratch, kept)
    of_config = [row for row in runs if row["source"] == settings.source.name]
    other_rules = sum(row["rules"] not in (None, settings.rules_digest) for row in of_config)
    return Rebuilt(len(runs), differences, other_code, other_rules)


def _of_lib(hashes: dict[str, str]) -> dict[str, str]:
    """The files that decide what a row becomes."""
    return {name: sha256 for name, sha256 in hashes.items() if name.startswith("lib/")}


def _read_manifest(layout: Layout, row: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a loaded run. Raises StoredDataChanged when it is gone, or not what the warehouse and the next
    record say of it."""
    run_id = row["run_id"]
    where, remedy = f"runs/{run_id}/{FILE_NAME}", "the run cannot be done again; restore the record from a backup."
    path = layout.record(run_id) / FILE_NAME
    try:
        manifest: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise StoredDataChanged(f"{where}: is missing; {remedy}") from None
    except ValueError:
        raise StoredDataChanged(f"{where}: is not JSON any more; {remedy}") from None
    said = (
        manifest.get("source"), (manifest.get("batch") or {}).get("kind"), manifest.get("counts"),
        manifest.get("as_of"), (manifest.get("window") or {}).get("watermark"),
    )  # fmt: skip
    done = (row["source"], row["batch"], json.loads(row["counts"]), row["as_of"], row["watermark_before"])
    later = [each for each in layout.run_ids() if each > run_id][:1]
    next_path = layout.record(later[0]) / FILE_NAME if later else None
    chained = None
    if next_path and next_path.exists():
        try:
            chained = read_json(next_path).get("previous_manifest_sha256")
        except ValueError:
            chained = None
    if said != done or (chained and chained != sha256_of_file(path)):
        raise StoredDataChanged(f"{where}: is not what the run left; {remedy}")
    return manifest


def _do_again(replay: _Replay, row: dict[str, Any], manifest: dict[str, Any]) -> None:
    source, run_id, counts = row["source"], row["run_id"], manifest["counts"]
    before, replay.rules[source] = replay.rules.get(source), row["rules"]
    with writing(replay.scratch) as connection:
        sync_ledger(replay.scratch, connection, source)
        state = read_state(connection, source)
        changes_nothing = not counts.get("written", 1) and not counts["newly_refused"] and before == row["rules"]
        if row["batch"] == "repeat" and changes_nothing:
            return _note_repeat(connection, row, counts["staged"])
    try:
        settings = settings_from(manifest["config"], FILE_NAME).model_copy(update={"warehouse": None})
    except UsageError:
        raise StoredDataChanged(
            f"runs/{run_id}/{FILE_NAME}: its settings are of another release; rebuild with that one."
        ) from None
    told = ("started", "actor", "host", "git", "interpreter", "code", "packages", "waivers")
    content = {
        "manifest_version": MANIFEST_VERSION,
        **{name: manifest[name] for name in ("run_id", "source", "as_of", "options", "window", "config", "batch")},
        **{name: manifest[name] for name in told if name in manifest},
        "version": state.version,
        "committed_watermark": state.watermark and instant_text(state.watermark),
    }
    run = Run(run_id, settings, replay.scratch, Manifest.create(replay.scratch.record(run_id), content))
    run.staging.mkdir(mode=0o700, exist_ok=True)
    try:
        stage.stage_batch(run)
    except (DeliveryRefused, UsageError) as refusal:
        raise StoredDataChanged(f"run {run_id} cannot be done again: {refusal}") from None
    run.manifest.record(
        gate={"decision": JUDGED_BEFORE, "staged": run.manifest["staged"], "version": run.manifest["version"]}
    )
    load.load_visits(run)
    shutil.rmtree(run.staging)


def _note_repeat(connection: Connection, row: dict[str, Any], staged: int) -> None:
    """A run of the last batch again wrote its own row and the state's."""
    with transaction(connection):
        connection.execute("UPDATE warehouse SET version = version + 1")
        version = connection.execute("SELECT version FROM warehouse").fetchone()[0]
        columns = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO runs ({columns}) VALUES ({marks})", {**row, "version": version})
        connection.execute(
            "UPDATE state SET last_staging_row_count = ?, last_as_of = ?, last_run_id = ? WHERE source = ?",
            [staged, row["as_of"], row["run_id"], row["source"]],
        )


def _compare(scratch: Layout, kept: Layout) -> tuple[Difference, ...]:
    kind = kind_named(scratch.kind)
    opened: Connection = kind.connect(scratch, wider=scratch.data_dir)
    with closing(opened) as connection:
        kind.attach(connection, kept.warehouse, "kept")
        for database in ("main", "kept"):
            connection.execute(statement("warehouse/waivers_left_out", database=database))
        for text in statements("warehouse/rebuild"):
            connection.execute(text)
        found = [_difference(connection, table, key) for table, (_, key) in COMPARED.items()]
    return tuple(each for each in found if each.count)


def _difference(connection: Connection, table: str, key: tuple[str, ...]) -> Difference:
    """Of the rebuilt table (main) and the one that was kept, by key; a column that one lacks is null there."""
    sides = {side: _columns(connection, side, table) for side in ("main", "kept")}
    every = sorted((sides["main"] | sides["kept"]) - set(key) - OF_THE_MOMENT.get(table, set()))
    keys = ", ".join(f"a.{name}" for name in key)
    same_key = " AND ".join(f"a.{name} = b.{name}" for name in key)

    def column(side: str, alias: str, name: str) -> str:
        return f"{alias}.{identifier(name)}" if name in sides[side] else "NULL"

    def only_in(side: str, other: str) -> list[tuple[Any, ...]]:
        there = f"SELECT 1 FROM {other}.{table} AS b WHERE {same_key}"
        query = f"SELECT {keys} FROM {side}.{table} AS a WHERE NOT EXISTS ({there}) ORDER BY {keys}"
        return [tuple(row) for row in connection.execute(query)]

    is_not = kind_of(connection).IS_NOT
    differ = [f"{column('main', 'a', name)} {is_not} {column('kept', 'b', name)}" for name in every]
    rows = connection.execute(
        f"SELECT {', '.join([keys, *differ])} FROM main.{table} AS a JOIN kept.{table} AS b ON {same_key}"
        f" WHERE {' OR '.join(differ) or 'false'} ORDER BY {keys}"
    ).fetchall()
    counted = {name: sum(row[len(key) + place] for row in rows) for place, name in enumerate(every)}
    return Difference(
        table,
        missing=only_in("main", "kept"),
        unsupported=only_in("kept", "main"),
        differing=[row[: len(key)] for row in rows],
        columns={name: count for name, count in counted.items() if count},
    )


def _columns(connection: Connection, side: str, table: str) -> set[str]:
    return set(kind_of(connection).stored_columns(connection, table, side))
