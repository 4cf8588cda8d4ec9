"""The pipeline: five notebooks in order under one lock, an outcome decided here, a record closed whatever happens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lib.ahead import KernelsAhead
from lib.anchor import note_records
from lib.confidential import log_exception
from lib.config import ROOT, Settings
from lib.engines.choose import require_installed
from lib.errors import BY_NAME, PipelineError, ReportIncomplete, TemporaryFailure
from lib.execute import Execution, Failure, execute_notebook, learn_format
from lib.index import write_index
from lib.interrupts import exit_code_of, raise_lost_signal, signals_as_interrupts, signals_noted
from lib.kernels import Kernel
from lib.layout import NOTEBOOKS, PAGE, Layout
from lib.lock import hold_warehouse
from lib.manifest import FILE_NAME, Manifest
from lib.page import learn_templates
from lib.readers import open_to_readers
from lib.record import Outcome, close_record, record_load, repair_records
from lib.report import write_report
from lib.resume import newest_run, note_finished, reopen, unfinished_notebooks
from lib.run import Options, Run
from lib.stages_ahead import StagesAhead
from lib.state import write_state_copy
from lib.store.place import Place, place_of
from lib.template import Template
from lib.warehouse import copy_aside, reading, writing
from lib.warehouses.choose import kind_named


class Progress(Protocol):
    """Who is told how a run goes: lib/terminal.py on a terminal or plain lines, tests with their own."""

    def began(self, run: Run) -> None: ...
    def resumed(self, run: Run) -> None: ...
    def repaired(self, run_ids: list[str]) -> None: ...
    def notebook(self, name: str) -> None: ...
    def cell(self, name: str, done: int, total: int) -> None: ...
    def stopped(self) -> None: ...
    def notebook_ended(self, execution: Execution) -> None: ...


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit code, outcome, one line when something failed, and the manifest as closed."""

    exit_code: int
    outcome: Outcome
    message: str | None
    manifest: dict[str, Any]
    record: Path


def run_pipeline(
    settings: Settings,
    *,
    config_file: str,
    data_dir: str | Place,
    as_of: str | None,
    options: Options,
    progress: Progress,
    template: Template | None = None,
) -> Ended:
    """One run, from the source to the closed record; its kernels are forks of the template, if there is one.

    Raises PipelineError for what stops it before it begins.
    """
    place = place_of(data_dir)
    layout = Layout.at(place, settings.warehouse, settings.engine)
    layout.require_lasting_warehouse()
    require_installed(settings.engine)
    kind_named(layout.kind)  # its driver too: before there is a folder or a lock
    layout.create()
    with hold_warehouse(layout, "run_pipeline.py run"), signals_as_interrupts():
        _prepare(layout, settings, options, progress)
        _finish_report(layout, config_file, progress)
        note_records(layout, settings.anchor)  # what was repaired; the close tells what cannot be noted
        with signals_noted():  # from the manifest on there is a record to close
            run = Run.begin(settings, data_dir=place, as_of=as_of, options=options)
            progress.began(run)
        return _run_notebooks(run, list(NOTEBOOKS), config_file, progress, template)


def resume_pipeline(
    config_file: str,
    data_dir: str | Place,
    *,
    given: dict[str, Any],
    progress: Progress,
    template: Template | None = None,
) -> Ended:
    """The newest run once more, from the first notebook that did not end well to the closed record; see lib/resume.py.

    `given` are settings given in place of the config's. Raises PipelineError, before anything is done, when the run
    ended otherwise than by a failure, or what its finished notebooks depend on has changed.
    """
    from lib.resumable import check_resumable

    begun = newest_run(place_of(data_dir))
    layout = begun.layout
    layout.create()
    with hold_warehouse(layout, f"run {begun.run_id} --resume"), signals_as_interrupts():
        _prepare(layout, begun.settings, begun.options, progress)
        run = Run.existing(layout.place, begun.run_id)
        check_resumable(run, config_file, given)
        with signals_noted():
            reopen(run)
            progress.resumed(run)
        return _run_notebooks(run, unfinished_notebooks(run), config_file, progress, template)


