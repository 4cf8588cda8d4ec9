from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.clinic import Clinic


@pytest.fixture
def kind() -> str:
    """The kind of warehouse; modules whose tests are for every kind have a fixture of their own."""
    return "sqlite"


@pytest.fixture
def clinic(tmp_path: Path, kind: str) -> Clinic:
    """An empty clinic."""
    return Clinic(tmp_path, kind=kind)
