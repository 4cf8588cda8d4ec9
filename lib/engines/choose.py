"""Which engine stages. Its module is imported only when it is the one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lib.config import Engine as Settings
from lib.extras import lacking

if TYPE_CHECKING:  # Arrow: the command that only asks whether an engine is there does without
    from lib.engines.interface import Engine, Kind


def engine_named(kind: str) -> Kind:
    """The engine of that kind."""
    if kind == "spark":
        from lib.engines import spark

        return spark
    from lib.engines import duckdb

    return duckdb


def require_installed(settings: Settings) -> None:
    """Raises UsageError where the engine's package is not there: before a run begins rather than in its middle."""
    if settings.kind == "spark" and find_spec("pyspark") is None:
        raise lacking("engine.kind is spark, and pyspark", "spark")


@contextmanager
def open_engine(settings: Settings, folder: Path) -> Iterator[Engine]:
    """The engine that the config names, for one stage; what it spills, it spills into `folder`."""
    with engine_named(settings.kind).open_engine(settings, folder) as engine:
        yield engine
