"""Options that several commands share, and what they mean: paths as typed, a layout, a source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib.errors import UsageError
from lib.store.address import is_store_url

if TYPE_CHECKING:
    from lib.layout import Layout

Config = Annotated[str, typer.Option("--config", metavar="FILE", help="The config file.")]
DataDir = Annotated[
    str,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where raw, staging, state, runs, logs and warehouse.db live; or s3://bucket/prefix.",
    ),
]
Warehouse = Annotated[
    str | None,
    typer.Option(
        "--warehouse",
        metavar="URL",
        help="As in the config: duckdb:///warehouse.duckdb in the data dir, postgresql://host/database, …",
    ),
]

Archive = Annotated[
    Path | None, typer.Option("--archive", metavar="DIR", help="Where old records were moved to: take these in too.")
]

SourcePath = Annotated[
    str | None,
    typer.Option("--source", metavar="PATH", help="A file, folder or glob instead of the config's source."),
]
LookbackHours = Annotated[
    float | None, typer.Option(min=0, help="How far behind the watermark rows are still looked at.")
]


def given_settings(source: str | None, warehouse: str | None, lookback_hours: float | None) -> dict[str, Any]:
    """What was given on the command line in place of the config's settings, dotted as load_settings takes them."""
    given = {
        "source__path": from_here(source) if source else None,
        "source__kind": "files" if source else None,
        "warehouse": warehouse,
        "window__lookback_hours": lookback_hours,
    }
    return {name: value for name, value in given.items() if value is not None}


def from_here(path: str) -> str:
    """A path as typed, which means from the current folder, for code that resolves from the project's root."""
    if is_store_url(path):
        return path
    absolute = Path(path).expanduser()
    absolute = absolute if absolute.is_absolute() else Path.cwd() / absolute
    from lib.config import ROOT

    if not absolute.exists() and not Path(path).is_absolute() and (ROOT / path).exists():
        return str(ROOT / path)  # a default such as config.yaml, from whichever folder the command was given
    return str(absolute.relative_to(ROOT)) if absolute.is_relative_to(ROOT) else str(absolute)


def layout_of(config: str, data_dir: str, warehouse: str | None) -> Layout:
    from lib.config import load_settings
    from lib.layout import Layout
    from lib.store.place import place_of

    settings = load_settings(from_here(config), warehouse=warehouse)
    return Layout.at(place_of(from_here(data_dir)), settings.warehouse, settings.engine)


def with_archive(layout: Layout, archive: Path | None) -> Layout:
    """The layout that finds the records in the archive too. Raises UsageError when it is no folder."""
    if archive is None:
        return layout
    folder = archive.expanduser().absolute()
    if not folder.is_dir():
        raise UsageError(f"--archive {archive.name}: is no folder.")
    return replace(layout, archive=folder)


def source_name(config: str, layout: Layout) -> str:
    """The config's source, of which the data folder must hold something, if it holds anything at all.

    Raises UsageError when it holds other sources only: an answer about the wrong one would read "nothing".
    """
    from lib.config import load_settings
    from lib.deliveries import sources_held

    source, held = load_settings(from_here(config)).source.name, sources_held(layout)
    if held and source not in held:
        raise UsageError(
            f"{layout.name}: holds {', '.join(held)}, not {source}; name that source's config with --config."
        )
    return source


def check_acceptable(rules: list[str]) -> None:
    from lib.gate import ACCEPTABLE

    for rule in rules:
        if rule not in ACCEPTABLE:
            raise UsageError(f"--accept {rule}: not a rule that can be accepted; those are {', '.join(ACCEPTABLE)}.")
