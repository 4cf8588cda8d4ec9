"""Medians, ratios and growth in Markdown, from measured results alone: a stored file gives the same table again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.kinds import KINDS
from benchmarks.machine import in_words
from benchmarks.measure import FULL, INCREMENT, ON_EMPTY

NAMES = {"sqlite": "ours, SQLite", "duckdb": "ours, DuckDB", "dbt": "dbt-duckdb", "pandas": "pandas + SQLite"}
OURS = ("sqlite", "duckdb")
GIB = 2**30


def sizes(results: dict[str, Any]) -> list[int]:
    """The numbers of rows measured, ascending."""
    return sorted({each["rows"] for each in results["loads"]})


def number_in_words(rows: int) -> str:
    """1000 as 1k, 10000000 as 10M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if rows >= unit and rows % unit == 0:
            return f"{rows // unit}{name}"
    return f"{rows:,}"


def values(results: dict[str, Any], contender: str, job: str, rows: int, what: str = "seconds") -> list[float]:
    """Everything measured of one load, in the order of the rounds."""
    return [
        each[what]
        for each in results["loads"]
        if (each["contender"], each["job"], each["rows"]) == (contender, job, rows)
    ]


def memory(results: dict[str, Any], contender: str, job: str, rows: int) -> float:
    """Most memory of all processes at one moment, in GiB: the worst round, PSS where the system tells it."""
    found = zip(values(results, contender, job, rows, "pss"), values(results, contender, job, rows, "rss"), strict=True)
    return max((pss or rss for pss, rss in found), default=0.0) / GIB


def markdown(results: dict[str, Any]) -> str:
    """Everything measured, as one Markdown text."""
    parts = [_loads(results), _ratios(results), *_looks(results), _growth(results)]
    parts += [f"- {note}" for note in results["notes"]]
    if results["problems"]:
        parts.append("**Problems**\n\n" + "\n".join(f"- {each.splitlines()[0]}" for each in results["problems"]))
    parts.append(in_words(results["machine"], results["settings"].get("peers", {})))
    return "\n\n".join(part for part in parts if part) + "\n"


def _loads(results: dict[str, Any]) -> str:
    lines = []
    for rows in sizes(results):
        for job in (FULL, INCREMENT, ON_EMPTY):
            for key, name in NAMES.items():
                if taken := values(results, key, job, rows):
                    rss = max(values(results, key, job, rows, "rss")) / GIB
                    lines.append(
                        [
                            number_in_words(rows),
                            job,
                            name,
                            f"**{median(taken):.1f}**",
                            f"{min(taken):.1f}–{max(taken):.1f}",
                            str(len(taken)),
                            f"{median(values(results, key, job, rows, 'cpu')):.1f}",
                            f"{memory(results, key, job, rows):.2f}",
                            f"{rss:.2f}",
                        ]
                    )
    if not lines:
        return ""
    head = ["rows", "job", "", "seconds", "min–max", "times", "CPU s", "GiB (PSS)", "GiB (RSS)"]
    return _table(head, lines, left=3)


@dataclass(frozen=True)
class Ratio:
    """One comparison: in words, as a ratio of medians of wall-clock and of processor seconds, and its aim (wall)."""

    words: str
    wall: float
    cpu: float
    aim: str


def ratios(results: dict[str, Any]) -> list[Ratio]:
    """What is compared, within this one run; only what was measured."""
    found: list[Ratio] = []
    measured = sizes(results)

    def add(words: str, above: _Load, below: _Load, aim: str = "", less: tuple[_Load, _Load] | None = None) -> None:
        """`less`: loads whose time is taken off above and below first."""
        pairs = []
        for what in ("seconds", "cpu"):
            upper, lower = (_middle(results, load, what) for load in (above, below))
            off = [_middle(results, load, what) for load in less or ()] or [0.0, 0.0]
            if upper is None or lower is None or None in off or lower <= off[1]:
                return
            pairs.append((upper - off[0]) / (lower - off[1]))
        found.append(Ratio(words, *pairs, aim))

    for key in OURS:
        for rows in measured:
            large, name, size = rows >= 10_000_000, NAMES[key], number_in_words(rows)
            increment, full = (key, INCREMENT, rows), (key, FULL, rows)
            words = f"1k increment on {size} loaded, {name}"
            add(f"{words} / dbt-duckdb", increment, ("dbt", INCREMENT, rows), "≤ 1.2" if rows <= 1_000 else "")
            add(f"{words} / on an empty table", increment, (key, ON_EMPTY, rows), "≤ 1.3" if large else "")
            aim = ("≤ 1.0" if key == "duckdb" else "≤ 1.5") if large else ""
            add(f"full load of {size}, {name} / dbt-duckdb", full, ("dbt", FULL, rows), aim)
            add(f"pandas + SQLite / full load of {size}, {name}", ("pandas", FULL, rows), full, "≥ 4" if large else "")
    for key, name in NAMES.items():
        for small, large in pairwise(measured[1:]):
            words = f"{number_in_words(large)} / {number_in_words(small)} above the fixed price, {name}"
            fixed = (key, FULL, measured[0])
            aim = f"≤ {large // small}" if key in OURS else ""
            add(words, (key, FULL, large), (key, FULL, small), aim, less=(fixed, fixed))
    return found


_Load = tuple[str, str, int]
"""Contender, job, rows."""


def _middle(results: dict[str, Any], load: _Load, what: str) -> float | None:
    taken = values(results, *load, what)
    return median(taken) if taken else None


def _ratios(results: dict[str, Any]) -> str:
    lines = [[each.words, f"**{each.wall:.2f}**", f"{each.cpu:.2f}", each.aim] for each in ratios(results)]
    return _table(["ratio of medians", "seconds", "CPU s", "aim (seconds)"], lines, left=1) if lines else ""


def _looks(results: dict[str, Any]) -> list[str]:
    """By stage and by kind: a column for each run that was looked into."""
    looks = results["looks"]
    if not looks:
        return []
    head = [f"{NAMES[x['contender']]}, {x['job']}, {number_in_words(x['rows'])}" for x in looks]
    stages = list(dict.fromkeys(stage for each in looks for stage in each["stages"]))
    parts = [_table(["seconds by stage", *head], [[s, *(_seconds(x["stages"].get(s)) for x in looks)] for s in stages])]
    if any(each["kinds"] for each in looks):
        kinds = [[f"{k} ({words})", *(_seconds(x["kinds"].get(k)) for x in looks)] for k, words in KINDS.items()]
        parts.append(_table(["seconds by kind", *head], kinds))
    else:
        parts.append("Time by kind: not recorded, the executed notebooks carry no stamps.")
    return parts


def _growth(results: dict[str, Any]) -> str:
    found: dict[tuple[str, str, int, int], list[dict[str, Any]]] = {}
    for each in results["growth"]:
        found.setdefault((each["what"], each["contender"], each["rows"], each["number"]), []).append(each)
    lines = [
        [
            what,
            NAMES[key],
            number_in_words(rows),
            f"{number:,}",
            f"**{median(x['seconds'] for x in taken):.1f}**",
            f"{median(x['cpu'] for x in taken):.1f}",
            f"{max(x['pss'] or x['rss'] for x in taken) / GIB:.2f}",
        ]
        for (what, key, rows, number), taken in sorted(found.items(), key=lambda item: item[0])
    ]
    head = ["growth with", "", "rows", "number", "seconds", "CPU s", "GiB (PSS)"]
    return _table(head, lines, left=2) if lines else ""


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(head: list[str], lines: Iterable[list[str]], left: int = 1) -> str:
    ruler = [":---" if place < left else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruler, *lines))
