"""Commands by which people decide: every decision is kept in the journal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    return layout_of(chosen_config, chosen_dir, warehouse or before[2]), source_name(chosen_config)
