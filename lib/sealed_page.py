"""A page's last line holds the SHA-256 of all that is before it, so that an edited page is told from the one written.

Standard library only: the records are also verified without this project's packages.
"""

from __future__ import annotations

import hashlib
import re

SEAL = re.compile(rb"<!-- sha256 of the page before this line: ([0-9a-f]{64}) -->\n\Z")
"""The last line of a page, at its very end."""


def seal(page: bytes) -> bytes:
    """The page with its last line. A page that does not end its last line gets a newline first."""
    whole = page if page.endswith(b"\n") else page + b"\n"
    return whole + f"<!-- sha256 of the page before this line: {hashlib.sha256(whole).hexdigest()} -->\n".encode()


def is_sealed(data: bytes) -> bool:
    """Whether the page is what was written: its last line is there, and holds the SHA-256 of all bytes before it."""
    found = SEAL.search(data)
    if found is None:
        return False
    begins_a_line = found.start() == 0 or data[found.start() - 1 : found.start()] == b"\n"
    return begins_a_line and hashlib.sha256(data[: found.start()]).hexdigest().encode() == found[1]
