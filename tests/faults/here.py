"""The real command in this process, its five notebooks replaced by the calls they make: a second instead of fifteen.

Lock, repair, record, copies, exit codes are the command's own; only papermill, kernels, Great Expectations and pictures
are left out. What a kernel's guard makes of an exception is done here by the same function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import nbformat

from lib import execute, extract, load, pipeline, report, stage, terminal, validate  # noqa: F401 (before the forks)
from lib.cli.main import main
from lib.cli.run import run as run_command  # noqa: F401
from lib.confidential import log_exception
from lib.config import load_settings
from lib.errors import PipelineError, as_ours
from lib.execute import Execution, Failure
from lib.files import TEMPORARY_PREFIX
from lib.lock import HELD_BY_PARENT
from lib.run import Run
from tests.pipeline.plain_gate import plain_gate


def be_command(words: list[str], told: Path) -> NoReturn:
    """Become the command: run it, with its words into the file `told`, and end the process with its exit code."""
    os.setsid()
    handle = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(each, "w", closefd=False) for each in (1, 2))  # a test runner has its own
    stand_in()
    sys.argv = ["run_pipeline.py", *words]
    code: Any = 70
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # a traceback on the terminal: the command never shows one
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code or 0))


def begin(config: Path, data_dir: Path, as_of: str) -> Run:
    """A run as the command begins it, with no process that holds the lock."""
    return Run.begin(load_settings(str(config)), data_dir=data_dir, as_of=as_of)


def warm_up(data_dir: Path) -> None:
    """Write the newest run's page once here, so that no fork has to compile its patterns and templates again."""
    run = Run.existing(data_dir)
    report.write_report(run.layout, run.run_id)


def stand_in() -> None:
    """Put the calls in the notebooks' place."""
    pipeline.execute_notebook = execute_here  # type: ignore[attr-defined]
    validate.evaluate_gate = plain_gate  # type: ignore[attr-defined]


def execute_here(
    source: Path, target: Path, parameters: dict[str, Any], *, run_id: str, log: Path, **_: Any
) -> Execution:
    """What lib.execute.execute_notebook does, without a kernel."""
    name = source.stem
    failure = None
    problem: Exception | None = None
    os.environ[HELD_BY_PARENT] = run_id
    try:
        STAGES[name](Run.existing(parameters["data_dir"], run_id))
    except Exception as error:
        log_exception(log, error, name)
        ours = as_ours(error)
        message = (
            str(ours) if isinstance(ours, PipelineError) else f"{type(ours).__name__} in {name}; details in the log"
        )
        failure = Failure(type(ours).__name__, message, 1, dead_kernel=False)
    finally:
        del os.environ[HELD_BY_PARENT]
    unfinished = target.with_name(TEMPORARY_PREFIX + target.name)
    try:
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")]), unfinished)
    except OSError as error:
        problem = error
    problem = execute._publish(unfinished, target) or problem
    if problem and not failure:
        failure = execute._failure(name, execute._Watch(None), problem, None, log)
    return Execution(name, 0.0, 1, failure)


def _extract(run: Run) -> None:
    offers = extract.look_at_source(run)
    extract.take_deliveries(run, offers)
    extract.choose_run_batch(run, offers)


def _stage(run: Run) -> None:
    stage.stage_batch(run)


def _validate(run: Run) -> None:
    validate.require_gate(run, validate.judge_batch(run))


def _load(run: Run) -> None:
    load.load_visits(run)
    load.count_tables(run)


STAGES: dict[str, Callable[[Run], Any]] = {
    "01_extract": _extract,
    "02_stage": _stage,
    "03_validate": _validate,
    "04_load": _load,
    "05_analytics": load.require_loaded,
}
