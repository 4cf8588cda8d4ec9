"""Whatever is changed in a record, the journal, raw or the anchor is found and named, by verify and without packages.

TAMPER_STEP sets how far apart the bytes are that are changed (1: every byte, also of the two suites). TAMPER_DATA names
a data folder whose newest record is taken instead of a small one.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lib import standalone
from lib.decisions import record_decision
from lib.files import read_json, write_json
from lib.provenance import code_hashes
from lib.verify import find_changes, print_verification
from tests.pipeline.clinic import Clinic
from tests.pipeline.kept import keep_history, keep_run, layout_of, make_small, reseal, told

STEP = int(os.environ.get("TAMPER_STEP", "0"))
GIVEN = os.environ.get("TAMPER_DATA")
SUITES = ("batch_profile.json", "staged_rows.json")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four closed records, an anchor, a signed one, decisions; copied for each test."""
    folder = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        keep_history(Clinic(folder), 4, folder / "anchor.jsonl")
    return folder


@pytest.fixture
def kept(history: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(history, tmp_path / "kept")
    return tmp_path / "kept"


def found(kept: Path, with_anchor: bool = False) -> list[str]:
    return told(kept / "data", anchor=kept / "anchor.jsonl" if with_anchor else None)


def record(kept: Path, number: int) -> Path:
    """The folder of the record of that number, 1 the first; -1 the newest."""
    folders = sorted(each for each in (kept / "data" / "runs").iterdir() if each.is_dir())
    return folders[number - 1 if number > 0 else number]


# Every byte


def _edits(size: int, step: int, chance: random.Random) -> Iterator[tuple[int, int]]:
    """(place, XOR) of every step-th byte, the last 80 among them."""
    for place in sorted({*range(0, size, step), *range(max(0, size - 80), size)}):
        yield place, chance.randrange(1, 256)


def test_every_edit_of_one_byte_is_found_and_named(history: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    runs = Path(GIVEN) / "runs" if GIVEN else history / "data" / "runs"
    newest = max(each for each in runs.iterdir() if each.is_dir())
    shutil.copytree(newest, data / "runs" / newest.name)
    for name in ("decisions.jsonl", "index.html"):
        if (runs / name).exists():
            shutil.copy2(runs / name, data / "runs" / name)
    before, chance, tried = set(told(data)), random.Random(7), 0  # a record alone: those before it are missed
    for path in sorted(each for each in (data / "runs").rglob("*") if each.is_file()):
        sound, missed = path.read_bytes(), []
        step = STEP or (5 if path.name in SUITES else 1)
        where = path.relative_to(data).as_posix()
        path.chmod(0o600)
        handle = os.open(path, os.O_RDWR)
        for place, change in _edits(len(sound), step, chance):
            os.pwrite(handle, bytes([sound[place] ^ change]), place)
            named = [each for each in told(data) if each not in before]
            if not any(each.startswith(where) for each in named):
                missed.append((place, change))
            os.pwrite(handle, sound[place : place + 1], place)
            tried += 1
        os.close(handle)
        assert not missed, f"{where}: {missed[:5]} of {len(sound)} bytes"
        for place in chance.sample(range(len(sound) - 1), min(20, len(sound) - 1)):
            for content in (sound[:place] + sound[place + 1 :], sound[:place] + b"0" + sound[place:]):
                path.write_bytes(content)
                named = [each for each in told(data) if each not in before]
                assert content == sound or any(each.startswith(where) for each in named), (where, place)
        path.write_bytes(b"")
        assert path.name == "decisions.jsonl" or any(each.startswith(where) for each in told(data)), where
        path.write_bytes(sound)
        assert set(told(data)) == before
    print(f"{tried:,} edits of one byte")


# Records


def delete(number: int) -> Callable[[Path], None]:
    return lambda kept: shutil.rmtree(record(kept, number))


def swap(kept: Path) -> None:
    second, third = record(kept, 2), record(kept, 3)
    aside = second.with_name("aside")
    second.rename(aside)
    third.rename(second)
    aside.rename(third)


def copy_as(name: str, number: int = 2) -> Callable[[Path], None]:
    def copy(kept: Path) -> None:
        source = record(kept, number)
        shutil.copytree(source, source.with_name(name))

    return copy


def forge_between(kept: Path) -> None:
    """A copy that says itself what it is called, between two others."""
    name = record(kept, 2).name.partition("-")[0] + "-29990101T000000Z"
    copy_as(name)(kept)
    reseal(record(kept, 2).with_name(name) / "manifest.json", lambda content: content.update(run_id=name))


def rename(kept: Path) -> None:
    record(kept, 2).rename(record(kept, 2).with_name("000002-20200101T000000Z"))


def hide(kept: Path) -> None:
    record(kept, 2).rename(record(kept, 2).with_name("moved"))


def edit_sealed(number: int) -> Callable[[Path], None]:
    return lambda kept: reseal(record(kept, number) / "manifest.json", lambda content: content.update(actor="nobody"))


def edit_and_say_so(name: str) -> Callable[[Path], None]:
    """Edit a file and put its new hash into the manifest, sealed again."""

    def edit(kept: Path) -> None:
        path = record(kept, 3) / name
        path.write_bytes(path.read_bytes() + b" ")
        sha256 = standalone.digest(path.read_bytes())
        reseal(path.with_name("manifest.json"), lambda content: content["files"].update({name: sha256}))

    return edit


def without(name: str) -> Callable[[Path], None]:
    return lambda kept: (record(kept, 2) / name).unlink()


def beside(kept: Path) -> None:
    (record(kept, 2) / "06_more.ipynb").write_text("{}")


def unseal(kept: Path) -> None:
    path = record(kept, -1) / "manifest.json"
    write_json(path, {name: value for name, value in read_json(path).items() if name != "sha256"})


HARMS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "the first deleted": (delete(1), ["runs/000001: the record is gone", "runs/000001-*/manifest.json: is not"]),
    "one in the middle deleted": (delete(2), ["runs/000002: the record is gone"]),
    "two swapped": (swap, ["runs/000002-*: is the record of run 000003", "runs/000003-*: is the record of run 000002"]),
    "a copy put in": (copy_as("000009-20300101T000000Z"), ["runs/000009-*: is the record of run 000002-"]),
    "a forged one put in": (forge_between, ["runs/000002-29990101T000000Z: no record follows it: it was inserted"]),
    "renamed": (rename, ["runs/000002-20200101T000000Z: is the record of run 000002-"]),
    "renamed to no run's name": (hide, ["runs/moved: is the record of run 000002-"]),
    "a manifest edited and sealed again": (edit_sealed(2), ["runs/000002-*/manifest.json: is not the one that run"]),
    "the newest unsealed": (unseal, ["runs/000004-*/manifest.json: was edited"]),
    "a file and its manifest edited": (
        edit_and_say_so("02_stage.ipynb"), ["runs/000003-*/manifest.json: is not the one that run 000004-"]
    ),
    "a suite and its manifest edited": (
        edit_and_say_so("staged_rows.json"),
        ["runs/000003-*/manifest.json: is not the one that run 000004-",
         "runs/000003-*/staged_rows.json: is not the suite that the run began with"],
    ),
    "a notebook gone": (without("03_validate.ipynb"), ["runs/000002-*/03_validate.ipynb: is missing"]),
    "a manifest gone": (without("manifest.json"), ["runs/000002-*: the manifest is missing"]),
    "a page gone": (without("report.html"), []),
    "a file put in": (beside, ["runs/000002-*/06_more.ipynb: came in after the run"]),
}  # fmt: skip


def agrees(said: str, expected: str) -> bool:
    """Whether a finding begins as expected; `*` stands for the rest of a run id."""
    before, star, after = expected.partition("*")
    return said.startswith(before) and (not star or said[len(before) + 16 :].startswith(after))


@pytest.mark.parametrize("case", HARMS)
def test_what_was_done_to_records_is_named(case: str, kept: Path) -> None:
    harm, expected = HARMS[case]
    assert found(kept) == [] and found(kept, with_anchor=True) == []
    harm(kept)
    said = found(kept)
    assert len(said) == len(expected), said
    for each, wanted in zip(sorted(said), sorted(expected), strict=True):
        assert agrees(each, wanted), said
    full = [f"{each.where}: {each.what}" for each in find_changes(layout_of(Clinic(kept)))]
    assert [each for each in full if not each.startswith("warehouse.db")] == said


def test_a_record_in_progress_or_killed_is_no_finding(kept: Path) -> None:
    begun = record(kept, -1).with_name("000005-20300101T000000Z")
    begun.mkdir()
    assert found(kept, with_anchor=True) == []
    (begun / "01_extract.ipynb").write_text("{")
    assert found(kept) == [f"runs/{begun.name}: the manifest is missing"]
    from lib.manifest import Manifest

    Manifest.create(begun, {"run_id": begun.name, "ended": None})
    assert found(kept, with_anchor=True) == []
    (begun / "manifest.json").write_bytes((begun / "manifest.json").read_bytes().replace(b"ended", b"endee"))
    assert found(kept) == [f"runs/{begun.name}/manifest.json: was edited after the run"]


def test_manifests_of_before_the_seal_are_still_held_by_the_next(kept: Path) -> None:
    path = record(kept, -1) / "manifest.json"
    content = {name: value for name, value in read_json(path).items() if name != "sha256"}
    write_json(path, {**content, "manifest_version": 1})
    (record(kept, -1) / "report.html").write_text("<p>without a seal</p>")
    assert found(kept) == []
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_small(monkeypatch)
        keep_run(Clinic(kept), 5)
    assert found(kept) == [] and read_json(record(kept, -1) / "manifest.json")["manifest_version"] == 2
    path.write_bytes(path.read_bytes().replace(b'"loaded"', b'"killed"', 1))
    assert found(kept)[0].startswith(f"runs/{path.parent.name}/manifest.json: is not the one that run 000005-")


def test_records_that_were_moved_away_are_verified_with_the_rest(kept: Path) -> None:
    archive = kept / "old"
    archive.mkdir()
    for number in (1, 1):
        record(kept, number).rename(archive / record(kept, number).name)
    (gone, signed) = found(kept)
    assert gone.startswith("runs/000001 to 000002: 2 records are gone") and "--archive" in gone and "signed" in signed
    assert told(kept / "data", archive=archive, anchor=kept / "anchor.jsonl") == []
    notebook = sorted(archive.iterdir())[1] / "01_extract.ipynb"
    notebook.write_bytes(notebook.read_bytes() + b" ")
    (said,) = told(kept / "data", archive=archive)
    assert said == f"old/{notebook.parent.name}/01_extract.ipynb: was edited after the run"


# Raw


def flip(path: Path, place: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


def test_what_was_done_to_raw_is_named(kept: Path) -> None:
    raw = kept / "data" / "raw" / "clinic"
    first, second, third, *_ = sorted(raw.glob("*.csv"))
    flip(first)
    second.unlink()
    (raw / "000009_x.csv").write_text("x")
    said = found(kept)
    assert [each.partition(":")[0] for each in said] == [
        f"raw/clinic/{first.name}",
        f"raw/clinic/{second.name}",
        "raw/clinic/000009_x.csv",
    ]
    for line, expected in ((b"", "lacks delivery 3"), (None, "delivery 3 is not the one")):
        lines = (raw / "deliveries.jsonl").read_bytes().splitlines(keepends=True)
        lines[2] = lines[2].replace(b"visits.csv", b"visite.csv") if line is None else line
        (kept / "ledger").write_bytes((raw / "deliveries.jsonl").read_bytes())
        (raw / "deliveries.jsonl").write_bytes(b"".join(lines))
        assert any(each.startswith(f"raw/clinic/deliveries.jsonl: {expected}") for each in found(kept))
        (raw / "deliveries.jsonl").write_bytes((kept / "ledger").read_bytes())
    assert found(kept) == said and third.exists()


# The anchor


def cut(kept: Path) -> None:
    shutil.rmtree(record(kept, -1))


def cut_journal(kept: Path) -> None:
    """What the newest record keeps of the journal is cut off with it."""
    cut(kept)
    path = kept / "data" / "runs" / "decisions.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))


def forge_newest(kept: Path) -> None:
    edit_sealed(4)(kept)


def add_forged(kept: Path) -> None:
    name = "000005-20300101T000000Z"
    copy_as(name, 4)(kept)
    sha256 = standalone.digest((record(kept, 4) / "manifest.json").read_bytes())
    reseal(
        record(kept, 5) / "manifest.json", lambda content: content.update(run_id=name, previous_manifest_sha256=sha256)
    )


ANCHORED: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "a tail cut off": (cut, ["runs/000004-*: the record is gone; the anchor knows it"]),
    "a tail and the journal's cut off": (
        cut_journal,
        [
            "runs/000004-*: the record is gone; the anchor knows it",
            "runs/decisions.jsonl: is not the journal of 3 entries",
        ],
    ),
    "the newest edited and sealed again": (
        forge_newest,
        ["runs/000004-*/manifest.json: is not the one that the anchor"],
    ),
    "a forged one at the end": (add_forged, ["runs/000005-*: the anchor does not know it"]),
}


@pytest.mark.parametrize("case", ANCHORED)
def test_the_anchor_tells_what_the_chain_cannot(case: str, kept: Path) -> None:
    harm, expected = ANCHORED[case]
    harm(kept)
    assert found(kept) == [], "by itself the rest is a sound history"
    said = found(kept, with_anchor=True)
    assert len(said) == len(expected), said
    assert all(agrees(each, wanted) for each, wanted in zip(sorted(said), sorted(expected), strict=True)), said


def test_the_anchors_own_lines_are_chained(kept: Path) -> None:
    anchor = kept / "anchor.jsonl"
    lines = anchor.read_bytes().splitlines(keepends=True)
    for number, other in (
        (2, lines[:1] + lines[2:]),
        (2, [lines[0], lines[2], lines[1], lines[3]]),
        (3, [*lines[:2], b"x\n", *lines[2:]]),
    ):
        anchor.write_bytes(b"".join(other))
        assert any(each.startswith(f"anchor.jsonl line {number}: ") for each in found(kept, with_anchor=True))
    anchor.write_bytes(b"".join(lines).replace(b'"entries": 2', b'"entries": 1'))
    assert "anchor.jsonl line 3: was edited" in found(kept, with_anchor=True)
    anchor.unlink()
    assert found(kept, with_anchor=True) == [
        "anchor.jsonl: the anchor is missing or empty: taken away, or never writable"
    ]


# Without packages


def test_the_standalone_file_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(standalone.__file__).read_bytes(), feature_version=(3, 8))
    imported = {each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
    imported |= {name.name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names}
    assert {each.partition(".")[0] for each in imported} <= set(sys.stdlib_module_names)


def run_alone(kept: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The one file, taken elsewhere, by a Python that sees no package and not this project."""
    file = kept / "taken" / "standalone.py"
    file.parent.mkdir(exist_ok=True)
    shutil.copy2(standalone.__file__, file)
    command = [sys.executable, "-I", "-S", str(file), *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=kept, check=False, timeout=60)


def test_it_says_elsewhere_what_verify_says(kept: Path) -> None:
    ended = run_alone(kept, "data", "--anchor", "anchor.jsonl")
    assert (ended.returncode, ended.stderr) == (0, "") and "tables were not looked at" in ended.stdout
    for harm in (cut, edit_sealed(2), beside):
        harm(kept)
    flip(next((kept / "data" / "raw" / "clinic").glob("000001*")))
    flip(record(kept, 1) / "report.html", 0)
    flip(kept / "data" / "runs" / "decisions.jsonl", 40)
    ended = run_alone(kept, "data", "--anchor", "anchor.jsonl")
    said = ended.stdout.splitlines()
    assert ended.returncode == 6 and ended.stderr.startswith(f"{len(said)} things are not what they were")
    assert said == found(kept, with_anchor=True) and len(said) >= 6
    full = Clinic(kept).command("verify", "--anchor", "anchor.jsonl")
    assert full.returncode == 6 and "Traceback" not in full.stdout + full.stderr
    assert [each for each in full.stdout.splitlines() if not each.startswith("warehouse.db")] == said
    run = [
        sys.executable,
        "-S",
        str(Path(standalone.__file__).parents[1] / "run_pipeline.py"),
        "verify",
        "--standalone",
    ]
    same = subprocess.run(
        [*run, "--data-dir", "data", "--anchor", "anchor.jsonl"], cwd=kept, capture_output=True, text=True, check=False
    )
    assert (same.returncode, same.stdout) == (6, ended.stdout)


def test_who_may_read_the_records_alone_is_told_what_was_left_out(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the audit group of the config."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "raw" and access(path, mode))
    assert standalone.main([str(kept / "data")]) == 0
    assert "snapshots, which you may not read, and tables were not looked at" in capsys.readouterr().out
    beside(kept)
    assert standalone.main([str(kept / "data")]) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [(["nowhere"], "nowhere holds no run records"), (["data", "--config", "x"], "unrecognized arguments"),
     (["data", "--archive", "nowhere"], "is no folder")],
)  # fmt: skip
def test_a_bad_option_is_one_line(words: list[str], said: str, kept: Path) -> None:
    ended = run_alone(kept, *words)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1) and said in ended.stderr


def test_a_suite_that_is_another_by_now_is_told_and_no_finding(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run is judged by it; the record keeps the one that judged its own."""
    layout, name = layout_of(Clinic(kept)), "expectations/staged_rows.json"
    print_verification(layout)
    assert name not in capsys.readouterr().out
    monkeypatch.setattr("lib.verify.code_hashes", lambda: {**code_hashes(), name: "0" * 64})
    print_verification(layout)
    said = capsys.readouterr().out
    assert f"{name}: is another than in run {layout.run_ids()[-1]}; the next run is judged by it" in said
    assert standalone.digest((record(kept, -1) / "staged_rows.json").read_bytes()) == code_hashes()[name]


def test_a_decision_after_the_last_record_is_no_finding(kept: Path) -> None:
    record_decision(layout_of(Clinic(kept)), "trace", source="clinic", scope="one visit", reason=None)
    assert found(kept, with_anchor=True) == []
