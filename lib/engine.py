"""The DuckDB engine: a private in-memory database with the macros of lib/sql/duckdb, spilling under staging only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from lib.config import Engine
from lib.errors import PipelineError, TemporaryFailure
from lib.files import TEMPORARY_PREFIX
from lib.sql import statements

SPILL = f"{TEMPORARY_PREFIX}spill"


@contextmanager
def open_engine(settings: Engine, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for one stage. Extensions are never fetched; its errors, which may hold values, become ours."""
    options: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": settings.memory_limit,
        "temp_directory": str(folder / SPILL),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "preserve_insertion_order": False,
    }
    if settings.threads:
        options["threads"] = settings.threads
    connection = duckdb.connect(":memory:", config=options)
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for text in statements("duckdb/macros"):
            connection.execute(text)
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise TemporaryFailure(
            f"the engine needs more than {settings.memory_limit}; raise engine.memory_limit in the config."
        ) from error
    except duckdb.IOException as error:
        raise TemporaryFailure("the engine could not read or write a file (disk full or failing?).") from error
    except duckdb.Error as error:
        raise PipelineError(
            f"the engine refused a statement ({type(error).__name__}); details are in the log."
        ) from error
    finally:
        connection.close()
