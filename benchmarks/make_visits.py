"""Write invented visits of any number, for measuring: a first delivery of two years and the next day's increment.

    python benchmarks/make_visits.py FOLDER [--rows 1000000]

The same rows and seed give the same bytes. Of a delivery's rows about 2 % repeat an earlier row, 2 % are later
versions of one (in the increment: 3 % and 15 %), and 1 % are broken in one of the ways below.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import numpy as np

SEED = 20250630
HEADER = "visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated\n"
FIRST_DAY, DAYS = datetime(2023, 7, 1, tzinfo=UTC), 730
"""The first delivery holds the visits of these days; the increment those of the day after them."""
EXPORT = FIRST_DAY + timedelta(days=DAYS + 30)
"""When the first delivery is taken: the latest records are saved some days after their visits. The next a day later."""
NEXT_EXPORT = EXPORT + timedelta(days=1)
INCREMENT_ROWS = 1_000
CODES, PROVIDERS, VISITS_PER_PATIENT = 3_000, 400, 10 / 3
CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class Visits:
    """Columns of some visits, one place each. `day` counts from FIRST_DAY; `stamp` is in microseconds since 1970."""

    number: np.ndarray
    patient: np.ndarray
    provider: np.ndarray
    code: np.ndarray
    day: np.ndarray
    cents: np.ndarray
    stamp: np.ndarray

    def take(self, places: np.ndarray) -> Visits:
        """The visits at these places, in their order."""
        return Visits(**{name: column[places] for name, column in vars(self).items()})


def write_deliveries(
    folder: Path, rows: int, increment: int = INCREMENT_ROWS, *, broken: float = 0.01, seed: int = SEED
) -> tuple[Path, Path]:
    """Write `visits.csv` of `rows` records and `visits_next.csv` of `increment` into `folder`; their paths."""
    rng = np.random.default_rng(seed)
    clinic = _draw(rng, rows, 0, np.arange(rows) * DAYS // max(rows, 1), rows)
    first = _write(folder / "visits.csv", rng, clinic, clinic, repeats=0.02, versions=0.02, broken=broken)
    newest = clinic.take(np.argsort(clinic.stamp)[-max(increment, 1) :])  # the window still holds these
    new = _draw(rng, increment, rows, np.full(increment, DAYS + 30), rows)
    second = _write(folder / "visits_next.csv", rng, new, newest, repeats=0.03, versions=0.15, broken=broken)
    return first, second


def _draw(rng: np.random.Generator, rows: int, first_number: int, day: np.ndarray, clinic_rows: int) -> Visits:
    """New visits: few codes and providers have most of them (Zipf), costs are lognormal, records are saved late."""
    patients = max(int(clinic_rows / VISITS_PER_PATIENT), 1)
    saved_after = np.minimum(rng.lognormal(9.5, 1.2, rows), 29 * 86_400)  # seconds; median four hours
    if first_number:
        saved_after %= 6 * 3600
    seconds = day * 86_400 + rng.integers(7 * 3600, 18 * 3600, rows) + saved_after
    return Visits(
        number=first_number + np.arange(rows),
        patient=(patients * rng.random(rows) ** 1.5).astype(np.int64),
        provider=_zipf(rng, PROVIDERS, rows),
        code=_zipf(rng, CODES, rows),
        day=day,
        cents=np.maximum(np.round(100 * rng.lognormal(4.7, 0.8, rows)), 500).astype(np.int64),
        stamp=(FIRST_DAY.timestamp() * 1e6 + np.floor(seconds * 1e6)).astype(np.int64),
    )


def _zipf(rng: np.random.Generator, kinds: int, rows: int) -> np.ndarray:
    """Ranks from 0, the n-th about 1/n as frequent as the first; -1 (none recorded) for 2 %."""
    weights = 1 / np.arange(1, kinds + 1)
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(rows)).clip(max=kinds - 1)
    return np.where(rng.random(rows) < 0.02, -1, ranks)


def _write(
    path: Path, rng: np.random.Generator, new: Visits, known: Visits, *, repeats: float, versions: float, broken: float
) -> Path:
    """Write one record for every place of `new`: itself, or at some places a row of `known`, repeated or corrected."""
    rows = len(new.number)
    fate, breaks = rng.random(rows), np.where(rng.random(rows) < broken, rng.integers(1, len(BREAKS) + 1, rows), 0)
    again = np.flatnonzero(fate < repeats + versions)
    picked = known.take(rng.integers(0, len(known.number), len(again)))
    corrected = np.flatnonzero(fate[again] >= repeats)
    latest = int((EXPORT if known is new else NEXT_EXPORT).timestamp() * 1e6) - 3_600_000_000
    cents, stamp = picked.cents.copy(), picked.stamp.copy()
    cents[corrected] += 1 + rng.integers(0, 5_000, len(corrected))
    stamp[corrected] = np.minimum(stamp[corrected] + rng.integers(1, 86_400_000_000, len(corrected)), latest)
    picked = replace(picked, cents=cents, stamp=stamp)
    columns = {name: column.copy() for name, column in vars(new).items()}
    for name, column in vars(picked).items():
        columns[name][again] = column
    no_cost = columns["number"] % 25 == 7
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(HEADER)
        lines = _lines(Visits(**columns), no_cost, breaks)
        while chunk := "".join(islice(lines, CHUNK_ROWS)):
            stream.write(chunk)
    return path


def _lines(visits: Visits, no_cost: np.ndarray, breaks: np.ndarray) -> Iterator[str]:
    days = np.datetime_as_string(np.datetime64(FIRST_DAY.date(), "D") + np.arange(DAYS + 60))
    for start in range(0, len(breaks), CHUNK_ROWS):
        place = slice(start, start + CHUNK_ROWS)
        stamps = np.datetime_as_string(visits.stamp[place].astype("datetime64[us]"))
        columns = [column[place].tolist() for column in list(vars(visits).values())[:6]]
        for number, patient, provider, code, day, cents, stamp, costless, broken in zip(
            *columns, stamps, no_cost[place], breaks[place], strict=True
        ):
            cells = [
                f"V{number:08d}",
                f"P{patient:07d}",
                "" if provider < 0 else f"PR{provider:03d}",
                "" if code < 0 else f"{chr(65 + code % 26)}{code * 37 % 100:02d}.{code % 9}",
                str(days[day]),
                "" if costless else f"{cents // 100}.{cents % 100:02d}",
                f"{stamp}Z",
            ]
            yield ",".join(BREAKS[broken - 1](cells) if broken else cells) + "\n"


BREAKS = (
    lambda cells: ["", *cells[1:]],  # no visit_id
    lambda cells: [cells[0], " ", *cells[2:]],  # no patient_id
    lambda cells: [*cells[:4], "2025-02-30", *cells[5:]],  # no such day
    lambda cells: [*cells[:4], "", *cells[5:]],  # no day
    lambda cells: [*cells[:5], "-12.50", cells[6]],
    lambda cells: [*cells[:5], "free", cells[6]],
    lambda cells: [*cells[:6], "yesterday"],
    lambda cells: cells[:4],  # cut short
)
"""What is wrong with a broken row."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write invented visits for measuring.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for path in write_deliveries(options.folder, options.rows):
        print(f"{path}: {path.stat().st_size / 2**20:,.1f} MiB")


if __name__ == "__main__":
    main()
