"""Markup of notebooks made inert by nh3, and given its place in a page: headings in order, tables that scroll.

What a notebook holds was written by many hands: file names, reasons and codes may be markup. Of what is not on the list
only the text stays, and of scripts and styles nothing.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import NamedTuple

import nh3

SAFE_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "details", "div", "dl", "dt", "em", "h1", "h2", "h3",
    "h4", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody",
    "td", "th", "thead", "tr", "ul",
}  # fmt: skip
"""What headings, prose and tables need."""

SAFE_ATTRIBUTES = {
    "*": {"style"}, "a": {"href"}, "abbr": {"title"}, "th": {"scope"}, "td": {"colspan", "rowspan"},
    "div": {"class"}, "pre": {"class"}, "span": {"class"},
}  # fmt: skip
SAFE_STYLES = {"text-align"}
SAFE_SCHEMES = {"http", "https", "mailto"}

HEADING = re.compile(r"h([1-4])")
TAG = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z]+="[^"]*")*)>')
"""A tag as nh3 writes it; a text that it writes has no `<`."""

_CLEANER = nh3.Cleaner(
    tags=SAFE_TAGS,
    attributes=SAFE_ATTRIBUTES,
    filter_style_properties=SAFE_STYLES,
    url_schemes=SAFE_SCHEMES,
    link_rel=None,
)


class Tag(NamedTuple):
    """A tag of clean markup, and the text up to the next one."""

    ending: str
    name: str
    attributes: str
    text: str


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
    """Markup without anything that could run or load."""
    return _CLEANER.clean(markup.decode() if isinstance(markup, bytes) else str(markup))


def place_html(markup: str | bytes, outline: Outline) -> str:
    """The same, placed in a page: an h1 becomes an h2 and so on, a table gets header cells and a region to scroll."""
    first, *pieces = TAG.split(clean_html(markup))
    tags = [Tag(*pieces[place : place + 4]) for place in range(0, len(pieces), 4)]
    placed = [first]
    in_head, is_bare, cells, made_header = False, False, 0, False  # is_bare: a table without a thead
    for place, (ending, name, attributes, text) in enumerate(tags):
        if level := HEADING.fullmatch(name):
            name = f"h{int(level[1]) + 1}"
            if not ending and (anchor := outline.enter(_text(tags, place), int(level[1]))):
                attributes = f' id="{escape(anchor)}"'
        elif name == "table" and not ending:
            is_bare = not _has_head(tags, place)
            placed.append(_region(outline.next_table()))
        elif name == "table":
            text = f"</div>{text}"
        elif name == "thead":
            in_head = not ending
        elif name == "tr":
            cells = 0
        elif name in ("th", "td") and not ending:
            cells += 1
            made_header = name == "td" and is_bare and cells == 1
            if made_header or name == "th":
                name = "th"
                if " scope=" not in attributes:
                    attributes = f' scope="{"col" if in_head else "row"}"{attributes}'
        elif name == "td" and made_header:
            name, made_header = "th", False
        placed += "<", ending, name, attributes, ">", text
    return "".join(placed)


def _region(label: str) -> str:
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'


def _text(tags: list[Tag], place: int) -> str:
    """The text of the element that starts at this place."""
    told = []
    for tag in tags[place:]:
        if tag.ending and tag.name == tags[place].name:
            break
        told.append(tag.text)
    return unescape("".join(told)).strip()


def _has_head(tags: list[Tag], place: int) -> bool:
    """Whether the table that starts here has a thead."""
    for tag in tags[place:]:
        if tag.name == "thead" or (tag.name == "table" and tag.ending):
            return tag.name == "thead"
    return False
