"""The journal of decisions that people took about deliveries: appended, never changed. No patient's id is in it."""

from __future__ import annotations

from typing import Literal

from lib.clock import instant_text, now
from lib.files import append_line
from lib.layout import Layout
from lib.provenance import actor

Decision = Literal["accept", "discard", "reinstate"]


def record_decision(layout: Layout, decision: Decision, *, source: str, delivery: int, scope: str, reason: str) -> None:
    """Append who decided what, when and why, about one delivery."""
    entry = {
        "time": instant_text(now()),
        "actor": actor(),
        "decision": decision,
        "source": source,
        "delivery": delivery,
        "scope": scope,
        "reason": reason,
    }
    append_line(layout.decisions, entry)