def _run_notebooks(
    run: Run, names: list[str], config_file: str, progress: Progress, template: Template | None
) -> Ended:
    executions: list[Execution] = []
    interrupt: KeyboardInterrupt | None = None
    with StagesAhead(template) as stages:
        try:
            raise_lost_signal()  # that came while the run began
            if template:  # its imports still take a while
                learn_format()
                learn_templates()
            with KernelsAhead(run, names, template) as kernels:
                for name in names:
                    executions.append(_execute(run, name, config_file, progress, kernels.take(name)))
                    if not executions[-1].failure:
                        executions[-1] = _finished(run, executions[-1])
                    if executions[-1].failure:
                        raise_lost_signal()  # what it broke off may have failed for it
                        break
                    stages.begin(run.record / f"{name}.ipynb")
                    raise_lost_signal()
        except KeyboardInterrupt as signalled:
            interrupt = signalled
        with signals_noted():
            return _close(run, executions, interrupt, stages)


def _prepare(layout: Layout, settings: Settings, options: Options, progress: Progress) -> None:
    """Heal what an earlier run left when it died: records and their pages, the state's copy, temporary files, and what
    it could not write to object storage. What ended elsewhere meanwhile is brought in first."""
    if layout.store:
        layout.store.refresh()
    layout.sweep()
    if options.full_refresh and layout.is_blank_file:
        copy_aside(layout.warehouse)
    with writing(layout, rebuild=options.full_refresh) as connection:
        repaired = repair_records(layout, connection)
        write_state_copy(connection, layout)
    for run_id in _without_page(layout, repaired):
        try:
            _make_pages(layout, run_id, settings.readers_group)
        except Exception as error:  # a copy; this run is not to fail for it
            log_exception(layout.log(run_id), error, "making the pages")
    for run_id in layout.store.unpublished_runs() if layout.store else ():
        layout.publish(run_id)
    layout.publish()
    if repaired:
        progress.repaired(repaired)


def _without_page(layout: Layout, repaired: list[str]) -> list[str]:
    """The runs that were just repaired, and the newest if it ended without its page."""
    newest = layout.run_ids()[-1:]
    lacking = [each for each in newest if (layout.record(each) / FILE_NAME).exists()]
    return list(dict.fromkeys([*repaired, *(each for each in lacking if not (layout.record(each) / PAGE).exists())]))


def _make_pages(layout: Layout, run_id: str, readers_group: str | None, stages: StagesAhead | None = None) -> None:
    """What is made of a closed record for reading: its page, the index of all runs; then let the readers in."""
    write_report(layout, run_id, stages)
    write_index(layout)
    layout.publish(run_id)
    open_to_readers(layout, [run_id], readers_group)


def _finish_report(layout: Layout, config_file: str, progress: Progress) -> None:
    """Do again what the newest run could not finish after its commit: 05 and the page. Later runs chain to its record,
    so only the newest one may still be mended, once. Failed or not, the record is closed over what is in it now."""
    newest = layout.run_ids()[-1:]
    if not newest or not (layout.record(newest[0]) / FILE_NAME).exists():
        return
    run = Run.existing(layout.place, newest[0])
    if run.manifest.get("exit_code") != ReportIncomplete.exit_code or run.manifest.get("recovered"):
        return
    execution = _execute(run, NOTEBOOKS[-1], config_file, progress)
    message = execution.failure.message if execution.failure else None
    close_record(layout, run.run_id, "loaded", exit_code=ReportIncomplete.exit_code, message=message, recovered=True)
    _make_pages(layout, run.run_id, run.settings.readers_group)
    if not execution.failure:
        progress.repaired([run.run_id])


