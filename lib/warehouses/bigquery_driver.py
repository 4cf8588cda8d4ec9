"""BigQuery's driver, with the manners of Python's others: marks, rows, values, transactions.

A transaction is one of a session and sees the tables as they were when it began. Of two that write the same table, the
service aborts one: each begins by writing the one row of the table `warehouse`, so that this is told at once. Load jobs
write no session's temporary tables; ours are tables of the dataset under a name of their own, which expire in a day
where nobody drops them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from secrets import token_hex
from typing import Any

import pyarrow as pa

from lib.clock import now
from lib.errors import PipelineError
from lib.extras import lacking
from lib.warehouses.address import Address
from lib.warehouses.bigquery_dialect import DIALECT
from lib.warehouses.cloud import SCRATCH, TEMPORARY, Result, first_word, in_a_transaction

try:
    from google.api_core import exceptions as exceptions
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud import bigquery as bigquery
    from requests.exceptions import RequestException
except ImportError:
    raise lacking("warehouse: BigQuery's driver", "bigquery") from None

failures = (exceptions.GoogleAPIError, GoogleAuthError, RequestException)
"""What the driver raises."""
KEPT_FOR = timedelta(days=1)
_TYPES = {
    pa.string(): "STRING",
    pa.int64(): "INT64",
    pa.int32(): "INT64",
    pa.bool_(): "BOOL",
    pa.date32(): "DATE",
}
TAKE_TURNS = "UPDATE warehouse SET version = version WHERE id = 1"
READS = ("SELECT", "WITH", "BEGIN", "COMMIT", "ROLLBACK")


class Connection:
    """A client, and a session where it writes."""

    kind = "bigquery"

    def __init__(self, client: Any, dataset: str, read_only: bool) -> None:
        self.client = client
        self.dataset = dataset
        self.read_only = read_only
        self.keeps_content = False
        self.scratch = f"{SCRATCH}{token_hex(4)}_"
        self._made: set[str] = set()
        self._session: str | None = None
        self._in_transaction = False

    @property
    def in_transaction(self) -> bool:
        return self._in_transaction

    @property
    def is_lost(self) -> bool:
        return False

    def execute(self, sql: str, parameters: Any = (), /) -> Result:
        text = in_a_transaction(sql) if self._in_transaction else sql
        word = first_word(text)
        if self.read_only and word not in READS:
            raise PipelineError("the warehouse: was opened to be read, and takes no changes; nothing was changed.")
        if word == "BEGIN" and not self.read_only and not self._made.issuperset(TEMPORARY):
            for name, columns in TEMPORARY.items():
                self.make_table(name, columns)
        done = self.ask(self.whole(text, parameters))
        if word in ("BEGIN", "COMMIT", "ROLLBACK"):
            self._in_transaction = word == "BEGIN"
        if word == "BEGIN" and not self.read_only:
            self.ask(TAKE_TURNS)
        return done

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Result:
        done = Result([], [], 0)
        for each in parameters:
            done = self.execute(sql, each)
        return done

    def whole(self, sql: str, parameters: Any) -> str:
        """Without the comments that open it: a job's text is kept and shown."""
        return DIALECT.whole(re.sub(r"^(?:--[^\n]*\n)+", "", sql), parameters, self.scratch)

    def ask(self, text: str) -> Result:
        """Do a whole statement, whatever it does."""
        job, rows = self._job(text)
        names = [each.name for each in rows.schema or []]
        count = job.num_dml_affected_rows
        return Result(names, [each.values() for each in rows], -1 if count is None else count)

    def types(self, table: str) -> dict[str, str]:
        """Of a table's columns, in its order."""
        return {each.name: each.field_type for each in self._job(f"SELECT * FROM {table} WHERE FALSE")[1].schema}

    def fetch_arrow(self, sql: str, parameters: Any) -> pa.Table:
        """A query's rows."""
        return self._job(self.whole(sql, parameters))[1].to_arrow(create_bqstorage_client=False)

    def make_table(self, name: str, columns: dict[str, pa.DataType]) -> None:
        """One of this connection's own, empty. Not in a transaction."""
        table = bigquery.Table(self.reference(self.scratch + name), schema=fields(columns))
        table.expires = now() + KEPT_FOR
        self.client.delete_table(table, not_found_ok=True)
        self.client.create_table(table)
        self._made.add(name)

    def drop_table(self, name: str) -> None:
        self.client.delete_table(self.reference(self.scratch + name), not_found_ok=True)
        self._made.discard(name)

    def reference(self, table: str) -> Any:
        return bigquery.DatasetReference(self.client.project, self.dataset).table(table)

    def close(self) -> None:
        """What cannot be put away now goes by itself: tables in a day, a session and its transaction when it is
        idle."""
        with suppress(*failures):
            for name in sorted(self._made):
                self.drop_table(name)
            if self._session:
                self.ask("CALL BQ.ABORT_SESSION()")
        self.client.close()

    def _job(self, text: str) -> tuple[Any, Any]:
        config = bigquery.QueryJobConfig(default_dataset=f"{self.client.project}.{self.dataset}")
        config.labels = {"program": "patient_visits"}
        is_of_a_session = first_word(text) not in ("CREATE", "ALTER")  # changes of tables need none
        if self._session and is_of_a_session:
            config.connection_properties = [bigquery.ConnectionProperty("session_id", self._session)]
        elif not self.read_only and is_of_a_session:
            config.create_session = True
        job = self.client.query(text, job_config=config)
        rows = job.result()
        if not self._session and not self.read_only and job.session_info:
            self._session = job.session_info.session_id
        return job, rows


def fields(columns: dict[str, pa.DataType]) -> list[Any]:
    return [bigquery.SchemaField(name, _type(kind)) for name, kind in columns.items()]


def opened(address: Address, read_only: bool) -> Connection:
    """A connection to the dataset of the address, which is made where it is missing unless `read_only`."""
    given = {"credentials": AnonymousCredentials()} if os.environ.get("BIGQUERY_EMULATOR_HOST") else {}
    client = bigquery.Client(project=address.host, **given)
    try:
        if not read_only:
            client.create_dataset(bigquery.DatasetReference(client.project, address.database), exists_ok=True)
    except BaseException:
        client.close()
        raise
    return Connection(client, address.database, read_only)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return "NUMERIC" if pa.types.is_decimal(kind) else _TYPES[kind]


def refused(error: Exception) -> bool:
    """Whether who came in was not known, rather than nobody there to ask."""
    return isinstance(error, GoogleAuthError) and not isinstance(error, TransportError)
