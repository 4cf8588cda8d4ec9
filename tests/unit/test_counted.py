"""A number with its word."""

from __future__ import annotations

import pytest

from lib.counted import counted


@pytest.mark.parametrize(("number", "text"), [(0, "0 deliveries"), (1, "1 delivery"), (1500, "1,500 deliveries")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "delivery", "deliveries") == text


def test_a_plain_plural() -> None:
    assert counted(2, "file") == "2 files"
