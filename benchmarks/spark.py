"""Staging on Spark with one worker against two: a standalone cluster on this machine, a core a worker.

    python -m benchmarks.spark [ROWS]          200000 rows unless told

Prints a line a cluster: seconds of staging alone (snapshot to staged files; joining the cluster apart), rows a second,
and whether what was staged is what DuckDB stages, by count and by the sum of the row hashes. Makes the environment with
Spark first, as the tests do (tests/engines/environment.py). Each cluster is new: none has what another compiled.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import unwound_by_sigterm

ROWS = 200_000


def main(rows: int) -> int:
    """Measure; 1 when what was staged differs."""
    from benchmarks.make_visits import EXPORT, write_deliveries
    from tests.engines.cluster import standalone_cluster
    from tests.engines.environment import ROOT, spark_environment

    found: dict[str, dict[str, float | str]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as temporary:
        folder = Path(temporary)
        visits, _ = write_deliveries(folder, rows)
        environment = spark_environment(folder)
        for workers in (0, 1, 2):
            with standalone_cluster(folder / f"cluster-{workers}", environment, workers) as cluster:
                words = [cluster.master if workers else "", str(visits), str(folder / f"staged-{workers}")]
                head = [environment["PYSPARK_PYTHON"], "-W", "ignore", "-m", "benchmarks.spark", "stage"]
                done = subprocess.run(
                    [*head, *words, EXPORT.isoformat()],
                    cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
                )  # fmt: skip
            if done.returncode:
                print(done.stderr[-2000:], file=sys.stderr)
                return 1
            told = found[f"spark, {workers} worker(s)" if workers else "duckdb"] = json.loads(
                done.stdout.splitlines()[-1]
            )
            seconds = float(told["seconds"])
            print(
                f"{list(found)[-1]:<20} {seconds:8.1f} s  {rows / seconds:12,.0f} rows/s  {told['content']}", flush=True
            )
    return int(len({str(each["content"]) for each in found.values()}) > 1)


def stage(master: str, visits: Path, folder: Path, clock: str) -> None:
    """Stage one delivery into an empty warehouse, and print what it took and gave."""
    import duckdb
    import pyarrow as pa

    from lib.batch_reader import BatchReader
    from lib.config import settings_from
    from lib.deliveries import Batch, Delivery
    from lib.engines.choose import open_engine
    from lib.files import sha256_of_file
    from lib.judging import judge_records
    from lib.layout import Layout
    from lib.lookups import CURRENT_SCHEMA
    from lib.parts import scanned
    from lib.staging import Held, settle_batch
    from lib.window import Window

    settings = settings_from({"engine": {"kind": "spark", "master": master}} if master else {}, "config.yaml")
    layout = Layout.at(folder, None)
    snapshot = layout.raw / "clinic" / visits.name
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(visits)
    size, sha256 = visits.stat().st_size, sha256_of_file(visits)
    delivery = Delivery("clinic", 1, visits.name, sha256, size, visits.name, clock, "000001-x")
    batch, window, staging = Batch("new", (delivery,)), Window(None, 24), folder / "staging"
    staging.mkdir()

    def nothing(asked: pa.RecordBatchReader) -> pa.Table:
        for _ in asked:
            pass
        return pa.schema(CURRENT_SCHEMA).empty_table()

    held = Held(nothing, lambda identities: set(), lambda: nothing(iter(())), list, None, 0, takes_in_order=False)
    reader = BatchReader(layout, settings, batch.deliveries)
    with open_engine(settings.engine, staging) as engine:
        began = time.perf_counter()
        judge_records(engine, batch, reader, settings, window)
        reader.require_sound()
        staged = settle_batch(engine, batch, settings, window, held, staging)
        seconds = time.perf_counter() - began
    sums = "count(*), sum(('0x' || row_hash[:12])::UBIGINT)"
    (content,) = duckdb.sql(f"SELECT {sums} FROM read_parquet('{scanned(staged.visits)}')").fetchall()
    print(json.dumps({"seconds": seconds, "content": " ".join(map(str, content))}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["stage"]:
        stage(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("rows", type=int, nargs="?", default=ROWS)
        given = parser.parse_args()
        unwound_by_sigterm()
        sys.exit(main(given.rows))
