"""Commands that hold the records against what the runs left, and against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import Archive, Config, DataDir, Warehouse, from_here, layout_of, with_archive
from lib.errors import UsageError


@app.command(short_help="are snapshots, records, decisions, tables as left?")
def verify(
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the tables again from raw, elsewhere, and compare them.")
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Name the rows that differ (on a terminal; noted in the journal).")
    ] = False,
    anchor: Annotated[
        Path | None, typer.Option("--anchor", metavar="FILE", help="The anchor, instead of the config's.")
    ] = None,
    archive: Archive = None,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Without the tables, the config and any package: Python is enough.")
    ] = False,
) -> None:
    """Check that snapshots, records, decisions and tables are what the runs left; exit 6 and name what is not.

    With --rebuild every recorded run is done again in a temporary folder, from its manifest and the raw snapshots, and
    the tables are compared by content. Differences are counted by kind.
    """
    from lib.config import load_settings, resolve
    from lib.reveal import allow_reveal
    from lib.verify import print_verification

    if standalone:  # run_pipeline.py has taken it, where it was given alone
        raise UsageError("--standalone: goes with --data-dir, --anchor and --archive only; write verify first.")
    if reveal and not rebuild:
        raise UsageError("--reveal: goes with --rebuild.")
    settings = load_settings(from_here(config))
    layout = with_archive(layout_of(config, data_dir, warehouse), archive)
    if reveal:
        allow_reveal(layout, settings.source.name, "verify --rebuild")
    noted = anchor.expanduser() if anchor else settings.anchor and resolve(settings.anchor)
    print_verification(layout, anchor=noted or None, rebuild_for=settings if rebuild else None, reveal=reveal)


@app.command(short_help="what differs between two runs")
def diff(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="A run's id, its number or its beginning.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Another's.")],
    data_dir: DataDir = "data",
    other_data_dir: Annotated[
        str | None, typer.Option("--other-data-dir", metavar="DIR", help="Where RUN_B is, if elsewhere.")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 when anything differs.")] = False,
) -> None:
    """What differs between two ended runs: circumstances, deliveries, counts, gate, published metrics, and the
    notebooks cell by cell. Of two runs alike but for their time, nothing does.
    """
    from lib.diff import Side, print_diff
    from lib.layout import Layout, resolve_run_id
    from lib.store.place import place_of
    from lib.terminal import consoles

    layouts = [Layout.at(place_of(from_here(each)), None) for each in (data_dir, other_data_dir or data_dir)]
    sides = [Side.at(at, resolve_run_id(at, run)) for at, run in zip(layouts, (run_a, run_b), strict=True)]
    if print_diff(consoles()[0], *sides) and exit_code:
        raise typer.Exit(1)
