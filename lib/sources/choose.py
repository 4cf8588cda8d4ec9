"""The format that a delivery is written in, and the module that reads it, imported only for such a delivery."""

from __future__ import annotations

from lib.config import FileFormat, Settings
from lib.sources.interface import Format

BY_ENDING: dict[str, FileFormat] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}
"""Of a file's name, without .gz; any other is CSV's."""


def format_of(name: str, settings: Settings) -> FileFormat:
    """The format of the delivery of that name: what the config says, else what the name says; never what is in it."""
    if settings.source.format:
        return settings.source.format
    plain = name.casefold().removesuffix(".gz")
    return next((BY_ENDING[ending] for ending in BY_ENDING if plain.endswith(ending)), "csv")


def format_named(name: FileFormat) -> Format:
    if name == "parquet":
        from lib.sources import parquet

        return parquet
    if name == "ndjson":
        from lib.sources import ndjson

        return ndjson
    from lib.sources import csv

    return csv
