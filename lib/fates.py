"""Where every record of a batch went, told as frames and lines: outside the window, refused, superseded, staged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from lib.counted import counted
from lib.reconciliation import reconciliation_line as reconciliation_line
from lib.run import Run

FATES = ("outside_held", "outside_missed", "outside_invalid", "refused", "superseded", "staged")
"""Where a record can go; every record read goes to exactly one."""


def count_reasons(rejected: Path) -> dict[str, int]:
    """Refused rows by reason, most frequent first; a row with two reasons counts under both."""
    reasons = pq.read_table(rejected, columns=["reasons"])["reasons"].combine_chunks().flatten()
    counted = {each["values"]: each["counts"] for each in reasons.value_counts().to_pylist()}
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def reasons_frame(run: Run) -> pd.DataFrame:
    """One row per reason: the refused rows that have it. A row with two reasons stands in both."""
    reasons: dict[str, int] = run.manifest["reasons"]
    return pd.DataFrame({"reason": list(reasons), "rows": pd.array(list(reasons.values()), "Int64")})


def fates_frame(profile: pd.DataFrame) -> pd.DataFrame:
    """One row per scope: records read, where they went, and what is left over (always 0)."""
    frame = _told(profile)[["scope", "rows_read", *FATES]].copy()
    frame["unaccounted"] = frame["rows_read"] - frame[list(FATES)].sum(axis=1)
    return frame


def window_frame(profile: pd.DataFrame) -> pd.DataFrame:
    """One row per scope: records read, those outside the window by what is known of them, and those inside."""
    frame = _told(profile)[["scope", "rows_read", "outside_held", "outside_missed", "outside_invalid"]].copy()
    frame["inside"] = 2 * frame["rows_read"] - frame.drop(columns="scope").sum(axis=1)
    return frame


def inside(profile: pd.DataFrame) -> int:
    """Records of the batch inside the window."""
    return int(window_frame(profile[profile["is_batch"].astype(bool)])["inside"].iloc[0])


def refused_frame(profile: pd.DataFrame) -> pd.DataFrame:
    """One row per scope: refused rows, those refused before with the same text, and the new ones."""
    return _told(profile)[["scope", "refused", "known_refused", "newly_refused"]]


def versions_frame(profile: pd.DataFrame) -> pd.DataFrame:
    """One row per scope: accepted versions, those superseded within the batch, and the visits that remain."""
    frame = _told(profile)[["scope", "superseded", "staged", "same_stamp_changes"]].copy()
    frame.insert(1, "accepted", frame["superseded"] + frame["staged"])
    return frame


def actions_frame(profile: pd.DataFrame) -> pd.DataFrame:
    """One row per scope: staged visits by what loading will do with them."""
    return _told(profile)[["scope", "staged", "inserted", "updated", "unchanged"]]


def deletes_text(run: Run) -> str:
    """What the batch says of visits that are gone: counted where deliveries are full, marked where the config asks."""
    if run.settings.source.deliveries != "full":
        return "Deliveries are increments: what one lacks is not gone."
    counts = run.counts
    if "absent_visits" not in counts and not run.settings.marks_deletes:
        return "Not told of this batch: it is not new, or an id of it could not be read."
    if not run.settings.marks_deletes:
        absent = counted(counts["absent_visits"], "visit")
        return f"Not in the newest delivery: {absent} of the table, left there."
    return (
        f"{counted(counts['visits_deleted'], 'visit')} newly marked deleted, {counts['visits_restored']:,} came back."
    )


def restated_text(run: Run) -> str:
    """How many published days loading the batch changes, known before it is loaded."""
    days, limit = run.counts.get("restated_days"), run.settings.gate.max_restated_days
    if days is None:
        return "A full refresh: which days it changes is known once it is loaded."
    allowed = "no limit is set" if limit is None else f"{limit:,} are allowed"
    return f"{counted(days, 'published day')} will change; {allowed}."


def conserves_rows(profile: pd.DataFrame) -> bool:
    """Whether every record read went to exactly one place, and every staged visit has exactly one action."""
    went = profile[list(FATES)].sum(axis=1)
    merged = profile[["inserted", "updated", "unchanged"]].sum(axis=1)
    return bool((went == profile["rows_read"]).all() and (merged == profile["staged"]).all())


def deliveries_add_up(profile: pd.DataFrame) -> bool:
    """Whether the deliveries' counts sum to the batch's, an independent count of the same rows."""
    names = ["rows_read", *FATES, "inserted", "updated", "unchanged"]
    is_batch = profile["is_batch"].astype(bool)
    return bool((profile.loc[~is_batch, names].sum() == profile.loc[is_batch, names].iloc[0]).all())


def _told(profile: pd.DataFrame) -> pd.DataFrame:
    """The batch first, then its deliveries; a single one would only say the same again."""
    is_batch = profile["is_batch"].astype(bool)
    return pd.concat(
        [profile[is_batch], profile[~is_batch] if len(profile) > 2 else profile.iloc[:0]], ignore_index=True
    )
