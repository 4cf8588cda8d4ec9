"""Commands that look: they change no table and no record."""

from __future__ import annotations

from pathlib import Path
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
    layout_of,
    source_name,
)
from lib.counted import counted
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


@app.command(short_help="every run: outcome, rows, gate; rules over time")
def history(
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="With --rules: this rule alone, by run.")] = None,
    data_dir: DataDir = "data",
    limit: Annotated[int, typer.Option(min=1, help="How many runs, newest last.")] = 20,
    rules: Annotated[
        bool, typer.Option("--rules", help="The gate's rules over time: values, limits, failures.")
    ] = False,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only the records that may be moved to an archive: 6y, 18mo, 90d.")
    ] = None,
) -> None:
    """Every run: when, what came of it, rows by fate, gate, watermark. With --rules, the gate's rules over the runs."""
    if rule and not rules:
        raise UsageError(f"history {rule}: a rule goes with --rules.")
    layout = layout_of("config.yaml", data_dir, None)
    if older_than:
        from lib.retention import print_old_records
        from lib.terminal import consoles

        print_old_records(consoles()[0], layout, older_than)
        return
    if rules:
        from lib.rule_overview import print_rules

        print_rules(layout, rule, limit)
        return
    from lib.overview import print_history

    print_history(layout, limit)


@app.command(short_help="what the next run would do; writes nothing")
def plan(
    config: Config = "config.yaml",
    source: SourcePath = None,
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    lookback_hours: LookbackHours = None,
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
    from lib.config import load_settings
    from lib.layout import Layout
    from lib.plan import plan_run, print_plan
    from lib.run import Options
    from lib.store.place import place_of
    from lib.terminal import consoles

    if reason and not accept:
        raise UsageError("--reason: goes with --accept RULE.")
    check_acceptable(accept or [])
    settings = load_settings(from_here(config), **given_settings(source, warehouse, lookback_hours))
    layout = Layout.at(place_of(from_here(data_dir)), settings.warehouse, settings.engine)
    options = Options(full_refresh=full_refresh, accept=tuple(accept or ()), reason=reason)
    planned = plan_run(layout, settings, as_of=as_of, options=options)
    print_plan(consoles()[0], planned)
    raise typer.Exit(planned.exit_code)


@app.command(short_help="make a run's page and the index of all runs")
def report(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id, its number or its beginning; default the newest.")
    ] = None,
    data_dir: DataDir = "data",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Make a run's report.html and the index of all runs again from the records, and say where they lie."""
    import webbrowser

    from lib.index import write_index
    from lib.layout import resolve_run_id
    from lib.report import write_report

    layout = layout_of("config.yaml", data_dir, None)
    known = layout.run_ids()
    if not known:
        raise UsageError("report: there is no run yet; run python run_pipeline.py.")
    page = write_report(layout, resolve_run_id(layout, run) if run else known[-1])
    typer.echo(str(page))
    typer.echo(str(write_index(layout)))
    if open_page and not webbrowser.open(page.as_uri()):
        raise UsageError("report --open: there is no browser here; open the page by hand.")


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

    settings = load_settings(from_here(config), warehouse=warehouse)
    layout = layout_of(config, data_dir, warehouse)
    source_name(config, layout)
    print_trace(layout, settings, visit_id)


@app.command(short_help="how a day's published metrics came about")
def why(
    day: Annotated[str, typer.Argument(metavar="DATE", help="The day, like 2025-12-06.")],
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show small numbers too (on a terminal; noted in the journal).")
    ] = False,
) -> None:
    """Each change of a day's published metrics: run, time of its commit, cause, the metrics before and after.

    Patients and costs are told only where enough visits are behind them, and behind their difference.
    """
    from lib.config import load_settings
    from lib.published import parse_day, print_why
    from lib.reveal import allow_reveal
    from lib.terminal import consoles

    layout = layout_of(config, data_dir, warehouse)
    settings = load_settings(from_here(config))
    parse_day(day)
    if reveal:
        allow_reveal(layout, settings.source.name, f"why {day}")
    print_why(consoles()[0], layout, day, minimum=settings.min_group_size, reveal=reveal)


@app.command("as-of", short_help="the daily metrics as a run published them")
def as_of(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A loaded run's id; see history.")],
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write every day, exact, as CSV (a new file, 0600).")
    ] = None,
) -> None:
    """daily_visit_metrics as that run left it, worked out from the changes of every run up to it."""
    from lib.config import load_settings
    from lib.published import metrics_as_of, print_as_of, write_csv
    from lib.terminal import consoles

    frame = metrics_as_of(layout_of(config, data_dir, warehouse), run_id)
    if to is None:
        print_as_of(consoles()[0], frame, run_id, load_settings(from_here(config)).min_group_size)
        return
    write_csv(frame, to.expanduser())
    typer.echo(f"{counted(len(frame), 'day')} as run {run_id} left them: {to}")
