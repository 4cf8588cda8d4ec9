"""What every kind of warehouse offers: a connection, and the few things in which the kinds differ.

Statements are in lib/sql: plain ones serve every kind, others have one file a kind (see lib/sql/__init__.py). Whatever
the kind, a row's values are the same in Python: days and stamps as text of fixed width, cents as int, true as 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from lib.config import Engine
    from lib.layout import Layout

BUSY_SECONDS = 10.0
"""How long a warehouse that another program holds is waited for."""

PARTS = {
    "fact_visits": ("source", "visit_date"),
    "metric_changes": ("run_id",),
    "lateness": ("run_id",),
    "runs": ("run_id",),
    "quarantine": ("source",),
    "quarantine_rows": ("source", "delivery_seq"),
    "deliveries": ("source",),
    "state": ("source",),
}
"""The tables whose content is hashed, and the columns that make the key of a part of each; see lib/content.py."""

VALUES_COUNTED = ("diagnosis_code", "provider_id", "visit_cost_cents")
"""The columns of a visit (kinds) whose values are counted in `visit_value_counts`, no value as ''. Whatever keeps the
content of `fact_visits` keeps these too."""

Sums = dict[tuple[str, str], tuple[int, int]]
"""(part, key) → rows, and what their hashes add up to."""

STAGED = ("visits", "rejected", "deletions", "answers", "lateness")
"""What a batch's staged files are called; in a commit they are the tables scratch.staged (the visits), scratch.rejected
and so on."""


class Rows(Protocol):
    """A statement's result. A row is read by place and by name, and `dict(row)` is its columns."""

    @property
    def rowcount(self) -> int: ...
    @property
    def description(self) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchmany(self, size: int, /) -> list[Any]: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


Parameters = Sequence[Any] | Mapping[str, Any]
"""For marks like `?`, or like `:name`; of the named ones there may be more than the statement has."""


class Connection(Protocol):
    """Statements commit by themselves, but inside `lib.warehouse.transaction`."""

    @property
    def kind(self) -> str: ...
    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, parameters: Any = ..., /) -> Rows: ...
    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows: ...
    def close(self) -> None: ...


DoStep = Callable[[str, str], Rows]
"""Do a step of a load, given its name and its statement."""


class Kind(Protocol):
    """A module of this package."""

    BEGIN: str
    IS_NOT: str
    """The comparison by which null differs from a value, and not from null."""
    TAKES_IN_ORDER: bool
    """Whether visits come in at a lower price in the order of their ids."""
    ONE_CORE: bool
    """Whether a statement is done by one core, however many there are."""
    DDL_COMMITS: bool
    """Whether a statement that changes tables commits by itself, and whatever transaction it stands in."""

    def connect(self, layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> Any:
        """A connection to the layout's warehouse file, made when absent unless `read_only`. Raises what `plain_errors`
        knows, StoredDataChanged for what is no such database at all. `wider`: a folder whose files it may read too."""

    def plain_errors(self, path: Path) -> AbstractContextManager[None]:
        """The driver's errors as ours: its texts may hold values, so only the kind of failure is told."""

    def unreadable(self, error: Exception) -> bool:
        """Whether a check of `verify` failed for what it read, rather than because another program holds the file."""

    def table_names(self, connection: Any) -> set[str]: ...

    def stored_columns(self, connection: Any, table: str, database: str | None = None) -> list[str]:
        """In the table's order, added ones last; without the generated ones. `database`: of an attached one."""

    def schema_version(self, connection: Any) -> int | None:
        """0 before there is any; None for another program's database."""

    def note_version(self, connection: Any, version: int) -> None: ...

    def copy_open(self, connection: Any, layout: Layout, target: Path) -> None:
        """Copy the database of an open connection."""

    def copy(self, layout: Layout, target: Path) -> None:
        """Copy the database as of one instant, while others may write; what a killed writer left is undone in the copy
        when it is opened. Raises TemporaryFailure."""

    def back_up(self, layout: Layout, target: Path) -> None:
        """As `copy`, while a run may go on; nothing is left to undo. Raises OSError where there is no room."""

    def attach(self, connection: Any, path: Path, name: str) -> None: ...

    def staged_tables(
        self,
        connection: Any,
        files: Mapping[str, Path],
        carried: Sequence[str],
        engine: Engine,
        folder: Path,
        refresh: bool,
    ) -> AbstractContextManager[None]:
        """For the block, around the transaction, the staged files (of each name in STAGED) as tables of
        `scratch`. But for a `refresh`, visits that the batch leaves as they are may be missing there."""

    def wanted_visits(self, connection: Any, keys: pa.RecordBatchReader, scratch: Path) -> AbstractContextManager[None]:
        """For the block, the keys (one column, visit_id) as a table that the statement `current_versions` joins."""

    def fetch_table(self, connection: Any, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
        """A query's result in the types of the schema, without a Python object for a row where the kind can."""

    def known_identities(self, connection: Any, identities: list[str]) -> set[str]:
        """Those that the quarantine holds."""

    def keeping_content(
        self, connection: Any, tables: Iterable[str], afresh: str | None
    ) -> AbstractContextManager[None]:
        """See lib.content.keeping_content."""

    def keeping_load(self, connection: Any, values: Mapping[str, Any]) -> AbstractContextManager[DoStep]:
        """`keeping_content` of all tables around the steps of a load, whose `values` are those of its statements. Each
        step is done by what this gives: a kind may know a shorter way to the same rows."""

    def count_content(self, connection: Any) -> Sums:
        """The rows that are there now, counted and summed by part and key."""

    def unsound(self, connection: Any) -> list[str]:
        """What the database itself finds wrong with its file."""

    def declared_otherwise(self, connection: Any, statements: list[str]) -> list[str]:
        """Tables that are not as the schema's statements make them, carried columns aside, and what no release made."""


class ServerKind(Kind, Protocol):
    """A module for warehouses on a server. Its copies are DuckDB files: with them all goes on as with any file."""

    def count_tables(self, layout: Layout) -> int:
        """How many tables there are where the warehouse is to be."""

    def hold_server(self, layout: Layout, holder: str) -> AbstractContextManager[None]:
        """Hold the warehouse for the block, for everyone who uses the server. Raises WarehouseLocked, naming the
        holder as it named itself."""


@contextmanager
def transacting(connection: Connection, begin: str) -> Iterator[None]:
    """One transaction, begun by this statement: committed when the block ends well, rolled back otherwise."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
