"""One page for people: a template and the style of lib/pages, in one file that needs nothing else and runs nothing."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lib.files import whole_file
from lib.sealed_page import seal

FOLDER = Path(__file__).with_name("pages")
VERDICT_CLASSES = {
    "PASSED": "passed",
    "PASSED WITH WARNINGS": "warned",
    "PASSED BY OVERRIDE": "overridden",
    "FAILED": "failed",
}
"""Verdict: how the style calls it. Whatever is none of these is shown without a colour."""

HYPHENED = re.compile(
    r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)?)?"  # a day, an instant
    r"|\d{6}-\d{8}T\d{6}Z"  # a run id
    r"|--[a-z][a-z-]*"  # an option
)
UNIT = re.compile(r"(?<=\d) (?=%|(?:h|s|min)\b)")


def write_page(path: Path, template: str, **facts: Any) -> Path:
    """Render the template and write it sealed, whole or not at all. Whatever `facts` hold is escaped.

    Mode 0600; where its folder is open to an audit group (`readers_group`), the page is as well, and no further.
    """
    text = _environment().get_template(template).render(facts)
    with whole_file(path) as stream:
        stream.write(seal(text.encode()))
    folder = path.parent.stat()
    if folder.st_mode & 0o040:
        os.chown(path, -1, folder.st_gid)
        path.chmod(0o640)
    return path


def learn_templates() -> None:
    """Compile now the templates that the end of a run needs."""
    for template in ("report.html.j2", "index.html.j2"):
        _environment().get_template(template)


def _unbroken(text: str) -> Markup:
    """The text with what a browser would break at hyphens kept whole, and units beside their numbers."""
    whole = HYPHENED.sub(r'<span class="whole">\g<0></span>', str(escape(text)))
    return Markup(UNIT.sub("\N{NO-BREAK SPACE}", whole))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The style is this project's own file: the one text that goes into a page unescaped.
    environment.globals["style"] = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    environment.filters["verdict_class"] = lambda verdict: VERDICT_CLASSES.get(verdict, "none")
    environment.filters["unbroken"] = _unbroken
    environment.filters["anchor"] = lambda text: re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")
    return environment