def _execute(run: Run, name: str, config_file: str, progress: Progress, kernel: Kernel | None = None) -> Execution:
    progress.notebook(name)
    try:
        execution = execute_notebook(
            ROOT / "notebooks" / f"{name}.ipynb",
            run.record / f"{name}.ipynb",
            {"config_file": config_file, **run.parameters},
            run_id=run.run_id,
            cwd=ROOT,
            log=run.log,
            on_cell=lambda done, total: progress.cell(name, done, total),
            kernel=kernel,
        )
    finally:
        progress.stopped()
    progress.notebook_ended(execution)
    return execution


def _finished(run: Run, execution: Execution) -> Execution:
    """Note that the notebook ended well; where that cannot be kept on object storage, it did not."""
    try:
        note_finished(run, execution.notebook)
    except PipelineError as error:
        return replace(execution, failure=Failure(type(error).__name__, str(error), None, dead_kernel=False))
    return execution


def _close(run: Run, executions: list[Execution], interrupt: KeyboardInterrupt | None, stages: StagesAhead) -> Ended:
    """Decide the outcome, make the copies, close the record."""
    failure = executions[-1].failure if executions and not interrupt else None
    loaded = _is_loaded(run)
    if loaded is None:
        manifest = Manifest.read(run.record).content
        return Ended(TemporaryFailure.exit_code, "unknown", _untold(run), manifest, run.record)
    outcome, exit_code, message = _decide(loaded, failure, interrupt)
    try:
        if loaded:
            with writing(run.layout) as connection:
                record_load(run.layout, connection, run.run_id)
                write_state_copy(connection, run.layout)
        close_record(run.layout, run.run_id, outcome, exit_code=exit_code, message=message, executions=executions)
        _make_pages(run.layout, run.run_id, run.settings.readers_group, stages)
    except Exception as error:  # the tables are as they are; what is missing is a copy, and the next run makes it
        log_exception(run.log, error, "closing the record")
        exit_code, message = exit_code or ReportIncomplete.exit_code, message or _incomplete(run)
    if not_noted := note_records(run.layout, run.settings.anchor):
        exit_code, message = exit_code or ReportIncomplete.exit_code, " ".join(filter(None, [message, not_noted]))
    manifest = Manifest.read(run.record).content
    return Ended(exit_code, outcome, message, manifest, run.record)


def _decide(
    loaded: bool, failure: Failure | None, interrupt: KeyboardInterrupt | None
) -> tuple[Outcome, int, str | None]:
    if loaded and (failure or interrupt):
        return (
            "loaded",
            ReportIncomplete.exit_code,
            "the tables are loaded, the report is incomplete; the next run repairs the record.",
        )
    if interrupt:
        return "interrupted", exit_code_of(interrupt), "interrupted: nothing was loaded; run again."
    if failure:
        kind = BY_NAME.get(failure.kind, PipelineError)
        outcomes: dict[int, Outcome] = {3: "refused", 4: "held"}
        return outcomes.get(kind.exit_code, "failed"), kind.exit_code, failure.message
    return "loaded", 0, None


def _is_loaded(run: Run) -> bool | None:
    """Whether the commit took place: the warehouse knows, whatever became of the kernel. None when it cannot be asked:
    what is not known is not recorded. Only a connection that writes can roll back what a killed kernel left, and only
    one that reads can be had on a disk that fails."""
    manifest = Manifest.read(run.record)
    if manifest.get("load") or not manifest.get("gate"):  # written after the commit; before 04 may begin
        return manifest.get("load") is not None
    for opened in (writing, reading):
        try:
            with opened(run.layout) as connection:
                return connection.execute("SELECT 1 FROM runs WHERE run_id = ?", [run.run_id]).fetchone() is not None
        except PipelineError as error:
            log_exception(run.log, error, "asking the warehouse whether the run was loaded")
    return None


def _untold(run: Run) -> str:
    return (
        f"whether {run.run_id} was loaded cannot be told: the warehouse does not answer (details in "
        f"logs/{run.run_id}.log); run again, the next run finds out and closes the record."
    )


def _incomplete(run: Run) -> str:
    return f"the report is incomplete (details in logs/{run.run_id}.log); the next run repairs the record."
