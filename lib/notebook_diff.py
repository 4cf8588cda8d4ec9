"""Two executed notebooks compared cell by cell, as a reader sees them: what was the same for both is left out.

Cells are matched by their ids, which the notebooks carry and papermill keeps, so nothing has to be guessed. What tells
only which run it was is no difference: its own id, its clocks, when it ran and how long, its data folder. nbdime, which
matches cells by likeness, would bring GitPython and a server extension along for what ids give for nothing.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.clock import file_stamp, parse_instant
from lib.standalone import RUN_ID

MOST_LINES = 6
"""Of one cell, differing lines that are told; of more, how many there are."""
OF_ONE_RUN = {"injected-parameters", "first-screen"}
"""Cells by tag that tell what the manifest tells: it is compared by itself."""
OF_ALL_RUNS = "history"
"""The tag of cells that show the runs before, which are others for every run: what these show is not compared."""
OF_THE_CLOCK = "clock"
"""The tag of cells whose picture shows the hours since something. Where a run had others, the picture is not compared:
what the gate found is, by itself."""
HOURS = "(hours)"
BREAKS = re.compile(r"</(tr|p|div|li|h\d|thead)>|<br\s*/?>", re.IGNORECASE)
CELLS = re.compile(r"</t[dh]>", re.IGNORECASE)
TAGS = re.compile(r"<style.*?</style>|<[^>]*>", re.IGNORECASE | re.DOTALL)
RUN = re.compile(rf"\b{RUN_ID.pattern}")
VERSION = re.compile(r"(at version|tables' version|version(?= [\d,]+ of the tables))((?: \d[\d,]*)+)")
INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|\+00:00| UTC)?")
STAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class OwnWords:
    """What in a run's texts tells only which run it was: its id, instants (to the second), the tables' version that it
    left, and further texts by what they mean."""

    run_id: str
    instants: frozenset[datetime]
    version: int | None
    texts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, manifest: dict[str, Any], folder: str, before: dict[str, Any], rules: list[dict[str, Any]]) -> OwnWords:
        """From a manifest, the data folder's path as the notebooks were given it, the manifest of the run before (empty
        for none), and what the gate's rules found: hours since something depend on the clock alone."""
        attempts = [manifest, *(manifest.get("attempts") or [])]
        clocks = [before.get("as_of"), manifest.get("as_of")]
        clocks += [each.get(name) for each in attempts for name in ("started", "ended")]
        batch = manifest.get("batch") or {}
        clocks += [each["clock"] for part in ("deliveries", "context") for each in batch.get(part) or ()]
        hours = [each["observed"] for each in rules if each["unit"] == "hours" and each["observed"] is not None]
        texts = [(f"{each:,.1f} h", HOURS) for each in hours]
        commit = (manifest.get("git") or {}).get("commit")
        texts += [(commit[:12], "(commit)")] if commit else []
        return cls(
            run_id=manifest["run_id"],
            instants=frozenset(parse_instant(text).replace(microsecond=0) for text in clocks if text),
            version=(manifest.get("load") or {}).get("version"),
            texts=(*texts, (folder, "(data folder)")),
        )

    def without(self, text: str) -> str:
        """The text with these words replaced by what they mean, the same for every run."""
        text = RUN.sub(lambda found: "(run)" if found[0] == self.run_id else "(another run)", text)
        text = STAMP.sub(lambda found: "(clock)" if found[0] in self._stamps else found[0], text)
        text = INSTANT.sub(self._instant, text)
        text = VERSION.sub(self._relative, text)
        for word, meaning in self.texts:
            text = text.replace(word, meaning)
        name = re.escape(self.texts[-1][0].rpartition("/")[2])
        return re.sub(rf"(data folder\W+){name}$", r"\1(data folder)", text)

    @property
    def hours(self) -> list[str]:
        """The hours since something, as they are shown."""
        return [text for text, meaning in self.texts if meaning == HOURS]

    @property
    def _stamps(self) -> set[str]:
        return {file_stamp(each) for each in self.instants}

    def _instant(self, found: re.Match[str]) -> str:
        text = found[0].removesuffix(" UTC").replace(" ", "T")
        if not text.endswith(("Z", "+00:00")):
            text += "Z"
        return "(clock)" if parse_instant(text).replace(microsecond=0) in self.instants else found[0]

    def _relative(self, found: re.Match[str]) -> str:
        """Versions of the tables, counted from the one that the run left."""
        if self.version is None:
            return found[0]
        numbers = [int(each.replace(",", "")) - self.version for each in found[2].split()]
        return f"{found[1]} {' '.join(f'({each:+d})' for each in numbers)}"


