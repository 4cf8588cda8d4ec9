"""PostgreSQL: a server, a schema of its own in a database. What the statements of lib/sql leave open.

Who may come in is the driver's affair: PGUSER, PGPASSWORD, ~/.pgpass, certificates, a service file. Every connection
reads and writes in UTC and in the server's own transactions; one that was to read may write temporary tables only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.counted import counted
from lib.errors import PipelineError, StoredDataChanged, TemporaryFailure, UsageError, WarehouseLocked
from lib.layout import Layout
from lib.sql import literal, statement
from lib.warehouses import amiss
from lib.warehouses.interface import Parameters
from lib.warehouses.postgres_content import BEGIN as BEGIN
from lib.warehouses.postgres_content import count_content as count_content
from lib.warehouses.postgres_content import keeping_content as keeping_content
from lib.warehouses.postgres_content import keeping_load as keeping_load
from lib.warehouses.postgres_content import stored_columns as stored_columns
from lib.warehouses.postgres_driver import Connection, opened, psycopg

if TYPE_CHECKING:
    import pyarrow as pa

    from lib.config import Engine

IS_NOT = "IS DISTINCT FROM"
TAKES_IN_ORDER = True
ONE_CORE = False
DDL_COMMITS = False
OURS = "patient visits, schema "
"""The comment on the table `warehouse`, with the schema's version: tells our schema from any other program's."""
LONGEST_NAME = 63


def connect(layout: Layout, *, read_only: bool = False, wider: Path | None = None) -> Connection:
    address = _address(layout)
    try:
        return opened(address, read_only)
    except psycopg.Error as error:
        raise _plain(error, layout.warehouse, address.url) from error


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """PostgreSQL's errors as ours: its texts may hold values, so only the kind of failure is told."""
    try:
        yield
    except psycopg.Error as error:
        raise _plain(error, path) from error


def _plain(error: psycopg.Error, path: Path, where: str = "") -> PipelineError:
    code, where = error.sqlstate or "", where or path.name
    if code in ("55P03", "40001", "40P01"):
        return amiss.busy(path)
    if code.startswith("28") or "password" in str(error) or "no pg_hba.conf entry" in str(error):
        return UsageError(
            f"{where}: the server lets nobody in with what it was given; set PGUSER and PGPASSWORD, or ~/.pgpass."
        )
    if code == "3D000" or (not code and "does not exist" in str(error)):
        if code != "3D000" and 'role "' in str(error):
            return UsageError(f"{where}: the server has no such user as it was given; set PGUSER.")
        return UsageError(f"{where}: the server has no such database; make it, or name another.")
    if code == "42501":
        return UsageError(f"{where}: the user may not do that there; grant it CREATE on the database and schema.")
    if code == "25006":
        return TemporaryFailure(f"{where}: the server takes no writes (a standby?); nothing was changed.")
    if code.startswith("XX00") and code != "XX000":
        return amiss.unsound(path, "PostgreSQL")
    if code.startswith(("53", "58")):
        return amiss.unwritable(path)
    if not code or code.startswith(("08", "57")):
        return TemporaryFailure(
            f"{where}: the server cannot be reached or has gone away; nothing was changed; run again when it is there."
        )
    return PipelineError(f"{where}: the warehouse refused a statement ({type(error).__name__}).")


def unreadable(error: Exception) -> bool:
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("XX")


def table_names(connection: Connection) -> set[str]:
    query = (
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(current_schema())"
        " AND relkind IN ('r', 'p', 'v', 'm', 'f')"
    )
    return {row[0] for row in connection.execute(query)}


def count_tables(layout: Layout) -> int:
    with closing(connect(layout, read_only=True)) as connection:
        return len(table_names(connection))


def schema_version(connection: Connection) -> int | None:
    if not table_names(connection):
        return 0
    query = "SELECT obj_description(to_regclass(current_schema() || '.warehouse'), 'pg_class')"
    said = connection.execute(query).fetchone()[0] or ""  # type: ignore[index]
    return int(said.removeprefix(OURS)) if re.fullmatch(rf"{OURS}\d+", said) else None


def note_version(connection: Connection, version: int) -> None:
    connection.execute(f"COMMENT ON TABLE warehouse IS '{OURS}{version}'")


def copy_open(connection: Connection, layout: Layout, target: Path) -> None:
    from lib.warehouses.to_file import copy_tables

    copy_tables(connection, count_content, fetch_table, target)


