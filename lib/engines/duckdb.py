"""The DuckDB engine: a private in-memory database with the macros of lib/sql/duckdb, spilling under staging only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lib import dates, sql
from lib.config import Engine as Settings
from lib.engines.interface import Question
from lib.errors import PipelineError, TemporaryFailure
from lib.files import TEMPORARY_PREFIX
from lib.parts import part_files, remove_table, scanned

if TYPE_CHECKING:
    import pandas as pd

    from lib.batch_reader import BatchReader

SPILL = f"{TEMPORARY_PREFIX}spill"
HASH_DIGITS = 12
"""Of a row hash's 64: enough to cut any number of rows finely."""
ROW_GROUP = 61_440
"""Rows: half of the engine's default stays in the processor's cache, and is written for three quarters of the price."""
DICTIONARY = 1_000
"""Distinct values: a column that has more of them in a row group gets no dictionary. The engine's default is a fifth of
the rows, which takes an eighth of the writing to find out of ids and hashes."""
PARQUET = (
    "PARQUET_VERSION V2, COMPRESSION zstd, COMPRESSION_LEVEL 1, "
    f"ROW_GROUP_SIZE {ROW_GROUP}, DICTIONARY_SIZE_LIMIT {DICTIONARY}"
)
"""Encodings of version 2 keep the lengths of texts apart from the texts: hashes are then packed at half the price."""


@contextmanager
def open_engine(settings: Settings, folder: Path) -> Iterator[DuckDBEngine]:
    """A database of its own for one stage."""
    with open_database(settings, folder) as connection:
        yield DuckDBEngine(connection)


@contextmanager
def open_database(settings: Settings, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the macros. Extensions are never fetched; its errors, which may hold values, become ours."""
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
        for text in sql.statements("duckdb/macros"):
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


@contextmanager
def open_staged(
    settings: Settings, visits: Path, columns: Sequence[str], limit: int
) -> Iterator[tuple[pd.DataFrame, bool]]:
    """A pandas frame with Arrow types."""
    import pandas as pd

    staged_rows = sum(pq.read_metadata(each).num_rows for each in part_files(visits))
    sampled = staged_rows > limit
    table = (
        _sample(settings, visits, columns, limit, staged_rows) if sampled else pq.read_table(visits, columns=columns)
    )
    yield table.to_pandas(types_mapper=pd.ArrowDtype), sampled


def _sample(settings: Settings, visits: Path, columns: Sequence[str], limit: int, staged_rows: int) -> pa.Table:
    # Hashes are spread evenly: under this one lie the smallest and a few more, so that few rows have to be sorted.
    share = min((limit + 10 * limit**0.5 + 10) / staged_rows, 1)
    highest = f"{int(share * (16**HASH_DIGITS - 1)):0{HASH_DIGITS}x}g"
    rows = f"SELECT {', '.join(columns)} FROM read_parquet({sql.literal(str(scanned(visits)))})"
    smallest = f"ORDER BY row_hash LIMIT {limit}"
    with open_database(settings, visits.parent) as connection:
        table = connection.sql(f"{rows} WHERE row_hash < '{highest}' {smallest}").to_arrow_table()
        return table if table.num_rows == limit else connection.sql(f"{rows} {smallest}").to_arrow_table()


class DuckDBEngine:
    """lib/engines/interface.py on one connection."""

    kind = "duckdb"

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._given = set[str]()

    def literal(self, text: str) -> str:
        return sql.literal(text)

    def declared_clock(self, value: str, declared: str) -> str:
        return f"declared_clock({value}, {sql.literal(dates.pattern_of(declared))}, {sql.literal(declared)})"

    def read_records(self, reader: BatchReader) -> None:
        """They stream into the statement that asks for them; what their reading raises is raised there."""
        self.take("records", reader.records)

    def take(self, name: str, rows: pa.Table) -> None:
        self.connection.register(name, rows)
        self._given.add(name)

    def ask(self, name: str, query: str, question: Question) -> None:
        self.take(name, question(self.connection.sql(query).to_arrow_reader(100_000)))

    def drop(self, name: str) -> None:
        if name in self._given:
            self.connection.unregister(name)
        else:
            self.connection.execute(f"DROP TABLE {name}")

    def keep(self, name: str, query: str) -> None:
        self.make(name, query)

    def make(self, name: str, query: str) -> None:
        self.connection.execute(f"CREATE TABLE {name} AS {query}")

    def view(self, name: str, query: str) -> None:
        self.connection.execute(f"CREATE VIEW {name} AS {query}")

    def one_row(self, query: str) -> tuple[Any, ...]:
        """Its result is closed: an open one would block the next statement."""
        (row,) = self.connection.execute(query).fetchall()
        return row

    def write(self, query: str, path: Path, *, few: bool = False) -> None:
        temporary = path.with_name(TEMPORARY_PREFIX + path.name)
        self.connection.execute(f"COPY ({query}\n) TO {sql.literal(str(temporary))} (FORMAT parquet, {PARQUET})")
        if path.is_dir():  # of another engine
            remove_table(path)
        temporary.replace(path)

    def read_staged(self, name: str, path: Path) -> None:
        self.view(name, f"SELECT * FROM read_parquet({sql.literal(str(path))})")
