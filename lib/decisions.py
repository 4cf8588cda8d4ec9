"""What people decide, and the journal of it: appended, chained, never changed. No patient's id is in it.

An entry says when, who, what (accept, discard, reinstate, waive, reveal, trace, sign), about what and why. The journal
is written first, then the effect: a decision without its effect can be repeated, an effect without a decision cannot
be explained.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

from lib.clock import instant_text, now
from lib.deliveries import Standing, Status, mark, standings
from lib.errors import UsageError
from lib.files import sha256_of_file
from lib.journal import append_entry, read_entries
from lib.layout import Layout
from lib.lock import hold_warehouse
from lib.manifest import FILE_NAME, Manifest
from lib.provenance import actor
from lib.warehouse import transaction, writing

Decision = Literal["accept", "discard", "reinstate", "waive", "reveal", "trace", "sign"]
Meaning = Literal["reviewed", "approved"]
JOURNAL = "runs/decisions.jsonl"


@dataclass(frozen=True)
class SignOff:
    """Somebody's word for a run: who, what it means, when, and the SHA-256 of the manifest that was signed."""

    run_id: str
    actor: str
    meaning: str
    time: str
    manifest_sha256: str

    @property
    def text(self) -> str:
        return f"{self.meaning} by {self.actor}"


def record_decision(
    layout: Layout, decision: Decision, *, source: str, scope: str, reason: str | None, **facts: Any
) -> dict[str, Any]:
    """Append who decided what, when and why; the entry. `facts` are what a program reads again, such as delivery."""
    entry = {
        "time": instant_text(now()),
        "actor": actor(),
        "decision": decision,
        "source": source,
        **facts,
        "scope": scope,
        "reason": reason,
    }
    append_entry(layout.decisions, entry)
    layout.publish()
    return entry


def note_look(layout: Layout, decision: Literal["reveal", "trace"], *, source: str, scope: str) -> None:
    """Append that somebody looks at what is hidden. Raises UsageError where it cannot be noted: show nothing then."""
    try:
        record_decision(layout, decision, source=source, scope=scope, reason=None)
    except OSError as error:
        raise UsageError(
            f"{JOURNAL}: cannot be written ({os.strerror(error.errno or 0)}); identifiers are shown only where that is "
            "noted."
        ) from None


def discard_delivery(layout: Layout, source: str, sequence: int, reason: str) -> str:
    """Take a delivery out of every later run; its bytes stay. What was done, in one line.

    Raises UsageError when there is no such delivery, or it is discarded already, or loaded: its rows are in the tables.
    """
    return _decide(layout, "discard", source, sequence, reason, ("pending", "held", "refused"), "discarded")


def reinstate_delivery(layout: Layout, source: str, sequence: int, reason: str) -> str:
    """Make a discarded delivery pending again. What was done, in one line. Raises UsageError for any other."""
    return _decide(layout, "reinstate", source, sequence, reason, ("discarded",), "pending")


def sign_run(layout: Layout, run_id: str, meaning: Meaning, note: str) -> str:
    """Sign an ended run's record as it is now. What was done, in one line. Raises UsageError for any other run."""
    if run_id not in layout.run_ids():
        raise UsageError("sign: there is no such run; see python run_pipeline.py history.")
    manifest = Manifest.read(layout.record(run_id))
    if not manifest.get("ended"):
        raise UsageError(f"run {run_id} has not ended; sign it when it has.")
    record_decision(
        layout,
        "sign",
        source=manifest["source"],
        run_id=run_id,
        meaning=meaning,
        manifest_sha256=sha256_of_file(layout.record(run_id) / FILE_NAME),
        scope=f"run {run_id}, {meaning}",
        reason=note,
    )
    return f"run {run_id} ({manifest['outcome']}) is {meaning} by {actor()}."


def sign_offs(layout: Layout) -> list[SignOff]:
    """Every sign-off, oldest first."""
    names = ("run_id", "actor", "meaning", "time", "manifest_sha256")
    signed = [each for each in read_entries(layout.decisions) if each.get("decision") == "sign"]
    return [SignOff(**{name: str(each.get(name)) for name in names}) for each in signed]


def _decide(
    layout: Layout,
    decision: Literal["discard", "reinstate"],
    source: str,
    sequence: int,
    reason: str,
    allowed: tuple[Status, ...],
    status: Status,
) -> str:
    locked = hold_warehouse(layout, f"deliveries {decision}")
    with locked, writing(layout) as connection, transaction(connection):
        chosen = _find(standings(connection, source), sequence, source)
        if chosen.status not in allowed:
            raise UsageError(
                f"delivery {sequence} of {source} is {chosen.status}; only {' or '.join(allowed)} ones can be"
                f" {'discarded' if decision == 'discard' else 'reinstated'}."
            )
        record_decision(layout, decision, source=source, delivery=sequence, scope=chosen.status, reason=reason)
        mark(connection, chosen.delivery, status, reason=reason if status == "discarded" else None)
    return f"delivery {sequence} of {source} ({chosen.delivery.name}) is {status} now; it was {chosen.status}."


def _find(all_standings: list[Standing], sequence: int, source: str) -> Standing:
    for each in all_standings:
        if each.delivery.sequence == sequence:
            return each
    raise UsageError(f"{source} has no delivery {sequence}; see python run_pipeline.py deliveries.")
