"""The files that are measured: made once from a fixed seed, kept in a cache, cut and widened for the growth runs."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from benchmarks import make_visits
from benchmarks.make_visits import INCREMENT_ROWS, write_deliveries


def two_deliveries(cache: Path, rows: int, *, broken: float = 0.01) -> tuple[Path, Path]:
    """A first delivery of `rows` records and the next day's `INCREMENT_ROWS`, from the cache or made now."""
    folder = _cached(
        cache,
        f"{rows}" + ("" if broken else "-clean"),
        lambda made: write_deliveries(made, rows, INCREMENT_ROWS, broken=broken),
    )
    return folder / "visits.csv", folder / "visits_next.csv"


def widened(cache: Path, rows: int, columns: int) -> Path:
    """The first delivery of `rows` records with `columns` more columns, named extra_01 and on; cut rows stay cut."""
    first, _ = two_deliveries(cache, rows)

    def make(folder: Path) -> None:
        with first.open(newline="") as source, (folder / "visits.csv").open("w", newline="") as target:
            reader, writer = csv.reader(source), csv.writer(target, lineterminator="\n")
            header = next(reader)
            writer.writerow([*header, *extra_names(columns)])
            for number, cells in enumerate(reader):
                more = [f"{number * place % 9973}" for place in range(1, columns + 1)]
                writer.writerow(cells + more if len(cells) == len(header) else cells)

    return _cached(cache, f"{rows}-wide-{columns}", make) / "visits.csv"


def extra_names(columns: int) -> list[str]:
    """The names of the columns that `widened` adds."""
    return [f"extra_{place:02d}" for place in range(1, columns + 1)]


def cut(cache: Path, rows: int, files: int) -> Path:
    """A folder with `rows` records in `files` files of equal size. No record is broken: of a few rows, three would be
    too large a share and the delivery held."""
    first, _ = two_deliveries(cache, rows, broken=0)

    def make(folder: Path) -> None:
        with first.open() as source:
            header = next(source)
            for number in range(files):
                lines = islice(source, rows // files)
                (folder / f"visits_{number:04d}.csv").write_text(header + "".join(lines))

    return _cached(cache, f"{rows}-cut-{files}", make)


def _cached(cache: Path, name: str, make: Callable[[Path], object]) -> Path:
    """The folder of this name, made whole or not at all; another code of the makers is another folder."""
    code = b"".join(Path(each).read_bytes() for each in (__file__, make_visits.__file__))
    folder = cache / f"{name}-{hashlib.sha256(code).hexdigest()[:8]}"
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder
