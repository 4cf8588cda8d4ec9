"""The command line: options, exit codes, one line for everything that goes wrong. What a command does lives elsewhere.

Heavy modules are imported by the command that needs them, so that --help and status answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from lib.layout import Layout

COMMANDS = ("run", "status", "history", "report", "deliveries", "trace", "verify")

app = typer.Typer(
    name="run_pipeline.py",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn a clinic's deliveries of patient visits into tables that can be trusted, with a record of every run.\n\n"
    "Without a command it runs the pipeline once. Exit codes: 0 loaded or nothing new; 1 unexpected; 2 bad option or"
    " config; 3 delivery refused; 4 gate failed, delivery held; 5 another run holds the warehouse; 6 something stored"
    " is not what it was; 7 temporary, run again; 8 loaded, report incomplete; 9 last load too old (status);"
    " 130/143 interrupted.",
    epilog="\b\nExamples:\n"
    "  python run_pipeline.py\n"
    "  python run_pipeline.py --source 'inbox/*.csv' --data-dir data/north --config north.yaml\n"
    '  python run_pipeline.py --accept refused_share --reason "agreed with the clinic"\n'
    "  python run_pipeline.py --full-refresh\n"
    "  python run_pipeline.py status --max-age 26h\n"
    '  python run_pipeline.py deliveries discard 7 --reason "a test file"',
)

Config = Annotated[str, typer.Option("--config", metavar="FILE", help="The config file.")]
DataDir = Annotated[
    str, typer.Option("--data-dir", metavar="DIR", help="Where raw, staging, state, runs, logs and warehouse.db live.")
]
Warehouse = Annotated[
    str | None, typer.Option("--warehouse", metavar="URL", help="sqlite:///path; default warehouse.db in the data dir.")
]


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
        _check_acceptable(accept)
    config_file = _from_here(config)
    settings = load_settings(
        config_file,
        source__path=_from_here(source) if source else None,
        warehouse=_warehouse_from_here(warehouse),
        window__lookback_hours=lookback_hours,
    )
    out, errors = consoles()
    ended = run_pipeline(
        settings,
        config_file=config_file,
        data_dir=Path(_from_here(data_dir)),
        as_of=as_of,
        options=Options(full_refresh=full_refresh, accept=tuple(accept or ()), reason=reason),
        progress=make_progress(out, quiet),
    )
    if not quiet:
        show_summary(out, ended)
    if ended.message:
        errors.print(ended.message, markup=False, soft_wrap=True)
    raise typer.Exit(ended.exit_code)


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

    print_status(_layout(config, data_dir, warehouse), max_age)


@app.command(short_help="every run: outcome, rows, gate, watermark")
def history(
    data_dir: DataDir = "data",
    limit: Annotated[int, typer.Option(min=1, help="How many runs, newest last.")] = 20,
) -> None:
    """Every run: when, what came of it, rows by fate, gate, watermark."""
    from lib.overview import print_history

    print_history(_layout("config.yaml", data_dir, None), limit)


@app.command(short_help="make a run's page, report.html")
def report(
    run_id: Annotated[str, typer.Argument(metavar="[RUN]", help="A run id; default the newest run.")] = "latest",
    data_dir: DataDir = "data",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Make a run's report.html from its executed notebooks, and say where it lies."""
    from lib.report import write_report
    from lib.run import Run

    existing = Run.existing(_from_here(data_dir), run_id)
    page = write_report(existing.layout, existing.run_id)
    typer.echo(str(page))
    if open_page:
        typer.launch(page.as_uri())


deliveries_app = typer.Typer(
    help="What was delivered and what became of it; discard or reinstate a delivery.",
    short_help="what was delivered; list, discard, reinstate",
)
app.add_typer(deliveries_app, name="deliveries", invoke_without_command=True)
Sequence = Annotated[int, typer.Argument(metavar="DELIVERY", help="The delivery's number, as listed.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the journal of decisions.")]


@deliveries_app.callback()
def deliveries(
    context: typer.Context, config: Config = "config.yaml", data_dir: DataDir = "data", warehouse: Warehouse = None
) -> None:
    """List, discard or reinstate deliveries; without a word it lists them."""
    context.obj = (config, data_dir, warehouse)
    if context.invoked_subcommand is None:
        list_deliveries(context)


# The same options behind the word, where people look for them first; they win over those before it.
OwnConfig = Annotated[str | None, typer.Option("--config", metavar="FILE", help="The config file.")]
OwnDataDir = Annotated[str | None, typer.Option("--data-dir", metavar="DIR", help="The data folder.")]
OwnWarehouse = Annotated[str | None, typer.Option("--warehouse", metavar="URL", help="sqlite:///path.")]


@deliveries_app.command("list", short_help="every delivery: file, status, rows, reason")
def list_deliveries(
    context: typer.Context, config: OwnConfig = None, data_dir: OwnDataDir = None, warehouse: OwnWarehouse = None
) -> None:
    """Every delivery of the config's source: file, size, clock, status, rows, reason."""
    from lib.overview import print_deliveries

    print_deliveries(*_place(context, config, data_dir, warehouse))


