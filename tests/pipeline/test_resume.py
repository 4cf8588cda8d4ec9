"""--resume: the newest run goes on after its last good notebook, or is refused in one line that says what changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lib import provenance, resume, validate
from lib.errors import PipelineError, StoredDataChanged, UsageError
from lib.files import read_json, write_json
from lib.layout import NOTEBOOKS
from lib.record import Outcome, close_record, repair_records
from lib.report import write_report
from lib.resumable import check_resumable
from lib.resume import attempts, newest_run, note_finished, reopen, unfinished_notebooks
from lib.run import Run
from lib.standalone import check_records, read_records
from lib.used_code import used_code
from lib.warehouse import writing
from tests.kernels import forks_with, kernels_with
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.pipeline.plain_gate import plain_gate
from tests.waiting import wait_for

COPIED = ("config.yaml", "expectations", "lib", "notebooks", "requirements.lock", "run_pipeline.py")


# The code that a notebook uses


def test_01_to_03_do_not_use_the_code_of_the_load() -> None:
    hashed = set(provenance.code_hashes())
    before_04 = set().union(*(used_code(name, hashed) for name in NOTEBOOKS[:3]))
    of_04 = used_code("04_load", hashed)
    only_04 = {
        "lib/commit.py",
        "lib/load.py",
        "lib/sql/warehouse/load/05_merge_facts.sql",
        "notebooks/04_load.ipynb",
    }
    assert only_04 <= of_04 and not only_04 & before_04
    of_lib = {f"lib/{name}.py" for name in ("pipeline", "execute", "resume", "resumable", "cli/run")}
    outer = {*of_lib, "run_pipeline.py"}
    assert not outer & (before_04 | of_04), "what starts a notebook decides no result"


def test_each_notebook_uses_its_own_file_what_it_imports_the_statements_it_names_and_the_lock() -> None:
    hashed = set(provenance.code_hashes())
    of_02, of_03 = used_code("02_stage", hashed), used_code("03_validate", hashed)
    assert {
        "notebooks/02_stage.ipynb",
        "lib/stage.py",
        "lib/staging.py",
        "lib/__init__.py",
        "requirements.lock",
    } <= of_02
    assert {"lib/sql/__init__.py", "lib/sql/staging/judge.duckdb.sql", "lib/sql/duckdb/macros/01_clean.sql"} <= of_02
    assert "notebooks/03_validate.ipynb" not in of_02 and "lib/validate.py" not in of_02
    assert {"lib/validate.py", "expectations/batch_profile.json"} <= of_03
    assert not {path for path in of_02 if path.startswith("expectations/")}
    assert "lib/frames.py" in used_code("01_extract", hashed), "imported inside a function of lib/run.py"
    assert "lib/sql/duckdb/macros/99_new.sql" in used_code("02_stage", {*hashed, "lib/sql/duckdb/macros/99_new.sql"})


# What is refused. A run that failed in 04, in this process


@pytest.fixture
def failed(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> Clinic:
    """Delivery 1 is loaded; the run of delivery 2 ended well until 03 and failed in 04."""
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    clinic.deliver([row("V1")])
    assert clinic.run("2025-03-02T00:00:00Z").exit_code == 0
    Run.existing(clinic.data_dir).end("loaded")
    clinic.deliver([row("V2", last_updated="2025-03-02T12:00:00Z")])

    def fail(*_: Any) -> None:
        raise PipelineError("the commit has a bug")

    with monkeypatch.context() as broken:
        broken.setattr("lib.load.commit_load", fail)
        assert clinic.run("2025-03-03T00:00:00Z").exit_code == 1
    run = Run.existing(clinic.data_dir)
    for name in NOTEBOOKS[:4]:
        (run.record / f"{name}.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    note_finished(run, "03_validate")
    end(clinic, "failed")
    return clinic


def end(clinic: Clinic, outcome: Outcome) -> None:
    run = Run.existing(clinic.data_dir)
    close_record(run.layout, run.run_id, outcome, exit_code=1, message="the commit has a bug")


def config_of(clinic: Clinic) -> str:
    config = clinic.folder / "config.yaml"
    config.write_text(yaml.safe_dump({**clinic.config, "source": {"path": str(clinic.input)}}))
    return str(config)


def check(clinic: Clinic, **given: Any) -> None:
    check_resumable(newest_run(clinic.data_dir), config_of(clinic), given)


def test_a_failed_run_may_be_resumed_when_nothing_changed(failed: Clinic) -> None:
    check(failed)
    assert unfinished_notebooks(newest_run(failed.data_dir)) == ["04_load", "05_analytics"]


def edit_code(path: str) -> Callable[[Clinic, pytest.MonkeyPatch], None]:
    def edit(_: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
        now = {**provenance.code_hashes(), path: "0" * 64}
        monkeypatch.setattr(provenance, "code_hashes", lambda: now)

    return edit


def change_config(clinic: Clinic, _: pytest.MonkeyPatch) -> None:
    clinic.config = {"rules": {"max_visit_cost": 99}}


def change_carried(clinic: Clinic, _: pytest.MonkeyPatch) -> None:
    clinic.config = {"carry": {"ward": "Ward"}}


def update_package(_: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {**provenance.packages(), "duckdb": "99.0"}
    monkeypatch.setattr(provenance, "packages", lambda: now)


def load_from_elsewhere(clinic: Clinic, _: pytest.MonkeyPatch) -> None:
    with writing(newest_run(clinic.data_dir).layout) as connection:
        connection.execute("UPDATE warehouse SET version = version + 1")


def discard(clinic: Clinic, _: pytest.MonkeyPatch) -> None:
    from lib.decisions import discard_delivery

    discard_delivery(newest_run(clinic.data_dir).layout, "clinic", 2, "a test file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit_code("lib/staging.py"), "lib/staging.py, which 02_stage used, has changed"),
        (edit_code("notebooks/01_extract.ipynb"), "notebooks/01_extract.ipynb, which 01_extract used, has changed"),
        (
            edit_code("lib/sql/staging/judge.duckdb.sql"),
            "lib/sql/staging/judge.duckdb.sql, which 02_stage used, has changed",
        ),
        (edit_code("lib/sql/duckdb/macros/99_new.sql"), "macros/99_new.sql, which 01_extract used, has changed"),
        (edit_code("expectations/batch_profile.json"), "batch_profile.json, which 03_validate used, has changed"),
        (edit_code("requirements.lock"), "requirements.lock has changed"),
        (change_config, "the config has changed (rules.max_visit_cost)"),
        (change_carried, "the config has changed (carry)"),
        (update_package, "the installed duckdb has changed ("),
        (load_from_elsewhere, "another run has loaded"),
        (discard, "delivery 2 was discarded"),
    ],
    ids=[
        "module",
        "notebook",
        "statement",
        "new macro",
        "suite",
        "lock",
        "config",
        "carry",
        "package",
        "load",
        "discard",
    ],
)
def test_what_the_finished_notebooks_depend_on_must_be_as_it_was(
    change: Callable[[Clinic, pytest.MonkeyPatch], None], said: str, failed: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(failed, monkeypatch)
    before = failed.tables(), read_json(newest_run(failed.data_dir).record / "manifest.json")
    with pytest.raises(UsageError) as refused:
        check(failed)
    assert str(refused.value).startswith("--resume: since run 000002-") and said in str(refused.value)
    assert str(refused.value).endswith("; run without --resume.")
    assert (failed.tables(), read_json(newest_run(failed.data_dir).record / "manifest.json")) == before


def test_settings_given_when_the_run_began_hold_without_being_given_again(failed: Clinic) -> None:
    manifest = newest_run(failed.data_dir).record / "manifest.json"
    content = read_json(manifest)
    content["config"]["window"]["lookback_hours"] = 48.0
    write_json(manifest, content)
    with pytest.raises(UsageError, match=r"the config has changed \(window.lookback_hours\)"):
        check(failed)
    content["options"]["given"] = {"window__lookback_hours": 48.0}
    write_json(manifest, content)
    check(failed)


@pytest.mark.parametrize("path", ["lib/commit.py", "lib/sql/warehouse/load/05_merge_facts.sql", "lib/pipeline.py"])
def test_code_that_only_later_notebooks_use_may_be_mended(
    path: str, failed: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_code(path)(failed, monkeypatch)
    check(failed)


def flip_snapshot(clinic: Clinic) -> Path:
    path = sorted((clinic.data_dir / "raw" / "clinic").glob("*.csv"))[-1]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"100.00", b"900.00"))
    return path


def lose_staged(clinic: Clinic) -> Path:
    path = newest_run(clinic.data_dir).staging / "visits.parquet"
    path.unlink()
    return path


def edit_notebook(clinic: Clinic) -> Path:
    path = newest_run(clinic.data_dir).record / "02_stage.ipynb"
    path.write_text(path.read_text() + " ")
    return path


@pytest.mark.parametrize("harm", [flip_snapshot, lose_staged, edit_notebook])
def test_what_is_stored_must_be_as_it_was(harm: Callable[[Clinic], Path], failed: Clinic) -> None:
    name = harm(failed).name
    with pytest.raises(StoredDataChanged, match=name):
        check(failed)
    assert set(failed.facts()) == {"V1"}


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("loaded", "is loaded; run without --resume"),
        ("held", "was held by the gate; deliver a corrected file, or accept it"),
        ("refused", "refused its delivery; have it delivered again"),
    ],
)
def test_a_run_that_came_to_an_end_of_its_own_is_not_resumed(outcome: Outcome, said: str, failed: Clinic) -> None:
    end(failed, outcome)
    with pytest.raises(UsageError, match=said):
        check(failed)


def test_a_run_without_a_good_notebook_is_not_resumed(failed: Clinic) -> None:
    newest_run(failed.data_dir).manifest.record(finished=[])
    with pytest.raises(UsageError, match=r"no notebook of run .* ended well; run without --resume"):
        check(failed)


def test_where_no_run_began_there_is_none_to_resume(clinic: Clinic) -> None:
    with pytest.raises(UsageError, match="no run has begun here yet"):
        newest_run(clinic.data_dir)


# What is kept


def test_every_attempt_is_kept_and_the_chain_stays_whole(failed: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_code("lib/commit.py")(failed, monkeypatch)
    run = newest_run(failed.data_dir)
    clock, window, old = run.as_of, run.window, run.manifest["code"]["lib/commit.py"]
    reopen(run)
    (run.record / "04_load.ipynb").write_bytes((run.record / "03_validate.ipynb").read_bytes())
    with writing(run.layout) as connection:  # its process is killed
        assert repair_records(run.layout, connection) == [run.run_id]
    run = newest_run(failed.data_dir)
    check_resumable(run, config_of(failed), {})
    reopen(run)
    note_finished(run, "05_analytics")
    end(failed, "loaded")
    run = newest_run(failed.data_dir)
    assert (run.as_of, run.window) == (clock, window)
    assert [each["outcome"] for each in attempts(run)] == ["failed", "killed", "loaded"]
    assert [each.get("after") for each in attempts(run)] == [None, "03_validate", "03_validate"]
    assert attempts(run)[0]["replaced_code"] == {"lib/commit.py": old}
    assert run.manifest["code"]["lib/commit.py"] == "0" * 64
    assert all(each["started"] and each["ended"] and each["actor"] for each in attempts(run))
    assert {path.name for path in run.record.glob("04_load*")} == {
        "04_load.attempt-1.ipynb",
        "04_load.attempt-2.ipynb",
    }
    assert check_records(read_records(run.layout.data_dir)) == []
    page = write_report(run.layout, run.run_id).read_text()
    for told in ("<dt>attempt 1</dt><dd>by ", "the commit has a bug", "after 03_validate, loaded"):
        assert told in page
    assert failed.run("2025-03-04T00:00:00Z").exit_code == 0
    Run.existing(failed.data_dir).end("loaded")
    assert check_records(read_records(run.layout.data_dir)) == []


def test_a_full_disk_does_not_stop_a_run_that_notes_what_is_finished(
    failed: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    run = newest_run(failed.data_dir)
    with monkeypatch.context() as disk:
        disk.setattr("lib.manifest.write_json", full)
        note_finished(run, "04_load")
    note_finished(run, "05_analytics")
    assert resume.finished_notebooks(newest_run(failed.data_dir)) == list(NOTEBOOKS)


# The real command


@dataclass
class Project:
    """A copy of the project, whose code may be broken and mended, and a data folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, self.folder / name)
        (self.folder / "visits.csv").write_bytes((ROOT / "data" / "input" / "patient_visits.csv").read_bytes())

    @property
    def data_dir(self) -> Path:
        return self.folder / "data" / "here"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The command, running."""
        return subprocess.Popen(
            [sys.executable, "run_pipeline.py", *words, "--data-dir", "data/here"],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def command(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, errors = process.communicate(timeout=240)
        return process.returncode, out, errors

    def manifest(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(sorted(self.data_dir.glob("runs/0*/manifest.json"))[-1].read_text())
        return content


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


RUN = ("run", "--source", "visits.csv")


def test_a_run_that_failed_in_04_is_resumed_once_the_bug_is_mended(project: Project) -> None:
    commit = project.folder / "lib" / "commit.py"
    good = commit.read_text()
    commit.write_text(good.replace("        _commit(connection, load)\n", "        raise RuntimeError('a bug')\n", 1))
    assert commit.read_text() != good
    code, _, errors = project.command(*RUN)
    assert (code, project.manifest()["outcome"]) == (1, "failed") and "04_load" in errors
    assert project.manifest()["finished"] == list(NOTEBOOKS[:3])
    for words in (("--as-of", "2025-12-08T00:00:00Z"), ("--source", "visits.csv"), ("--full-refresh",)):
        code, out, errors = project.command("run", "--resume", *words)
        assert (code, errors) == (2, f"--resume: goes on with the run as it was begun; leave out {words[0]}.\n")

    commit.write_text(good)
    code, out, errors = project.command("run", "--resume")
    assert code == 0, out + errors
    first = project.manifest()
    assert f"run {first['run_id']} resumed after 03_validate, attempt 2" in out
    assert "01_extract" not in out and "03_validate  " not in out and "04_load" in out
    assert [each["outcome"] for each in first["attempts"]] == ["failed", "loaded"]
    assert (first["outcome"], first["exit_code"], first["load"]["version"]) == ("loaded", 0, 1)
    record = project.data_dir / "runs" / first["run_id"]
    assert {path.name for path in record.glob("*.ipynb")} == {
        *(f"{name}.ipynb" for name in NOTEBOOKS),
        "04_load.attempt-1.ipynb",
    }
    assert "RuntimeError" in (record / "04_load.attempt-1.ipynb").read_text()
    assert "<dt>attempt 1</dt><dd>by " in (record / "report.html").read_text()
    assert project.command("verify")[0] == 0
    assert "loaded (resumed)" in project.command("history")[1]
    code, _, errors = project.command("run", "--resume")
    assert code == 2 and "is loaded; run without --resume" in errors


def kill_parent(project: Project, process: subprocess.Popen[str]) -> None:
    process.kill()


def kill_kernel(project: Project, process: subprocess.Popen[str]) -> None:
    wait_for(lambda: kernels_with(project.folder))
    for kernel in kernels_with(project.folder):
        os.kill(kernel, signal.SIGKILL)


def interrupt(project: Project, process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("stop", "outcome"), [(kill_parent, "killed"), (kill_kernel, "failed"), (interrupt, "interrupted")]
)
def test_a_run_that_was_stopped_in_02_is_resumed(
    stop: Callable[[Project, subprocess.Popen[str]], None], outcome: str, project: Project
) -> None:
    process = project.start(*RUN)
    wait_for(lambda: sorted(project.data_dir.glob("runs/0*/manifest.json")) and project.manifest().get("finished"))
    stop(project, process)
    process.communicate(timeout=120)
    wait_for(lambda: not forks_with(project.folder))
    assert process.returncode != 0
    code, out, errors = project.command("run", "--resume")
    assert code == 0, out + errors
    manifest = project.manifest()
    assert manifest["run_id"].startswith("000001-")
    assert [each["outcome"] for each in manifest["attempts"]] == [outcome, "loaded"]
    assert manifest["attempts"][1]["after"] == "01_extract"
    assert manifest["load"]["version"] == 1
    verified = project.command("verify")
    assert verified[0] == 0, verified
