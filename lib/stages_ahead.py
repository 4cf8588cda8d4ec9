"""The stages of a run's page, made in a thread while the last notebook runs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lib.report import Stage


class StagesAhead:
    """What is not made here, the report makes (lib/report.py). The cell that a notebook gets when its record is closed
    is not on the page."""

    def __init__(self) -> None:
        self._maker = ThreadPoolExecutor(1, "page")
        self._made: dict[str, Future[Stage]] = {}

    def begin(self, path: Path) -> None:
        """Make the stage of a notebook that ended well."""
        self._made[path.stem] = self._maker.submit(_make, path)

    def take(self, name: str) -> Stage | None:
        """The notebook's stage, as soon as it is made; None when it was not begun or could not be made."""
        with suppress(Exception):
            return self._made[name].result()
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._maker.shutdown(wait=False, cancel_futures=True)


def _make(path: Path) -> Stage:
    from lib.report import WELL, make_stage  # imported in the thread: it takes a while

    return make_stage(path, WELL)
