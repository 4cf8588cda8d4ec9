"""One object at a time: created once, tried again, never half."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lib.errors import StoredDataChanged, TemporaryFailure, UsageError
from lib.store import objects as module
from lib.store.address import read_store_address
from lib.store.objects import AlreadyThere, Objects
from tests.servers.s3 import CUT, LOST, SECRET, S3Server, store_url


@pytest.fixture
def objects(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.02, 0.03))
    return Objects(read_store_address(store_url(tmp_path)))


def test_what_is_written_is_listed_and_read(objects: Objects, tmp_path: Path) -> None:
    assert objects.tags() == {} and objects.read("a") is None and objects.tag("a") is None
    assert not objects.fetch("a", tmp_path / "got")
    objects.write("runs/a", b"one")
    objects.write("runs/b/c", b"two!")
    tags = objects.tags()
    assert {key: size for key, (_, size) in tags.items()} == {"runs/a": 3, "runs/b/c": 4}
    assert objects.tags("runs/b").keys() == {"runs/b/c"}
    assert objects.tag("runs/a") == tags["runs/a"]
    assert objects.fetch("runs/a", tmp_path / "got") and (tmp_path / "got").read_bytes() == b"one"
    assert objects.sha256("runs/a") == hashlib.sha256(b"one").hexdigest()
    objects.write("runs/a", b"new")
    assert objects.tag("runs/a") != tags["runs/a"]
    objects.remove("runs/a")
    objects.remove("runs/a")
    assert objects.tags().keys() == {"runs/b/c"}


def test_an_object_is_created_once(objects: Objects, tmp_path: Path) -> None:
    objects.create("lease/1", b"mine")
    objects.create("lease/1", b"mine")
    with pytest.raises(AlreadyThere):
        objects.create("lease/1", b"yours")
    assert objects.read("lease/1") == b"mine"
    file = tmp_path / "file"
    file.write_bytes(b"bytes")
    objects.create_from("raw/x", file)
    objects.create_from("raw/x", file)
    file.write_bytes(b"other")
    with pytest.raises(StoredDataChanged, match="other bytes have this name"):
        objects.create_from("raw/x", file)
    assert objects.read("raw/x") == b"bytes"


def test_a_large_file_is_created_once_too_and_is_absent_until_it_is_whole(
    objects: Objects, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs.core

    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    file = tmp_path / "file"
    file.write_bytes(b"x" * (11 << 20))  # in parts
    seen: list[bytes | None] = []

    def look(number: int) -> int | None:
        if "partNumber" in s3_server.requests[-1] or "uploadId" in s3_server.requests[-1]:
            key = f"{objects.address.root}/raw/x"
            seen.append(b"there" if s3_server.ask("HEAD", key)[0] == 200 else None)
        return None

    with s3_server.answering(look):
        objects.create_from("raw/x", file)
    assert len(seen) >= 3 and set(seen) == {None}
    file.write_bytes(b"y" * (11 << 20))
    with pytest.raises(StoredDataChanged):
        objects.create_from("raw/x", file)


@pytest.mark.parametrize(("answer", "requests"), [(503, 2), (500, 2), (CUT, 4)])
def test_what_passes_is_tried_again_later_each_time(
    objects: Objects, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, answer: int, requests: int
) -> None:
    """The driver itself asks at once again where a connection is cut."""
    objects.tag("a")
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    monkeypatch.setattr(module, "PAUSES", (0.25, 1.0, 3.0))
    with s3_server.answering(lambda number: answer if number <= requests else None):
        objects.write("a", b"one")
    assert objects.read("a") == b"one"
    assert len(waited) == 2 and 0 < waited[0] < waited[1]


def test_a_creation_whose_answer_was_lost_is_known_as_ones_own(objects: Objects, s3_server: S3Server) -> None:
    with s3_server.answering(lambda number: LOST if number == 1 else None) as requests:
        objects.create("a", b"one")
    assert objects.read("a") == b"one" and len(requests) >= 2


def test_a_store_that_stays_away_is_a_temporary_failure(objects: Objects, s3_server: S3Server) -> None:
    with s3_server.answering(lambda number: CUT), pytest.raises(TemporaryFailure, match="does not answer") as told:
        objects.write("a", b"one")
    assert "\n" not in str(told.value) and SECRET not in str(told.value)


def test_a_bucket_that_is_not_there_and_one_that_refuses_are_usage_errors(
    objects: Objects, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no such bucket"):
        Objects(read_store_address("s3://nobodys-bucket/x")).write("a", b"")
    with s3_server.answering(lambda number: 403), pytest.raises(UsageError, match="refuses access; give credentials"):
        objects.write("a", b"one")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UsageError, match="credentials"):
        Objects(objects.address).write("a", b"one")
