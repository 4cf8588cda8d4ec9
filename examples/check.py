"""Run the example configs on the real files and compare with the figures that their data are known for.

    python examples/check.py FOLDER

FOLDER holds `rcm_hospital_a`, `synthea` and `cms_desynpuf`, each with its CSV file. Every run is the real command on a
data folder of its own. The hospital file is also delivered as five slices by year, in order, and out of order with the
held slices accepted in a full refresh: the figures are the same each time. Exit 1 when any differs.
"""

from __future__ import annotations

import csv
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIGURES = (
    "SELECT count(*), count(DISTINCT patient_id), count(DISTINCT visit_date), sum(visit_cost_cents) FROM fact_visits"
)
DAILY = "SELECT sum(visit_count), count(*), sum(total_visit_cost_cents) FROM daily_visit_metrics"
QUARANTINE = "SELECT reasons, count(*) FROM quarantine GROUP BY reasons ORDER BY reasons"

HOSPITAL = (10_000, 4_297, 311, 529_160_516)
SYNTHEA = (604, 27, 550, 225_917_204)
CMS_QUARANTINE = {"missing_visit_date": 7, "visit_cost_out_of_range": 8}


def run(config: str, source: Path, data_dir: Path, *words: str) -> int:
    """The real command; its exit code. What it prints is shown only when it fails unexpectedly."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--quiet"]
    command += [
        "--config",
        str(ROOT / "examples" / f"{config}.yaml"),
        "--source",
        str(source),
        "--data-dir",
        str(data_dir),
    ]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode


def ask(data_dir: Path, query: str) -> list[tuple[object, ...]]:
    """Rows of a warehouse."""
    connection = sqlite3.connect(data_dir / "warehouse.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def figures(data_dir: Path) -> tuple[object, ...]:
    """Visits, patients, days, cents: of the facts, after holding them against the daily metrics."""
    visits, patients, days, cents = ask(data_dir, FIGURES)[0]
    if ask(data_dir, DAILY)[0] != (visits, days, cents):
        return ("facts and daily metrics differ",)
    return visits, patients, days, cents


def slices(path: Path, column: str, folder: Path) -> list[Path]:
    """The file cut by the year of a column, a header on each."""
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
        names = reader.fieldnames or []
    paths = []
    for year in sorted({row[column][:4] for row in rows}):
        target = folder / f"{path.stem}_{year}.csv"
        with target.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows(row for row in rows if row[column].startswith(year))
        paths.append(target)
    return paths


def check(data: Path, work: Path) -> Iterator[tuple[str, object, object]]:
    """What is checked, what came out, what should."""
    hospital = next((data / "rcm_hospital_a").glob("*.csv"))
    yield "hospital, exit", run("rcm_hospital_a", hospital, work / "whole"), 0
    yield "hospital", figures(work / "whole"), HOSPITAL
    parts = slices(hospital, "ModifiedDate", work)
    for part in parts:
        yield f"{part.name} in order, exit", run("rcm_hospital_a", part, work / "ordered"), 0
    yield "hospital in slices", figures(work / "ordered"), HOSPITAL
    shuffled = [parts[4], *parts[:4]]
    for part in shuffled:
        expected = 0 if part == parts[4] else 4
        yield f"{part.name} out of order, exit", run("rcm_hospital_a", part, work / "shuffled"), expected
    words = ("--full-refresh", "--accept", "zero_row_load", "--reason", "older years, delivered late")
    yield "accepted with a full refresh, exit", run("rcm_hospital_a", parts[0], work / "shuffled", *words), 0
    yield "hospital out of order", figures(work / "shuffled"), HOSPITAL
    synthea = next((data / "synthea").glob("*.csv"))
    yield "synthea, exit", run("synthea", synthea, work / "synthea"), 0
    yield "synthea", figures(work / "synthea"), SYNTHEA
    cms = next((data / "cms_desynpuf").glob("*.csv"))
    yield "cms, exit", run("cms_desynpuf", cms, work / "cms"), 0
    yield "cms quarantine", dict(ask(work / "cms", QUARANTINE)), CMS_QUARANTINE


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print((__doc__ or "").strip())
        return 2
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        for what, found, expected in check(Path(sys.argv[1]), Path(work)):
            good = found == expected
            wrong += not good
            print(
                f"{'ok   ' if good else 'WRONG'} {what}: {found}" + ("" if good else f", expected {expected}"),
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
