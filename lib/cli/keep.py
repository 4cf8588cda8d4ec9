"""Commands that look after the data folder: a copy of it, and its room on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import Archive, Config, DataDir, Warehouse, layout_of, with_archive


@app.command(short_help="a verified copy of the data folder, while runs go on")
def backup(
    folder: Annotated[str, typer.Argument(metavar="DEST", help="A folder that does not exist, or is empty.")],
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    archive: Archive = None,
) -> None:
    """Copy warehouse, snapshots, run records and decisions to DEST, consistent even while a run is going on.

    DEST is laid out as a data folder: look at it with --data-dir DEST. To restore, copy it back.
    """
    from lib.backup import back_up

    layout = with_archive(layout_of(config, data_dir, warehouse), archive)
    typer.echo(back_up(layout, Path(folder).expanduser().absolute()).text)


@app.command(short_help="remove the staged files of all but the newest runs")
def prune(
    staging_keep: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many of the newest runs keep their staged files.")
    ] = 5,
    config: Config = "config.yaml",
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
) -> None:
    """Remove staging/<run> of all but the newest N runs, and nothing else: it can be made again from the snapshots.

    The newest run keeps its own while it can be resumed.
    """
    from lib.prune import prune_staging

    typer.echo(prune_staging(layout_of(config, data_dir, warehouse), staging_keep).text)
