"""Late arrivals: how far behind the watermark versions came, and which lookback would have caught them.

A version's lateness is the watermark at its run's start less its stamp, in whole hours rounded up; at or after the
watermark it is 0. A lookback of that many hours catches it. Counted are versions that said something new: loaded ones
(inserted or updated) and missed ones. A row that is missed again with every full delivery counts each time.
"""

from __future__ import annotations

import math

import pandas as pd

from lib.loads import COVERED_SHARE, covering_lookback
from lib.run import Run
from lib.warehouse import reading

EDGES = (0, 1, 3, 6, 12, 24, 48, 72, 96, 120, 168, 336, 720)
"""Hours; a bin holds what is later than its first edge, up to its second; the last is open."""


def bins_frame(hours: pd.DataFrame) -> pd.DataFrame:
    """Whole hours (hours, loaded, missed) in bins, without what was not late. Grain: one row per bin (from, to]."""
    late = hours[hours["hours"] > 0]
    places = pd.cut(late["hours"].astype("float64"), [*EDGES, math.inf], labels=False)
    summed = late[["loaded", "missed"]].astype("int64").groupby(places).sum().reindex(range(len(EDGES)), fill_value=0)
    ends = pd.array([*EDGES[1:], None], dtype="Int64")
    return pd.DataFrame({"hours_from": EDGES, "hours_to": ends, **summed})


def punctual_text(hours: pd.DataFrame) -> str:
    """How many of the versions that said something new were not late, and how many were."""
    versions = (hours["loaded"] + hours["missed"]).astype("int64")
    late = int(versions[hours["hours"] > 0].sum())
    return f"New or corrected rows: {int(versions.sum()) - late:,} at or after the watermark, {late:,} behind it."


def missed_text(run: Run) -> str:
    """How many rows came too late, and which lookback would have caught them; whole hours, so that no stamp is told."""
    missed, needs = run.counts.get("outside_missed", 0), run.manifest.get("missed_needs_hours")
    if not missed or needs is None:
        return "No row was missed."
    return f"{missed:,} missed: a lookback of {math.ceil(needs):,} h would have caught them, as --full-refresh will."


def covering_text(run: Run) -> str:
    """The lookback that covers 99.9 % of all lateness the source ever showed, beside the one in use."""
    with reading(run.layout) as connection:
        hours = covering_lookback(connection, run.source)
    if hours is None:
        return "No version came behind a watermark yet: nothing can be said of the lookback."
    enough = "is enough" if run.window.lookback_hours >= hours else "is too short"
    return (
        f"A lookback of {hours:,} h covers {COVERED_SHARE:.1%} of all lateness seen; "
        f"the one in use, {run.window.lookback_hours:g} h, {enough}."
    )
