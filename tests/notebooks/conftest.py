"""A small delivery full of things that nobody may read in a record, and the five notebooks executed on it once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from tests.waiting import turn

ROOT = Path(__file__).parents[2]
NAMES = ("01_extract", "02_stage", "03_validate", "04_load", "05_analytics")
CLOCK = "2025-03-03T06:00:00Z"
HEADER = "visit_id,patient_id,provider_id,diagnosis_code,visit_date,visit_cost,last_updated,remark"
BROKEN = 'VCANARYQ,PCANARYQ,DCANARYQ,"I10" CANARYTEXT,2025-02-01,31313.13,2025-02-01T00:00:00Z,x'
REFUSED = "VCANARYR,PCANARYR,DCANARYR,CANARYCODE,CANARYDAY,41414.14,2025-02-14T15:16:17Z,CANARYREMARK"
CANARIES = (
    *("VCANARY", "PCANARY", "DCANARY", "CANARYTEXT", "CANARYCODE", "CANARYDAY", "CANARYREMARK", "Zebulon"),
    *("31313.13", "41414.14", "31,313.13", "41,414.14", "2025-02-14T15:16:17", "15:16:17"),
    *("771.01", "77101", "772.02", "13:14:1"),
)
"""Texts of the delivery: ids, names, remarks, single costs in several writings, single stamps."""


def visit(number: int) -> str:
    """A good row: four codes, five providers of enough visits, costs of which each is one visit's alone."""
    day = f"2025-02-{1 + number % 20:02d}"
    return (
        f"VCANARY{number},PCANARY{number % 30},D{number % 4},J0{number % 4}.9,{day},{771.01 + number * 1.01:.2f},"
        f"{'2025-03-01T12:00:00Z' if number == 14 else f'2025-02-28T13:14:{number:02d}Z'},Zebulon {number}"
    )


def delivery(good: int = 60, refused: int = 1) -> str:
    """A delivery: `good` rows, one superseded, `refused` refused ones (of which the first is malformed)."""
    rows = [visit(number) for number in range(good)]
    rows += ["VCANARY1,PCANARY1,DCANARY,J01.9,2025-02-03,55.55,2025-02-27T10:00:00Z,older"]
    rows += [BROKEN, *[REFUSED.replace("VCANARYR", f"VCANARYR{number}") for number in range(refused)]]
    return "\n".join([HEADER, *rows, ""])


@dataclass
class Ran:
    """One notebook run by papermill's command: its exit code, what it said, the executed copy."""

    code: int
    said: str
    copy: Path


@dataclass
class Bench:
    """A folder with a source, a config and a data folder, and papermill's command on them."""

    folder: Path

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def deliver(self, text: str, name: str = "visits.csv") -> None:
        source = self.folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
        self.config.write_text(yaml.safe_dump({"source": {"path": str(source)}, "carry": {"remark": "remark"}}))

    def papermill(self, name: str, cwd: Path = ROOT, copy: str | None = None, **parameters: Any) -> Ran:
        """Run one notebook alone, as a person would type it."""
        source = ROOT / "notebooks" / f"{name}.ipynb"
        target = self.folder / f"{copy or name}.ipynb"
        given = {"config_file": self.config, "data_dir": self.data_dir, **parameters}
        command = [sys.executable, "-m", "papermill", os.path.relpath(source, cwd), str(target), "--no-progress-bar"]
        command += [text for key, value in given.items() for text in ("-p", key, str(value))]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)
        return Ran(done.returncode, done.stdout + done.stderr, target)


def outputs(path: Path) -> list[str]:
    """The texts that an executed notebook shows, in order."""
    texts = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            texts.append(output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue", ""))
    return texts


@pytest.fixture(scope="session")
def read_outputs() -> Callable[[Path], list[str]]:
    return outputs


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty bench. Opening a run in this process narrows its umask; the tests after it get theirs back."""
    before = os.umask(0o077)
    yield Bench(tmp_path)
    os.umask(before)


@pytest.fixture(scope="session")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Ran]]:
    """The five in order by papermill's command, each alone; 04 too early, and 02 once more from its own folder.

    Executed once for all workers of a test run.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "sequence"
    shared.mkdir(exist_ok=True)
    bench, told = Bench(shared), shared / "told.json"
    with turn(shared / "lock"):
        if not told.exists():
            bench.deliver(delivery(), "<b>visits & co.csv")
            ran = {
                "01_extract": bench.papermill("01_extract", as_of=CLOCK),
                "02_stage": bench.papermill("02_stage"),
                "04 too early": bench.papermill("04_load", copy="04_early"),
                "02 from notebooks": bench.papermill("02_stage", cwd=ROOT / "notebooks", copy="02_again"),
                "03_validate": bench.papermill("03_validate"),
                "04_load": bench.papermill("04_load"),
                "05_analytics": bench.papermill("05_analytics"),
            }
            told.write_text(json.dumps({name: [each.code, each.said, str(each.copy)] for name, each in ran.items()}))
    ran = {name: Ran(code, said, Path(copy)) for name, (code, said, copy) in json.loads(told.read_text()).items()}
    return bench, ran


@pytest.fixture(scope="session")
def clock() -> str:
    return CLOCK


@pytest.fixture(scope="session")
def canaries() -> tuple[str, ...]:
    return CANARIES


@pytest.fixture(scope="session")
def many_refused() -> str:
    """A delivery of which a quarter is refused."""
    return delivery(good=15, refused=5)
