"""Raw: what is offered, what is taken, and the snapshot that is kept."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest

from lib import raw
from lib.config import ROOT
from lib.deliveries import Delivery, Ledger
from lib.errors import DeliveryRefused, StoredDataChanged
from lib.layout import Layout
from lib.raw import check_snapshot, find_snapshot, open_snapshot, take_delivery
from lib.sources.files import FileOffer, list_offers

CLOCK = "2025-03-02T00:00:00.000000+00:00"


class Taking:
    """Takes one file after another, as runs do."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout.at(folder / "data", None)
        self.layout.create()
        self.ledger = Ledger([])
        self.file = folder / "visits.csv"

    @property
    def snapshots(self) -> list[Path]:
        return sorted((self.layout.raw / "clinic").glob("*"))

    def take(self, content: bytes | None = None, name: str = "visits.csv") -> Delivery | None:
        path = self.file.with_name(name)
        if content is not None:
            path.write_bytes(content)
        offer = FileOffer(path, str(path))
        taken = take_delivery(self.layout, offer, self.ledger, source="clinic", clock=CLOCK, run_id="000001-x")
        if taken:
            self.ledger.add(taken)
        return taken


@pytest.fixture
def ledger(tmp_path: Path) -> Taking:
    return Taking(tmp_path)


# What the source offers


def names(source_path: str | Path) -> list[str]:
    return [each.path.name for each in list_offers(str(source_path))]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.csv", "a.csv", "10.csv", "9.csv", ".unfinished.csv", "notes.txt", "sub/c.csv", "visits[1].csv"):
        (folder / name).write_text("x")
    return folder


def test_a_folder_is_its_files_in_name_order_without_dot_files_and_subfolders(inbox: Path) -> None:
    assert names(inbox) == ["10.csv", "9.csv", "a.csv", "b.csv", "notes.txt", "visits[1].csv"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["10.csv", "9.csv", "a.csv", "b.csv", "visits[1].csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("?.csv", ["9.csv", "a.csv", "b.csv"]),
        ("**/*.csv", ["10.csv", "9.csv", "a.csv", "b.csv", "c.csv", "visits[1].csv"]),
        ("*", ["10.csv", "9.csv", "a.csv", "b.csv", "notes.txt", "visits[1].csv"]),
        ("*.gz", []),
        ("visits[1].csv", ["visits[1].csv"]),
    ],
)
def test_a_glob_is_its_files_in_name_order(pattern: str, found: list[str], inbox: Path) -> None:
    assert sorted(names(inbox / pattern)) == sorted(found)
    paths = [each.path for each in list_offers(str(inbox / pattern))]
    assert paths == sorted(paths)


def test_a_named_file_is_offered_even_when_it_is_not_there(tmp_path: Path) -> None:
    assert names(tmp_path / "gone.csv") == ["gone.csv"]
    with pytest.raises(DeliveryRefused, match=r"^gone\.csv: does not exist; check source\.path"):
        Taking(tmp_path).take(None, "gone.csv")


def test_keys_are_relative_inside_the_project_and_absolute_outside(tmp_path: Path) -> None:
    assert list_offers("data/input/patient_visits.csv")[0].key == "data/input/patient_visits.csv"
    assert list_offers(str(ROOT / "data/../data/input/patient_visits.csv"))[0].key == "data/input/patient_visits.csv"
    assert list_offers(str(tmp_path / "a.csv"))[0].key == str(tmp_path / "a.csv")


# What is taken


def test_the_snapshot_is_the_bytes_as_received_named_by_sequence_time_and_hash(ledger: Taking) -> None:
    content = b"\xff\x00 any bytes \r\n"
    taken = ledger.take(content)
    assert taken is not None
    digest = sha256(content).hexdigest()
    name = f"000001_20250302T000000Z_{digest[:12]}.csv"
    assert taken == Delivery(
        "clinic", 1, str(ledger.file), digest, len(content), name, CLOCK, "000001-x"
    )  # fmt: skip
    (snapshot,) = ledger.snapshots
    assert (snapshot.name, snapshot.read_bytes(), snapshot.stat().st_mode & 0o777) == (taken.snapshot, content, 0o400)
    assert snapshot.parent.stat().st_mode & 0o777 == 0o700
    assert check_snapshot(ledger.layout, taken) == snapshot