def copy(layout: Layout, target: Path) -> None:
    with plain_errors(layout.warehouse), closing(connect(layout, read_only=True)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")  # all tables as of one instant
        copy_open(connection, layout, target)
        connection.execute("COMMIT")


def back_up(layout: Layout, target: Path) -> None:
    copy(layout, target)


def attach(connection: Connection, path: Path, name: str) -> None:
    raise TypeError("a server's tables are compared as a copy")


def staged_tables(
    connection: Connection,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> AbstractContextManager[None]:
    from lib.warehouses.postgres_arrow import staged_tables

    return staged_tables(connection, files, carried, engine, folder, refresh)


def wanted_visits(connection: Connection, keys: pa.RecordBatchReader, scratch: Path) -> AbstractContextManager[None]:
    from lib.warehouses.postgres_arrow import wanted_visits

    return wanted_visits(connection, keys, scratch)


def fetch_table(connection: Connection, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    from lib.warehouses.postgres_arrow import fetch_table

    return fetch_table(connection, sql, parameters, schema)


def known_identities(connection: Connection, identities: list[str]) -> set[str]:
    rows = connection.execute("SELECT identity FROM quarantine WHERE identity = ANY(CAST(? AS TEXT[]))", [identities])
    return {row[0] for row in rows}


def unsound(connection: Connection) -> list[str]:
    """Nothing more: that is the server's own affair (data checksums, amcheck); the other checks read every row."""
    return []


def declared_otherwise(connection: Connection, statements: list[str]) -> list[str]:
    """Against the same tables made anew as temporary ones, in a transaction that is rolled back."""
    connection.execute("BEGIN READ WRITE")
    try:
        connection.execute("SET LOCAL search_path = pg_temp")
        for text in statements:
            made = re.sub(r"^CREATE TABLE ", "CREATE TEMP TABLE ", text, flags=re.MULTILINE)
            if made != text:
                connection.execute(made)
        expected = _declarations(connection, "pg_my_temp_schema()")
    finally:
        connection.execute("ROLLBACK")
    there = _declarations(connection, "to_regnamespace(current_schema())")
    names = {part.split(" ")[0] for part in expected["fact_visits"]}
    carried = [each for each in there.get("fact_visits", []) if each.split(" ")[0] not in names and " text " in each]
    expected["fact_visits"] = sorted([*expected["fact_visits"], *carried])
    wrong = sorted(name for name, parts in expected.items() if there.get(name) != parts)
    found = connection.execute(
        "SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
        " WHERE c.relnamespace = to_regnamespace(current_schema()) AND NOT t.tgisinternal"
    ).fetchone()
    triggers = found[0] if found else 0
    return [f"{name} is not declared as this release declares it" for name in wrong] + (
        [f"{counted(triggers, 'trigger is', 'triggers are')} there that no release made"] if triggers else []
    )


@contextmanager
def hold_server(layout: Layout, holder: str) -> Iterator[None]:
    """By an advisory lock of a session, which the server frees when its connection is gone, however it goes."""
    with plain_errors(layout.warehouse), closing(connect(layout)) as connection:
        shown = f"patient visits: {holder}".encode("ascii", "replace")[:LONGEST_NAME].decode()
        connection.execute(f"SET application_name = {literal(shown)}")
        key = f"patient visits {_address(layout).schema}"
        taken = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(?, 0))", [key]).fetchone()
        if not taken or not taken[0]:
            raise WarehouseLocked(
                f"another run holds the warehouse on the server ({_holder(connection, key)}); run again when it has "
                "ended."
            )
        yield


def _holder(connection: Connection, key: str) -> str:
    row = connection.execute(statement("warehouse/holder", "postgres"), {"key": key}).fetchone()
    return f"{row[0].removeprefix('patient visits: ')}, since {row[1][:16]}Z" if row else "holder unknown"


def _address(layout: Layout) -> Any:
    if layout.server is None:
        raise StoredDataChanged(f"{layout.warehouse.name}: is on no server.")
    return layout.server


def _declarations(connection: Connection, schema: str) -> dict[str, list[str]]:
    """Each table in its parts."""
    found: dict[str, list[str]] = {}
    for name, part in connection.execute(statement("warehouse/verify/declarations", "postgres", schema=schema)):
        found.setdefault(name, []).append(part)
    return {name: sorted(parts) for name, parts in found.items()}
