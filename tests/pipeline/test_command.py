"""The command line through the real command: what an operator types, sees, and gets back as an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from lib import interrupts, pipeline
from lib.config import settings_from
from lib.execute import Execution, Failure
from lib.run import Options, Run
from lib.template import Template
from lib.terminal import NoProgress
from tests.kernels import forks_with, kernels_with
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.waiting import wait_for

PATIENT = "P-canary-4711"


def last_manifest(clinic: Clinic) -> dict[str, object]:
    records = sorted((clinic.data_dir / "runs").glob("0*"))
    content: dict[str, object] = json.loads((records[-1] / "manifest.json").read_text())
    return content


def start(clinic: Clinic, *words: str) -> subprocess.Popen[str]:
    """The real command, running."""
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump({"source": {"path": str(clinic.input)}}))
    head = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--config", str(config)]
    return subprocess.Popen(
        [*head, "--data-dir", str(clinic.data_dir), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """Two runs of the real command: a load, and nothing new."""
    clinic = Clinic(tmp_path_factory.mktemp("command"))
    clinic.deliver([row(f"V{number}", patient_id=PATIENT) for number in range(20)] + [row("", patient_id=PATIENT)])
    first = clinic.command("run", "--as-of", "2025-03-02T00:00:00Z")
    assert first.returncode == 0, first.stdout + first.stderr
    (clinic.folder / "first.txt").write_text(first.stdout + first.stderr)
    second = clinic.command("run", "--quiet", "--as-of", "2025-03-02T01:00:00Z")
    assert second.returncode == 0, second.stderr
    assert second.stdout + second.stderr == "", "--quiet says nothing"
    return clinic


def test_a_run_tells_each_stage_and_the_summary(loaded: Clinic) -> None:
    said = (loaded.folder / "first.txt").read_text()
    for name in ("01_extract", "02_stage", "03_validate", "04_load", "05_analytics"):
        assert re.search(rf"^{name} +ok +\d", said, flags=re.MULTILINE)
    assert "21 read = 0 outside the window + 1 refused + 0 superseded + 20 staged" in said
    assert "missing_visit_id" in said
    assert "none → 2025-03-01T12:00:00+00:00" in said
    assert str(loaded.data_dir / "runs") in said
    assert PATIENT not in said


def test_a_run_without_news_loads_nothing_and_keeps_a_record(loaded: Clinic) -> None:
    manifest = last_manifest(loaded)
    assert manifest["batch"]["kind"] == "repeat"  # type: ignore[index]
    assert manifest["load"]["days_touched"] == 0  # type: ignore[index]
    assert len(loaded.facts()) == 20


def test_records_state_and_modes_are_private(loaded: Clinic) -> None:
    for path in loaded.data_dir.rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o077 == 0, f"{path} is open to others: {mode:o}"
    state = json.loads((loaded.data_dir / "state" / "state.json").read_text())
    assert state["last_staging_row_count"] == 20
    assert state["watermark_last_updated"] == "2025-03-01T12:00:00+00:00"


def test_no_patient_in_any_record_or_log(loaded: Clinic) -> None:
    places = [*(loaded.data_dir / "runs").rglob("*"), *(loaded.data_dir / "logs").rglob("*"), loaded.data_dir / "state"]
    files = [path for path in places if path.is_file()]
    assert len(files) > 12
    assert [str(path) for path in files if PATIENT.encode() in path.read_bytes()] == []


def test_status_history_deliveries_and_trace(loaded: Clinic) -> None:
    status = loaded.command("status")
    assert status.returncode == 0 and "20 visits, watermark 2025-03-01T12:00:00+00:00" in status.stdout
    assert loaded.command("history").stdout.count("loaded") == 2
    assert "visits.csv" in loaded.command("deliveries").stdout
    traced = loaded.command("trace", "V3")
    assert traced.returncode == 0 and "current: what the table holds" in traced.stdout
    assert PATIENT not in traced.stdout
    unknown = loaded.command("trace", "V999")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1


@pytest.mark.parametrize("order", ["before", "behind"])
def test_options_of_deliveries_stand_before_or_behind_the_word(loaded: Clinic, order: str) -> None:
    places = ["--config", str(loaded.folder / "config.yaml"), "--data-dir", str(loaded.data_dir)]
    words = ["deliveries", *places, "list"] if order == "before" else ["deliveries", "list", *places]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_pipeline.py"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "visits.csv" in done.stdout


def test_status_max_age(loaded: Clinic) -> None:
    assert loaded.command("status", "--max-age", "26h").returncode == 0
    old = loaded.command("status", "--max-age", "0.000001m")
    assert old.returncode == 9 and "more than 0.000001m" in old.stderr
    assert loaded.command("status", "--max-age", "soon").returncode == 2


def test_report_is_made_again(loaded: Clinic) -> None:
    page = sorted((loaded.data_dir / "runs").glob("0*"))[0] / "report.html"
    page.unlink()
    made = loaded.command("report", page.parent.name)
    assert made.returncode == 0 and made.stdout.split() == [str(page), str(page.parents[1] / "index.html")]
    text = page.read_text()
    assert "PASSED" in text and "<h1" in text and "<script" not in text


def test_the_option_means_the_same_warehouse_as_the_config(clinic: Clinic) -> None:
    """A relative path starts at the data folder, wherever the command is given."""
    clinic.deliver([row("V1")])
    url = "duckdb:///tables.duckdb"
    assert clinic.command("run", "--warehouse", url).returncode == 0
    assert (clinic.data_dir / "tables.duckdb").exists() and not (clinic.folder / "tables.duckdb").exists()
    asked = clinic.command("status", "--warehouse", url)
    assert asked.returncode == 0 and "1 visit," in asked.stdout.replace("  ", " "), asked.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--no-such-option"), "No such option"),
        (("run", "--config", "nowhere.yaml"), "nowhere.yaml: no such config file"),
        (("run", "--as-of", "yesterday"), "as_of is not an ISO 8601 instant"),
        (("run", "--as-of", "2001-01-01T00:00:00Z"), "earlier than the last committed one"),
        (("run", "--as-of", "2999-01-01T00:00:00Z"), "lies in the future"),
        (("run", "--accept", "refused_share"), "--reason"),
        (("run", "--accept", "row_conservation", "--reason", "x"), "not a rule that can be accepted"),
        (("run", "--lookback-hours", "-1"), "--lookback-hours"),
        (("run", "--warehouse", "oracle:///x"), "sqlite:///"),
        (("nonsense",), "No such command 'nonsense'; see"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_usage_errors_are_one_line_and_exit_2(loaded: Clinic, words: tuple[str, ...], told: str) -> None:
    before = len(list((loaded.data_dir / "runs").glob("0*")))
    done = loaded.command(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr and done.stderr.strip().count("\n") == 0
    assert len(list((loaded.data_dir / "runs").glob("0*"))) == before


def test_verify_names_what_was_changed(loaded: Clinic) -> None:
    good = loaded.command("verify")
    assert good.returncode == 0, good.stdout + good.stderr
    record = sorted((loaded.data_dir / "runs").glob("0*"))[0]
    notebook = record / "02_stage.ipynb"
    original = notebook.read_bytes()
    notebook.write_bytes(original.replace(b"Stage", b"Stade", 1))
    changed = loaded.command("verify")
    notebook.write_bytes(original)
    assert changed.returncode == 6
    assert f"runs/{record.name}/02_stage.ipynb: was edited after the run" in changed.stdout
    snapshot = next((loaded.data_dir / "raw" / "clinic").glob("*.csv"))
    content = snapshot.read_bytes()
    snapshot.chmod(0o600)
    snapshot.write_bytes(content[:-2] + b"9\n")
    altered = loaded.command("verify")
    snapshot.write_bytes(content)
    assert altered.returncode == 6 and snapshot.name in altered.stdout


def test_two_at_once_one_wins_the_other_names_it(clinic: Clinic) -> None:
    clinic.deliver([row("V1")])
    first = start(clinic, "--as-of", "2025-03-02T00:00:00Z")
    try:
        wait_for(lambda: kernels_with(clinic.data_dir), 90)
        second = clinic.command("run")
        assert second.returncode == 5
        assert f"process {first.pid} " in second.stderr
    finally:
        out, errors = first.communicate(timeout=240)
    assert first.returncode == 0, out + errors
    assert list(clinic.facts()) == ["V1"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_rolls_back_and_leaves_no_kernel(clinic: Clinic, number: signal.Signals, code: int) -> None:
    clinic.deliver([row("V1")])
    process = start(clinic, "--as-of", "2025-03-02T00:00:00Z")
    wait_for(lambda: kernels_with(clinic.data_dir), 90)
    os.kill(process.pid, number)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == code, out + errors
    assert "interrupted: nothing was loaded" in errors and "Traceback" not in errors
    assert last_manifest(clinic)["outcome"] == "interrupted"
    wait_for(lambda: not forks_with(clinic.data_dir), 20)
    assert clinic.facts() == {}
    again = clinic.command("run", "--quiet", "--as-of", "2025-03-02T00:00:00Z")
    assert again.returncode == 0, again.stderr
    assert list(clinic.facts()) == ["V1"]


def test_a_failure_that_a_signal_made_is_told_as_the_signal(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(source: Path, *_: Any, **__: Any) -> Execution:
        with suppress(KeyboardInterrupt):  # as a library would that makes another exception of it
            os.kill(os.getpid(), signal.SIGTERM)
        return Execution(
            source.stem, 0.0, 0, Failure("RuntimeError", "RuntimeError before the first cell", None, False)
        )

    monkeypatch.setattr(pipeline, "execute_notebook", execute)
    ended = run_here(clinic, monkeypatch)
    assert (ended.outcome, ended.exit_code) == ("interrupted", 143)


@pytest.mark.parametrize(
    ("owner", "step"), [(Run, "begin"), (NoProgress, "began"), (pipeline, "learn_format"), (pipeline, "KernelsAhead")]
)
def test_an_interrupt_while_a_run_begins_closes_its_record(
    owner: object, step: str, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = getattr(owner, step)

    def signalled(*given: Any, **named: Any) -> Any:
        done = taken(*given, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return done

    monkeypatch.setattr(owner, step, signalled)
    with Template() as template:
        ended = run_here(clinic, monkeypatch, template)
    assert (ended.outcome, ended.exit_code) == ("interrupted", 143)
    assert last_manifest(clinic)["outcome"] == "interrupted"


def run_here(clinic: Clinic, monkeypatch: pytest.MonkeyPatch, template: Template | None = None) -> pipeline.Ended:
    """One run in this process."""
    monkeypatch.setattr(interrupts, "_signalled", [])
    clinic.deliver([row("V1")])
    return pipeline.run_pipeline(
        settings_from({"source": {"path": str(clinic.input)}}, "config.yaml"),
        config_file="config.yaml",
        data_dir=clinic.place,
        as_of=None,
        options=Options(),
        progress=NoProgress(Console()),
        template=template,
    )


def test_a_failed_gate_exits_4_holds_the_delivery_and_is_accepted(clinic: Clinic) -> None:
    clinic.deliver([row(f"V{number}", patient_id="" if number < 4 else PATIENT) for number in range(20)])
    failed = clinic.command("run", "--as-of", "2025-03-02T00:00:00Z")
    assert failed.returncode == 4
    assert "missing_required_share" in failed.stderr and "--accept" in failed.stderr
    assert PATIENT not in failed.stdout + failed.stderr
    assert clinic.facts() == {} and clinic.statuses() == ["held"]
    record = sorted((clinic.data_dir / "runs").glob("0*"))[0]
    assert {path.name for path in record.glob("*.ipynb")} == {"01_extract.ipynb", "02_stage.ipynb", "03_validate.ipynb"}
    words = [word for rule in ("missing_required_share", "refused_share") for word in ("--accept", rule)]
    passed = clinic.command("run", *words, "--reason", "known", "--as-of", "2025-03-02T01:00:00Z")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "PASSED BY OVERRIDE" in passed.stdout
    assert len(clinic.facts()) == 16 and clinic.statuses() == ["loaded"]
    journal = (clinic.data_dir / "runs" / "decisions.jsonl").read_text()
    assert '"accept"' in journal and '"known"' in journal


def test_an_interrupt_after_the_commit_is_loaded_with_an_incomplete_report_that_the_next_run_finishes(
    clinic: Clinic,
) -> None:
    clinic.deliver([row("V1")])
    process = start(clinic, "--as-of", "2025-03-02T00:00:00Z")
    wait_for(lambda: list((clinic.data_dir / "runs").glob("0*/04_load.ipynb")), 90)
    os.kill(process.pid, signal.SIGINT)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 8, out + errors
    assert "the tables are loaded, the report is incomplete" in errors
    first = last_manifest(clinic)
    assert (first["outcome"], first["exit_code"]) == ("loaded", 8)
    assert list(clinic.facts()) == ["V1"]
    again = clinic.command("run", "--as-of", "2025-03-02T01:00:00Z")
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"repaired the record of {first['run_id']}" in again.stdout
    record = clinic.data_dir / "runs" / str(first["run_id"])
    assert json.loads((record / "manifest.json").read_text())["recovered"] is True
    assert "An Exception was encountered" not in (record / "05_analytics.ipynb").read_text()
    assert clinic.command("verify").returncode == 0
