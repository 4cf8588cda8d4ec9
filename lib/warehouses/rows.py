"""Rows of the drivers that have none like Python's own for SQLite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Row(tuple[Any, ...]):
    """Read by place or by name."""

    places: Mapping[str, int] = {}

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.places[key] if isinstance(key, str) else key)

    def keys(self) -> list[str]:
        return list(self.places)


def row_of(names: Iterable[str]) -> type[Row]:
    """The class of a result's rows."""
    return type("Row", (Row,), {"places": {name: place for place, name in enumerate(names)}})
