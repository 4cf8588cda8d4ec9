from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.clinic import Clinic


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """An empty clinic."""
    return Clinic(tmp_path)
