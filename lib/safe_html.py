"""Markup of notebooks made inert by bleach, and given its place in a page: headings in order, tables that scroll.

What a notebook holds was written by many hands: file names, reasons and codes may be markup. What is not on the list
becomes text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from bleach.html5lib_shim import Filter

SAFE_TAGS = [
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "details", "div", "dl", "dt", "em", "h1", "h2", "h3",
    "h4", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody",
    "td", "th", "thead", "tr", "ul",
]  # fmt: skip
"""What headings, prose and tables need."""

SAFE_ATTRIBUTES = {
    "*": ["style"], "a": ["href"], "abbr": ["title"], "th": ["scope"], "td": ["colspan", "rowspan"],
    "div": ["class"], "pre": ["class"], "span": ["class"],
}  # fmt: skip
SAFE_STYLES = ["text-align"]

HEADING = re.compile(r"h([1-4])")

Token = dict[str, Any]


class Outline:
    """Where in a page the markup stands: the heading above it, and how many tables came before."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.stage = ""
        self.heading = ""
        self.tables = 0

    def enter(self, text: str, level: int) -> str | None:
        """Note a heading; the id of the stage's own."""
        self.heading = text
        if level == 1 and not self.stage:
            self.stage = text
            return self.prefix
        return None

    def next_table(self) -> str:
        """What a screen reader calls the next table."""
        self.tables += 1
        where = self.heading if self.heading == self.stage else f"{self.heading}, {self.stage}"
        return f"Table {self.tables}: {where}"


def clean_html(markup: str | bytes) -> str:
    """Markup without anything that could run or load: unknown tags become text, unknown attributes go."""
    return _clean(markup, [])


def place_html(markup: str | bytes, outline: Outline) -> str:
    """The same, placed in a page: an h1 becomes an h2 and so on, a table gets header cells and a region to scroll."""
    return _clean(markup, [partial(_Placed, outline=outline)])


def _clean(markup: str | bytes, filters: list[Any]) -> str:
    cleaner = bleach.Cleaner(
        tags=SAFE_TAGS, attributes=SAFE_ATTRIBUTES, css_sanitizer=CSSSanitizer(SAFE_STYLES), filters=filters
    )
    cleaned: str = cleaner.clean(markup.decode() if isinstance(markup, bytes) else str(markup))
    return cleaned


class _Placed(Filter):  # type: ignore[misc]
    """Changes the stream of what has passed bleach: nothing that it lets through is unsafe."""

    def __init__(self, source: Any, outline: Outline) -> None:
        super().__init__(source)
        self._outline = outline

    def __iter__(self) -> Iterator[Token]:
        tokens = list(super().__iter__())
        head, bare, cells = False, False, 0  # in a thead; a table without one; cells of the row so far
        renamed = False
        for place, token in enumerate(tokens):
            kind, name = token["type"], token.get("name", "")
            starts, ends = kind == "StartTag", kind == "EndTag"
            if (starts or ends) and (level := HEADING.fullmatch(name)):
                token = {**token, "name": f"h{int(level[1]) + 1}"}
                if starts and (anchor := self._outline.enter(_text(tokens[place:], name), int(level[1]))):
                    token = {**token, "data": {(None, "id"): anchor}}
            elif name == "table":
                bare = starts and not _has_head(tokens[place:])
                if starts:
                    yield _region(self._outline.next_table())
                    yield token
                else:
                    yield token
                    yield {"type": "EndTag", "name": "div", "namespace": None, "data": {}}
                continue
            elif name == "thead":
                head = starts
            elif name == "tr":
                cells = 0
            elif name in ("th", "td"):
                cells += starts
                if starts and (name == "th" or (bare and cells == 1)):
                    renamed = name == "td"
                    scope = {(None, "scope"): "col" if head else "row"}
                    token = {**token, "name": "th", "data": {**scope, **token["data"]}}
                elif ends and name == "td" and renamed:
                    token, renamed = {**token, "name": "th"}, False
            yield token


def _region(label: str) -> Token:
    said = {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": label}
    return {
        "type": "StartTag",
        "name": "div",
        "namespace": None,
        "data": {(None, name): value for name, value in said.items()},
    }


def _text(tokens: list[Token], name: str) -> str:
    """The text from here to the end of the element called so."""
    told = []
    for token in tokens:
        if token["type"] == "EndTag" and token["name"] == name:
            break
        if token["type"] in ("Characters", "SpaceCharacters"):
            told.append(token["data"])
    return "".join(told).strip()


def _has_head(tokens: list[Token]) -> bool:
    """Whether the table that starts here has a thead."""
    for token in tokens:
        if token["type"] == "EndTag" and token["name"] == "table":
            return False
        if token["type"] == "StartTag" and token["name"] == "thead":
            return True
    return False
