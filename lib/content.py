"""Content hashes: what the rows of each table add up to, kept by the transaction that changes them.

The hash of a set of rows does not depend on their order; a change is the old rows taken off and the new ones added.
Because it is kept by difference, a row altered behind the pipeline's back stays found, also on a day that is loaded
again. Only a full refresh begins its own source's days afresh. `daily_visit_metrics` has none: it is the GROUP BY of
the facts (lib/verify.py). How a row is hashed, and how rows that change are seen, is each kind of warehouse's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager

from lib.warehouses.choose import kind_of
from lib.warehouses.interface import PARTS, Connection, Sums


def keeping_content(
    connection: Connection, *, tables: Iterable[str] = PARTS, afresh: str | None = None
) -> AbstractContextManager[None]:
    """Keep the hashes of `tables` true to every row that the block writes, in the caller's transaction or its own.

    `afresh` names a source whose facts are all written anew by the block (a full refresh): what it deletes of them was
    never to be trusted. A block inside another one adds nothing: columns added to a table must be there before the
    outer one begins.
    """
    return kind_of(connection).keeping_content(connection, tables, afresh)


def count_content(connection: Connection) -> Sums:
    """The rows that are there now, counted and summed by part and key. Reads every row."""
    return kind_of(connection).count_content(connection)


def write_all_hashes(connection: Connection) -> None:
    """Hash every row there is: once, in a warehouse from before there were hashes. In the caller's transaction."""
    connection.execute("DELETE FROM content_hashes")
    connection.executemany(
        "INSERT INTO content_hashes (part, key, row_count, hash) VALUES (?, ?, ?, ?)",
        [[part, key, rows, f"{total:064x}"] for (part, key), (rows, total) in count_content(connection).items()],
    )


def differing_parts(connection: Connection) -> Counter[str]:
    """By table: parts (a day, a run, a source) whose rows are not those that the runs left. Reads every row."""
    rows = connection.execute("SELECT part, key, row_count, hash FROM content_hashes")
    stored = {(part, key): (count, int(text, 16)) for part, key, count, text in rows}
    counted = count_content(connection)
    differing = {part for part in stored.keys() | counted.keys() if stored.get(part) != counted.get(part)}
    return Counter(part for part, _ in sorted(differing))
