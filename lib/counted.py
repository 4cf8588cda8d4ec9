"""A number with its word: `1 file`, `3 deliveries`. The one place that knows singular from plural."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """The number and its word in the singular or plural; `many`: a plural that is not the singular with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
