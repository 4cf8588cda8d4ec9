"""The test of the canary tests: take away any one place that masks, and a canary is found, or what must be told is not.

Each place has a check that finds nothing while it stands. Places in the code that runs before or around a kernel are
taken away in a copy of the project.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import great_expectations  # noqa: F401 (five seconds, once)
import pandas as pd
import pytest
from jupyter_client.manager import start_new_kernel

from lib import (
    analytics,
    confidential,
    frames,
    header,
    lab,
    quarantine_view,
    reveal,
    scrub,
    show,
    shown,
    suites,
)
from lib.config import settings_from
from lib.errors import DeliveryRefused, UsageError
from lib.execute import _logged
from lib.run import Run
from lib.warehouse import reading
from tests.expectations.test_gate import CLOCK, SETTINGS, canaries, judged_staged, staged_frame, staged_parameters
from tests.pipeline.clinic import ROOT, Clinic, row
from tests.privacy.canaries import CELLS, hits
from tests.privacy.test_canaries import CANARY, TYPED, told_by

NAME = CELLS["patient_id"]
COMMAND = import_module("lib.cli.main")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """Ten good visits and one of canaries in every column, one refused row of them."""
    clinic = Clinic(tmp_path_factory.mktemp("clinic"))
    clinic.deliver([*(row(f"V{n}") for n in range(10)), CANARY, {**CANARY, "visit_id": "V99", "visit_date": "?"}])
    assert clinic.run().exit_code == 0
    return clinic


# What each check looks at


def masked_frames(clinic: Clinic) -> str:
    run = Run.existing(clinic.data_dir)
    texts = [frames.rejected(run).drop(columns="stamp").to_csv()]
    texts += [
        each.drop(columns=[*TYPED, "latest_stamp"], errors="ignore").to_csv()
        for each in (frames.visits(run), frames.facts(run))
    ]
    return "".join(texts)


def shown_things(clinic: Clinic) -> str:
    """What a notebook shows when it is told to show the rows themselves."""
    said: list[Any] = []
    rows = pd.read_parquet(Run.existing(clinic.data_dir).staging / "visits.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", lambda thing, raw, metadata: said.append((thing, metadata)))
        show.table(rows)
    assert said and all(shown.is_marked({"metadata": metadata}) for _, metadata in said), "what is shown is marked"
    return "".join(thing.text + thing.html for thing, _ in said)


def small_groups(clinic: Clinic) -> str:
    with reading(Run.existing(clinic.data_dir).layout) as connection:
        found = [analytics.top_diagnoses(connection), analytics.top_providers(connection)]
    return "".join(each.to_csv() for each in found)


def one_visits_cost(_: Clinic) -> str:
    row = {
        "visits_with_cost": 9,
        **{f"{name}_cents": 7339147 for name in ("lower_quartile", "median", "upper_quartile")},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analytics, "_rows", lambda *_, **__: [row])
        return analytics.cost_summary(None).to_csv().replace("73400", "")  # type: ignore[arg-type]


def headers(_: Clinic) -> str:
    """What is said of first rows that hold a patient."""
    settings, said = settings_from({}, "config.yaml"), []
    ran_in = [*list(settings.wanted.values())[:-1], f"last_updated{CELLS['visit_id']}", *CANARY.values()]
    for names in (ran_in, [*CANARY.values()], [*settings.wanted.values(), CELLS["visit_id"], CELLS["visit_id"]]):
        try:
            header.match_header(names, settings, "visits.csv")
        except DeliveryRefused as error:
            said.append(str(error))
    assert len(said) == 3
    return "".join(said)


def gate_results(_: Clinic) -> str:
    frame = judged_staged(staged_frame(canaries()).assign(patient_id=NAME, last_updated=pd.NaT))
    parameters = staged_parameters(SETTINGS, CLOCK, 5)
    results = suites._validate(
        suites.read_suite("staged_rows"), frame.assign(row_hash=NAME), parameters, suites.COUNTS_ONLY
    )
    return "".join(str(each.result) for each in results)


def logged(clinic: Clinic) -> str:
    log = clinic.folder / "a.log"
    log.unlink(missing_ok=True)
    try:
        pd.to_datetime([NAME])
    except ValueError as error:
        confidential.log_exception(log, error, "here")
    text = log.read_text()
    assert "DateParseError" in text and "in to_datetime" in text, "class and stack are kept"
    return text


def failing_command(clinic: Clinic) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.overview.print_status", lambda *_: pd.to_datetime([NAME]))
        return told_by(clinic, "status")[1]


def revealing_in_a_pipe(clinic: Clinic) -> str:
    return told_by(clinic, "quarantine", "show", "--reveal")[1]


def revealing_in_a_frame(clinic: Clinic) -> str:
    try:
        return str(frames.facts(Run.existing(clinic.data_dir), reveal=True).to_csv())
    except UsageError:
        return ""


def saved_by_jupyterlab(_: Clinic) -> str:
    error = {"output_type": "error", "ename": "KeyError", "evalue": NAME, "traceback": [NAME]}
    cell = {"cell_type": "code", "outputs": [{"output_type": "stream", "text": NAME}, error]}
    model = {"type": "notebook", "content": {"nbformat": 4, "metadata": {}, "cells": [cell]}}
    lab.withhold_rows(model=model, path="own.ipynb")
    return str(model)


def always(answer: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer


Check = Callable[[Clinic], str]
IN_PROCESS: dict[str, tuple[Check, list[tuple[object, str, Any]]]] = {
    "identifiers in frames": (masked_frames, [(frames, "mask_frame", lambda frame, _: frame)]),
    "rows in a table that is shown": (shown_things, [(show, "mask_rows", lambda frame: frame)]),
    "the mark": (shown_things, [(shown, "marked", dict)]),
    "small groups": (small_groups, [(analytics, "merge_small", lambda frame, *_, **__: frame)]),
    "digits of a cost": (one_visits_cost, [(analytics, "significant", round)]),
    "names beside a row that ran into the header": (
        headers, [(header, "_tellable", lambda fields, places: [fields[at] for at in places])]),
    "a first row that may be a patient": (headers, [(header, "_unrecognised", lambda fields, *_: " ".join(fields))]),
    "Great Expectations' results": (gate_results, [(suites, "COUNTS_ONLY", {"result_format": "COMPLETE"})]),
    "messages in the private log": (logged, [(scrub, "scrub", str)]),
    "the command's last word": (
        failing_command, [(COMMAND, "_unexpected", lambda error, _: COMMAND._fail(str(error), 1))]),
    "--reveal away from a terminal": (
        revealing_in_a_pipe, [(each, "require_terminal", always(None)) for each in (reveal, quarantine_view)]),
    "reveal=True outside of make lab": (revealing_in_a_frame, [(confidential, "is_interactive", always(True))]),
    "JupyterLab's save hook: outputs": (saved_by_jupyterlab, [(lab, "is_marked", always(True))]),
    "JupyterLab's save hook: errors": (saved_by_jupyterlab, [(lab, "_is_guarded_error", always(True))]),
}  # fmt: skip
"""By place: what looks for canaries, and what takes the place away."""


def is_red(check: Check, clinic: Clinic) -> bool:
    try:
        return bool(hits(check(clinic)))
    except AssertionError:
        return True


@pytest.mark.parametrize("place", IN_PROCESS)
def test_without_this_place_a_patient_is_shown(place: str, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    check, changes = IN_PROCESS[place]
    assert hits(check(clinic)) == set()
    for target, name, without in changes:
        monkeypatch.setattr(target, name, without)
    assert is_red(check, clinic)


# In a kernel: everything that it sends is looked at

SPILL = f"""
import logging, sys, warnings, pandas as pd
from IPython.display import HTML
spill = {NAME[::-1]!r}[::-1]
display(HTML(spill)); display({{"text/html": spill}}, raw=True); print(spill)
print("could not convert", spill, file=sys.stderr); warnings.warn("invalid " + spill)
pd.DataFrame({{"a": [spill] * 3}})
"""
FAIL = "pd.to_datetime([spill])"

IN_KERNEL = {
    "what leaves the kernel": ("session.send = guard.withholding._send", "session.send = guard.withholding.send"),
    "what counts as shown": ("shown.is_passing = lambda: True", "shown.is_passing = is_passing"),
    "small numbers of rows": ("withheld.SMALL = 0", "withheld.SMALL = 8"),
    "exceptions": ("del shell.showtraceback", "shell.showtraceback = guard.showtraceback"),
    "the reply to the client": (
        "shell.events.unregister('post_run_cell', guard.clean_reply)",
        "shell.events.register('post_run_cell', guard.clean_reply)"),
    "stderr": ("diverted, sys.stderr = sys.stderr, before", "sys.stderr = diverted"),
    "stderr's words in the log": ("confidential.scrub = str", "confidential.scrub = scrub.scrub"),
    "exceptions' words in the log": ("known, scrub.scrub = scrub.scrub, str", "scrub.scrub = known"),
}  # fmt: skip
"""By place: a cell that takes it away, and one that puts it back."""

GUARD = f"""
import sys; sys.path.insert(0, {str(ROOT)!r}); before = sys.stderr
from pathlib import Path
from lib import confidential, scrub, shown, withheld
confidential.guard_kernel(Path({{log!r}}))
shell = get_ipython(); guard, session, is_passing = shell._patient_visits_guard, shell.kernel.session, shown.is_passing
"""


class Sent:
    """A kernel of plain Jupyter, guarded by a cell, and everything that it sends."""

    def __init__(self, log: Path) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        self.manager, self.client = start_new_kernel(kernel_name="python3", env=environment)
        self.run(GUARD.format(log=str(log)))

    def run(self, code: str) -> str:
        """All that a cell makes the kernel send, but for the code itself."""
        told: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] not in ("execute_input", "status"):
                told.append(str(message["content"]))

        reply = self.client.execute_interactive(code, output_hook=hear, timeout=60)
        return "\n".join([*told, str(reply["content"])])

    def problems(self) -> list[str]:
        """What is wrong with all that two cells send and log, one that shows and prints and one that fails."""
        self.log.unlink(missing_ok=True)
        sent = self.run(SPILL) + self.run(FAIL)
        end = time.monotonic() + 5
        while not (self.log.exists() and "DateParseError" in self.log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        logged = self.log.read_text() if self.log.exists() else ""
        wanted = {
            "sent": ("DataFrame, fewer than 8 rows", "1 printed line", "DateParseError in cell"),
            "logged": ("could not convert", "UserWarning at", "in to_datetime", "DateParseError"),
        }
        missing = [each for each in wanted["sent"] if each not in sent] + [
            each for each in wanted["logged"] if each not in logged
        ]
        return [*(f"not told: {each}" for each in missing), *hits(sent), *hits(logged)]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    sent = Sent(tmp_path_factory.mktemp("kernel") / "run.log")
    yield sent
    sent.client.stop_channels()
    sent.manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("place", IN_KERNEL)
def test_without_this_place_a_kernel_tells_of_a_patient(place: str, kernel: Sent) -> None:
    without, back = IN_KERNEL[place]
    assert kernel.problems() == []
    kernel.run(without)
    try:
        assert kernel.problems() != []
    finally:
        kernel.run(back)


# Around a kernel


def test_a_notebook_that_is_executed_alone_guards_itself(clinic: Clinic) -> None:
    manager, client = start_new_kernel(kernel_name="python3")
    sent = Sent.__new__(Sent)
    sent.client = client
    where = repr(str(clinic.data_dir))
    try:
        opening = f"run = Run.open('02_stage', data_dir={where})"
        sent.run(f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.run import Run; {opening}")
        shows = sent.run("run.facts()") + sent.run("print(run.facts().to_csv())") + sent.run("run.facts(reveal=True)")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert hits(shows) == set()
    assert "Not shown: DataFrame, 11 rows" in shows and "Not shown: 13 printed lines" in shows
    assert "UsageError: reveal: rows are shown only in the JupyterLab of make lab" in shows


def test_what_the_executor_logs_is_scrubbed(tmp_path: Path) -> None:
    with _logged(tmp_path / "run.log"):
        logging.getLogger("papermill").error("could not convert %s", NAME)
        try:
            raise KeyError(NAME)
        except KeyError:
            logging.getLogger("asyncio").exception("wrong %s", NAME)
    text = (tmp_path / "run.log").read_text()
    assert hits(text) == set()
    assert "could not convert" in text and "KeyError" in text and "in test_what_the_executor_logs" in text


# In a copy of the project

IN_COPY = {
    "the guard before a run's first cell": (
        "lib/kernel_start.py", "    guard_kernel(Path(os.environ[LOG_VARIABLE]))\n", "    pass\n",
        "tests/unit/test_confidential.py::test_a_failure_in_a_run"),
    "the guard of a notebook that is executed alone": (
        "lib/run.py", "watermark, lookback_hours)\n        confidential.guard_kernel(run.log)\n",
        "watermark, lookback_hours)\n",
        "tests/privacy/test_masking.py::test_a_notebook_that_is_executed_alone_guards_itself"),
    "what C libraries write": (
        "lib/kernels.py", "output = scrubbing_pipe(self.log)",
        "output = __import__('lib.confidential').confidential.open_log(self.log)",
        "tests/unit/test_confidential.py::test_what_goes_to_stderr_goes_to_the_log_without_its_values"),
    "what papermill logs": (
        "lib/execute.py", "        handler.setFormatter(ScrubbingFormatter())\n", "",
        "tests/privacy/test_masking.py::test_what_the_executor_logs_is_scrubbed"),
    "errors' own words in a record": (
        "lib/execute.py", "if kind not in BY_NAME or not message:", "if not message:",
        "tests/unit/test_execute.py::test_any_other_error_is_told_by_class_and_place_only"),
    "the exception that Great Expectations raises": (
        "lib/suites.py", "            failure = type(error).__name__\n", "            raise\n",
        "tests/expectations/test_gate.py::test_an_expectation_that_cannot_be_evaluated_fails_the_run_without_its_message"),
    "SQLite's own words": (
        "lib/warehouses/sqlite.py", "refused a statement ({type(error).__name__})",
        "refused a statement ({error})",
        "tests/unit/test_warehouse.py::test_an_error_s_text_is_never_told"),
    "the save hook in make lab": (
        "Makefile", "--ServerApp.jpserver_extensions=\"{'lib.lab': True}\" ", "",
        "tests/unit/test_lab.py::test_the_extension_hooks_every_save_and_names_its_server_to_kernels"),
}  # fmt: skip
"""By place: file, what stands there, what is put there instead, and the test that must turn red."""


@pytest.mark.parametrize("place", IN_COPY)
def test_the_places_of_the_sweep_are_where_they_were(place: str) -> None:
    file, stands, _, test = IN_COPY[place]
    assert (ROOT / file).read_text().count(stands) == 1
    path, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", IN_COPY)
def test_without_this_place_a_test_is_red(place: str, tmp_path: Path) -> None:
    file, stands, instead, test = IN_COPY[place]
    copy = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".venv", ".git", "__pycache__", "data", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=left_out)
    (copy / file).write_text((copy / file).read_text().replace(stands, instead))
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 't'}", test]
    ended = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and " failed" in ended.stdout, ended.stdout[-2000:]
