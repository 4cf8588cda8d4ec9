"""The measurements: loads of every contender in turn, a look into one run of ours, and growth."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import deliveries, kinds
from benchmarks.contenders import Contender, Ours
from benchmarks.make_visits import EXPORT, NEXT_EXPORT
from benchmarks.processes import Took
from benchmarks.tables import Tables, differences

FULL, INCREMENT, ON_EMPTY = "full load", "increment", "increment on empty"
GIB = 2**30


@dataclass
class Results:
    """Everything measured, as plain data; `problems` are failures, wrong tables and broken bounds, in words."""

    settings: dict[str, Any]
    machine: dict[str, Any]
    loads: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    growth: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """One benchmark: who, where, and what came of it. `saved` is called after each measurement."""

    everyone: dict[str, Contender]
    out: Path
    results: Results
    max_gib: float
    saved: Callable[[Results], None]

    def leave_out_missing(self) -> None:
        """Those of ours whose warehouse this version does not have take no part; the results say so."""
        for key, each in list(self.everyone.items()):
            with _workplace(self.out) as place:
                if isinstance(each, Ours) and not each.is_there(place):
                    self.results.notes.append(f"{each.name}: this version has no such warehouse; left out.")
                    print(self.results.notes[-1], flush=True)
                    del self.everyone[key]

    def compare(self, rows: int, repeats: int, full_repeats: int) -> None:
        """Full load of `rows`, the next day's increment, and that increment alone, by everyone in turn.

        The increment is repeated `repeats` times, each on the tables as one full load left them; the first round also
        compares the tables of all."""
        first, following = deliveries.two_deliveries(self.out / "data", rows)
        loaded: dict[str, Path] = {}
        with _workplace(self.out) as place:
            for repeat in range(repeats):
                for key in list(self.everyone):
                    if repeat < full_repeats and self._full(key, rows, first, place, repeat):
                        loaded[key] = place / f"{key}-loaded"
                for key in [key for key in self.everyone if key in loaded]:
                    folder = _afresh(place / key, loaded[key])
                    self._timed(key, rows, INCREMENT, repeat, folder, following, NEXT_EXPORT)
                for key in list(self.everyone):
                    folder = _afresh(place / key)
                    self.everyone[key].prepare(folder)
                    self._timed(key, rows, ON_EMPTY, repeat, folder, following, NEXT_EXPORT)
        self._compare_tables(rows)

    def _full(self, key: str, rows: int, first: Path, place: Path, repeat: int) -> bool:
        """One full load into place/KEY, moved to place/KEY-loaded; whether it went well."""
        folder = _afresh(place / key)
        self.everyone[key].prepare(folder)
        if not self._timed(key, rows, FULL, repeat, folder, first, EXPORT):
            return False
        _afresh(place / f"{key}-loaded").rmdir()
        folder.rename(place / f"{key}-loaded")
        return True

    def look(self, rows: int) -> None:
        """By stage and by kind: one full load and one increment of each of ours, whose imports are noted."""
        first, following = deliveries.two_deliveries(self.out / "data", rows)
        instruments = str(Path(__file__).resolve().parent / "instruments")
        for key, each in self.everyone.items():
            if not isinstance(each, Ours):
                continue
            with _workplace(self.out) as place:
                for job, source, clock in ((FULL, first, EXPORT), (INCREMENT, following, NEXT_EXPORT)):
                    noted = place / f"{job}.imports"
                    looked = replace(each, env=(("PYTHONPATH", instruments), ("BENCHMARK_IMPORTS", str(noted))))
                    took = looked.load(place, source, clock)
                    if not self._went_well(each, f"{job} of {rows:,} rows, looked into", took):
                        break
                    imports = kinds.read_imports(noted)
                    self.results.looks.append(
                        {
                            "contender": key,
                            "rows": rows,
                            "job": job,
                            "seconds": took.seconds,
                            "stages": kinds.by_stage(place / "data", took.seconds),
                            "kinds": kinds.by_kind(place / "data", took.began, took.seconds, imports),
                        }
                    )
                    self.saved(self.results)

    def grow(self, rows: int, columns: list[int], cut_rows: int, files: list[int], repeats: int) -> None:
        """With more columns, carried or not, and with the same rows in more files; ours, on each warehouse."""
        cache = self.out / "data"
        for _ in range(repeats):
            for number in columns:
                source = deliveries.widened(cache, rows, number)
                self._grown("columns not mapped", number, rows, source)
                if number:
                    config = source.with_name("carry.yaml")
                    config.write_text("carry:\n" + "".join(f"  {n}: {n}\n" for n in deliveries.extra_names(number)))
                    self._grown("columns carried", number, rows, source, config)
            for number in files:
                self._grown("deliveries", number, cut_rows, deliveries.cut(cache, cut_rows, number))

    def _grown(self, what: str, number: int, rows: int, source: Path, config: Path | None = None) -> None:
        for key, each in self.everyone.items():
            if not isinstance(each, Ours):
                continue
            with _workplace(self.out) as place:
                took = replace(each, config=config).load(place, source, EXPORT)
                if self._went_well(each, f"{number:,} {what}", took):
                    self.results.growth.append(
                        {"contender": key, "what": what, "number": number, "rows": rows, **_told(took)}
                    )
                    self.saved(self.results)

    def _timed(self, key: str, rows: int, job: str, repeat: int, folder: Path, source: Path, clock: datetime) -> bool:
        """One load, kept among the results, and its tables too in the first round; whether it went well."""
        each = self.everyone[key]
        took = each.load(folder, source, clock)
        if not self._went_well(each, f"{job} of {rows:,} rows", took):
            return False
        self.results.loads.append({"contender": key, "rows": rows, "job": job, "repeat": repeat, **_told(took)})
        print(
            f"  {job:<19}{each.name:<17}{took.seconds:>8.1f} s {took.cpu:>8.1f} s CPU {took.memory / GIB:>6.2f} GiB",
            flush=True,
        )
        if repeat == 0:
            tables = each.tables(folder)
            self.results.tables.append({"contender": key, "rows": rows, "job": job, **tables.told()})
        self.saved(self.results)
        return True

    def _went_well(self, each: Contender, what: str, took: Took) -> bool:
        """Notes a failure of anyone, and of ours too much memory."""
        if took.exit_code:
            self._problem(f"{each.name}: {what}: exit code {took.exit_code}\n{took.tail}")
        elif each.is_ours and took.memory > self.max_gib * GIB:
            self._problem(f"{each.name}: {what}: {took.memory / GIB:.2f} GiB, more than {self.max_gib:g}")
        return not took.exit_code

    def _compare_tables(self, rows: int) -> None:
        """Everyone's facts and metrics against the first one's, row by row; refused rows after full loads, where no
        window leaves any out."""
        for job in (FULL, INCREMENT, ON_EMPTY):
            found = [dict(each) for each in self.results.tables if (each["rows"], each["job"]) == (rows, job)]
            known = [(each["contender"], Tables(**{name: each[name] for name in _TABLE_FIELDS})) for each in found]
            for key, tables in known[1:]:
                for difference in differences(known[0][1], tables, same_refused=job != INCREMENT):
                    self._problem(f"{job} of {rows:,} rows: {known[0][0]} and {key} differ: {difference}")
            if len(known) > 1:
                total = known[0][1]
                print(
                    f"  tables after {job}: {total.visits:,} visits, {total.cost_cents / 100:,.2f} cost, "
                    f"{total.days:,} days; compared row by row: {', '.join(key for key, _ in known)}",
                    flush=True,
                )

    def _problem(self, words: str) -> None:
        self.results.problems.append(words)
        print(f"  PROBLEM  {words}", file=sys.stderr, flush=True)
        self.saved(self.results)


_TABLE_FIELDS = tuple(Tables.__dataclass_fields__)


def _told(took: Took) -> dict[str, Any]:
    return {"seconds": took.seconds, "cpu": took.cpu, "pss": took.pss, "rss": took.rss}


def _afresh(folder: Path, copy_of: Path | None = None) -> Path:
    """An empty folder in place of what was there, or a copy of another, which is on the disk: whoever is measured next
    and has its own few pages written to the end would else wait for the copy's."""
    _remove(folder)
    if copy_of:
        shutil.copytree(copy_of, folder, symlinks=True)
    else:
        folder.mkdir(parents=True)
    os.sync()
    return folder


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A folder for the contenders' data, gone afterwards."""
    out.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="work-", dir=out))
    try:
        yield place
    finally:
        _remove(place)
