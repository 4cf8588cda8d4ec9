"""A clinic's history with every way a run can end, made once by the real command; hostile texts wherever one fits."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.browser import wait_for
from tests.pipeline.clinic import ROOT, Clinic, csv_text, row

HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_REASON = "agreed with the clinic <script>document.title = 'gone'</script> | **bold**"
KINDS = ("warned", "held", "overridden", "refused", "killed", "passed")
"""How the runs of the history ended, oldest first."""


@dataclass(frozen=True)
class History:
    """The history's data folder, and the run that ended in each way."""

    clinic: Clinic
    runs: dict[str, str]

    def page(self, kind: str) -> Path:
        """The report of the run that ended so; the index."""
        runs = self.clinic.data_dir / "runs"
        return runs / "index.html" if kind == "index" else runs / self.runs[kind] / "report.html"


def records_of(clinic: Clinic) -> list[Path]:
    return sorted((clinic.data_dir / "runs").glob("0*"))


def make_history(clinic: Clinic) -> None:
    """Six runs: warned, held, the same accepted, a delivery refused, killed amid 03, and a plain good one."""
    clinic.deliver(
        csv_text(visits("A", 60, day=8, without_cost=12))
        + f"{HOSTILE},P1,D1,J06.9,2025-03-08,1.00,2025-03-08T12:00:00Z\n",
        "1.csv",
    )
    expect(0, clinic.command("run", "--as-of", "2025-03-09T06:00:00Z"))
    clinic.deliver(visits("B", 40, day=9, bad=6), f"2 {HOSTILE}.csv")
    expect(4, clinic.command("run", "--as-of", "2025-03-10T06:00:00Z"))
    accepted = ("--accept", "missing_required_share", "--accept", "refused_share", "--reason", HOSTILE_REASON)
    expect(0, clinic.command("run", "--as-of", "2025-03-10T07:00:00Z", *accepted))
    clinic.deliver(f"{HOSTILE};b\n1;2\n", "3.csv")
    expect(3, clinic.command("run", "--as-of", "2025-03-11T06:00:00Z"))
    clinic.deliver(visits("D", 40, day=11), "3.csv")
    kill_in_03(clinic, "--as-of", "2025-03-12T06:00:00Z")
    expect(0, clinic.command("run", "--as-of", "2025-03-12T07:00:00Z"))


def visits(prefix: str, count: int, day: int, bad: int = 0, without_cost: int = 0) -> list[dict[str, str]]:
    """Good rows of eight days of March, stamped on the last, `day`; the first `bad` lack their patient."""
    return [
        row(
            f"{prefix}{number}",
            patient_id="" if number < bad else f"P{number % 25}",
            provider_id=f"D{number % 3}",
            visit_date=f"2025-03-{day - number % 8:02d}",
            visit_cost="" if number < without_cost else f"{50 + 7 * (number % 30)}.00",
            last_updated=f"2025-03-{day:02d}T{8 + number % 10:02d}:00:00Z",
        )
        for number in range(count)
    ]


def kill_in_03(clinic: Clinic, *words: str) -> None:
    """A run whose outer process gets SIGKILL as soon as 02 has left its notebook."""
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump(clinic.config))
    before = len(records_of(clinic))
    head = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--config", str(config)]
    with (clinic.folder / "killed.log").open("w") as log:
        process = subprocess.Popen(
            [*head, "--data-dir", str(clinic.data_dir), *words], stdout=log, stderr=log, cwd=clinic.folder
        )

    def begun() -> bool:
        if process.poll() is not None:
            pytest.fail(f"the run to be killed ended: {(clinic.folder / 'killed.log').read_text()}", pytrace=False)
        records = records_of(clinic)
        return len(records) > before and (records[-1] / "02_stage.ipynb").exists()

    wait_for("02 to end", begun)
    process.send_signal(signal.SIGKILL)
    process.wait()


def expect(code: int, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == code, f"exit {done.returncode}, not {code}: {done.stdout}{done.stderr}"
