"""Where a batch's records went, in words: one list of fates and one line that accounts for every record."""

from __future__ import annotations

FATE_WORDS = {
    "rows_read": "rows read",
    "outside_held": "outside the window, already held",
    "outside_missed": "outside the window, missed",
    "outside_invalid": "outside the window, invalid",
    "refused": "refused (quarantine)",
    "superseded": "superseded within the batch",
    "staged": "staged",
    "inserted": "  inserted",
    "updated": "  updated",
    "unchanged": "  unchanged",
}
"""Every count of a run that adds up, in its words; what is indented is part of the one above."""


def reconciliation_line(counts: dict[str, int], loaded: bool = True) -> str:
    """One line that accounts for every record read; 'nothing was read' before staging. Of a batch that was not loaded:
    what loading would have done."""
    if not counts:
        return "nothing was read"
    would = "" if loaded else "not loaded; would be: "
    outside = counts["outside_held"] + counts["outside_missed"] + counts["outside_invalid"]
    return (
        f"{counts['rows_read']:,} read = {outside:,} outside the window + {counts['refused']:,} refused"
        f" + {counts['superseded']:,} superseded + {counts['staged']:,} staged"
        f" ({would}{counts['inserted']:,} inserted, {counts['updated']:,} updated, {counts['unchanged']:,} unchanged)"
    )
