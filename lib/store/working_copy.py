"""A data folder on object storage: the store has it, a folder of this machine is a copy of it to work in.

The copy may be removed at any time but during a run: it is fetched again. What of it is written to the store, and when:

- A snapshot is created, never written over (If-None-Match), before the ledger names it; a line of the ledger is in the
  store before the warehouse knows the delivery, a decision before its effect.
- Whenever a manifest is written, everything else of its run that has changed goes first: what it names is there.
- A file that is only appended to is kept in pieces, each created once under the place where it begins: two writers that
  append at the same place are told apart, and no line is lost.

Logs, locks and the tables are not in the store. An object that another machine wrote wins over this copy's file; one
that this copy wrote, and had no answer, does not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

from lib.errors import StoredDataChanged, WarehouseLocked
from lib.files import TEMPORARY_PREFIX, sha256_of_file, whole_file
from lib.standalone import MANIFEST
from lib.store.address import StoreAddress
from lib.store.index import Index, open_index
from lib.store.lease import FOLDER as LEASE
from lib.store.lease import hold_lease
from lib.store.objects import AlreadyThere, Objects, Tags
from lib.store.opened import OPENED

RAW, STAGING, RUNS, STATE = "raw", "staging", "runs", "state"
"""The folders of a data folder that are in the store."""
AT_ONCE = 8
"""Objects that are written or fetched at the same time."""
APPENDED = ".jsonl"
"""How the name of a file ends that is only appended to; all others are written whole."""
CACHE = "XDG_CACHE_HOME"


def folder_of(address: StoreAddress) -> Path:
    """In the user's cache folder, under a name of the address's own."""
    cache = Path(os.environ.get(CACHE) or Path.home() / ".cache")
    name = f"{address.bucket.partition('@')[0]}-{sha256(address.url.encode()).hexdigest()[:12]}"
    return cache / "patient-visits" / name


class WorkingCopy:
    """The folder that stands for one address on this machine."""

    def __init__(self, address: StoreAddress, folder: Path) -> None:
        self.address, self.folder = address, folder
        self.objects = Objects(address)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        OPENED[folder] = self.publish

    @property
    def url(self) -> str:
        return self.address.url

    def hold(self, purpose: str) -> AbstractContextManager[None]:
        """Hold the data folder, wherever others work on it. Raises WarehouseLocked."""
        return hold_lease(self.objects, purpose)

    def refresh(self) -> None:
        """Bring in what others have written since: records, ledgers, decisions and the state. Snapshots and staged
        files are fetched when they are wanted; of those that have changed, the old ones go."""
        tags = {key: tag for key, tag in self.objects.tags().items() if not key.startswith(f"{LEASE}/")}
        whole = {key: tag for key, tag in tags.items() if not _is_piece(key)}
        with open_index(self.folder) as index:
            for key in index.objects.keys() - tags.keys():
                if not _is_piece(key):
                    self._forget(index, key)
            changed = {key: tag for key, tag in whole.items() if index.tag(key) != tag or self._is_gone(key)}
            for key in [each for each in changed if self._is_own(index, each)]:
                index.agree(key, changed.pop(key), None)
            for key in changed:
                if _is_wanted_later(key):
                    self._forget(index, key)
                    index.agree(key, changed[key], None)
            self._fetch(index, {key: tag for key, tag in changed.items() if not _is_wanted_later(key)})
            for key in {key.rpartition("/")[0] for key in tags if _is_piece(key)} | index.appended.keys():
                self._refresh_appended(index, key, tags)

    def publish(self, run_id: str | None = None) -> None:
        """Write to the store what has changed here: snapshots, ledgers and decisions; of a run, what it staged and its
        record, the manifest last; then what is told of all runs. Raises TemporaryFailure, StoredDataChanged,
        WarehouseLocked when somebody else has appended meanwhile."""
        with open_index(self.folder) as index:
            self._write(index, self.objects.create_from, self.folder.glob(f"{RAW}/*/*"))
            for path in sorted([*self.folder.glob(f"{RAW}/*/*{APPENDED}"), *self.folder.glob(f"{RUNS}/*{APPENDED}")]):
                self._append(index, path)
            staged = [*self.folder.glob(f"{STAGING}/*.json")]
            record: list[Path] = []
            if run_id:
                staged += self.folder.glob(f"{STAGING}/{run_id}/**/*")
                record = [*self.folder.glob(f"{RUNS}/{run_id}/**/*")]
                self._remove_gone(index, f"{RUNS}/{run_id}/")
            self._write(index, self.objects.put, [*staged, *(each for each in record if each.name != MANIFEST)])
            self._write(index, self.objects.put, (each for each in record if each.name == MANIFEST))
            told_of_all = [*self.folder.glob(f"{STATE}/*"), *self.folder.glob(f"{RUNS}/*.*")]
            self._write(index, self.objects.put, told_of_all)

    def unpublished_runs(self) -> list[str]:
        """The runs whose records the store has otherwise or not at all, oldest first: it was away when they ended."""
        with open_index(self.folder) as index:
            records = _files(self.folder.glob(f"{RUNS}/*/**/*"))
            changed = {path for path in records if not index.is_published(self._key(path), path)}
            gone = {key for key in index.objects if key.startswith(f"{RUNS}/") and not (self.folder / key).exists()}
            keys = {*map(self._key, changed), *(key for key in gone if not _is_piece(key))}
        return sorted({key.split("/")[1] for key in keys if key.count("/") > 1})

    def require_own(self, run_id: str) -> None:
        """The store answers, and the run's manifest in it is the one that was written here.

        Raises TemporaryFailure; WarehouseLocked when another machine has closed the run, taking it for dead."""
        key = f"{RUNS}/{run_id}/{MANIFEST}"
        with open_index(self.folder) as index:
            if self.objects.tag(key) != index.tag(key):
                raise WarehouseLocked(f"run {run_id}: another machine has closed it meanwhile; run again.")

    def fetch(self, path: Path) -> None:
        """Bring one file in, if the store has it and it is not here."""
        wanted = self._key(path)
        if not path.exists():
            self.fetch_all(lambda key: key == wanted)

    def fetch_folder(self, folder: Path) -> None:
        """Bring in everything below a folder that is not here yet."""
        self.fetch_all(lambda key: key.startswith(f"{self._key(folder)}/"))

    def fetch_all(self, wanted: Callable[[str], bool] = lambda key: key.startswith(f"{RAW}/")) -> None:
        """Bring in every object that was left out and is wanted: all snapshots, where nothing else is said."""
        with open_index(self.folder) as index:
            left_out = [key for key in index.objects if wanted(key) and not _is_piece(key)]
            missing = [key for key in left_out if not (self.folder / key).exists()]
            self._fetch(index, {key: (index.objects[key][0], index.objects[key][1]) for key in missing})

    def staged_runs(self) -> set[str]:
        """The runs whose staged files are in the store, as far as this copy knows."""
        with open_index(self.folder) as index:
            return {key.split("/")[1] for key in index.objects if key.startswith(f"{STAGING}/") and key.count("/") > 1}

    def remove_staged(self, run_id: str) -> int:
        """Remove a run's staged files from the store and from here; their bytes in the store."""
        with open_index(self.folder) as index:
            keys = [key for key in index.objects if key.startswith(f"{STAGING}/{run_id}/")]
            freed = sum(int(index.objects[key][1]) for key in keys)
            for key in keys:
                self.objects.remove(key)
                self._forget(index, key)
        shutil.rmtree(self.folder / STAGING / run_id, ignore_errors=True)
        return freed

    def _is_gone(self, key: str) -> bool:
        """Whether a file that is always here is not: somebody has removed a part of the copy."""
        return not _is_wanted_later(key) and not (self.folder / key).exists()

    def _is_own(self, index: Index, key: str) -> bool:
        """Whether an object that has changed is what this copy gave the store, which took it without an answer: then
        the file here is that one, or has gone on since, and nobody else has written."""
        given = index.given.get(key)
        return given is not None and (self.folder / key).exists() and self.objects.sha256(key) in given

    def _write(self, index: Index, write: Callable[[str, Path], None], paths: Iterable[Path]) -> None:
        """Write those of the files that have changed; a file that is only appended to is `_append`'s."""

        def written(path: Path) -> tuple[Path, tuple[str, int] | None]:
            write(self._key(path), path)
            return path, self.objects.tag(self._key(path))

        whole = [path for path in _files(paths) if path.suffix != APPENDED]
        changed = [path for path in whole if not index.is_published(self._key(path), path)]
        if not changed:
            return
        changing = [path for path in changed if not _is_wanted_later(self._key(path))]  # others come back as they went
        if changing:
            index.give({self._key(path): sha256_of_file(path) for path in changing})
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for path, tag in pool.map(written, changed):
                if tag is not None:
                    index.agree(self._key(path), tag, path)

    def _fetch(self, index: Index, tags: Tags) -> None:
        """Bring objects in, each whole: under a temporary name first."""

        def fetch(key: str) -> str:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            half = path.with_name(f"{TEMPORARY_PREFIX}fetched-{path.name}")
            try:
                if self.objects.fetch(key, half):
                    half.chmod(0o400 if key.startswith(f"{RAW}/") else 0o600)
                    half.replace(path)
            finally:
                half.unlink(missing_ok=True)
            return key

        if not tags:
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for key in pool.map(fetch, tags):
                if (self.folder / key).exists():
                    index.agree(key, tags[key], self.folder / key)

    def _append(self, index: Index, path: Path) -> None:
        """Create the piece that the store lacks: from where it ends there to the file's end."""
        key = self._key(path)
        begin = index.appended.get(key, 0)
        content = path.read_bytes()[begin:]
        if not content:
            return
        try:
            self.objects.create(_piece(key, begin), content)
        except AlreadyThere:
            raise WarehouseLocked(f"{key}: another machine has written to it meanwhile; run again.") from None
        index.appended[key] = begin + len(content)
        if tag := self.objects.tag(_piece(key, begin)):
            index.agree(_piece(key, begin), tag, None)

    def _refresh_appended(self, index: Index, key: str, tags: Tags) -> None:
        """Bring in the pieces that are new; all, when one that was known is not what it was."""
        pieces = {each: tag for each, tag in tags.items() if each.rpartition("/")[0] == key}
        known = {each for each in index.objects if _is_piece(each) and each.rpartition("/")[0] == key}
        path = self.folder / key
        is_kept = known <= pieces.keys() and all(index.tag(each) == pieces[each] for each in known)
        begin = index.appended.get(key, 0) if is_kept and path.exists() else 0
        new = sorted(each for each in pieces if begin == 0 or each not in known)
        if not new and is_kept and path.exists():
            return
        content = b""
        for each in new:
            if int(each.rpartition("/")[2]) != begin + len(content):
                raise StoredDataChanged(f"{self.url}/{key}: a piece of it is missing; restore it in the store.")
            content += self.objects.read(each) or b""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = path.read_bytes() if path.exists() else b""
        if own[begin:][: len(content)] != content:  # what was written here alone gives way
            with whole_file(path) as stream:
                stream.write(own[:begin] + content)
        for each in known - pieces.keys():
            del index.objects[each]
        for each in new:
            index.agree(each, pieces[each], None)
        index.appended[key] = begin + len(content)

    def _remove_gone(self, index: Index, prefix: str) -> None:
        """Remove from the store what a run removed or renamed in its record."""
        for key in [each for each in index.objects if each.startswith(prefix)]:
            if not (self.folder / key).exists():
                self.objects.remove(key)
                del index.objects[key]

    def _forget(self, index: Index, key: str) -> None:
        """Remove the file and its entry; a record's folder with its last file."""
        path = self.folder / key
        path.unlink(missing_ok=True)
        index.objects.pop(key, None)
        if path.parent.parent.name in (RUNS, STAGING) and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def _key(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _files(paths: Iterable[Path]) -> list[Path]:
    return [each for each in paths if each.is_file() and not each.name.startswith(TEMPORARY_PREFIX)]


def _piece(key: str, begin: int) -> str:
    return f"{key}/{begin:015d}"


def _is_piece(key: str) -> bool:
    return key.rpartition("/")[0].endswith(APPENDED)


def _is_wanted_later(key: str) -> bool:
    """Whether a file is fetched only when it is asked for: what is large and seldom read again."""
    return key.startswith((f"{RAW}/", f"{STAGING}/")) and not key.endswith(".json")
