"""The command that goes on: a run for each delivery."""

from __future__ import annotations

from typing import Annotated

import typer

from lib.cli.app import app
from lib.cli.options import Config, DataDir, LookbackHours, SourcePath, Warehouse, from_here, given_settings
from lib.deferred import imports_of_the_command
from lib.template import begun_template


@app.command(short_help="keep running: load each delivery as it comes")
def watch(
    config: Config = "config.yaml",
    source: SourcePath = None,
    data_dir: DataDir = "data",
    warehouse: Warehouse = None,
    lookback_hours: LookbackHours = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something fails.")] = False,
) -> None:
    """Load what the source offers now and each delivery that comes, a whole run each, until Ctrl-C or SIGTERM."""
    place = from_here(config), from_here(data_dir)
    with begun_template() as template:
        with imports_of_the_command():
            from lib import watch as watching
            from lib.terminal import NoProgress, consoles

        given = given_settings(source, warehouse, lookback_hours)
        out, errors = consoles()

        def tell(watched: watching.Watched) -> None:
            if not quiet:
                out.print(watched.line, markup=False, soft_wrap=True)
            if watched.message:
                errors.print(watched.message, markup=False, soft_wrap=True)

        code = watching.watch(*place, given=given, template=template, progress=NoProgress(out), tell=tell)
    raise typer.Exit(code)
