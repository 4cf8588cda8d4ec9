"""Who is compared: ours on two warehouses, a dbt-duckdb project, a pandas script. Each does the same job on a file."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from benchmarks.environments import PEERS, environment_of
from benchmarks.processes import Took, watched
from benchmarks.tables import Queries, Tables, read_tables

ROOT = Path(__file__).resolve().parent.parent


class Contender(Protocol):
    """One way to do the job. All it keeps between two loads is in the folder it is given."""

    name: str
    is_ours: bool

    def prepare(self, folder: Path) -> None:
        """Lay out an empty `folder`; is not timed."""

    def load(self, folder: Path, source: Path, clock: datetime) -> Took:
        """Load `source`, a file or a folder, that was delivered at `clock`; is timed."""

    def tables(self, folder: Path) -> Tables:
        """What the tables hold now."""


@dataclass(frozen=True)
class Ours:
    """The real command, on one warehouse. `config` and `env` are for growth and for a look into a run."""

    name: str
    warehouse: str | None = None
    config: Path | None = None
    env: tuple[tuple[str, str], ...] = ()
    is_ours: bool = True

    def is_there(self, folder: Path) -> bool:
        """Whether this version knows the warehouse: otherwise its address is a usage error."""
        (folder / "data").mkdir()
        words = ["run_pipeline.py", "status", "--data-dir", str(folder / "data"), *self._warehouse_option(folder)]
        return watched([sys.executable, *words], cwd=ROOT, log=folder / "log").exit_code != 2

    def prepare(self, folder: Path) -> None:
        """Nothing: the first run makes its data folder."""

    def load(self, folder: Path, source: Path, clock: datetime) -> Took:
        """One run of the command."""
        command = [sys.executable, "run_pipeline.py", "--quiet", "--source", str(source)]
        command += ["--data-dir", str(folder / "data"), "--as-of", clock.strftime("%Y-%m-%dT%H:%M:%SZ")]
        command += self._warehouse_option(folder)
        command += ["--config", str(self.config)] if self.config else []
        return watched(command, cwd=ROOT, log=folder / "log", env=dict(self.env))

    def tables(self, folder: Path) -> Tables:
        """From the warehouse."""
        if self.warehouse:
            return read_tables(folder / "data" / f"warehouse.{self.warehouse}", _OURS_DUCKDB)
        return read_tables(folder / "data" / "warehouse.db", _OURS_SQLITE)

    def _warehouse_option(self, folder: Path) -> list[str]:
        if not self.warehouse:
            return []
        return ["--warehouse", f"{self.warehouse}:///{folder / 'data' / f'warehouse.{self.warehouse}'}"]


@dataclass(frozen=True)
class Dbt:
    """`dbt build` of peers/dbt, copied as a user would check it out; the delivery is the one file of its inbox."""

    environments: Path
    name: str = "dbt-duckdb"
    is_ours: bool = False

    def prepare(self, folder: Path) -> None:
        """A copy of the project."""
        environment_of("dbt", self.environments)
        shutil.copytree(PEERS / "dbt", folder / "project", ignore=shutil.ignore_patterns("requirements.*", "target"))

    def load(self, folder: Path, source: Path, clock: datetime) -> Took:
        """`dbt build`: models and tests. Its clock is the machine's: nothing of the deliveries lies after it."""
        inbox = folder / "project" / "inbox"
        shutil.rmtree(inbox, ignore_errors=True)
        inbox.mkdir()
        (inbox / source.name).symlink_to(source)
        bin_folder = environment_of("dbt", self.environments)
        env = {"DBT_THREADS": str(os.cpu_count() or 2), "DO_NOT_TRACK": "1"}
        command = [str(bin_folder / "dbt"), "--quiet", "build", "--profiles-dir", "."]
        return watched(command, cwd=folder / "project", log=folder / "log", env=env)

    def tables(self, folder: Path) -> Tables:
        """From the project's DuckDB file."""
        return read_tables(folder / "project" / "visits.duckdb", _DBT)


@dataclass(frozen=True)
class Pandas:
    """peers/pandas/load_visits.py into a SQLite file. `python`: whose pandas; None for an environment of its own."""

    environments: Path
    python: Path | None = None
    name: str = "pandas + SQLite"
    is_ours: bool = False

    def prepare(self, folder: Path) -> None:
        """The environment."""
        self._python()

    def load(self, folder: Path, source: Path, clock: datetime) -> Took:
        """One run of the script. Its clock is the machine's too."""
        command = [
            str(self._python()),
            str(PEERS / "pandas" / "load_visits.py"),
            str(source),
            str(folder / "visits.db"),
        ]
        return watched(command, cwd=folder, log=folder / "log")

    def tables(self, folder: Path) -> Tables:
        """From the SQLite file."""
        return read_tables(folder / "visits.db", _PANDAS)

    def _python(self) -> Path:
        return self.python or environment_of("pandas", self.environments) / "python"


def contenders(environments: Path) -> dict[str, Contender]:
    """Everyone, by the name that an option gives them."""
    return {
        "sqlite": Ours("ours, SQLite"),
        "duckdb": Ours("ours, DuckDB", "duckdb"),
        "dbt": Dbt(environments),
        "pandas": Pandas(environments),
    }


_STAMP = "strftime(CAST(last_updated AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%f')"
_KEYS = "visit_id, patient_id, provider_id, diagnosis_code"
_DAY = "CAST(visit_date AS VARCHAR), visit_count, patient_count"
_DAY_CENTS = "total_visit_cost_cents, avg_visit_cost_cents, missing_cost_count"

_OURS_SQLITE = Queries(
    f"SELECT {_KEYS}, visit_date, visit_cost_cents, substr(last_updated, 1, 26) FROM fact_visits "
    "WHERE deleted_at IS NULL ORDER BY source, visit_id",
    f"SELECT visit_date, visit_count, patient_count, {_DAY_CENTS} FROM daily_visit_metrics ORDER BY visit_date",
    "SELECT count(*) FROM quarantine_rows",
)
_OURS_DUCKDB = Queries(
    f"SELECT {_KEYS}, CAST(visit_date AS VARCHAR), visit_cost_cents, {_STAMP} FROM fact_visits "
    "WHERE deleted_at IS NULL ORDER BY visit_id",
    f"SELECT {_DAY}, {_DAY_CENTS} FROM daily_visit_metrics ORDER BY visit_date",
    "SELECT count(*) FROM quarantine_rows",
)
_DBT = Queries(
    f"SELECT {_KEYS}, CAST(visit_date AS VARCHAR), CAST(100 * visit_cost AS BIGINT), {_STAMP} FROM fact_visits "
    "ORDER BY visit_id",
    f"SELECT {_DAY}, CAST(100 * total_visit_cost AS BIGINT), CAST(100 * avg_visit_cost AS BIGINT), missing_cost_count "
    "FROM daily_visit_metrics ORDER BY visit_date",
    "SELECT count(*) FROM rejected_visits",
)
_PANDAS = Queries(
    f"SELECT {_KEYS}, visit_date, visit_cost_cents, substr(last_updated, 1, 26) FROM fact_visits ORDER BY visit_id",
    f"SELECT visit_date, visit_count, patient_count, {_DAY_CENTS} FROM daily_visit_metrics ORDER BY visit_date",
    "SELECT count(*) FROM rejected_visits",
)
