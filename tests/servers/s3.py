"""An S3 of the tests' own: moto's server on loopback, and before it a door that can be shut or made to stumble.

moto holds If-None-Match as the real one does. It checks no signature, has no delays, roles or policies. The driver is
in an environment of its own, as on a machine that installed the extra.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.servers.environment import let_import, made, own_name
from tests.servers.listening import HOST, free_port, wait_until_it_listens

BUCKET = "clinic"
SECRET = "CANARY-secret-key"

SIGNED = "AWS4-HMAC-SHA256 Credential=tests/20250101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none"
"""Whoever shows no name may read nothing, even here."""

Answer = Callable[[int], int | None]
"""What becomes of the n-th request, from 1: None lets it pass, CUT ends the connection before it, LOST after it was
done, anything else is the status of the answer."""
CUT, LOST = 0, -1


def store_url(folder: Path) -> str:
    """The URL of a test's data folder: a prefix of its own."""
    return f"s3://{BUCKET}/{own_name(folder)}"


@dataclass
class S3Server:
    """The server behind its door: `requests` so far, by method and path; `answer` decides about the next ones."""

    port: int
    door: int = 0
    requests: list[str] = field(default_factory=list)
    answer: Answer = field(default=lambda number: None)
    _counted: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def answering(self, answer: Answer) -> Iterator[list[str]]:
        """While the block lasts; its requests."""
        with self._counted:
            self.requests, self.answer = [], answer
        try:
            yield self.requests
        finally:
            self.answer = lambda number: None

    def note(self, request: str) -> int | None:
        with self._counted:
            self.requests.append(request)
            return self.answer(len(self.requests))

    def ask(self, method: str, key: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and the answer of a request of the test's own, past the door: `key` is bucket and key."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        connection.request(method, f"/{key}", body, {"Authorization": SIGNED})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def objects(self, url: str) -> list[str]:
        """The keys below a data folder's URL, relative to it."""
        prefix = url.partition(f"{BUCKET}/")[2]
        _, listed = self.ask("GET", f"{BUCKET}?list-type=2&prefix={prefix}/")
        keys = [each.partition("</Key>")[0] for each in listed.decode().split("<Key>")[1:]]
        return sorted(each.removeprefix(f"{prefix}/") for each in keys)


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """While the block lasts, the server runs."""
    moto = made("moto")
    port = free_port()
    code = f"from moto.server import main; main(['-H', {HOST!r}, '-p', '{port}'])"
    process = subprocess.Popen(
        [sys._base_executable, "-c", code],  # type: ignore[attr-defined]
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(moto)},
    )  # fmt: skip
    server = S3Server(port)
    door = _door(server)
    server.door = door.server_port
    try:
        wait_until_it_listens(process, port)
        assert server.ask("PUT", BUCKET)[0] == 200
        yield server
    finally:
        door.shutdown()
        process.kill()
        process.wait()


@contextmanager
def using_s3(server: S3Server) -> Iterator[None]:
    """While the block lasts, the driver can be imported and finds the server, here and in processes that begin here.
    What the driver needs goes before the project's own packages in those, so nobody else is to have it."""
    driver = made("s3")
    with pytest.MonkeyPatch.context() as patch:
        let_import(patch, driver)
        patch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:{server.door}")
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield


def _door(server: S3Server) -> ThreadingHTTPServer:
    """What the driver speaks to: hands everything on, unless told otherwise."""

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = server.note(f"{self.command} {self.path}")
            if told == CUT:
                return self.cut()
            if told and told != LOST:
                code = {403: "AccessDenied"}.get(told, "SlowDown")
                status, headers, content = told, [], f"<Error><Code>{code}</Code></Error>".encode()
            else:
                connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                status, headers, content = answer.status, answer.getheaders(), answer.read()
            if told == LOST:
                return self.cut()
            self.send_response_only(status)
            kept = {"transfer-encoding", "connection", "content-length"}
            for name, value in headers:
                if name.lower() not in kept:
                    self.send_header(name, value)
            length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def cut(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

        def log_message(self, format: str, *values: object) -> None:
            pass

    door = ThreadingHTTPServer((HOST, 0), Door)
    door.daemon_threads = True
    threading.Thread(target=door.serve_forever, daemon=True).start()
    return door


@pytest.fixture(scope="session")
def running_s3_server() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3_server(running_s3_server: S3Server) -> Iterator[S3Server]:
    """One server for all tests of a session; its driver is there for this test alone."""
    with using_s3(running_s3_server):
        yield running_s3_server
