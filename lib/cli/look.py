"""Commands that look: they change no table and no record."""

from __future__ import annotations

from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import (
    Config,
    DataDir,
    Warehouse,
    check_acceptable,
    from_here,
    layout_of,
    warehouse_from_here,
)
from lib.errors import UsageError


@app.command(short_help="where the tables stand; --max-age for cron")
def status(
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    max_age: Annotated[
        str | None, typer.Option(metavar="AGE", help="Exit 9 when the last load is older, such as 26h, 90m or 2d.")
    ] = None,
) -> None:
    """Where the tables stand: last load, watermark, visits, deliveries by status, and whether anything waits."""
    from lib.overview import print_status

    print_status(layout_of(config, data_dir, warehouse), max_age)


@app.command(short_help="every run: outcome, rows, gate, watermark")
def history(
    data_dir: DataDir = "data",
    limit: Annotated[int, typer.Option(min=1, help="How many runs, newest last.")] = 20,
) -> None:
    """Every run: when, what came of it, rows by fate, gate, watermark."""
    from lib.overview import print_history

    print_history(layout_of("config.yaml", data_dir, None), limit)


@app.command(short_help="what the next run would do; writes nothing")
def plan(
    config: Config = "config.yaml",
    source: Annotated[
        str | None, typer.Option(metavar="PATH", help="A file, folder or glob instead of the config's source.path.")
    ] = None,
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    lookback_hours: Annotated[
        float | None, typer.Option(min=0, help="How far behind the watermark rows are still looked at.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(metavar="INSTANT", help="The run's clock; default now.")] = None,
    full_refresh: Annotated[bool, typer.Option("--full-refresh", help="Plan a full refresh.")] = False,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Plan with this rule accepted. Repeatable.")
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="As run takes it; kept nowhere.")] = None,
) -> None:
    """What `run` with the same options would do: rows by fate, gate by rule, days and visits that would change.

    It is done on a copy, so every number is the run's; nothing outside a temporary folder is written, and a run may go
    on meanwhile. Ends with the code that the run would end with: 0, 3 (delivery refused) or 4 (gate failed).
    """
    from lib.config import load_settings, resolve
    from lib.layout import Layout
    from lib.plan import plan_run, print_plan
    from lib.run import Options
    from lib.terminal import consoles

    if reason and not accept:
        raise UsageError("--reason: goes with --accept RULE.")
    check_acceptable(accept or [])
    settings = load_settings(
        from_here(config),
        source__path=from_here(source) if source else None,
        warehouse=warehouse_from_here(warehouse),
        window__lookback_hours=lookback_hours,
    )
    layout = Layout.at(resolve(from_here(data_dir)), settings.warehouse)
    options = Options(full_refresh=full_refresh, accept=tuple(accept or ()), reason=reason)
    planned = plan_run(layout, settings, as_of=as_of, options=options)
    print_plan(consoles()[0], planned)
    raise typer.Exit(planned.exit_code)


@app.command(short_help="make a run's page, report.html")
def report(
    run_id: Annotated[str, typer.Argument(metavar="[RUN]", help="A run id; default the newest run.")] = "latest",
    data_dir: DataDir = "data",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Make a run's report.html from its executed notebooks, and say where it lies."""
    from lib.report import write_report
    from lib.run import Run

    existing = Run.existing(from_here(data_dir), run_id)
    page = write_report(existing.layout, existing.run_id)
    typer.echo(str(page))
    if open_page:
        typer.launch(page.as_uri())


@app.command(short_help="every version of one visit, and its fate")
def trace(
    visit_id: Annotated[str, typer.Argument(metavar="VISIT_ID", help="The visit to follow.")],
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
) -> None:
    """Every version of one visit that was ever delivered, and its fate. Shows stamps and reasons, no other value."""
    from lib.config import load_settings
    from lib.trace import print_trace

    settings = load_settings(from_here(config), warehouse=warehouse_from_here(warehouse))
    print_trace(layout_of(config, data_dir, warehouse), settings, visit_id)


@app.command(short_help="are snapshots, records and tables as left?")
def verify(config: Config = "config.yaml", data_dir: DataDir = "data", warehouse: Warehouse = None) -> None:
    """Check that snapshots, records and tables are what the runs left; exit 6 and name what is not."""
    from lib.verify import print_verification

    print_verification(layout_of(config, data_dir, warehouse))
