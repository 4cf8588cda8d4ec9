"""A PostgreSQL server of the tests' own: in a temporary folder, on loopback, trusted, stopped when they end.

The server runs as a user that is not root, which it refuses, and dies with the process that started it. The fixture
`postgres_server` shares one among all tests of a session (tests/conftest.py); `running_postgres` is the same elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.environment import own_name
from tests.servers.listening import HOST, free_port

if TYPE_CHECKING:
    import psycopg

USER = "postgres"
WAREHOUSE_URL = "PATIENT_VISITS_TEST_POSTGRES"
"""Set while there is a database for warehouses: its URL. Each takes a schema of its own."""
START_SECONDS, ATTEMPTS = 60, 5
PR_SET_PDEATHSIG = 1


def schema_url(folder: Path) -> str:
    """The URL of the warehouse of a test's folder: a schema of its own."""
    return f"{os.environ[WAREHOUSE_URL]}?schema={own_name(folder)}"


@dataclass
class PostgresServer:
    """A server that was begun in `folder`. `port` is its port on HOST; it stays the same when it is started again."""

    folder: Path
    programs: Path
    host: str = HOST
    user: str = USER
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases; no password is asked for."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A connection that commits each statement by itself, unless `options` say otherwise."""
        import psycopg  # the other tests do without

        return psycopg.connect(self.url(database), **{"autocommit": True, **options})

    def fresh_database(self, name: str = "test") -> str:
        """Make an empty database, named after `name`; its own name."""
        database = f"{name}_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')
        return database

    def cut_off(self, database: str) -> int:
        """End every connection to a database, as a restart of the server does; how many there were."""
        with self.connect() as connection:
            others = "FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            return len(connection.execute(f"SELECT pg_terminate_backend(pid) {others}", [database]).fetchall())

    def start(self) -> None:
        """Start it, on a free port the first time. Raises RuntimeError with the server's own words when it does not."""
        given = self.port
        for _ in range(1 if given else ATTEMPTS):  # another program may take a free port first
            self.port = given or free_port()
            words = ["-D", self._data, "-k", self.folder, "-h", self.host, "-p", self.port]
            quick = ["-F", "-c", "full_page_writes=off", "-c", "max_connections=50"]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [self.programs / "postgres", *map(str, [*words, *quick])],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=_environment(),
                    preexec_fn=_die_with_parent, **_as_user(),
                )  # fmt: skip
            if self._answers():
                return
            self.stop()
        raise RuntimeError(f"postgres does not start: {self._log.read_text()[-2000:]}")

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Stop it: connections are cut off. By SIGQUIT at once, as a crash does."""
        if not self._process:
            return
        self._process.send_signal(by)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def begin(self) -> None:
        """Make the server's files."""
        words = ["-D", self._data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [self.programs / "initdb", *map(str, words)],
            capture_output=True, text=True, cwd=self.folder, env=_environment(), **_as_user(),
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr[-2000:]}")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _answers(self) -> bool:
        import psycopg

        assert self._process
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                self.connect(connect_timeout=5).close()
                return True
            except psycopg.OperationalError:
                time.sleep(0.05)
        return False


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A new server while the block lasts. Its folder is short of name, for its socket, and gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if user := _as_user().get("user"):
            os.chown(folder, user, -1)
        server = PostgresServer(folder, _programs())
        server.begin()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database_for_warehouses(server: PostgresServer) -> Iterator[PostgresServer]:
    """A database of the server that sorts texts by a language and not by their code points; this process and those that
    it starts find it while the block lasts."""
    with server.connect() as connection:
        connection.execute("CREATE DATABASE clinic TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'sv'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", server.user)
        patch.setenv(WAREHOUSE_URL, f"postgresql://{server.host}:{server.port}/clinic")
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of the session; each takes a fresh database of it."""
    with running_postgres() as server:
        yield server


def _programs() -> Path:
    """The folder with postgres and initdb, the newest; installed by apt-get where there is none."""
    for attempt in range(2):
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        if on_path := shutil.which("initdb"):
            installed.append(Path(on_path).resolve().parent)
        if found := [each for each in installed if (each / "postgres").exists()]:
            return found[-1]
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(["apt-get", "install", "-y", "-q", "postgresql"], check=True, capture_output=True)
    raise RuntimeError("PostgreSQL is not installed; install it (Debian, Ubuntu: apt-get install postgresql)")


def _as_user() -> dict[str, Any]:
    """What Popen needs to run as somebody else than root; nothing for who is not root."""
    if os.geteuid() != 0:
        return {}
    names = {each.pw_name: each for each in pwd.getpwall()}
    somebody = names.get("postgres") or names["nobody"]
    return {"user": somebody.pw_uid, "group": somebody.pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))} | {"LC_ALL": "C"}


def _die_with_parent() -> None:
    """In the child: a pytest that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
