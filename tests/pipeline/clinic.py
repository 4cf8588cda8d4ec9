"""A clinic for tests: delivers files, runs the pipeline's stages here or by the real command, reads tables.

`Clinic.run` calls what the notebooks call, in their order, without kernels: a run takes a second instead of ten. The
tests that go through notebooks and the command line use `Clinic.command`.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lib.config import settings_from
from lib.errors import GateFailed, PipelineError
from lib.files import read_json
from lib.layout import KINDS, REPORT, Layout
from lib.rehearsal import rehearse
from lib.run import Options, Run
from lib.state import write_state_copy
from lib.store.place import Place, place_of
from lib.warehouse import open_warehouse
from lib.warehouses.choose import kind_named
from tests.servers import bigquery, snowflake
from tests.servers.postgres import schema_url

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ("visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost", "last_updated")


def row(visit_id: str = "V1", **cells: str) -> dict[str, str]:
    """A good row; name the cells that matter."""
    good = {
        "visit_id": visit_id,
        "patient_id": "P1",
        "provider_id": "D1",
        "diagnosis_code": "J06.9",
        "visit_date": "2025-03-01",
        "visit_cost": "100.00",
        "last_updated": "2025-03-01T12:00:00Z",
    }
    return {**good, **cells}


def csv_text(rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> str:
    """Rows as a CSV text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@dataclass
class RunResult:
    """How one run ended: exit code as the command would give it, message, and what its manifest says."""

    exit_code: int
    message: str
    run: Run | None

    @property
    def counts(self) -> dict[str, int]:
        assert self.run is not None
        return self.run.counts

    @property
    def reasons(self) -> dict[str, int]:
        assert self.run is not None
        return dict(self.run.manifest.get("reasons", {}))

    @property
    def failed_rules(self) -> set[str]:
        """The critical rules that held the batch, accepted ones among them; none where none did. A batch that was
        loaded before leaves no mark, so the gate's own report is asked."""
        assert self.run is not None
        if self.exit_code != GateFailed.exit_code:
            return set()
        rules = read_json(self.run.record / REPORT)["rules"]
        return {each["id"] for each in rules if each["severity"] == "critical" and not each["passed"]}


