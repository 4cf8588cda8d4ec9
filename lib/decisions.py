"""What people decide about deliveries, and the journal of it: appended, never changed. No patient's id is in it."""

from __future__ import annotations

from typing import Literal

from lib.clock import instant_text, now
from lib.deliveries import Standing, Status, mark, standings
from lib.errors import UsageError
from lib.files import append_line
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.provenance import actor
from lib.warehouse import transaction, writing

Decision = Literal["accept", "discard", "reinstate", "reveal"]


def record_decision(
    layout: Layout, decision: Decision, *, source: str, delivery: int | None, scope: str, reason: str
) -> None:
    """Append who decided what, when and why, about one delivery or none."""
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


def discard_delivery(layout: Layout, source: str, sequence: int, reason: str) -> str:
    """Take a delivery out of every later run; its bytes stay. What was done, in one line.

    Raises UsageError when there is no such delivery, or it is discarded already, or loaded: its rows are in the tables.
    """
    return _decide(layout, "discard", source, sequence, reason, ("pending", "held", "refused"), "discarded")


def reinstate_delivery(layout: Layout, source: str, sequence: int, reason: str) -> str:
    """Make a discarded delivery pending again. What was done, in one line. Raises UsageError for any other."""
    return _decide(layout, "reinstate", source, sequence, reason, ("discarded",), "pending")


def _decide(
    layout: Layout,
    decision: Literal["discard", "reinstate"],
    source: str,
    sequence: int,
    reason: str,
    allowed: tuple[Status, ...],
    status: Status,
) -> str:
    locked = hold_warehouse(layout.lock_file, f"deliveries {decision}")
    with locked, writing(layout) as connection, transaction(connection):
        chosen = _find(standings(connection, source), sequence, source)
        if chosen.status not in allowed:
            raise UsageError(
                f"delivery {sequence} of {source} is {chosen.status}; only {' or '.join(allowed)} ones can be"
                f" {'discarded' if decision == 'discard' else 'reinstated'}."
            )
        # The journal first: a decision without its effect can be repeated, an effect without a decision cannot
        # be explained.
        record_decision(layout, decision, source=source, delivery=sequence, scope=chosen.status, reason=reason)
        mark(connection, chosen.delivery, status, reason=reason if status == "discarded" else None)
    return f"delivery {sequence} of {source} ({chosen.delivery.name}) is {status} now; it was {chosen.status}."


def _find(all_standings: list[Standing], sequence: int, source: str) -> Standing:
    for each in all_standings:
        if each.delivery.sequence == sequence:
            return each
    raise UsageError(f"{source} has no delivery {sequence}; see python run_pipeline.py deliveries.")
