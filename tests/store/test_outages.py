"""A store that goes away in the middle of a run, at this request or that: the tables are the old ones or the new ones,
the exit code says which, and the next run needs no help. STORE_OUTAGE_STEP=1 takes every request."""

from __future__ import annotations

import os

import pytest

from lib.record import read_manifests
from lib.store import place
from lib.verify import find_changes
from tests.pipeline.clinic import Clinic, row
from tests.servers.s3 import CUT, LOST, SECRET, S3Server
from tests.store.conftest import move_to

STEP = int(os.environ.get("STORE_OUTAGE_STEP", "31"))


def ended(clinic: Clinic) -> tuple[int | None, str]:
    """How a run of the command ends: exit code, and its words. What this process has of the store is not the fork's."""
    return clinic.command_here("run", first=place._working_copy.cache_clear)


def test_a_store_that_goes_away_leaves_the_tables_as_they_were(
    clinic: Clinic, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.deliver([row("V0")])
    assert ended(clinic)[0] == 0
    clinic.deliver([row("V1")])
    with s3_server.answering(lambda number: None) as requests:
        assert ended(clinic)[0] == 0
    committed = next(number for number, each in enumerate(requests, 1) if each.endswith("/state/state.json"))
    codes = {}
    for last in sorted({*range(1, len(requests), STEP), committed}):  # a lease is prolonged more or less often
        before = clinic.facts()
        clinic.deliver([row(f"W{last}")])
        with s3_server.answering(lambda number, last=last: CUT if number >= last else None):  # type: ignore[misc]
            code, words = ended(clinic)
        codes[last] = code
        assert "Traceback" not in words and SECRET not in words
        new = clinic.facts() != before
        assert code in ((0, 8) if new else (7,)), (last, code, new, words)
        code, words = ended(clinic)
        assert code == 0, (last, words)
        assert clinic.facts().keys() == {*before, f"W{last}"}, last
    assert {7, 8} <= set(codes.values()), codes
    place._working_copy.cache_clear()
    told_here = [(each["run_id"], each["outcome"]) for each in read_manifests(clinic.layout)]
    move_to(clinic.folder / "there", monkeypatch)
    assert [(each["run_id"], each["outcome"]) for each in read_manifests(clinic.layout)] == told_here
    assert "running" not in dict(told_here).values()
    assert find_changes(clinic.layout) == []


def test_a_store_that_stumbles_holds_nothing_up(clinic: Clinic, s3_server: S3Server) -> None:
    """Every fifth request is refused for a while, cut off, or done without an answer."""
    answers = (503, CUT, LOST, 500)
    clinic.deliver([row("V0")])
    with s3_server.answering(lambda number: answers[number // 5 % 4] if number % 5 == 0 else None):
        code, words = ended(clinic)
    assert code == 0, words
    assert clinic.facts().keys() == {"V0"}
    place._working_copy.cache_clear()
    assert find_changes(clinic.layout) == []
