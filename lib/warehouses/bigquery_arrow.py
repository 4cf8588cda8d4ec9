"""Arrow rows into BigQuery and out of it: in bulk, by load jobs of Parquet files."""

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
from lib.warehouses.bigquery_driver import bigquery, fields
from lib.warehouses.cloud import as_text
from lib.warehouses.cloud_staged import staged_batches
from lib.warehouses.interface import Parameters


@contextmanager
def staged_tables(
    connection: Any,
    files: Mapping[str, Path],
    carried: Sequence[str],
    engine: Engine,
    folder: Path,
    refresh: bool,
) -> Iterator[None]:
    """Tables of this connection; of the visits only those that the load reads. Columns newly carried are added to the
    table here, before the load's transaction, which takes no such change: they hold nothing yet."""
    from lib.warehouses.bigquery import stored_columns

    for name in sorted(set(carried) - set(stored_columns(connection, "fact_visits"))):
        connection.execute(f"ALTER TABLE fact_visits ADD COLUMN IF NOT EXISTS {identifier(name)} STRING")
    for table, rows in staged_batches(connection, files, carried, engine, folder, refresh):
        copy_in(connection, table, rows, folder)
    yield


@contextmanager
def wanted_visits(connection: Any, keys: pa.RecordBatchReader, scratch: Path) -> Iterator[None]:
    copy_in(connection, "wanted", keys, scratch.parent)
    try:
        yield
    finally:
        connection.drop_table("wanted")


def copy_in(connection: Any, table: str, rows: pa.RecordBatchReader, folder: Path) -> None:
    """Write Arrow rows into a new table of this connection; a reading one may have one too."""
    columns = {
        field.name: pa.timestamp("us", "UTC") if pa.types.is_timestamp(field.type) else field.type
        for field in rows.schema
    }
    schema = pa.schema(list(columns.items()))
    connection.make_table(table, columns)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as place:
        path = Path(place) / f"{table}.parquet"
        count = 0
        with pq.ParquetWriter(path, schema) as writer:
            for batch in rows:
                casts = [column.cast(kind) for column, kind in zip(batch.columns, columns.values(), strict=True)]
                writer.write_batch(pa.record_batch(casts, schema=schema))
                count += len(batch)
        if count:
            config = bigquery.LoadJobConfig(
                source_format="PARQUET", write_disposition="WRITE_APPEND", schema=fields(columns)
            )
            with path.open("rb") as file:
                target = connection.reference(connection.scratch + table)
                connection.client.load_table_from_file(file, target, job_config=config).result()


def fetch_table(connection: Any, sql: str, parameters: Parameters, schema: pa.Schema) -> pa.Table:
    """A query's result."""
    found = connection.fetch_arrow(sql, parameters)
    return as_text(found, schema) if len(found) else schema.empty_table()
