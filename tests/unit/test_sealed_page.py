"""A page is sealed by its last line: any edit of any byte is seen."""

from __future__ import annotations

import hashlib

import pytest

from lib.sealed_page import is_sealed, seal

PAGE = "<!doctype html>\n<p>Zürich</p>\n".encode()


def test_the_last_line_holds_the_hash_of_all_before_it() -> None:
    digest = hashlib.sha256(PAGE).hexdigest()
    assert seal(PAGE) == PAGE + f"<!-- sha256 of the page before this line: {digest} -->\n".encode()
    assert is_sealed(seal(PAGE))
    assert is_sealed(seal(PAGE.rstrip(b"\n"))), "a page without a final newline"


def test_every_edit_of_one_byte_is_seen() -> None:
    sealed = seal(PAGE)
    for place in range(len(sealed)):
        edited = bytearray(sealed)
        edited[place] ^= 1
        assert not is_sealed(bytes(edited)), place
        assert not is_sealed(sealed[:place] + sealed[place + 1 :]), f"without byte {place}"
        assert not is_sealed(sealed[:place] + b" " + sealed[place:]), f"with a byte more at {place}"


@pytest.mark.parametrize(
    "page",
    [b"", PAGE, seal(PAGE) + b"\n", seal(PAGE) + b"<p>more</p>\n", seal(PAGE)[:-1], b"x" + seal(PAGE)],
    ids=["empty", "never sealed", "a line more", "more below", "the end cut off", "more above"],
)
def test_a_page_that_was_not_written_so_is_not_sealed(page: bytes) -> None:
    assert not is_sealed(page)
