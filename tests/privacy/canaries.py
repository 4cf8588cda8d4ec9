"""Values that no clinic has, in every shape that a patient's may take; put into any file, and looked for everywhere.

Every text among them holds STEM; costs, a stamp and an SQL-like id are looked for in the ways in which they may be
written. Only snapshots, staging and the warehouse may hold them.
"""

from __future__ import annotations

import gzip
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

STEM = "zqxwv"
CELLS = {
    "visit_id": "VZQXWV-90817",
    "patient_id": "Ines Zqxwvary",
    "provider_id": "Dr. Zqxwv Haus",
    "diagnosis_code": "Z9.ZQXWV",
    "visit_cost": "73391.47",
    "last_updated": "2025-03-01T11:37:13Z",
}
"""By column; a name with a space, ids of letters and digits, a code, a cost, a stamp."""

TEXTS = {"TIE": "VZQXWV-90817", "P1": "Ines Zqxwvary", "canary": "zqxwv-bird"}
"""What the tests' rows hold, and what is put in its place. Codes, providers and costs are left: of many visits together
they may be told, of one they may not (CELLS)."""

TELLING = re.compile(
    r"(?<![0-9A-Za-z])73[,.' \u202f]?391(?:[.,]?47)?(?![0-9A-Za-z])"  # 73391.47 73,391.47 7339147 73391
    r"|(?<![0-9A-Za-z,.])73[,.]?400(?![0-9A-Za-z,.])"  # to three digits
    r"|11:37:13"
)
MAY_HOLD_ROWS = ("raw", "staging", "warehouse.db", "warehouse.duckdb")
_PICTURES = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]+")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def plant(content: str | bytes) -> bytes:
    """The same file with canaries for its patients, whatever it is written or packed in."""
    if isinstance(content, str):
        return _replaced(content).encode()
    if content[:2] == b"\x1f\x8b":
        try:
            return gzip.compress(plant(gzip.decompress(content)), mtime=0)
        except (OSError, EOFError):
            return content
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1"
    return _replaced(content.decode(encoding)).encode(encoding)


def _replaced(text: str) -> str:
    for plain, canary in TEXTS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(plain)}(?![\w.])", canary, text)
    return text


def hits(text: str, further: Iterable[str] = ()) -> set[str]:
    """The canaries in a text, however it is escaped, wrapped or drawn; `further` are texts to look for beside them."""
    plain = unicodedata.normalize("NFKC", html.unescape(_ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)))
    packed = re.sub(r"[\s│|]+", "", plain).casefold()
    found = {STEM} if STEM in packed else set()
    return found | set(TELLING.findall(plain)) | {each for each in further if each in plain}


def spilled(data_dir: Path, further: Iterable[str] = ()) -> list[str]:
    """The files of a data folder that hold a canary and may not, with what they hold."""
    further, found = list(further), []
    for path in sorted(data_dir.rglob("*")):
        place = path.relative_to(data_dir)
        if path.is_file() and not place.parts[0].startswith(MAY_HOLD_ROWS):
            held = set().union(*(hits(text, further) for text in (str(place), *texts_of(path))))
            found += [f"{place}: {', '.join(sorted(held))}"] if held else []
    return found


def texts_of(path: Path) -> Iterator[str]:
    """What a file says: as it stands, and as who reads it reads it (JSON's strings joined, HTML without its tags)."""
    text = _PICTURES.sub("", path.read_bytes().decode(errors="replace"))
    if path.suffix in (".ipynb", ".json", ".jsonl"):
        for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
            try:
                yield "\n".join(_strings(json.loads(line)))
            except ValueError:
                yield line
        return
    yield text
    if path.suffix == ".html":
        yield re.sub(r"<[^>]*>", "", text)


def _strings(node: Any) -> Iterator[str]:
    """Every text and number of a JSON document, keys too; lists of texts joined, as nbformat cuts them. No pictures."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            if not key.startswith("image/"):
                yield from _strings(value)
    elif isinstance(node, list):
        texts = [each for each in node if isinstance(each, str)]
        yield "".join(texts)
        for each in node:
            yield from _strings(each)
    elif node is not None:
        yield str(node)
