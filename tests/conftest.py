"""Servers that tests of several folders share: each is started once a session, when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.postgres import WAREHOUSE_URL, PostgresServer
from tests.servers.postgres import postgres_server as postgres_server


@pytest.fixture(scope="session")
def postgres_warehouses(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server with a database for warehouses, which sorts texts by a language and not by their code points."""
    with postgres_server.connect() as connection:
        connection.execute("CREATE DATABASE clinic TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", postgres_server.user)
        patch.setenv(WAREHOUSE_URL, f"postgresql://{postgres_server.host}:{postgres_server.port}/clinic")
        yield postgres_server
