"""Where everything lives under one data folder, and who may read it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import TemporaryFailure, UsageError
from lib.files import TEMPORARY_PREFIX
from lib.warehouses.address import SERVERS, WRITTEN, Address, read_address

if TYPE_CHECKING:
    from lib.config import Engine
    from lib.store.working_copy import WorkingCopy

RUN_ID_WIDTH = 6
NOTEBOOKS = ("01_extract", "02_stage", "03_validate", "04_load", "05_analytics")
"""In the order in which they run."""
REPORT = "dq_report.json"
PAGE = "report.html"
"""What the gate found: in the record, and the newest beside the staged files."""
KINDS = {"sqlite": "warehouse.db", "duckdb": "warehouse.duckdb"}
"""The kinds of warehouse that are a file, and what it is called where nobody names it."""
DEFAULT_URL = "sqlite:///warehouse.db"


@dataclass(frozen=True)
class Layout:
    """The folders of one data_dir and its warehouse file. Folders are 0700, files 0600: the process's umask is 077.
    `archive`: where old records were moved to, for those who verify them with the rest. `kind`: of the warehouse;
    `engine`: what it may use, where it computes in this process; `server`: where it is, when it is on a server. Then
    `warehouse` is no file: its name is what it is called here, and its lock lies beside it. `store`: when the data
    folder is on object storage; `data_dir` is then this machine's working copy of it."""

    data_dir: Path
    warehouse: Path
    archive: Path | None = None
    kind: str = "sqlite"
    engine: Engine | None = None
    server: Address | None = None
    store: WorkingCopy | None = None

    @classmethod
    def at(cls, place: Path | WorkingCopy, warehouse_url: str | None, engine: Engine | None = None) -> Layout:
        """The layout of a data folder (lib/store/place.py tells of one on object storage); `warehouse_url` is
        `sqlite:///path`, `duckdb:///path`, a server's (see lib/warehouses/address.py), or None for `warehouse.db` in
        the folder. Raises UsageError for any other."""
        data_dir, store = (place, None) if isinstance(place, Path) else (place.folder, place)
        if warehouse_url and warehouse_url.partition("://")[0] in SERVERS:
            server = read_address(warehouse_url)
            warehouse = data_dir / server.file_name
            return cls(data_dir, warehouse, kind=server.kind, engine=engine, server=server, store=store)
        kind, separator, path = (DEFAULT_URL if warehouse_url is None else warehouse_url).partition(":///")
        if not separator or kind not in KINDS or not path:
            urls = ", ".join(f"{each}:///path/to/{name}" for each, name in KINDS.items())
            urls += "".join(f" or {each}" for each in map(WRITTEN.get, SERVERS))
            raise UsageError(f"warehouse: must be written {urls}.")
        return cls(data_dir, data_dir / path, kind=kind, engine=engine, store=store)  # an absolute path stays one

    def like(self, folder: Path) -> Layout:
        """The layout of another data folder, with a warehouse of the same kind in its usual place; of one on a server,
        with a DuckDB file that its tables can be copied to."""
        if self.server:
            return Layout.at(folder, f"duckdb:///{KINDS['duckdb']}", self.engine)
        return Layout.at(folder, f"{self.kind}:///{KINDS[self.kind]}", self.engine)

    @property
    def place(self) -> Path | WorkingCopy:
        """What `Layout.at` takes for this data folder."""
        return self.store or self.data_dir

    @property
    def name(self) -> str:
        """What the data folder is called in messages."""
        return self.store.url if self.store else self.data_dir.name

    def publish(self, run_id: str | None = None) -> None:
        """Write to object storage what has changed, of one run too; see lib/store/working_copy.py."""
        if self.store:
            self.store.publish(run_id)

    def fetch_snapshots(self) -> None:
        """Bring in every snapshot that is on object storage only, for who reads all of them."""
        if self.store:
            self.store.fetch_all()

    def require_lasting_warehouse(self) -> None:
        """Raises UsageError when the tables would be in the working copy of a store, where nothing lasts."""
        if self.store and not self.server and self.warehouse.is_relative_to(self.data_dir):
            raise UsageError(
                f"warehouse: the data folder is {self.store.url}, where no file of tables can be; name a server, or a "
                "file by its whole path, as sqlite:////srv/clinic/warehouse.db."
            )

    @property
    def url(self) -> str:
        """The warehouse's."""
        return self.server.url if self.server else f"{self.kind}:///{self.warehouse}"

    @property
    def raw(self) -> Path:
        return self.data_dir / "raw"

    @property
    def staging(self) -> Path:
        return self.data_dir / "staging"

    @property
    def state(self) -> Path:
        return self.data_dir / "state"

    @property
    def runs(self) -> Path:
        return self.data_dir / "runs"

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def state_file(self) -> Path:
        return self.state / "state.json"

    @property
    def decisions(self) -> Path:
        return self.runs / "decisions.jsonl"

    @property
    def lock_file(self) -> Path:
        return self.warehouse.with_name(self.warehouse.name + ".lock")

    @property
    def is_blank_file(self) -> bool:
        """Whether the warehouse is a file of no bytes."""
        return self.warehouse.exists() and not self.warehouse.stat().st_size

    def record(self, run_id: str) -> Path:
        """The folder of one run's record."""
        if self.archive and not (self.runs / run_id).exists():
            return self.archive / run_id
        return self.runs / run_id

    def staged(self, run_id: str) -> Path:
        """The folder of one run's staging output."""
        return self.staging / run_id

    def log(self, run_id: str) -> Path:
        """The private log of one run: the only place a traceback goes."""
        return self.logs / f"{run_id}.log"

    def run_ids(self) -> list[str]:
        """All run ids, oldest first: they begin with a sequence number."""
        folders = [each for each in (self.runs, self.archive) if each and each.is_dir()]
        found = (each for folder in folders for each in folder.iterdir())
        return sorted({each.name for each in found if each.is_dir() and each.name[:1].isdigit()})

    def create(self) -> None:
        """Make the folders, prove that they can be written, and keep them private. Raises TemporaryFailure."""
        os.umask(0o077)
        for folder in (self.raw, self.staging, self.state, self.runs, self.logs, self.warehouse.parent):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                probe = folder / f"{TEMPORARY_PREFIX}probe-{os.getpid()}"
                probe.write_bytes(b"")
                probe.unlink(missing_ok=True)  # the holder of the lock may have swept it
            except FileExistsError:
                raise UsageError(f"{folder.name}: is not a folder; move it away or name another --data-dir.") from None
            except OSError as error:
                raise TemporaryFailure(
                    f"{folder}: cannot be written ({os.strerror(error.errno or 0)}); nothing was started."
                ) from None

    def sweep(self) -> None:
        """Remove temporary files of writers that died. Call it only while holding the warehouse's lock."""
        kept = (self.raw, self.staging, self.state, self.runs, self.logs)
        leftovers = [found for folder in kept for found in folder.rglob(TEMPORARY_PREFIX + "*")]
        leftovers += self.warehouse.parent.glob(TEMPORARY_PREFIX + "*")  # its folder may hold other things below
        for leftover in leftovers:
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def resolve_run_id(layout: Layout, text: str) -> str:
    """The run id that somebody means by a whole id, by its sequence number (7, 000007), or by an unambiguous beginning.

    Raises UsageError when no run is meant, or more than one.
    """
    known = layout.run_ids()
    if text in known:
        return text
    number = text.lstrip("0").zfill(RUN_ID_WIDTH) if text.isdigit() else None
    meant = [each for each in known if each.partition("-")[0] == number]
    meant = meant or [each for each in known if text and each.startswith(text)]
    if not meant:
        raise UsageError("there is no such run; see python run_pipeline.py history.")
    if len(meant) > 1:
        raise UsageError(f"{len(meant):,} runs are meant, from {meant[0]} to {meant[-1]}; write more of the id.")
    return meant[0]
