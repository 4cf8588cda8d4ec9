"""Arrow rows into Snowflake and out of it: in bulk, by Parquet files put into a stage of the session."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib.config import Engine
from lib.sql import identifier
from lib.warehouses.cloud import as_text
from lib.warehouses.cloud_staged import staged_batches
from lib.warehouses.interface import Parameters

STAGE = "patient_visits_files"
PARQUET = "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE)"


@contextmanager
def staged_tables(
    connection: Any,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[None]:
    """Temporary tables of this session; of the visits only those that the load reads. Columns newly carried are added
    to the table here, before the load's transaction, which they would commit: they hold nothing yet."""
    from lib.warehouses.snowflake import stored_columns

    for name in sorted(set(carried) - set(stored_columns(connection, "fact_visits"))):
        connection.execute(f"ALTER TABLE fact_visits ADD COLUMN IF NOT EXISTS {identifier(name)} VARCHAR")
    for table, rows in staged_batches(connection, files, carried, engine, folder, refresh):
        copy_in(connection, table, rows, folder)
    yield


@contextmanager
def wanted_visits(connection: Any, keys: pa.RecordBatchReader, scratch: Path) -> Iterator[None]:
    copy_in(connection, "wanted", keys, scratch.parent)
    try:
        yield
    finally:
        if not connection.is_lost:
            connection.ask("DROP TABLE temp_wanted")


def copy_in(connection: Any, table: str, rows: pa.RecordBatchReader, folder: Path) -> None:
    """Write Arrow rows into a new temporary table; a reading session may have one too."""
    stamps = [pa.types.is_timestamp(field.type) for field in rows.schema]
    kinds = [
        pa.timestamp("us") if is_stamp else field.type for is_stamp, field in zip(stamps, rows.schema, strict=True)
    ]
    schema = pa.schema([(field.name.upper(), kind) for field, kind in zip(rows.schema, kinds, strict=True)])
    connection.make_table(table, dict(zip(rows.schema.names, kinds, strict=True)))
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as place:
        path = Path(place) / f"{table}.parquet"
        count = 0
        with pq.ParquetWriter(path, schema) as writer:
            for batch in rows:
                columns = [column.cast(kind) for column, kind in zip(batch.columns, kinds, strict=True)]
                writer.write_batch(pa.record_batch(columns, schema=schema))
                count += len(batch)
        if not count:
            return
        connection.ask(f"CREATE TEMPORARY STAGE IF NOT EXISTS {STAGE}")
        address = path.resolve().as_posix().replace("\\", "\\\\").replace("'", "\\'")
        connection.ask(f"PUT 'file://{address}' @{STAGE} AUTO_COMPRESS = FALSE OVERWRITE = TRUE")
        connection.ask(
            f"COPY INTO temp_{table} FROM @{STAGE}/{path.name} {PARQUET} MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE"
        )


def fetch_table(connection: Any, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    """A query's result."""
    found = connection.fetch_arrow(sql, parameters)
    return schema.empty_table() if found is None or not len(found) else as_text(found, schema)
