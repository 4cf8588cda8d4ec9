"""A query of a database as a source: asked once a run, its result kept as Parquet before anything looks inside.

The window is pushed down: `:cutoff` and `:watermark` in the SQL are bound as parameters, never written into it. One
statement reads the whole result, so that all rows are of one instant, and nothing is ever committed. Whatever the
database says of an error stays unsaid, here and in the log: it may hold values of a patient's record.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.clock import instant_text
from lib.config import Settings, resolve
from lib.deliveries import Delivery
from lib.errors import PipelineError, TemporaryFailure, UsageError
from lib.extras import lacking
from lib.files import sha256_of_file
from lib.sources.query_rows import BATCH_ROWS, NoArrowType, write_rows
from lib.sources.query_settings import Query
from lib.window import Window

if TYPE_CHECKING:
    from sqlalchemy import Engine, TextClause

KEY = "query.parquet"
"""What the result is called in the ledger, in messages and tables: there is one query a source."""

EARLY = datetime(1800, 1, 1, tzinfo=UTC)
"""The cutoff and the watermark while there is none: before every row, and a date that every database has."""

CONNECT = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds, for PostgreSQL: a server that is gone without a word is noticed within a minute."""

PASSING_CLASSES = {"08", "40", "53", "55", "57", "58"}
"""SQLSTATE classes of what passes: connection, rollback, resources, in use, operator, system."""
PASSING_IN_SQLITE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT,
}  # fmt: skip


@dataclass(frozen=True)
class QueryOffer:
    """The result that the configured query has now."""

    query: Query
    sql: str
    cutoff: datetime
    watermark: datetime
    key: str = KEY
    name: str = KEY
    bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings, window: Window) -> QueryOffer:
        """The config's query within the run's window. Raises UsageError when its SQL cannot be had or does not fit."""
        query = settings.source.query
        sql = query.sql or _read(query.sql_file or "")
        offer = cls(query, sql, max(window.cutoff or EARLY, EARLY), window.watermark or EARLY)
        asked = offer._statement()._bindparams
        if unknown := sorted(asked.keys() - {"cutoff", "watermark"}):
            raise UsageError(
                f"source.query: the SQL asks for :{unknown[0]}; only :cutoff and :watermark are given. "
                "Write a colon that is none as \\:."
            )
        if asked and settings.source.deliveries == "full":
            raise UsageError(
                "source.query: deliveries are full, but the SQL leaves out rows by the window; leave :cutoff and "
                ":watermark out of it, or set 'deliveries' to incremental."
            )
        return offer

    @property
    def told(self) -> dict[str, str]:
        """What was asked, for the run's manifest."""
        sha256 = hashlib.sha256(self.sql.encode()).hexdigest()
        return {"sql_sha256": sha256, "cutoff": instant_text(self.cutoff), "watermark": instant_text(self.watermark)}

    def is_still(self, last: Delivery) -> bool:
        """Only the result itself can tell."""
        return False

    def copy_to(self, copy: Path) -> tuple[str, int]:
        """Ask, and write the result to `copy` as Parquet: its SHA-256 and size. The same rows give the same bytes.

        Raises TemporaryFailure when the database cannot be reached, goes away, or is busy; UsageError when it refuses
        the query, or when the result has values that cannot be kept. `copy` may hold the beginning then.
        """
        with self._rows() as (names, batches):
            write_rows(copy, names, batches)
        copy.chmod(0o400)
        with copy.open("rb") as stream:
            os.fsync(stream.fileno())
        return sha256_of_file(copy), copy.stat().st_size

    @contextmanager
    def _rows(self) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
        """The result's column names and its rows, batch by batch, drawn from the server as they are wanted."""
        with _told_as_ours():
            engine = self._engine()
            try:
                with engine.connect().execution_options(stream_results=True, max_row_buffer=BATCH_ROWS) as connection:
                    self._only_read(connection)
                    result = connection.execute(self._statement(), self._values(engine.dialect.name))
                    if not result.returns_rows:
                        raise UsageError("source.query: the SQL returns no rows; write a SELECT.")
                    yield list(result.keys()), (list(each) for each in result.partitions(BATCH_ROWS))
            finally:
                engine.dispose()

    def _statement(self) -> TextClause:
        try:
            from sqlalchemy import text
        except ModuleNotFoundError:
            raise lacking("source.query: SQLAlchemy", "sql") from None
        return text(self.sql)

    def _engine(self) -> Engine:
        import sqlalchemy as sa

        url = sa.make_url(self.query.url or "")
        if self.query.password_from:
            url = url.set(password=_password(self.query.password_from))
        options: dict[str, Any] = {"poolclass": sa.NullPool, "hide_parameters": True}
        if url.get_backend_name() == "sqlite":  # opened to read: a path that is wrong must not become a new file
            path = resolve(url.database or "")
            return sa.create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True), **options
            )
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
            given = {name: value for name, value in CONNECT.items() if name not in url.query}
            options["connect_args"] = given if url.drivername.endswith("psycopg") else {}
        try:
            return sa.create_engine(url, **options)
        except (ModuleNotFoundError, sa.exc.NoSuchModuleError):
            kind = url.get_backend_name()
            if kind == "postgresql":
                raise lacking("source.query.url: the driver of postgresql", "postgres") from None
            raise UsageError(
                f"source.query.url: no driver of {kind} is installed; install the one that SQLAlchemy names for it."
            ) from None

    def _only_read(self, connection: Any) -> None:
        if connection.dialect.name == "postgresql":
            connection.execution_options(postgresql_readonly=True)

    def _values(self, dialect: str) -> dict[str, Any]:
        """The asked parameters. SQLite has no instants: there they are texts that its date functions read."""
        given = {"cutoff": self.cutoff, "watermark": self.watermark}
        asked = {name: given[name] for name in self._statement()._bindparams}
        return {name: instant_text(each) for name, each in asked.items()} if dialect == "sqlite" else asked


def _read(sql_file: str) -> str:
    path = resolve(sql_file)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"source.query.sql_file: {path.name} cannot be read ({type(error).__name__}).") from None


def _password(variable: str) -> str:
    if variable not in os.environ:
        raise UsageError(f"source.query.password_from: the environment has no variable {variable}; set it.")
    return os.environ[variable]


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """What a database or its driver raises, without its text: that may hold the query, a value, a password."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except NoArrowType as error:
        raise UsageError(f"source.query: {error}; cast it to text in the SQL.") from None
    except SQLAlchemyError as error:
        raise _ours(error) from None
    except (UnicodeDecodeError, OverflowError) as error:
        raise _refused(type(error).__name__) from None


def _ours(error: Any) -> PipelineError:
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    code = getattr(cause, "sqlite_errorcode", None)
    word = type(error).__name__ + (f", SQLSTATE {state}" if state else "")
    if state or code is not None:
        passes = (state or "")[:2] in PASSING_CLASSES or (code or 0) & 0xFF in PASSING_IN_SQLITE
    else:  # the driver says no more: the connection failed or broke
        passes = type(error).__name__ in ("OperationalError", "InterfaceError", "DisconnectionError", "TimeoutError")
    if passes or getattr(error, "connection_invalidated", False):
        return TemporaryFailure(
            f"source.query: the database cannot be reached, is busy, or went away ({word}); nothing was taken. "
            "See that it runs and lets this user in, and run again."
        )
    return _refused(word)


def _refused(word: str) -> UsageError:
    return UsageError(
        f"source.query: the database refused the query ({word}). Run it by hand to see why; what it says may hold "
        "values, so it is not repeated here."
    )