@dataclass
class Clinic:
    """One source, one data folder."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    kind: str = "sqlite"
    """Of its warehouse."""
    shares: Path | None = None
    """The folder of the clinic whose schema on the server it writes too."""
    store: str | None = None
    """The URL of its data folder, when that is on object storage."""

    def __post_init__(self) -> None:
        self.input.parent.mkdir(parents=True, exist_ok=True)

    @property
    def input(self) -> Path:
        return self.folder / "inbox" / "visits.csv"

    @property
    def place(self) -> Place:
        return place_of(self.store or self.folder / "data")

    @property
    def data_dir(self) -> Path:
        return self.layout.data_dir

    @property
    def layout(self) -> Layout:
        return Layout.at(self.place, self._url)

    @property
    def warehouse(self) -> Path:
        return self.layout.warehouse

    @property
    def _url(self) -> str | None:
        """None for the usual one, so that nothing is said of it in the config. On the server a schema of its own."""
        if self.kind == "postgres":
            return schema_url(self.shares or self.folder)
        if self.kind in ("bigquery", "snowflake"):
            return {"bigquery": bigquery, "snowflake": snowflake}[self.kind].schema_url(self.shares or self.folder)
        if self.store:
            return f"{self.kind}:///{(self.shares or self.folder) / KINDS[self.kind]}"
        return None if self.kind == "sqlite" else f"{self.kind}:///{KINDS[self.kind]}"

    def _content(self) -> dict[str, Any]:
        return {**({"warehouse": self._url} if self._url else {}), **self.config}

    def deliver(self, content: list[dict[str, str]] | str | bytes, name: str = "visits.csv") -> Path:
        """Write a file into the inbox, whole."""
        path = self.input.with_name(name)
        if isinstance(content, list):
            content = csv_text(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(
        self,
        as_of: str = "2025-03-02T00:00:00Z",
        *,
        source: Path | None = None,
        lookback_hours: float | None = None,
        full_refresh: bool = False,
        accept: tuple[str, ...] = (),
    ) -> RunResult:
        """One run by the notebooks' calls in this process."""
        content = self._content()
        content["source"] = {**content.get("source", {}), "path": str(source or self.input)}
        if lookback_hours is not None:
            content["window"] = {"lookback_hours": lookback_hours}
        options = Options(full_refresh=full_refresh, accept=accept, reason="a test" if accept else None)
        run: Run | None = None
        try:
            settings = settings_from(content, "config.yaml")
            run = Run.begin(settings, data_dir=self.place, as_of=as_of, options=options)
            message = rehearse(run)
        except PipelineError as error:
            return RunResult(error.exit_code, str(error), run)
        connection = open_warehouse(run.layout)
        write_state_copy(connection, run.layout)
        connection.close()
        return RunResult(0, message, run)

    def command(self, *words: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """The real command on this clinic's config and data folder."""
        return subprocess.run(
            [sys.executable, str(ROOT / "run_pipeline.py"), *self._typed(*words)],
            capture_output=True, text=True, timeout=timeout, cwd=self.folder, check=False,
        )  # fmt: skip

    def command_here(self, *words: str, first: Callable[[], object] = lambda: None) -> tuple[int | None, str]:
        """The same in a fork of this process, which has imported everything, its notebooks replaced by the calls they
        make: exit code, and all that it says. `first` is done in the fork before."""
        from tests.faults.here import be_command
        from tests.faults.trial import forked

        told, typed = self.folder / "told", self._typed(*words)

        def body() -> None:
            first()
            be_command(typed, told)

        code = forked(body)
        return code, told.read_text(errors="replace")

    def _typed(self, *words: str) -> list[str]:
        """The words of the command, with this clinic's config, written anew, and its data folder."""
        config = self.folder / "config.yaml"
        content = self._content()
        content["source"] = {"path": str(self.input), **content.get("source", {})}
        config.write_text(yaml.safe_dump(content))
        place = ["--data-dir", self.store or str(self.data_dir)]
        if words[0] not in ("diff", "history", "report", "sign"):  # these read records only
            place += ["--config", str(config)]
        return [words[0], *place, *words[1:]]

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the warehouse."""
        with closing(kind_named(self.kind).connect(self.layout, read_only=True)) as connection:
            return [tuple(each) for each in connection.execute(sql, values).fetchall()]

    def change(self, *statements: str) -> None:
        """What another program does to the warehouse behind the pipeline's back."""
        with closing(kind_named(self.kind).connect(self.layout)) as connection:
            for each in statements:
                connection.execute(each)

    def facts(self) -> dict[str, tuple[Any, ...]]:
        """visit_id → (patient, date, cents, stamp, delivery, line)."""
        rows = self.query(
            "SELECT visit_id, patient_id, visit_date, visit_cost_cents, last_updated, delivery_seq, source_line"
            " FROM fact_visits ORDER BY source, visit_id"
        )
        return {each[0]: tuple(each[1:]) for each in rows}

    def daily(self) -> dict[str, tuple[Any, ...]]:
        """visit_date → (visits, patients, total cents, average cents, missing)."""
        rows = self.query(
            "SELECT visit_date, visit_count, patient_count, total_visit_cost_cents, avg_visit_cost_cents,"
            " missing_cost_count FROM daily_visit_metrics ORDER BY visit_date"
        )
        return {each[0]: tuple(each[1:]) for each in rows}

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that a run may change, for before-and-after."""
        names = ("fact_visits", "daily_visit_metrics", "quarantine", "quarantine_rows", "metric_changes", "state")
        return {name: self.query(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in names}

    def statuses(self) -> list[str]:
        """Every delivery's status, in sequence."""
        return [each[0] for each in self.query("SELECT status FROM deliveries ORDER BY source, sequence")]
