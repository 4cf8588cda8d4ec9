"""The records of several deliveries as one stream, delivery by delivery, each snapshot hashed as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from lib.config import Settings
from lib.deliveries import Delivery
from lib.errors import DeliveryRefused
from lib.layout import Layout
from lib.raw import open_snapshot
from lib.sources.choose import format_named, format_of
from lib.sources.interface import Reading, records_schema


class BatchReader:
    """Reads deliveries while `records` is drawn from; `readings` and `refusals` then say what came of each, by number.

    A refused delivery may have given some records already: whoever drew them leaves them out, or takes none at all.
    """

    def __init__(self, layout: Layout, settings: Settings, deliveries: Iterable[Delivery]) -> None:
        self.readings: dict[int, Reading] = {}
        self.refusals: dict[int, DeliveryRefused] = {}
        self.layout, self.settings, self.deliveries = layout, settings, deliveries
        self._schema = records_schema(settings).insert(0, pa.field("delivery_seq", pa.int64()))
        self._failure: BaseException | None = None

    @property
    def records(self) -> pa.RecordBatchReader:
        """All records, as lib/sources/interface.py has them, with their delivery_seq. It can be drawn from once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def require_sound(self) -> None:
        """Raise what ended the stream: StoredDataChanged for an altered snapshot. No engine could carry it through."""
        if self._failure:
            raise self._failure

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for each in self.deliveries:
                try:
                    yield from self._delivery(each)
                except DeliveryRefused as refusal:
                    self.refusals[each.sequence] = refusal
        except GeneratorExit:
            raise
        except BaseException as failure:
            self._failure = failure

    def _delivery(self, delivery: Delivery) -> Iterator[pa.RecordBatch]:
        with open_snapshot(self.layout, delivery) as raw:
            kind = format_named(format_of(delivery.name, self.settings))
            reader = kind.open_reader(raw, self.settings, delivery.name)
            for batch in reader.batches():
                sequence = pa.repeat(pa.scalar(delivery.sequence, pa.int64()), batch.num_rows)
                yield pa.RecordBatch.from_arrays([sequence, *batch.columns], schema=self._schema)
        self.readings[delivery.sequence] = reader.reading
