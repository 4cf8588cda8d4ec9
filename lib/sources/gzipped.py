"""Text that may be packed by gzip, told by its first bytes, a chunk at a time."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

from lib.errors import DeliveryRefused

GZIP_MAGIC = b"\x1f\x8b"


def unpacked_chunks(raw: IO[bytes], name: str, chunk_bytes: Callable[[bool], int]) -> Iterator[bytes]:
    """The bytes of the text from its beginning, unpacked when they begin as gzip does. `chunk_bytes` is asked before
    each chunk, and told whether it is packed.

    Raises DeliveryRefused for gzip that is damaged or cut short, and when there is no text at all.
    """
    raw.seek(0)
    packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    raw.seek(0)
    stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb")) if packed else raw
    done = 0
    try:
        while chunk := stream.read(chunk_bytes(packed)):
            done += len(chunk)
            yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = "is cut short" if isinstance(error, EOFError) else "is damaged, or other bytes follow it"
        raise DeliveryRefused(f"{name}: the gzip {what} (after {done:,} bytes of text). Have it sent again.") from None
    if not done:
        raise DeliveryRefused(f"{name}: is empty (0 bytes{' of text' if packed else ''}). Have it sent again.")
