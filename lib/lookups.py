"""What staging asks of the warehouse: visits and their current versions, published days, known refused texts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from lib.config import Settings
from lib.sql import identifier, statement
from lib.warehouse import fact_columns
from lib.warehouses.choose import kind_of
from lib.warehouses.interface import Connection

CURRENT_SCHEMA = [
    ("visit_id", pa.string()),
    ("stamp", pa.string()),
    ("delivery_seq", pa.int64()),
    ("source_line", pa.int64()),
    ("row_hash", pa.string()),
    ("visit_date", pa.string()),
    ("deleted_seq", pa.int64()),
]
VISIT_SCHEMA = pa.schema([("visit_id", pa.string()), ("visit_date", pa.string()), ("deleted_seq", pa.int64())])


def holds_visits(connection: Connection, source: str) -> bool:
    """Whether the table holds any visit of the source, a deleted one too."""
    found = connection.execute("SELECT 1 FROM fact_visits WHERE source = ? LIMIT 1", [source]).fetchone()
    return found is not None


def no_versions(settings: Settings) -> pa.Table:
    """What `find_current_versions` answers when the table holds none."""
    return pa.schema([*CURRENT_SCHEMA, *((name, pa.string()) for name in settings.carry)]).empty_table()


def find_current_versions(
    connection: Connection, settings: Settings, keys: pa.RecordBatchReader, scratch: Path
) -> pa.Table:
    """The warehouse's current versions of the visits in `keys` (one column, visit_id), stamps as stored text. One join
    answers for any number of keys; `scratch` names a file that may be made for it."""
    schema = no_versions(settings).schema
    source = settings.source.name
    kind = kind_of(connection)
    with kind.wanted_visits(connection, keys, scratch):
        stored = fact_columns(connection)
        carried = "".join(
            f",\n    f.{identifier(name)}" if name in stored else f",\n    NULL AS {identifier(name)}"
            for name in settings.carry
        )
        query = statement("warehouse/current_versions", connection.kind, carried=carried)
        return kind.fetch_table(connection, query, [source], schema)


def count_visits(connection: Connection, source: str) -> int:
    """How many visits of the source the table holds, deleted ones apart, as the loads counted them."""
    query = "SELECT sum(visits) FROM visit_value_counts WHERE kind = 'diagnosis_code' AND source = ?"
    return int(connection.execute(query, [source]).fetchone()[0] or 0)


def find_visits(connection: Connection, source: str) -> pa.Table:
    """Every visit of the source in the table: its day, and the delivery it was deleted by, null where it stands."""
    query = "SELECT visit_id, visit_date, deleted_seq FROM fact_visits WHERE source = ?"
    return kind_of(connection).fetch_table(connection, query, [source], VISIT_SCHEMA)


def find_published_days(connection: Connection) -> list[str]:
    """The days of daily_visit_metrics."""
    return [row[0] for row in connection.execute("SELECT visit_date FROM daily_visit_metrics")]


def find_known_identities(connection: Connection, identities: list[str]) -> set[str]:
    """Those of `identities` that the quarantine holds."""
    return kind_of(connection).known_identities(connection, identities)
