"""The journal's chain: what is appended stays, and whatever is changed later is found and named."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
from pathlib import Path
from typing import Any

import pytest

from lib import journal
from lib.errors import TemporaryFailure
from lib.journal import append_entries, append_entry, journal_head, read_entries
from lib.standalone import Finding, whole_lines
from lib.standalone import find_breaks as breaks_in

DECISIONS = ("discard", "waive", "sign", "reinstate")


def entry(number: int, decision: str = "discard") -> dict[str, Any]:
    return {"time": f"2025-03-0{number}T00:00:00Z", "decision": decision, "reason": 'seen, "twice" é'}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of four entries."""
    path = tmp_path / "decisions.jsonl"
    for number, decision in enumerate(DECISIONS, 1):
        append_entry(path, entry(number, decision))
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def find_breaks(path: Path) -> list[Finding]:
    return breaks_in("j", path.read_bytes() if path.exists() else b"")


def named(path: Path) -> list[tuple[int, str | None]]:
    found = [re.fullmatch(r"j line (\d+)(?: \((\w+)\))?", each.where) for each in find_breaks(path)]
    return [(int(each[1]), each[2]) for each in found if each]


def head_after(path: Path, entries: int) -> str | None:
    return dict(enumerate((each.sha256 for each in whole_lines(path.read_bytes())), 1)).get(entries)


def test_entries_are_read_as_written_and_bound_to_each_other(path: Path) -> None:
    entries = read_entries(path)
    assert [each["decision"] for each in entries] == list(DECISIONS)
    assert [each["reason"] for each in entries] == ['seen, "twice" é'] * 4
    assert entries[0]["previous_sha256"] is None
    assert [each["previous_sha256"] for each in entries[1:]] == [head_after(path, number) for number in (1, 2, 3)]
    assert journal_head(path).entries == 4 and journal_head(path).sha256 == head_after(path, 4)
    assert find_breaks(path) == [] and path.stat().st_mode & 0o777 == 0o600


def test_entries_that_come_together_are_bound_as_if_they_came_one_by_one(path: Path, tmp_path: Path) -> None:
    together = tmp_path / "together.jsonl"
    append_entries(together, [entry(number, decision) for number, decision in enumerate(DECISIONS, 1)])
    assert together.read_bytes() == path.read_bytes()


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    assert (read_entries(path), find_breaks(path), journal_head(path).entries) == ([], [], 0)
    assert journal_head(path).sha256 is None


def test_every_edit_of_one_byte_is_found(path: Path) -> None:
    """Each byte in turn, by some others; also where what stands there afterwards is JSON again."""
    whole = path.read_bytes()
    missed = []
    for at in range(len(whole)):
        for other in {*b'0" \n', whole[at] ^ 1, whole[at] ^ 128} - {whole[at]}:
            path.write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
            if not find_breaks(path):
                missed.append((at, other))
    assert not missed


def test_every_byte_taken_out_or_put_in_is_found(path: Path) -> None:
    """But for the last line end, which a crash may leave out."""
    whole = path.read_bytes()
    changed = [whole[:at] + whole[at + 1 :] for at in range(len(whole) - 1)]
    changed += [whole[:at] + each + whole[at:] for at in range(len(whole) + 1) for each in (b"a", b" ", b'"')]
    changed += [whole[:at] + b"\n" + whole[at:] for at in range(len(whole) + 1)]
    missed = []
    for content in changed:
        path.write_bytes(content)
        if not find_breaks(path):
            missed.append(content)
    assert not missed


@pytest.mark.parametrize(
    ("case", "order", "found"),
    [
        ("the first deleted", [1, 2, 3], [(1, "waive")]),
        ("one deleted", [0, 2, 3], [(2, "sign")]),
        ("two swapped", [0, 2, 1, 3], [(2, "sign"), (3, "waive"), (4, "reinstate")]),
        ("one doubled", [0, 1, 1, 2, 3], [(3, "waive")]),
        ("one moved to the end", [0, 2, 3, 1], [(2, "sign"), (4, "waive")]),
    ],
)
def test_other_order_is_found_where_it_is(
    case: str, order: list[int], found: list[tuple[int, str]], path: Path
) -> None:
    before = lines(path)
    path.write_bytes(b"".join(before[at] for at in order))
    assert named(path) == found


def test_an_edited_entry_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"2025-03-03", b"2025-03-04"))
    assert find_breaks(path)[0] == Finding("j line 3 (sign)", "was edited")


def test_a_forged_entry_is_found_though_it_bears_its_own_hash(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    append_entry(other, entry(9, "accept"))
    before = lines(path)
    path.write_bytes(b"".join([*before[:2], lines(other)[0], *before[2:]]))
    assert named(path) == [(3, "accept"), (4, "sign")]
    path.write_bytes(b"".join([*before[:2], b'{"time": "x", "decision": "accept"}\n', *before[2:]]))
    assert named(path) == [(3, "accept"), (4, "sign")]


def test_a_cut_tail_is_told_by_an_earlier_head(path: Path) -> None:
    head = journal_head(path)
    path.write_bytes(b"".join(lines(path)[:3]))
    assert find_breaks(path) == [], "by itself the rest is a sound journal"
    assert head_after(path, head.entries) is None


@pytest.mark.parametrize("left", range(1, 40, 3))
def test_a_torn_tail_is_no_entry_and_the_chain_goes_on(left: int, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + lines(path)[3][:left])
    assert len(read_entries(path)) == 4 and find_breaks(path) == []
    append_entry(path, entry(5))
    assert find_breaks(path) == [] and read_entries(path)[-1]["previous_sha256"] == head_after(path, 4)
    assert path.read_bytes().startswith(whole), "nothing was taken away"
    path.write_bytes(path.read_bytes().replace(b"2025-03-04", b"2025-03-05"))
    assert (4, "reinstate") in named(path)


def test_every_tear_of_the_last_line_is_healed(path: Path) -> None:
    """At each byte; where only the line end is lost the entry stands."""
    whole = path.read_bytes()
    last = len(lines(path)[3])
    for lost in range(1, last):
        path.write_bytes(whole[:-lost])
        assert find_breaks(path) == [] and len(read_entries(path)) == (4 if lost == 1 else 3)
        append_entry(path, entry(5))
        assert find_breaks(path) == []


def test_entries_of_before_the_chain_are_held_by_its_first_one(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(json.dumps(entry(1)) + "\n" + json.dumps(entry(2)) + "\n")
    append_entry(path, entry(3))
    assert find_breaks(path) == [] and len(read_entries(path)) == 3
    path.write_bytes(path.read_bytes().replace(b"2025-03-02", b"2025-03-05"))
    assert named(path) == [(3, "discard")]


def append_many(path: Path, first: int) -> None:
    for number in range(first, first + 40):
        append_entry(path, {"time": "t", "decision": "trace", "number": number})


def test_two_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_many, args=(path, first)) for first in (0, 1000, 2000)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    numbers = [each["number"] for each in read_entries(path)]
    assert find_breaks(path) == [] and sorted(numbers) == [*range(40), *range(1000, 1040), *range(2000, 2040)]


def test_a_journal_that_another_holds_is_waited_for_and_then_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "WAIT_SECONDS", 0.1)
    before = path.read_bytes()
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(TemporaryFailure, match="another program holds the journal"):
        append_entry(path, entry(5))
    os.close(handle)
    assert path.read_bytes() == before


def test_what_was_not_wholly_written_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, really_write = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda handle, text: really_write(handle, text[:10]))
    with pytest.raises(OSError, match="No space left"):
        append_entry(path, entry(5))
    assert path.read_bytes() == before
