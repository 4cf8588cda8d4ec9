"""Commands by which people decide: every decision is kept in the journal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lib.cli.app import app
from lib.cli.options import Config, DataDir, Warehouse, layout_of, source_name

if TYPE_CHECKING:
    from lib.layout import Layout

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
OwnWarehouse = Annotated[
    str | None,
    typer.Option("--warehouse", metavar="URL", help="As in the config."),
]


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


quarantine_app = typer.Typer(
    help="Rows that were refused: how many, which, and until when somebody lets them be.",
    short_help="refused rows; list, show, waive",
)
app.add_typer(quarantine_app, name="quarantine", invoke_without_command=True)
Entries = Annotated[
    list[str], typer.Argument(metavar="REASON | DELIVERY:LINE...", help="One reason, or the places of refused rows.")
]


@quarantine_app.callback()
def quarantine(
    context: typer.Context, config: Config = "config.yaml", data_dir: DataDir = "data", warehouse: Warehouse = None
) -> None:
    """List, show or waive what was refused; without a word it lists."""
    context.obj = (config, data_dir, warehouse)
    if context.invoked_subcommand is None:
        list_quarantine(context)


@quarantine_app.command("list", short_help="how many entries, by reason and status")
def list_quarantine(
    context: typer.Context, config: OwnConfig = None, data_dir: OwnDataDir = None, warehouse: OwnWarehouse = None
) -> None:
    """How many refused texts are open, waived or superseded, by reason; the oldest open one; waivers in force."""
    from lib.quarantine_view import print_quarantine

    print_quarantine(*_place(context, config, data_dir, warehouse))


@quarantine_app.command(short_help="entries by place; --reveal for their text")
def show(
    context: typer.Context,
    entries: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REASON | DELIVERY:LINE...]", help="A reason or places; default all not superseded."),
    ] = None,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Show the rows' text: on a terminal only; noted in the journal.")
    ] = False,
    config: OwnConfig = None,
    data_dir: OwnDataDir = None,
    warehouse: OwnWarehouse = None,
) -> None:
    """A line an entry: first place, reasons, status, last delivery, rows, what answered it, who waived it how long."""
    from lib.quarantine_view import print_entries

    print_entries(*_place(context, config, data_dir, warehouse), entries or [], reveal=reveal)


@quarantine_app.command(short_help="let open entries be, until a day")
def waive(
    context: typer.Context,
    entries: Entries,
    reason: Reason,
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="The last day (UTC) it counts: 2026-01-31.")],
    config: OwnConfig = None,
    data_dir: OwnDataDir = None,
    warehouse: OwnWarehouse = None,
) -> None:
    """Let open entries be, up to and with a day, at most a year ahead; after it they are open again."""
    from lib.quarantine import waive_entries

    typer.echo(waive_entries(*_place(context, config, data_dir, warehouse), entries, reason, until))


@app.command(short_help="sign a run's record as reviewed or approved")
def sign(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its number or its beginning.")],
    meaning: Annotated[Literal["reviewed", "approved"], typer.Option("--meaning", help="What the signature says.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="In your words; kept in the journal.")],
    data_dir: DataDir = "data",
) -> None:
    """Sign a run's record as it is now; its page and the index tell so, verify when it is not the same any more."""
    from lib.decisions import sign_run
    from lib.index import write_index
    from lib.layout import resolve_run_id
    from lib.report import write_report

    layout = layout_of("config.yaml", data_dir, None)
    run_id = resolve_run_id(layout, run_id)
    typer.echo(sign_run(layout, run_id, meaning, note))
    write_report(layout, run_id)
    write_index(layout)


def _place(
    context: typer.Context, config: str | None, data_dir: str | None, warehouse: str | None
) -> tuple[Layout, str]:
    """The layout and the source that a word about deliveries or the quarantine is about."""
    before = context.obj
    chosen_config, chosen_dir = config or before[0], data_dir or before[1]
    layout = layout_of(chosen_config, chosen_dir, warehouse or before[2])
    return layout, source_name(chosen_config, layout)
