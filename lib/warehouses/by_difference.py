"""Content hashes and value counts by difference, for the kinds of warehouse without triggers of ours.

What a block may touch is hashed and counted before it and after it, and the difference of the two is added to what is
stored. So an altered row that the block leaves alone is in both and stays found; rows that cannot change need not be
read. The hash of a set of rows is the exclusive or of their SHA-256.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from lib.sql import literal, statement
from lib.warehouses.interface import Sums, transacting

Places = Mapping[str, str]
"""Of each table, the condition that holds for every row that a block may touch."""


class Hashing(Protocol):
    """What differs between the kinds: a module."""

    @property
    def BEGIN(self) -> str: ...

    def sums(
        self, connection: Any, table: str, where: str, values: Mapping[str, Any], among: str | None = None
    ) -> Sums:
        """The rows of the table (or of the SQL `among`) that the condition holds for, by part and key."""

    def stored_sums(self, connection: Any, parts: Collection[tuple[str, str]]) -> Sums:
        """What is stored of these parts."""

    def store_sums(self, connection: Any, sums: Sums) -> None:
        """Write these in the place of what is stored of their parts; (0, 0) leaves none."""


@contextmanager
def keeping(
    connection: Any,
    hashing: Hashing,
    places: Places,
    values: Mapping[str, Any],
    *,
    forget: str | None = None,
    facts_before: str | None = "fact_visits",
) -> Iterator[None]:
    """Keep hashes and counts of the tables in `places` true to what the block writes, in the caller's transaction.

    `facts_before`: where the facts that the block may touch are before it; None where there are none, or what was there
    does not count. `forget`: a source whose facts are all written anew: what is stored of it does not count."""
    if connection.keeps_content:
        yield
        return
    connection.keeps_content = True
    try:
        before: Sums = {}
        for table, where in places.items():
            if table != "fact_visits":
                before |= hashing.sums(connection, table, where, values)
            elif facts_before and not forget:
                inside = where if facts_before == table else "true"
                before |= hashing.sums(connection, table, inside, values, among=facts_before)
        if forget:
            key = literal(f"{forget}|")
            connection.execute(
                f"DELETE FROM content_hashes WHERE part = 'fact_visits' AND substr(key, 1, length({key})) = {key}"
            )
        with ExitStack() as counting:
            if "fact_visits" in places:
                touched = f"(SELECT * FROM fact_visits WHERE {places['fact_visits']})"
                standing = touched if facts_before == "fact_visits" else facts_before
                counting.enter_context(
                    _keeping_values(connection, None if forget else standing, touched, values, forget)
                )
            yield
        after: Sums = {}
        for table, where in places.items():
            after |= hashing.sums(connection, table, where, values)
        _add(connection, hashing, before, after)
    finally:
        connection.keeps_content = False


@contextmanager
def own_transaction(connection: Any, hashing: Hashing) -> Iterator[None]:
    """A transaction for the block, unless the connection is in one."""
    if connection.in_transaction:
        yield
        return
    with transacting(connection, hashing.BEGIN):
        yield


def _add(connection: Any, hashing: Hashing, before: Sums, after: Sums) -> None:
    """Put the difference on what is stored; a part without rows has none, unless its hash says that rows are amiss."""
    none = (0, 0)
    changed = [part for part in before.keys() | after.keys() if before.get(part, none) != after.get(part, none)]
    if not changed:
        return
    stored = hashing.stored_sums(connection, changed)
    sums = {}
    for part in changed:
        (rows_before, hash_before), (rows_after, hash_after) = before.get(part, none), after.get(part, none)
        rows, total = stored.get(part, none)
        sums[part] = (rows + rows_after - rows_before, total ^ hash_after ^ hash_before)
    hashing.store_sums(connection, sums)


@contextmanager
def _keeping_values(
    connection: Any, before: str | None, after: str, values: Mapping[str, Any], forget: str | None
) -> Iterator[None]:
    """`before`, `after`: the facts that the block may touch, as SQL; `before` is None where there are none. `forget`: a
    source whose facts are all written anew, so that what is stored of it does not count."""
    _execute(
        connection, "count_before", values, counted=_counted(connection, before or "fact_visits", before is not None)
    )
    if forget:
        connection.execute("DELETE FROM visit_value_counts WHERE source = ?", [forget])
    yield
    _execute(connection, "count_changes", values, counted=_counted(connection, after, True))
    for name in ("clear_counts", "write_counts"):
        _execute(connection, name, values)
    for table in ("counts_before", "count_changes"):
        connection.execute(f"DROP TABLE temp.{table}")


def _counted(connection: Any, facts: str, is_any: bool) -> str:
    return statement(
        "warehouse/visit_values", connection.kind, facts=facts if is_any else f"(SELECT * FROM {facts} WHERE false)"
    )


def _execute(connection: Any, name: str, values: Mapping[str, Any], **pieces: str) -> None:
    connection.execute(statement(f"warehouse/values/{name}", connection.kind, **pieces), values)
