"""Planted faults: each breaks one rule of the pipeline, and the histories must turn red.

A mutant is planted in this process, in a statement's text or a function's code, never in a file. Each has a short
history that finds it, for test_mutants.py. This command asks whether the random histories of test_properties.py find it
as well, and prints a table: mutant, how many histories it took, what differed first.

    python -m tests.pipeline.mutants [NAME ...]          MUTANT_HISTORIES=300: at most so many a mutant
"""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, settings

from lib import commit, extract, sql
from tests.histories import BASE, HOUR, Deliver, Dies, Item, Run, Step, spelled
from tests.pipeline.beside import INCREMENTS, Source, check_history

MARKED = Source(full=True, marks_deletes=True, any_share=True)
HISTORIES = int(os.environ.get("MUTANT_HISTORIES", "300"))


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in `place` (a statement's name, or a function) and becomes `new`; `history` finds that out."""

    name: str
    place: Any
    old: str
    new: str
    history: tuple[Step, ...]
    source: Source = INCREMENTS

    @property
    def text(self) -> str:
        """What `place` says without the mutant."""
        return (
            sql._text(self.place, "duckdb" if self.place.startswith("staging/") else "sqlite")
            if isinstance(self.place, str)
            else inspect.getsource(self.place)
        )


def visit(visit_id: str, hours: float = 0, **cells: str) -> Item:
    """A good row, stamped so many hours from BASE."""
    good = {"patient_id": "p1", "visit_date": "2025-12-01", "visit_cost": "10"}
    return {"visit_id": visit_id, **good, "last_updated": spelled(BASE + hours * HOUR, "Z"), **cells}


def deliveries(*contents: tuple[Item, ...]) -> tuple[Step, ...]:
    """Each delivery with its run, an hour apart."""
    steps: list[Step] = []
    for number, items in enumerate(contents, 1):
        steps += [Deliver(f"{number}.csv", items), Run(BASE + number * HOUR)]
    return tuple(steps)


def step(name: str) -> str:
    """A step of the commit, whatever its number is."""
    return next(f"warehouse/load/{each}" for each in commit.STEPS if each.endswith(name))


V1, V2 = visit("v1"), visit("v2")
TELLING = "(j.visit_id IS NULL OR has_reason(j.reasons, 'invalid_visit_id'))"
KEEPING = "    with kind_of(connection).keeping_load("
MUTANTS = (
    Mutant(
        "> for >= at the cutoff",
        "staging/judge", "parsed_stamp >= $cutoff", "parsed_stamp > $cutoff",
        deliveries((V1,), (visit("late", -24),)),
    ),
    Mutant(
        "< in the merge: the older version wins",
        "staging/order_versions", "ORDER BY stamp, ", "ORDER BY stamp DESC, ",
        deliveries((V1,), (visit("v1", -1, visit_cost="20"),)),
    ),
    Mutant(
        "of equal stamps the earlier delivered wins",
        "staging/order_versions", "ORDER BY stamp, delivery_seq,", "ORDER BY stamp, delivery_seq DESC,",
        deliveries((V1,), (visit("v1", visit_cost="20"),)),
    ),
    Mutant(
        "watermark from refused rows",
        "staging/profile", "max(stamp) FILTER (WHERE is_accepted AND is_inside)", "max(stamp) FILTER (WHERE is_inside)",
        deliveries((visit("v1", -3), visit("v2", patient_id=""))),
    ),
    Mutant(
        "only the new day is rebuilt",
        step("touched_days"), "WHERE day_before IS NOT NULL AND", "WHERE day_after IS NULL AND",
        deliveries((V1,), (visit("v1", 1, visit_date="2025-12-02"),)),
    ),
    Mutant(
        "state before data",
        commit._commit, KEEPING,
        '    with kind_of(connection).keeping_content(connection, ["state"], None):\n'
        f'        connection.execute(statement("{step("save_state")}"), values)\n'
        '    connection.execute("COMMIT")\n    connection.execute("BEGIN IMMEDIATE")\n' + KEEPING,
        (*deliveries((V1,)), Deliver("2.csv", (visit("v2", 1),)), Run(BASE + 2 * HOUR, dies=Dies("commit", 4))),
    ),
    Mutant(
        "the newest run's clock for all deliveries",
        extract.choose_run_batch, '"deliveries": [asdict(each) for each in',
        '"deliveries": [asdict(each) | {"clock": instant_text(run.as_of)} for each in',
        (*deliveries((V1, visit("v2", 48))), Run(BASE + 72 * HOUR, full_refresh=True)),
    ),
    Mutant(
        "an older version closes a newer refusal",
        step("close_quarantine"), "(v.stamp, v.delivery_seq, v.source_line) >",
        "(v.stamp, v.delivery_seq, v.source_line) <",
        deliveries((visit("v1", -1), visit("v1", patient_id=""))),
    ),
    Mutant(
        "refused ids are not present",
        "staging/deletions", "WHERE visit_id IS NOT NULL", "WHERE is_accepted",
        deliveries((V1, V2), (V1, visit("v2", visit_cost="x"))), MARKED,
    ),
    Mutant(
        "ids outside the window are not present",
        "staging/deletions", "WHERE visit_id IS NOT NULL", "WHERE is_inside AND visit_id IS NOT NULL",
        deliveries((V1, V2), (V1, visit("v2", -90))), MARKED,
    ),
    Mutant(
        "a delivery with an unreadable id implies deletes",
        "staging/deletions", TELLING, "false",
        deliveries((V1, V2), (V1, visit("", visit_cost="20"))), MARKED,
    ),
    Mutant(
        "absent before the visit was first delivered",
        "staging/deletions", "coalesce(h.delivery_seq, $oldest - 1)", "$oldest - 1 + 0 * coalesce(h.delivery_seq, 0)",
        (Deliver("1.csv", (V1,)), Deliver("2.csv", (V1, V2)), Run(BASE)), MARKED,
    ),
    Mutant(
        "deleted visits stay in the metrics",
        step("rebuild_metrics"), "deleted_at IS NULL AND", "",
        deliveries((V1, V2), (V1,)), MARKED,
    ),
    Mutant(
        "what reappears unchanged stays deleted",
        "staging/deletions", "WHERE visit_id IS NOT NULL",
        "WHERE visit_id IN (SELECT visit_id FROM staged WHERE action <> 'unchanged')",
        deliveries((V1, V2), (V1,), (V1, V2)), MARKED,
    ),
)  # fmt: skip


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The pipeline with the mutant in it."""
    assert mutant.text.count(mutant.old) == 1, f"{mutant.name}: its place has changed; plant it anew"
    text = mutant.text.replace(mutant.old, mutant.new)
    place = mutant.place
    if isinstance(place, str):
        whole = sql._text
        with patch.object(sql, "_text", lambda name, kind: text if name == place else whole(name, kind)):
            yield
    else:
        names = dict(place.__globals__)
        exec(compile(textwrap.dedent(text), place.__code__.co_filename, "exec"), names)
        whole_code, place.__code__ = place.__code__, names[place.__name__].__code__
        try:
            yield
        finally:
            place.__code__ = whole_code


def histories_needed(mutant: Mutant, at_most: int) -> tuple[int, str | None]:
    """How many random histories were played until one turned red, and what differed in it; None: none did."""
    from tests.pipeline.test_properties import source_and_history

    played = 0

    @given(drawn=source_and_history())
    @settings(
        max_examples=at_most, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        report_multiple_bugs=False, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def turns_red(drawn: tuple[Source, list[Step]]) -> None:
        nonlocal played
        played += 1
        check_history(*drawn)

    with planted(mutant):
        try:
            turns_red()
        except BaseException as found:
            if isinstance(found, KeyboardInterrupt):
                raise
            return played, f"{found}".split(": the pipeline has")[0].splitlines()[0] or type(found).__name__
    return played, None


def main(names: list[str]) -> int:
    """Print the table; 1 when a mutant survives."""
    survived = False
    print(f"{'mutant':<52} {'histories':>9}  what differed")
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        played, found = histories_needed(mutant, HISTORIES)
        survived |= found is None
        print(f"{mutant.name:<52} {played:>9}  {found or 'SURVIVED'}", flush=True)
    return int(survived)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
