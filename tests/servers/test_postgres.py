"""The tests' own PostgreSQL: there, empty, apart from others, and gone afterwards."""

from __future__ import annotations

import subprocess
import sys
import time

import psycopg
import pytest

from lib.config import ROOT
from tests.servers.postgres import running_postgres


def test_each_database_is_fresh(postgres_server):
    one, other = postgres_server.fresh_database(), postgres_server.fresh_database()
    with postgres_server.connect(one) as connection:
        connection.execute("CREATE TABLE visits (visit_id text)")
    with postgres_server.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM visits")


def test_connections_are_cut_off(postgres_server):
    database = postgres_server.fresh_database()
    with postgres_server.connect(database) as connection:
        assert postgres_server.cut_off(database) == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_it_starts_again_where_it_was_and_leaves_nothing():
    with running_postgres() as server:
        database, port = server.fresh_database(), server.port
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            server.connect(database)
        server.start()
        assert server.port == port
        server.connect(database).close()
        folder = server.folder
    assert not folder.exists()
    with pytest.raises(psycopg.OperationalError):
        server.connect(database)


def test_a_killed_process_leaves_no_server():
    script = (
        "import os, signal\n"
        "from tests.servers.postgres import running_postgres\n"
        "with running_postgres() as server:\n"
        "    print(server.url(), server.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=120)
    url, folder = ended.stdout.split()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            psycopg.connect(url).close()
            time.sleep(0.1)
        except psycopg.OperationalError:
            break
    else:
        pytest.fail("the server outlived its parent")
    subprocess.run(["rm", "-rf", folder], check=True)
