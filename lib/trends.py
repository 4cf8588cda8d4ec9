"""Small line pictures over runs, as numbers for an SVG: where points and limits lie, and it all in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_RUNS = 60
"""A picture shows the newest of so many runs."""


@dataclass(frozen=True)
class Reading:
    """One run's value: None where it has none. `bad` ones are marked; `limit` is what it was judged by, if anything."""

    value: float | None
    bad: bool = False
    limit: float | None = None


@dataclass(frozen=True)
class Trend:
    """A picture `width` by `height`: lines and limits as SVG points, dots as (x, y, bad), and the same in words."""

    width: float
    height: float
    lines: tuple[str, ...]
    limits: tuple[str, ...]
    dots: tuple[tuple[float, float, bool], ...]
    newest: str
    words: str


def draw_trend(
    what: str,
    readings: Sequence[Reading],
    text: Callable[[float], str],
    *,
    bad: str = "failed",
    width: float = 240,
    height: float = 56,
) -> Trend:
    """The newest readings, oldest first, from 0 up to the highest value or limit. A run without a value leaves a gap.

    `what` is measured, `text` puts a value into words, `bad` says what is wrong with the marked runs.
    """
    shown = readings[-MOST_RUNS:]
    values = [each.value for each in shown if each.value is not None]
    top = max([*values, *(each.limit for each in shown if each.limit is not None), 0.0]) or 1.0
    edge = 4.0
    step = (width - 2 * edge) / max(len(shown) - 1, 1)

    def place(number: int, value: float) -> tuple[float, float]:
        return round(edge + number * step, 1), round(height - edge - (height - 2 * edge) * max(value, 0.0) / top, 1)

    dots = tuple((*place(number, each.value), each.bad) for number, each in enumerate(shown) if each.value is not None)
    newest = text(values[-1]) if values else "no value yet"
    words = f"{what}: no value yet"
    if values:
        failed = sum(each.bad for each in shown if each.value is not None)
        spread = f"from {text(min(values))} to {text(max(values))} in {len(values):,} of {len(shown):,} runs"
        words = f"{what}: {newest} in the newest, {spread}" + (f"; {failed:,} {bad}" if failed else "")
    return Trend(
        width,
        height,
        lines=tuple(_runs_of([each.value for each in shown], place)),
        limits=tuple(_runs_of([each.limit for each in shown], place)) if values else (),
        dots=dots if len(dots) <= MOST_RUNS / 2 else tuple(each for each in dots if each[2] or each is dots[-1]),
        newest=newest,
        words=words,
    )


def _runs_of(values: Sequence[float | None], place: Callable[[int, float], tuple[float, float]]) -> list[str]:
    """The unbroken stretches of a line, as SVG points; one value alone is a dot, not a line."""
    stretches: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append("{},{}".format(*place(number, value)))
    return [" ".join(points) for points in stretches if len(points) > 1]
