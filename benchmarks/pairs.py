"""A first load, and 1,000 records more on what it left, by pairs of engine and warehouse that run on this machine.

    python -m benchmarks.pairs ROWS [PAIR ...]         duckdb-sqlite duckdb-duckdb duckdb-postgres spark-postgres

Prints a line a pair: seconds and the most memory of each load. PostgreSQL and Spark (a master, two workers of a core
each) run beside the pipeline on the same cores; their memory is not counted. The first time, an environment with Spark
is made (450 MB). A load by Spark takes a minute at least.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from pathlib import Path

import yaml

from benchmarks.deliveries import two_deliveries
from benchmarks.make_visits import EXPORT, NEXT_EXPORT
from benchmarks.processes import unwound_by_sigterm, watched

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "benchmarks" / "out" / "data"
PAIRS = ("duckdb-sqlite", "duckdb-duckdb", "duckdb-postgres", "spark-postgres")


def main(rows: int, pairs: tuple[str, ...]) -> int:
    """Measure; 1 when a load fails."""
    from tests.conformance.pairs import on_engine, postgres_for_warehouses, two_workers
    from tests.pipeline.clinic import Clinic

    files = zip(two_deliveries(CACHE, rows), (EXPORT, NEXT_EXPORT), strict=True)
    loads = [(file, clock.strftime("%Y-%m-%dT%H:%M:%SZ")) for file, clock in files]
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="bench-pairs-") as temporary:
        if any("postgres" in pair for pair in pairs):
            running.enter_context(postgres_for_warehouses())
        for pair in pairs:
            engine, _, kind = pair.partition("-")
            home = Path(temporary, pair)
            home.mkdir()
            with two_workers(home / "cluster") if engine == "spark" else nullcontext() as spark:
                python, environment, settings = on_engine(spark)
                config = home / "config.yaml"
                config.write_text(yaml.safe_dump({**settings, "warehouse": Clinic(home, kind=kind).layout.url}))
                told = []
                for file, clock in loads:
                    words = ["run", "--quiet", "--config", config, "--source", file, "--data-dir", home / "data"]
                    command = [python, "run_pipeline.py", *map(str, words), "--as-of", clock]
                    took = watched(command, cwd=ROOT, log=home / "log", env=environment)
                    if took.exit_code:
                        print(f"{pair}: exit {took.exit_code}: {took.tail}", file=sys.stderr)
                        return 1
                    told.append(f"{took.seconds:8.1f} s {took.memory / 2**30:5.2f} GiB")
            print(f"{pair:<16}{rows:>12,} rows{told[0]}    1,000 more{told[1]}", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    given = parser.parse_args()
    unwound_by_sigterm()
    sys.exit(main(given.rows, tuple(given.pairs)))