@deliveries_app.command(short_help="take a delivery out of every later run")
def discard(
    context: typer.Context,
    delivery: Sequence,
    reason: Reason,
    config: OwnConfig = None,
    data_dir: OwnDataDir = None,
    warehouse: OwnWarehouse = None,
) -> None:
    """Take a pending, held or refused delivery out of every later run. Its bytes stay in raw."""
    from lib.decisions import discard_delivery

    typer.echo(discard_delivery(*_place(context, config, data_dir, warehouse), delivery, reason))


@deliveries_app.command(short_help="make a discarded delivery pending again")
def reinstate(
    context: typer.Context,
    delivery: Sequence,
    reason: Reason,
    config: OwnConfig = None,
    data_dir: OwnDataDir = None,
    warehouse: OwnWarehouse = None,
) -> None:
    """Make a discarded delivery pending again."""
    from lib.decisions import reinstate_delivery

    typer.echo(reinstate_delivery(*_place(context, config, data_dir, warehouse), delivery, reason))


def _place(
    context: typer.Context, config: str | None, data_dir: str | None, warehouse: str | None
) -> tuple[Layout, str]:
    """The layout and the source that a word about deliveries is about."""
    before = context.obj
    chosen_config, chosen_dir = config or before[0], data_dir or before[1]
    return _layout(chosen_config, chosen_dir, warehouse or before[2]), _source_name(chosen_config)


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

    settings = load_settings(_from_here(config), warehouse=_warehouse_from_here(warehouse))
    print_trace(_layout(config, data_dir, warehouse), settings, visit_id)


@app.command(short_help="are snapshots, records and tables as left?")
def verify(config: Config = "config.yaml", data_dir: DataDir = "data", warehouse: Warehouse = None) -> None:
    """Check that snapshots, records and tables are what the runs left; exit 6 and name what is not."""
    from lib.verify import print_verification

    print_verification(_layout(config, data_dir, warehouse))


def main() -> None:
    """Run the command in sys.argv; end with its exit code, never with a traceback."""
    words = sys.argv[1:]
    if not words or (words[0] not in COMMANDS and words[0] not in ("--help", "-h")):
        words = ["run", *words]
    os.umask(0o077)
    try:
        code = app(args=words, prog_name="run_pipeline.py", standalone_mode=False)
    except typer.Exit as ended:
        code = ended.exit_code
    except PipelineError as error:
        code = _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _fail(f"{error.format_message()} See python run_pipeline.py --help.", error.exit_code)
    except KeyboardInterrupt as interrupt:
        code = _fail("interrupted: nothing was loaded.", 143 if type(interrupt).__name__ == "Terminated" else 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        code = _unexpected(error, words)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _unexpected(error: Exception, words: list[str]) -> int:
    """One line on the terminal; the traceback, which may hold values, in a private log."""
    from lib.confidential import log_exception

    data_dir = words[words.index("--data-dir") + 1] if "--data-dir" in words[:-1] else "data"
    log = Path(_from_here(data_dir)) / "logs" / "unexpected.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log_exception(log, error, " ".join(words[:1]))
        where = f"details in {log}"
    except OSError:
        where = "its details could not be written"
    return _fail(f"unexpected failure ({type(error).__name__}); {where}.", 1)


def _from_here(path: str) -> str:
    """A path as typed, which means from the current folder, for code that resolves from the project's root."""
    absolute = Path(path).expanduser()
    absolute = absolute if absolute.is_absolute() else Path.cwd() / absolute
    from lib.config import ROOT

    if not absolute.exists() and not Path(path).is_absolute() and (ROOT / path).exists():
        return str(ROOT / path)  # a default such as config.yaml, from whichever folder the command was given
    return str(absolute.relative_to(ROOT)) if absolute.is_relative_to(ROOT) else str(absolute)


def _warehouse_from_here(url: str | None) -> str | None:
    kind, separator, path = (url or "").partition(":///")
    if not separator or Path(path).is_absolute():
        return url
    return f"{kind}:///{Path.cwd() / path}"


def _layout(config: str, data_dir: str, warehouse: str | None) -> Layout:
    from lib.config import load_settings, resolve
    from lib.layout import Layout

    settings = load_settings(_from_here(config), warehouse=_warehouse_from_here(warehouse))
    return Layout.at(resolve(_from_here(data_dir)), settings.warehouse)


def _source_name(config: str) -> str:
    from lib.config import load_settings

    return load_settings(_from_here(config)).source.name


def _check_acceptable(rules: list[str]) -> None:
    from lib.gate import ACCEPTABLE

    for rule in rules:
        if rule not in ACCEPTABLE:
            raise UsageError(f"--accept {rule}: not a rule that can be accepted; those are {', '.join(ACCEPTABLE)}.")
