"""What staging needs of an engine: named relations made by SQL, fed from outside and written as Parquet.

The statements are lib/sql/staging: `name.sql` where every engine understands it, else a file a kind: `name.duckdb.sql`.
What they say in different words (casts, regular expressions, hashes) are macros of one name in lib/sql/<kind>/macros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from lib.batch_reader import BatchReader
    from lib.config import Engine as EngineSettings


Question = Callable[[pa.RecordBatchReader], pa.Table]
"""Given rows of one column, what the warehouse answers to them."""


class Engine(Protocol):
    """One session of an engine. Its errors, which may hold values, never leave it: they become ours."""

    @property
    def kind(self) -> str:
        """Names the engine's own statements, `name.<kind>.sql`."""

    def literal(self, text: str) -> str:
        """A text of the config as a quoted SQL string."""

    def declared_clock(self, value: str, declared: str) -> str:
        """The SQL of a text as a timestamp by a declared format (lib/dates.py); null where it is none, or not real."""

    def read_records(self, reader: BatchReader) -> None:
        """Give the records of the reader's deliveries as the relation `records`; they may be read once, by `keep`. What
        came of each delivery is in the reader then."""

    def take(self, name: str, rows: pa.Table) -> None:
        """Give Arrow rows as a relation."""

    def ask(self, name: str, query: str, question: Question) -> None:
        """Give what `question` answers to the query's rows, of one column, as a relation. It may be asked several
        times, each time about some of them."""

    def drop(self, name: str) -> None:
        """Forget a relation."""

    def keep(self, name: str, query: str) -> None:
        """Make a relation of what can be read only once."""

    def make(self, name: str, query: str) -> None:
        """Make a relation that is asked more than once."""

    def view(self, name: str, query: str) -> None:
        """Name a query."""

    def one_row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query."""

    def write(self, query: str, path: Path, *, few: bool = False) -> None:
        """Write a query's rows as Parquet: whole or not at all, a file, or a folder of part files that sort in the
        query's order. `few`: always a file."""

    def read_staged(self, name: str, path: Path) -> None:
        """Give what `write` wrote as a relation."""


class Kind(Protocol):
    """A module that is an engine."""

    def open_engine(self, settings: EngineSettings, folder: Path) -> AbstractContextManager[Engine]:
        """An engine for one stage, which may keep files in `folder` for as long as it is open."""

    def open_staged(
        self, settings: EngineSettings, visits: Path, columns: Sequence[str], limit: int
    ) -> AbstractContextManager[tuple[Any, bool]]:
        """The staged visits as the frame that the gate judges, and whether it is a sample: of more than `limit`, those
        with the smallest row hashes, so always the same."""
