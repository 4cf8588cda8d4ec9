"""The default command: one run of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import Config, DataDir, Warehouse, check_acceptable, from_here, warehouse_from_here
from lib.errors import UsageError


@app.command(short_help="run the pipeline once (the default)")
def run(
    config: Config = "config.yaml",
    source: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, folder or glob instead of the config's source.path.")
    ] = None,
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    lookback_hours: Annotated[
        float | None, typer.Option(min=0, help="How far behind the watermark rows are still looked at.")
    ] = None,
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something fails.")] = False,
) -> None:
    """Take what the source delivers, stage it, put it before the gate, load it, report. This is the default command."""
    from lib.config import load_settings
    from lib.pipeline import run_pipeline
    from lib.run import Options
    from lib.terminal import consoles, make_progress, show_summary

    if accept and not reason:
        raise UsageError("--accept: say why with --reason TEXT; it is kept in the record.")
    if reason and not accept:
        raise UsageError("--reason: goes with --accept RULE.")
    if accept:
        check_acceptable(accept)
    config_file = from_here(config)
    settings = load_settings(
        config_file,
        source__path=from_here(source) if source else None,
        warehouse=warehouse_from_here(warehouse),
        window__lookback_hours=lookback_hours,
    )
    out, errors = consoles()
    ended = run_pipeline(
        settings,
        config_file=config_file,
        data_dir=Path(from_here(data_dir)),
        as_of=as_of,
        options=Options(full_refresh=full_refresh, accept=tuple(accept or ()), reason=reason),
        progress=make_progress(out, quiet),
    )
    if not quiet:
        show_summary(out, ended)
    if ended.message:
        errors.print(ended.message, markup=False, soft_wrap=True)
    raise typer.Exit(ended.exit_code)
