"""What the private log keeps of foreign texts: known words. Everything else in them may be a patient's value.

pandas, DuckDB, SQLite, Arrow and GX quote values in exceptions, warnings and log messages. Their class, their stack and
the words that such messages are made of find a defect; the values do not. Our own exceptions hold no value by rule and
stay as they are. Only the standard library and `lib.errors`: this runs before the first cell of every kernel.
"""

from __future__ import annotations

import builtins
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from lib.errors import PipelineError

MASK = "•••"

_WORDS = """
    a about above after again all already an and another any are argument arguments array as at attribute attributes
    bad be because been before being below between binder bool boolean both break buffer but by byte bytes call called
    calls can cannot cast catalog cause cell cells changed character characters check closed codec codepoint column
    columns conversion constraint context convert converted copy corrupt could couldn create current cursor
    data database dataframe date datetime decimal decode default delimiter did differ different dimension disk do does
    doesn don double dtype duplicate during each element else empty encode encoding end ended error errors
    evaluate exception exceeded exceptions exist existing exists expected extra failed failure false few field fields
    file files finite first float following for format found frame from full function future got greater group had
    handling has have header held identifier if ignored image implicit import in index infinite infer inner input
    inside int integer interface internal into invalid io is it item items its iterable key keys keyword kernel label
    larger last left length less level line lines list literal local locked long longer loop lost malformed many match
    matching maximum memory message minimum missing mismatch mode module more most must name names near nan nat need
    needed needs negative never new next no none not nothing null number object objects of off offset on one only open
    operation option or order other out outer over overflow overlap page parameter parse parser parsing pass passed
    path pattern permission position positional possible precision previous query raise raised range read reading
    reason recent record recursion reference required result return right row rows same scalar schema select set shape
    short should since size smaller some start statement stream str string strings syntax system table take taken task
    terminated text than that the their then there these this thread time timed timestamp to token too traceback
    true truncated try tuple two type types unable unconverted undefined underlying unexpected unicode unique unknown
    unrecognized unsupported until update use used using utf valid validate validation value values view warning was
    were when where which while will with within without work would write wrong year you zero such ago
    visit_id patient_id provider_id diagnosis_code visit_date visit_cost last_updated
"""
KNOWN_WORDS = frozenset(_WORDS.split())

_WORD = re.compile(r"\w+")
_MASKED = re.compile(rf"{MASK}(?:[^\w\n]*{MASK})+")
_PLACE = re.compile(r'(\s*(?:[|+] )*)File "(?P<path>[^"\n]+)", line \d+(?:, in [\w<>.]+)?')
_A_CELL = re.compile(r".*[/\\]ipykernel_\d+[/\\]\d+\.py|<(?:string|stdin|frozen [\w.]+|ipython-input-[\w-]+)>")


def scrub(text: str) -> str:
    """The text with every word masked that is not known; a traceback's places (file, line, function) stay."""
    return "\n".join(line if _is_place(line) else _masked(line) for line in text.split("\n"))


def told_exception(error: BaseException) -> str:
    """The exception, its causes and its group: class, whole stack with source lines, message scrubbed unless ours."""
    return "".join(_told(error, set()))


class ScrubbingFormatter(logging.Formatter):
    """Log records of foreign code, for the private log."""

    def format(self, record: logging.LogRecord) -> str:
        told = told_exception(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        return f"{record.levelname} {record.name}: {scrub(record.getMessage())}\n{told}".rstrip("\n")


def _told(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _told(before, seen)
        yield "\nwhich caused:\n\n" if error.__cause__ else "\nwhile that was handled:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    kind = type(error)
    yield f"{kind.__module__}.{kind.__qualname__}: {_message(error)}\n"
    yield from (f"{scrub(str(note))}\n" for note in getattr(error, "__notes__", ()))
    for number, member in enumerate(getattr(error, "exceptions", ()), 1):
        if isinstance(member, BaseException) and id(member) not in seen:
            yield f"--- {number} of the group\n"
            yield from _told(member, seen)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        return MASK
    return text if isinstance(error, PipelineError) else scrub(text)


def _is_place(line: str) -> bool:
    found = _PLACE.fullmatch(line)
    return found is not None and (bool(_A_CELL.fullmatch(found["path"])) or Path(found["path"]).is_file())


def _masked(line: str) -> str:
    known = _WORD.sub(lambda word: word[0] if _is_known(word[0]) else MASK, line)
    plain = "".join(
        each if each == "•" or (each.isascii() and (each.isprintable() or each == "\t")) else " " for each in known
    )
    return _MASKED.sub(MASK, plain)


def _is_known(word: str) -> bool:
    kind = getattr(builtins, word, None)
    return word.lower() in KNOWN_WORDS or (isinstance(kind, type) and issubclass(kind, BaseException))