def test_a_b_a_are_three_deliveries_over_two_snapshots(ledger: Taking) -> None:
    taken = [ledger.take(content) for content in (b"A", b"B", b"A")]
    assert [each and each.sequence for each in taken] == [1, 2, 3]
    assert len(ledger.snapshots) == 2
    assert taken[0] and taken[2] and taken[2].snapshot == taken[0].snapshot


def test_an_unchanged_path_is_no_delivery_though_it_was_touched(ledger: Taking) -> None:
    assert ledger.take(b"A") is not None
    os.utime(ledger.file, (1, 1))
    assert ledger.take() is None
    assert ledger.take(b"A") is None
    assert len(ledger.snapshots) == 1


def test_the_same_bytes_on_another_path_are_a_delivery_without_a_second_snapshot(ledger: Taking) -> None:
    assert ledger.take(b"A") is not None
    taken = ledger.take(b"A", "other.csv")
    assert taken is not None and (taken.sequence, taken.name) == (2, "other.csv")
    assert len(ledger.snapshots) == 1


def test_another_content_of_the_same_size_is_a_delivery(ledger: Taking) -> None:
    assert ledger.take(b"A") and ledger.take(b"B")


def test_gzip_is_told_by_its_bytes(ledger: Taking) -> None:
    for content, suffix in ((b"\x1f\x8b not more", ".csv.gz"), (b"\x1f", ".csv")):
        taken = ledger.take(content)
        assert taken and taken.snapshot.endswith(sha256(content).hexdigest()[:12] + suffix)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fifo, "is not a regular file"),
        (folder, "is not a regular file"),
        (device, "is not a regular file"),
        (broken_link, "is a broken link"),
        (loop, "cannot be read (Too many levels of symbolic links)"),
        (empty, "is empty (0 bytes)"),
    ],
)
@pytest.mark.parametrize("had_a_file_before", [False, True])
def test_refused_within_a_second(
    make: Callable[[Path], None], said: str, had_a_file_before: bool, ledger: Taking
) -> None:
    if had_a_file_before:
        ledger.take(b"A")
        ledger.file.unlink()
    make(ledger.file)
    before, kept = time.monotonic(), ledger.snapshots
    with pytest.raises(DeliveryRefused) as caught:
        ledger.take()
    assert time.monotonic() - before < 1
    assert str(caught.value).startswith("visits.csv: ") and said in str(caught.value)
    assert ledger.snapshots == kept, "nothing is left behind"


