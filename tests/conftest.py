"""Servers that tests of several folders share: each is started once a session, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.bigquery import bigquery_warehouses as bigquery_warehouses
from tests.servers.postgres import PostgresServer, database_for_warehouses
from tests.servers.postgres import postgres_server as postgres_server
from tests.servers.s3 import running_s3_server as running_s3_server
from tests.servers.s3 import s3_server as s3_server
from tests.servers.snowflake import snowflake_warehouses as snowflake_warehouses


@pytest.fixture(scope="session")
def postgres_warehouses(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server, with a database for warehouses."""
    with database_for_warehouses(postgres_server) as server:
        yield server
