"""What shows patients' data on a terminal: only to a person who sits there, and noted in the journal of decisions."""

from __future__ import annotations

import sys

from lib.decisions import note_look
from lib.errors import UsageError
from lib.layout import Layout


def allow_reveal(layout: Layout, source: str, scope: str) -> None:
    """Note that `scope` (a command, never an id) is shown. Raises UsageError when input or output is no terminal, or
    where it cannot be noted."""
    require_terminal()
    note_look(layout, "reveal", source=source, scope=scope)


def require_terminal() -> None:
    """Raises UsageError when input or output is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--reveal: shows patients' data only on a terminal, to you; leave it out in pipes and scripts."
        )
