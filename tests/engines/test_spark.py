"""The Spark engine beside DuckDB, and through the real command on clusters of this machine's own."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.test_warehouses import content
from tests.engines.cluster import standalone_cluster
from tests.engines.environment import ROOT, spark_environment, spark_python
from tests.pipeline.clinic import Clinic, csv_text, row


def spark_clinic(folder: Path, master: str, **words: Any) -> Clinic:
    return Clinic(folder, config={"engine": {"kind": "spark", "master": master}}, **words)


def command(clinic: Clinic, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
    """The real command, in the environment that has Spark."""
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump({**clinic._content(), "source": {"path": str(clinic.input.parent)}}))
    head = [str(spark_python()), str(ROOT / "run_pipeline.py"), "run", "--config", str(config)]
    return subprocess.Popen(
        [*head, "--data-dir", str(clinic.data_dir), *words],
        env=environment, cwd=clinic.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=600)
    return process.returncode, said


@pytest.mark.timeout(900)
def test_it_stages_what_duckdb_stages(tmp_path: Path) -> None:
    """The tests of tests/engines/inside, which need Spark in their own process."""
    words = [str(spark_python()), "-W", "ignore", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=800"]
    done = subprocess.run(
        [*words, "tests/engines/inside"], cwd=ROOT, env=spark_environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_its_absence_is_told_in_one_line_that_names_the_extra(tmp_path: Path) -> None:
    clinic = spark_clinic(tmp_path, "local[2]")
    clinic.deliver([row("V1")])
    done = clinic.command("run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "it is the extra spark: python3 -m pip" in done.stderr
    assert not list((clinic.data_dir / "runs").glob("0*")), "found out before a run begins"


@pytest.mark.timeout(900)
def test_a_cluster_fills_the_same_tables_by_the_real_command_also_when_a_worker_is_killed(
    tmp_path: Path, postgres_warehouses: object
) -> None:
    """DuckDB into SQLite; Spark into PostgreSQL, where one of two workers is killed in the middle of staging. Then no
    worker and no master: exit 7 in one line, and the tables stay."""
    plain = Clinic(tmp_path / "plain")
    environment = spark_environment(tmp_path)
    odd = [row("V0-1", visit_cost="7", last_updated="2025-03-01T13:00:00Z"), row("", visit_cost="x")]
    with standalone_cluster(tmp_path / "cluster", environment, workers=2) as cluster:
        clinic = spark_clinic(tmp_path / "spark", cluster.master, kind="postgres")
        for each in (plain, clinic):
            for part in range(2):
                costs = ((number, f"{number % 5_000}.005") for number in range(30_000))
                rows = [row(f"V{part}-{number}", visit_cost=cost, patient_id=f'P"{cost}') for number, cost in costs]
                each.deliver(csv_text([*rows, *odd]), f"{part}.csv")
        running = command(clinic, environment, "--as-of", "2025-03-02T00:00:00Z")
        staging = clinic.data_dir / "staging"
        while not list(staging.glob("*/.tmp-spark/*/_temporary/0/*/*")):
            assert running.poll() is None, ended(running)
            time.sleep(0.05)
        cluster.kill(1)
        code, said = ended(running)
        assert code == 0, said
        assert "V0-1" not in said and "Traceback" not in said
        assert plain.run("2025-03-02T00:00:00Z", source=plain.input.parent).exit_code == 0
        found, expected = content(clinic), content(plain)
        assert len(found["fact_visits"]) == 60_000 and found["quarantine"]
        for table in expected:
            assert found[table] == expected[table], table
        clinic.deliver([row("V200")], "more.csv")
        cluster.kill(2)
        code, said = ended(command(clinic, {**environment, "PATIENT_VISITS_SPARK_WAIT": "10"}))
        assert code == 7 and "gives no worker" in said and "Traceback" not in said, said
        cluster.kill(0)
        code, said = ended(command(clinic, environment))
        assert code == 7 and f"no Spark master answers at {cluster.master}" in said and "Traceback" not in said, said
        assert content(clinic)["fact_visits"] == expected["fact_visits"]


@pytest.mark.timeout(600)
def test_a_local_cluster_fills_the_same_tables(tmp_path: Path) -> None:
    """A master and two workers of Spark's own making: each a process with a core. What they hold of rows is in a folder
    of the run's, which nobody else can read and which is gone at its end."""
    plain, clinic = Clinic(tmp_path / "plain"), spark_clinic(tmp_path / "spark", "local-cluster[2,1,1024]")
    for each in (plain, clinic):
        each.deliver([row("V1"), row("V2", visit_cost=""), row("V1", last_updated="2025-03-01T13:00:00Z"), row("")])
    environment = {name: value for name, value in spark_environment(tmp_path).items() if name != "SPARK_LOCAL_DIRS"}
    running = command(clinic, environment, "--as-of", "2025-03-02T00:00:00Z")
    staging, held = clinic.data_dir / "staging", set[str]()
    while running.poll() is None:
        with suppress(FileNotFoundError):  # it is being taken away
            held |= {each.parent.name.split("-")[0] for each in staging.glob("*/.tmp-spark/**/blockmgr-*")}
        time.sleep(0.05)
    code, said = ended(running)
    assert code == 0, said
    assert held == {".tmp", "executor"} and not list(staging.glob("*/.tmp-spark"))
    assert plain.run("2025-03-02T00:00:00Z", source=plain.input.parent).exit_code == 0
    found, expected = content(clinic), content(plain)
    assert len(found["fact_visits"]) == 2 and len(found["quarantine"]) == 1
    assert {table: found[table] for table in expected} == expected