@pytest.mark.timeout(10)
def test_a_file_that_becomes_a_fifo_while_it_is_opened_hangs_nobody(
    ledger: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(ledger.file)
    answers = iter([True])
    really = stat.S_ISREG
    monkeypatch.setattr(stat, "S_ISREG", lambda mode: next(answers, None) or really(mode))
    with pytest.raises(DeliveryRefused, match="is not a regular file; it changed while it was opened"):
        ledger.take()


# A file that changes while it is read


class Writer:
    """Changes the file in the middle of the first `times` readings, by way of `os.read`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, times: int, change: Callable[[Path, int], None]):
        self.readings, self.done, self.last = 0, 0, -1
        really_read, really_open = os.read, os.open

        def opened(name: object, *words: int, **more: int) -> int:
            handle = really_open(name, *words, **more)  # type: ignore[arg-type]
            if name == path:
                self.readings += 1
                self.last = handle
            return handle

        def read(handle: int, size: int) -> bytes:
            chunk = really_read(handle, min(size, 4))
            if handle == self.last and self.done < min(self.readings, times):
                self.done += 1
                change(path, self.done)
            return chunk

        monkeypatch.setattr(os, "open", opened)
        monkeypatch.setattr(os, "read", read)


def appended(path: Path, number: int) -> None:
    with path.open("ab") as stream:
        stream.write(b"more %d" % number)


def rewritten_alike(path: Path, number: int) -> None:
    path.write_bytes(b"x" * path.stat().st_size)
    os.utime(path, ns=(number, number))


def cut(path: Path, number: int) -> None:
    os.truncate(path, path.stat().st_size - 6)


@pytest.mark.parametrize("change", [appended, rewritten_alike, cut])
def test_a_file_that_changes_once_is_read_again(
    change: Callable[[Path, int], None], ledger: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.file.write_bytes(b"0123456789" * 3)
    writer = Writer(monkeypatch, ledger.file, 1, change)
    taken = ledger.take()
    assert writer.readings == 2
    assert taken and taken.sha256 == sha256(ledger.file.read_bytes()).hexdigest()
    assert [each.read_bytes() for each in ledger.snapshots] == [ledger.file.read_bytes()]
    assert ledger.snapshots[0].stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("change", [appended, rewritten_alike, cut])
def test_a_file_that_changes_twice_is_refused(
    change: Callable[[Path, int], None], ledger: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.file.write_bytes(b"0123456789" * 3)
    writer = Writer(monkeypatch, ledger.file, 9, change)
    with pytest.raises(DeliveryRefused, match=r"^visits\.csv: changed twice while it was read; deliver under another"):
        ledger.take()
    assert writer.readings == 2
    assert ledger.snapshots == [], "nothing is left behind"


def test_a_file_replaced_by_rename_is_taken_whole(ledger: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recommended way: the reader keeps the old file, the next run takes the new one."""

    def replaced(path: Path, number: int) -> None:
        path.with_name("new").write_bytes(b"new content")
        path.with_name("new").replace(path)

    ledger.file.write_bytes(b"0123456789")
    Writer(monkeypatch, ledger.file, 1, replaced)
    taken = ledger.take()
    assert taken and taken.sha256 in {sha256(each).hexdigest() for each in (b"0123456789", b"new content")}
    newest = ledger.take() or taken
    assert newest.sha256 == sha256(b"new content").hexdigest()


# What is kept


def test_an_altered_snapshot_is_told(ledger: Taking) -> None:
    taken = ledger.take(b"ABC")
    assert taken is not None
    (snapshot,) = ledger.snapshots
    snapshot.chmod(0o600)
    snapshot.write_bytes(b"ABX")
    with pytest.raises(
        StoredDataChanged, match=rf"^raw/clinic/{re.escape(taken.snapshot)}: the snapshot is not what was"
    ):
        check_snapshot(ledger.layout, taken)


def test_a_snapshot_is_hashed_as_it_is_read_to_its_end_and_each_byte_once(ledger: Taking) -> None:
    taken = ledger.take(b"0123456789")
    assert taken is not None
    with open_snapshot(ledger.layout, taken) as stream:
        assert stream.read(2) == b"01"
        stream.seek(0)
        assert stream.read(5) == b"01234"
    (snapshot,) = ledger.snapshots
    snapshot.chmod(0o600)
    snapshot.write_bytes(b"012345678X")
    with (
        pytest.raises(StoredDataChanged, match="the snapshot is not what was received"),
        open_snapshot(ledger.layout, taken) as stream,
    ):
        assert stream.read(5) == b"01234"


def test_what_is_refused_of_an_altered_snapshot_is_told_as_altered(ledger: Taking) -> None:
    taken = ledger.take(b"0123456789")
    assert taken is not None
    ledger.snapshots[0].chmod(0o600)
    ledger.snapshots[0].write_bytes(b"X123456789")
    with (
        pytest.raises(StoredDataChanged, match="the snapshot is not what was received"),
        open_snapshot(ledger.layout, taken) as stream,
    ):
        stream.read(1)
        raise DeliveryRefused("of bytes that nobody delivered")


def test_a_run_hashes_no_snapshot_twice_that_it_wrote(ledger: Taking) -> None:
    taken = ledger.take(b"ABC")
    assert taken is not None
    with patch("lib.raw.sha256_of_file", side_effect=AssertionError):
        assert find_snapshot(ledger.layout, taken, taken.taken_by) == ledger.snapshots[0]
        with pytest.raises(AssertionError):
            find_snapshot(ledger.layout, taken, "000002-x")
        with pytest.raises(AssertionError):  # known bytes: another run wrote them
            find_snapshot(ledger.layout, replace(taken, sequence=2), taken.taken_by)


def test_a_missing_snapshot_is_told(ledger: Taking) -> None:
    taken = ledger.take(b"ABC")
    assert taken is not None
    with pytest.raises(StoredDataChanged, match="the snapshot is missing; restore it from a backup"):
        check_snapshot(ledger.layout, replace(taken, snapshot="000009_x.csv"))
    ledger.snapshots[0].unlink()
    with pytest.raises(StoredDataChanged, match="the snapshot is missing"):
        check_snapshot(ledger.layout, taken)


def test_a_copy_cut_by_a_write_error_leaves_nothing(ledger: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.file.write_bytes(b"0123456789")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ledger.take()
    assert ledger.snapshots == []
