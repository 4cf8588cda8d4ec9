"""A small clinic whose deliveries insert, correct, move and refuse; and what its tables say, without clocks and ids.

Its patients are canaries: after every fault they are looked for where they may not be (tests/privacy).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from lib.layout import KINDS, Layout
from lib.warehouses.choose import kind_named, kind_of
from lib.warehouses.interface import Connection
from tests.pipeline.clinic import csv_text, row
from tests.privacy.canaries import plant
from tests.servers.postgres import schema_url

FIRST_CLOCK = datetime(2025, 3, 2, tzinfo=UTC)
PUBLISHED = (
    "fact_visits", "daily_visit_metrics", "metric_changes", "quarantine", "quarantine_rows", "deliveries", "watermarks"
)  # fmt: skip
_TIMELESS = {"deliveries": {"taken_by"}, "runs": {"run_id", "committed"}}
"""Columns that tell when or by which attempt a thing was done: they differ from try to try."""
_RUN_ID = re.compile(r"\d{6}-\d{8}T\d{6}Z")

Content = dict[str, list[tuple[Any, ...]]]


class World:
    """One data folder, its inbox and its config, under `folder`."""

    def __init__(self, folder: Path, kind: str = "sqlite") -> None:
        self.folder = folder
        self.kind = kind
        self.input = folder / "inbox" / "visits.csv"
        self.data_dir = folder / "data"
        self.url = schema_url(folder) if kind == "postgres" else f"{kind}:///{KINDS[kind]}"
        self.layout = Layout.at(self.data_dir, self.url)
        self.warehouse = self.layout.warehouse
        self.config = folder / "config.yaml"

    def begin(self, offered: Path | None = None) -> None:
        """An empty clinic, whose source is its own inbox or the file of another."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.input.parent.mkdir(parents=True)
        settings = {
            "source": {"path": str(offered or self.input)},
            "engine": {"threads": 1},
            "warehouse": self.url,
        }
        self.config.write_text(yaml.safe_dump(settings))

    def become(self, prepared: Path) -> None:
        """The clinic that `keep` put aside."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(prepared, self.folder, symlinks=True)

    def keep(self, prepared: Path) -> None:
        shutil.rmtree(prepared, ignore_errors=True)
        shutil.copytree(self.folder, prepared, symlinks=True)

    def deliver(self, number: int) -> None:
        """Put the n-th delivery into the inbox, whole."""
        unfinished = self.input.with_suffix(".part")
        unfinished.write_bytes(plant(delivery(number)))
        unfinished.replace(self.input)

    def words(self, number: int) -> list[str]:
        """The command's words for a run by the clock of the n-th delivery."""
        clock = (FIRST_CLOCK + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return ["run", "--config", str(self.config), "--data-dir", str(self.data_dir), "--as-of", clock]

    @contextmanager
    def copied(self) -> Iterator[Connection]:
        """A copy of the warehouse: a reader of the real one would roll back what a killed writer left behind. A server
        does that by itself: there it is the real one, in a transaction that sees one instant of it."""
        if self.layout.server:
            with closing(kind_named(self.kind).connect(self.layout, read_only=True)) as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                yield connection
            return
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as copies:
            for path in self.data_dir.glob(f"{self.warehouse.name}*"):
                shutil.copyfile(path, Path(copies, path.name))
            layout = Layout.at(Path(copies), self.url)
            with closing(kind_named(self.kind).connect(layout)) as connection:
                yield connection

    def tables(self) -> Content:
        """What the warehouse says."""
        with self.copied() as connection:
            return _content(connection)

    def loaded_runs(self) -> set[str]:
        """The ids of the runs that the warehouse has."""
        with self.copied() as connection:
            return {each[0] for each in connection.execute("SELECT run_id FROM runs")}

    def published(self) -> Content:
        """The tables without what a run that changes nothing adds: its own row, the version, the last run."""
        return published(self.tables())

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Every run's manifest; an empty one where a run died before it wrote any."""
        found: dict[str, dict[str, Any]] = {}
        for record in sorted((self.data_dir / "runs").glob("[0-9]*")):
            path = record / "manifest.json"
            found[record.name] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def leftovers(self) -> list[str]:
        """Temporary files of writers that died."""
        found = [*self.data_dir.rglob(".tmp-*"), *self.data_dir.rglob("*-journal"), *self.data_dir.rglob("*.wal")]
        return sorted(str(path.relative_to(self.data_dir)) for path in found)


def published(content: Content) -> Content:
    return {name: content[name] for name in PUBLISHED if name in content}


def differences(found: Content, wanted: Content) -> list[str]:
    """The tables that differ, with how many rows do: no values."""
    return [
        f"{name}: {len(set(found.get(name, [])) ^ set(wanted.get(name, [])))} rows differ"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]


def delivery(number: int) -> str:
    """The n-th delivery: new visits, corrections of the last one's, a visit that moves to another day, a tie, a row
    that is older than the window, a cost that is refused now and corrected by the next delivery."""
    stamp = (FIRST_CLOCK + timedelta(hours=number - 2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    day = (FIRST_CLOCK + timedelta(days=number % 5 - 9)).date().isoformat()
    at = {"visit_date": day, "last_updated": stamp}
    rows = [row(f"N{number}-{each}", patient_id=f"P{each}", visit_cost=f"{number}.{each}0", **at) for each in range(8)]
    before = number - 1
    if before:
        rows += [
            row(f"N{before}-0", visit_cost="1.23", visit_date=day, last_updated=stamp),
            row(f"N{before}-1", visit_cost="", patient_id="P9", last_updated=stamp),
            row(f"Q{before}", visit_date=day, last_updated=stamp),
            row("OLD", last_updated="2025-01-01T00:00:00Z"),
        ]
    rows += [
        row(f"Q{number}", visit_cost="?", last_updated=stamp),
        row("TIE", visit_cost=str(number), last_updated="2025-03-02T00:00:00Z"),
    ]
    return csv_text(rows)


def _content(connection: Connection) -> Content:
    there = kind_of(connection).table_names(connection)
    if "runs" not in there:
        return {}
    ranks: dict[str, str] = {}
    for run_id, batch in connection.execute("SELECT run_id, batch FROM runs ORDER BY run_id").fetchall():
        changed = len({each for each in ranks.values() if each != "a repeat"})
        ranks[run_id] = "a repeat" if batch == "repeat" else f"load {changed + 1}"
    content = {name: _rows(connection, name, ranks) for name in ("runs", "state", *PUBLISHED) if name in there}
    content["deliveries"] = [each for each in content["deliveries"] if "pending" not in each]
    content["watermarks"] = [
        tuple(each) for each in connection.execute("SELECT source, watermark_last_updated FROM state ORDER BY source")
    ]
    return content


def _rows(connection: Connection, table: str, ranks: dict[str, str]) -> list[tuple[Any, ...]]:
    found = connection.execute(f"SELECT * FROM {table}").fetchall()
    left_out = _TIMELESS.get(table, set())
    rows = [tuple(_ranked(each[name], ranks) for name in list(each.keys()) if name not in left_out) for each in found]
    return sorted(rows, key=repr)


def _ranked(value: Any, ranks: dict[str, str]) -> Any:
    is_run = isinstance(value, str) and _RUN_ID.fullmatch(value)
    return ranks.get(value, "a run that did not load") if is_run else value
