"""The default command: one run of the pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import (
    Config,
    DataDir,
    LookbackHours,
    SourcePath,
    Warehouse,
    check_acceptable,
    from_here,
    given_settings,
)
from lib.deferred import imports_of_the_command
from lib.errors import UsageError
from lib.template import begun_template


@app.command(short_help="run the pipeline once (the default)")
def run(
    config: Config = "config.yaml",
    source: SourcePath = None,
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    lookback_hours: LookbackHours = None,
    as_of: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="The run's clock, like 2025-12-07T06:00:00Z; default now.")
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build the tables again from every delivery, in one transaction.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Let the held deliveries pass this rule once; needs --reason. Repeatable."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why a rule is accepted; kept in the record.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last good notebook of the newest run, which failed.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something fails.")] = False,
) -> None:
    """Take what the source delivers, stage it, put it before the gate, load it, report. This is the default command."""
    place = from_here(config), from_here(data_dir)
    if resume:
        _refuse_with_resume(
            {"--source": source, "--lookback-hours": lookback_hours, "--as-of": as_of,
             "--full-refresh": full_refresh, "--accept": accept, "--reason": reason}
        )  # fmt: skip
    with begun_template() as template:  # it makes its imports beside ours
        with imports_of_the_command():
            from lib.config import load_settings
            from lib.pipeline import resume_pipeline, run_pipeline
            from lib.run import Options
            from lib.terminal import consoles, make_progress, show_summary

        _check_acceptance(accept, reason)
        given = given_settings(source, warehouse, lookback_hours)
        out, errors = consoles()
        progress = make_progress(out, quiet)
        if resume:
            ended = resume_pipeline(*place, given=given, progress=progress, template=template)
        else:
            ended = run_pipeline(
                load_settings(place[0], **given),
                config_file=place[0],
                data_dir=place[1],
                as_of=as_of,
                options=Options(full_refresh, tuple(accept or ()), reason, given),
                progress=progress,
                template=template,
            )
    if not quiet:
        show_summary(out, ended)
    if ended.message:
        errors.print(ended.message, markup=False, soft_wrap=True)
    raise typer.Exit(ended.exit_code)


def _check_acceptance(accept: list[str] | None, reason: str | None) -> None:
    if accept and not reason:
        raise UsageError("--accept: say why with --reason TEXT; it is kept in the record.")
    if reason and not accept:
        raise UsageError("--reason: goes with --accept RULE.")
    if accept:
        check_acceptable(accept)


def _refuse_with_resume(given: dict[str, object]) -> None:
    """What was asked of the run when it began holds until its end."""
    asked = [option for option, value in given.items() if value not in (None, False, [])]
    if asked:
        raise UsageError(f"--resume: goes on with the run as it was begun; leave out {', '.join(asked)}.")
