"""One file through the real command on every pair of engine and warehouse, with the data folder here and on S3.

    python -m tests.conformance.pairs CONFIG FILE [PAIR ...]     all pairs unless told, as duckdb-postgres-s3

Prints a line a pair: visits, days, refused texts, the SHA-256 of all that the tables hold but times and run ids, and
the seconds of the run.
Exit 1 when two pairs differ. Servers, emulators and a cluster of two workers are started on this machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import unwound_by_sigterm
from tests.conformance.test_warehouses import content
from tests.engines.cluster import standalone_cluster
from tests.engines.environment import spark_environment
from tests.pipeline.clinic import ROOT, Clinic
from tests.servers.bigquery import running_bigquery
from tests.servers.postgres import database_for_warehouses, running_postgres
from tests.servers.s3 import running_s3, store_url, using_s3
from tests.servers.snowflake import running_snowflake

WAREHOUSES = ("sqlite", "duckdb", "postgres", "bigquery", "snowflake")
PAIRS = (
    *(f"duckdb-{warehouse}-{where}" for warehouse in WAREHOUSES for where in ("disk", "s3")),
    "spark-postgres-disk", "spark-postgres-s3",
)  # fmt: skip


def main(config: Path, file: Path, pairs: tuple[str, ...]) -> int:
    found: dict[str, str] = {}
    with ExitStack() as servers, tempfile.TemporaryDirectory(prefix="pairs-") as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        start: dict[str, Callable[[], Any]] = {
            "postgres": lambda: servers.enter_context(postgres_for_warehouses()),
            "bigquery": lambda: servers.enter_context(running_bigquery()),
            "snowflake": lambda: servers.enter_context(running_snowflake()),
            "s3": lambda: servers.enter_context(using_s3(servers.enter_context(running_s3()))),
            "spark": lambda: servers.enter_context(two_workers(Path(folder, "cluster"))),
        }
        running: dict[str, Any] = {}
        for pair in pairs:
            for part in start.keys() & set(pair.split("-")) - running.keys():
                running[part] = start[part]()
            clinic, seconds = _loaded(pair, config, file, Path(folder), running.get("spark"))
            tables = content(clinic)
            found[pair] = sha256(repr(sorted(tables.items())).encode()).hexdigest()
            counts = [len(tables[name]) for name in ("fact_visits", "daily_visit_metrics", "quarantine")]
            print(f"{pair:<22}{counts[0]:>8,}{counts[1]:>6,}{counts[2]:>5,}  {found[pair][:32]}"
                  f"{seconds:7.1f} s", flush=True)  # fmt: skip
    return int(len(set(found.values())) > 1)


def _loaded(pair: str, config: Path, file: Path, folder: Path, spark: dict[str, str] | None) -> tuple[Clinic, float]:
    """The clinic, and the seconds that its one run took."""
    engine, warehouse, where = pair.split("-")
    home = folder / pair
    home.mkdir()
    clinic = Clinic(home, kind=warehouse, store=store_url(home) if where == "s3" else None)
    settings = yaml.safe_load(config.read_text())
    settings["warehouse"] = clinic.layout.url
    python, environment, chosen = on_engine(spark if engine == "spark" else None)
    settings |= chosen
    written = home / "config.yaml"
    written.write_text(yaml.safe_dump(settings))
    words = ["run", "--quiet", "--config", str(written), "--source", str(file), "--as-of", "2026-06-01T00:00:00Z"]
    began = time.monotonic()
    done = subprocess.run(
        [python, str(ROOT / "run_pipeline.py"), *words, "--data-dir", clinic.store or str(clinic.data_dir)],
        capture_output=True, text=True, env=environment, cwd=home, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{pair}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return clinic, time.monotonic() - began


def on_engine(spark: dict[str, str] | None) -> tuple[str, dict[str, str], dict[str, Any]]:
    """The interpreter, its environment and the settings of a run on the cluster of `two_workers`, or on DuckDB."""
    if spark is None:
        return sys.executable, dict(os.environ), {}
    settings = {"engine": {"kind": "spark", "master": spark["SPARK_MASTER_URL"]}}
    return spark["PYSPARK_PYTHON"], {**os.environ, **spark}, settings


@contextmanager
def postgres_for_warehouses() -> Iterator[None]:
    with running_postgres() as server, database_for_warehouses(server):
        yield


@contextmanager
def two_workers(folder: Path) -> Iterator[dict[str, str]]:
    """The variables for a process that uses it."""
    environment = spark_environment(folder)
    with standalone_cluster(folder / "cluster", environment, workers=2) as cluster:
        yield {**environment, "SPARK_MASTER_URL": cluster.master}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("pairs", nargs="*", default=PAIRS)
    given = parser.parse_args()
    unwound_by_sigterm()
    raise SystemExit(main(given.config, given.file.absolute(), tuple(given.pairs)))
