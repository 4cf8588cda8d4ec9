"""One history for all tests of the pages: making it takes minutes."""

from __future__ import annotations

import os

import pytest

from tests.pages.endings import KINDS, History, make_history, records_of
from tests.pipeline.clinic import Clinic
from tests.waiting import turn


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Made by the first worker that asks, for all of them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "pages"
    folder.mkdir(exist_ok=True)
    clinic = Clinic(folder, {"source": {"path": str(folder / "inbox" / "*.csv")}})
    with turn(folder / "turn"):
        if not (folder / "made").exists():
            make_history(clinic)
            (folder / "made").touch()
    return History(clinic, dict(zip(KINDS, [each.name for each in records_of(clinic)], strict=True)))