def compare_notebooks(before: dict[str, Any], after: dict[str, Any], own: tuple[OwnWords, OwnWords]) -> Iterator[str]:
    """A line a cell that differs, then its lines that differ, marked `-` and `+` and set in."""
    old, new = ({name: cell for cell in each.get("cells", ()) if (name := _name(cell))} for each in (before, after))
    matcher = difflib.SequenceMatcher(None, list(old), list(new), autojunk=False)
    for kind, first, last, other_first, other_last in matcher.get_opcodes():
        for name in list(old)[first:last] if kind != "equal" else ():
            yield f"cell {name}: only in the first ({_title(old[name])})" if name not in new else f"cell {name}: moved"
        for name in list(new)[other_first:other_last] if kind != "equal" else ():
            if name not in old:
                yield f"cell {name}: only in the second ({_title(new[name])})"
    for name in old:
        if name in new:
            yield from _compare_cells(name, old[name], new[name], own)


def _compare_cells(name: str, old: Any, new: Any, own: tuple[OwnWords, OwnWords]) -> Iterator[str]:
    sources = [_joined(cell.get("source", "")).splitlines() for cell in (old, new)]
    if sources[0] != sources[1]:
        yield f"cell {name}: source differs ({_title(new)})"
        yield from _differing(*sources)
    if OF_ALL_RUNS in _tags(old) and OF_ALL_RUNS in _tags(new):
        return
    texts = [[words.without(line) for line in _shown(cell)] for cell, words in zip((old, new), own, strict=True)]
    if texts[0] != texts[1]:
        yield f"cell {name}: what it shows differs ({_title(new)})"
        yield from _differing(*texts)
    if OF_THE_CLOCK in _tags(old) & _tags(new) and own[0].hours != own[1].hours:
        return
    pictures = [_pictures(cell) for cell in (old, new)]
    if pictures[0] != pictures[1]:
        yield f"cell {name}: picture differs ({_title(new)})"


def _differing(old: list[str], new: list[str]) -> Iterator[str]:
    lines = [each for each in difflib.ndiff(old, new) if each[:2] in ("- ", "+ ")]
    for line in lines[:MOST_LINES]:
        yield f"    {line}"
    if len(lines) > MOST_LINES:
        yield f"    and {len(lines) - MOST_LINES:,} more lines"


def _name(cell: dict[str, Any]) -> str | None:
    """The cell's id; None for one that is compared elsewhere."""
    return None if OF_ONE_RUN & _tags(cell) else str(cell.get("id"))


def _tags(cell: dict[str, Any]) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


def _title(cell: dict[str, Any]) -> str:
    """The first line of its source that says something."""
    lines = (line.strip(" #") for line in _joined(cell.get("source", "")).splitlines())
    return next((line[:60] for line in lines if line), "empty")


def _shown(cell: dict[str, Any]) -> list[str]:
    """The cell's outputs as text: of a table its rows, of an error its name and message."""
    lines: list[str] = []
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        if output.get("output_type") == "error":
            lines.append(f"{output.get('ename')}: {output.get('evalue')}")
        elif "text/html" in data:
            lines += _rows(_joined(data["text/html"]))
        elif not _is_picture(data):
            lines += _joined(data.get("text/markdown") or data.get("text/plain") or output.get("text", "")).splitlines()
    return [line for line in lines if line.strip()]


def _rows(markup: str) -> list[str]:
    text = TAGS.sub("", CELLS.sub("  ", BREAKS.sub("\n", markup)))
    return [" ".join(html.unescape(line).split()) for line in text.splitlines()]


def _pictures(cell: dict[str, Any]) -> list[Any]:
    """The bytes of its pictures, and the words that stand for them."""
    shown = [(each.get("data", {}), each.get("metadata", {})) for each in cell.get("outputs", ())]
    return [(data, metadata) for data, metadata in shown if _is_picture(data)]


def _is_picture(data: dict[str, Any]) -> bool:
    return any(kind.startswith("image/") for kind in data)


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
