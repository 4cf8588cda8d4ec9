"""What every source offers, and every format of delivery: its records as texts, whatever they were written as.

Judging (judge.sql in lib/sql/staging) reads these texts and nothing else, so a value means the same in every format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa

from lib.config import Settings
from lib.deliveries import Delivery

FIELD_LIMIT = 1 << 20
"""Characters in one field; a longer one makes its record malformed."""

RECORD_LIMIT = 16 << 20
"""Characters in one record: what is held in memory at most."""

MALFORMED, IS_VISIBLE = "malformed", "is_visible"


@dataclass(frozen=True)
class Reading:
    """What was read: records (malformed ones among them), malformed records, header names, physical lines (of a format
    without lines, records)."""

    rows: int
    malformed: int
    header: tuple[str, ...]
    lines: int


def records_schema(settings: Settings) -> pa.Schema:
    """The columns of `Reader.batches`."""
    texts = [(ours, pa.string()) for ours in settings.wanted]
    return pa.schema([("source_line", pa.int64()), *texts, (MALFORMED, pa.string()), (IS_VISIBLE, pa.bool_())])


class Offer(Protocol):
    """Something that a source offers now: a file, or the result of a query."""

    @property
    def key(self) -> str:
        """What it is called in the ledger: its deliveries are compared with those of this key."""

    @property
    def name(self) -> str:
        """What it is called in messages. Its ending may tell the format."""

    @property
    def bytes(self) -> int | None:
        """How long it is, where that is known before it is taken."""

    def is_still(self, last: Delivery) -> bool:
        """Whether it is known, without taking it, to be its last delivery still."""

    def copy_to(self, copy: Path) -> tuple[str, int]:
        """Write it whole to `copy`, read-only and synced: its SHA-256 and size."""


class Reader(Protocol):
    """Reads one delivery, once."""

    @property
    def reading(self) -> Reading:
        """What was read so far."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records. Grain: one row a record; those of a batch in no order.

        `source_line` is where it stands: the physical line it starts on, or its number; then a text column per
        `settings.wanted` name, untrimmed, null where it has none; then `malformed`, the text of a record that is not a
        row of the table, whose other texts are null. Where `is_visible`, every cell is known to be of visible ASCII and
        inner spaces only: there is nothing to trim and no character to refuse.

        Raises DeliveryRefused when the delivery as a whole is not what it should be, though some records of it may
        have been given by then.
        """


class Format(Protocol):
    """A module that reads one format."""

    def open_reader(self, raw: IO[bytes], settings: Settings, name: str) -> Reader:
        """A reader of the stored bytes `raw`; `name` is the delivery's name in messages."""
