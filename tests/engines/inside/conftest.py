"""One session of Spark for all tests here: they run in an environment that has it (tests/engines/environment.py)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib import rehearsal, validate
from lib.engines.spark_session import open_session
from tests.engines.inside.staged_twice import SPARK, StagedTwice
from tests.pipeline.plain_gate import plain_gate


@pytest.fixture(scope="session")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with open_session(SPARK["master"], tmp_path_factory.mktemp("scratch")):
        yield


@pytest.fixture
def twice(joined: None, monkeypatch: pytest.MonkeyPatch) -> StagedTwice:
    """Batches are staged by both engines; the gate is the plain one, judged on pandas."""
    staged_twice = StagedTwice()
    monkeypatch.setattr(rehearsal.stage, "stage_batch", staged_twice)
    monkeypatch.setattr(validate, "evaluate_gate", plain_gate)
    return staged_twice
