"""How many rows a delivery usually has, learned from the deliveries like it, and how unusual another number is.

Comparable are loaded deliveries only: what was held, refused or discarded was not what the clinic meant to send. An
increment is compared with increments: a source's first load and full refreshes are left out (lib/commit.py marks them).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from lib.deliveries import Standing

USUAL_OF = 7
"""How many of the newest comparable deliveries the usual number of rows is taken from."""
JUDGED_OF = 14
"""How many of them a number is judged by: two weeks of daily deliveries; a lasting change is usual after one."""
JUDGED_FROM = 8
"""With fewer, nothing is known of how much the number varies, and none is called unusual."""
LEAST_SHARE = 0.10
"""The least scale as a share of the median: numbers that hardly ever varied must not make every change unusual."""
TO_STANDARD_DEVIATION = 1.4826
"""What makes the median absolute deviation of normal values their standard deviation."""


def comparable_rows(earlier: Iterable[Standing]) -> list[int]:
    """Rows read by each comparable delivery, in their order."""
    loaded = [each for each in earlier if each.status == "loaded" and each.comparable]
    return [each.rows_read for each in loaded if each.rows_read is not None]


def usual_rows(comparable: Sequence[int]) -> int | None:
    """The median of the newest comparable deliveries, as whole rows; None when there is none."""
    return round(statistics.median(comparable[-USUAL_OF:])) if comparable else None


def row_count_deviation(rows: int, comparable: Sequence[int], deliveries: int = 1) -> float | None:
    """How far `rows` lies from the median of the newest comparable deliveries, in their scale; None below eight.

    This is the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993): median and median
    absolute deviation in place of mean and standard deviation, which a single odd delivery would spoil for the next.
    They call a score above 3.5 an outlier; the scale of so few numbers is rough, and above 6, the config's default, lie
    fewer than 1 in 150 of numbers that vary by chance alone (*tried*: Poisson of 1 to 1,000 rows, gamma with a standard
    deviation of up to half the mean). The scale is at least a tenth of the median, and one row. `rows` of several
    `deliveries` are judged as their mean.
    """
    newest = comparable[-JUDGED_OF:]
    if len(newest) < JUDGED_FROM:
        return None
    median = statistics.median(newest)
    spread = TO_STANDARD_DEVIATION * statistics.median(abs(each - median) for each in newest)
    return float(abs(rows / deliveries - median) / max(spread, LEAST_SHARE * median, 1))
