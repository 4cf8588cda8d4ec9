"""Servers that tests of several folders share: each is started once a session, when a test first asks for it."""

from __future__ import annotations

from tests.servers.postgres import postgres_server as postgres_server
