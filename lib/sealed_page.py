"""A page's last line holds the SHA-256 of all that is before it, so an edited page is told from the one written."""

from __future__ import annotations

from lib.standalone import digest
from lib.standalone import is_sealed_page as is_sealed


def seal(page: bytes) -> bytes:
    """The page with its last line. A page that does not end its last line gets a newline first."""
    whole = page if page.endswith(b"\n") else page + b"\n"
    return whole + f"<!-- sha256 of the page before this line: {digest(whole)} -->\n".encode()


__all__ = ["is_sealed", "seal"]
