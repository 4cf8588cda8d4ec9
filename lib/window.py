"""The window: which rows of a delivery a run looks at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Window:
    """Rows with `last_updated >= cutoff` are in the batch; without a watermark, every row is.

    The lookback is measured from the watermark, not from now: a week without runs loses nothing.
    """

    watermark: datetime | None
    lookback_hours: float

    @property
    def cutoff(self) -> datetime | None:
        """The watermark less the lookback, inclusive; None while there is no watermark."""
        if self.watermark is None:
            return None
        floor = datetime.min.replace(tzinfo=self.watermark.tzinfo)
        reach = timedelta(hours=self.lookback_hours)
        return self.watermark - reach if self.watermark - floor > reach else floor


def next_watermark(old: datetime | None, newest_loaded: datetime | None, as_of: datetime) -> datetime | None:
    """max(old, min(as-of, newest)): it never falls and never passes the run's clock."""
    reached = min(as_of, newest_loaded) if newest_loaded else None
    return max((each for each in (old, reached) if each), default=None)
