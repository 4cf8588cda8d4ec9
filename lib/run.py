"""A run: its parameters, window, manifest and frames. Every notebook opens it first.

01 without a run id begins a run; 02 to 05 without one open the newest run of the data folder. What a run was begun with
(config, window, clock) is in its manifest and does not change under it.
"""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import confidential, provenance
from lib.clock import file_stamp, instant_text, now, parse_instant, short_instant
from lib.config import Settings, load_settings, settings_from
from lib.deliveries import sync_ledger
from lib.errors import UsageError
from lib.layout import RUN_ID_WIDTH, Layout
from lib.lock import HELD_BY_PARENT
from lib.manifest import Manifest
from lib.quarantine import waivers_in_force
from lib.record import Outcome, close_record
from lib.restore import restore_marks
from lib.state import State, check_facts_present, read_state
from lib.store.place import Place, place_of, told
from lib.warehouse import copy_aside, writing
from lib.window import Window

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS = ("config_file", "data_dir", "run_id", "as_of", "watermark", "lookback_hours")
FIRST_NOTEBOOK = "01_extract"


@dataclass(frozen=True)
class Options:
    """What an operator may ask of a run beyond the notebooks' parameters. `given` are settings that were given in place
    of the config's, dotted as load_settings takes them."""

    full_refresh: bool = False
    accept: tuple[str, ...] = ()
    reason: str | None = None
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One run of the pipeline. Times are UTC."""

    run_id: str
    settings: Settings
    layout: Layout
    manifest: Manifest

    @classmethod
    def open(
        cls,
        notebook: str,
        *,
        config_file: str = "config.yaml",
        data_dir: str = "data/sandbox",
        run_id: str | None = None,
        as_of: str | None = None,
        watermark: str | None = None,
        lookback_hours: float | None = None,
    ) -> Run:
        """What a notebook opens with its six parameters.

        Raises UsageError when a parameter was injected that no notebook declares, when there is no such run, or when a
        parameter is not what the run was begun with.
        """
        os.umask(0o077)
        _refuse_undeclared_parameters()
        layout = Layout.at(place_of(data_dir), None)
        if not run_id and notebook == FIRST_NOTEBOOK:
            settings = load_settings(config_file, window__lookback_hours=lookback_hours)
            run = cls.begin(settings, data_dir=data_dir, as_of=as_of, watermark=watermark)
        else:
            run = cls.existing(layout.place, run_id or "latest")
            run._refuse_other_parameters(as_of, watermark, lookback_hours)
        confidential.guard_kernel(run.log)
        return run

    @classmethod
    def begin(
        cls,
        settings: Settings,
        *,
        data_dir: str | Place,
        as_of: str | None = None,
        watermark: str | None = None,
        options: Options | None = None,
    ) -> Run:
        """Begin a run: fix its clock and window, make its record's folder, write its manifest.

        Raises UsageError for a clock earlier than the last committed one or later than the machine's, for a watermark
        later than the committed one; StoredDataChanged when the warehouse is not what it was.
        """
        options = options or Options()
        layout = Layout.at(place_of(data_dir), settings.warehouse, settings.engine)
        if layout.store and settings.readers_group:
            raise UsageError("readers_group: opens folders; on object storage let the store's own policy open runs/.")
        layout.create()
        if options.full_refresh and layout.is_blank_file:
            copy_aside(layout.warehouse)
        source = settings.source.name
        with writing(layout, rebuild=options.full_refresh) as connection:
            sync_ledger(layout, connection, source)
            behind = restore_marks(layout, connection, source)
            if behind and behind.refresh:  # what a refresh loaded, only a refresh can load again
                options = replace(options, full_refresh=True)
            if not options.full_refresh:
                check_facts_present(connection, source)
            state = read_state(connection, source)
            clock = _choose_as_of(as_of, state)
            waivers = waivers_in_force(connection, source, instant_text(clock)[:10])
        start = _choose_watermark(watermark, state) if not options.full_refresh else None
        window = Window(start, settings.window.lookback_hours)
        run_id = _make_record(layout)
        resolved = settings.model_dump(mode="json")
        manifest = Manifest.create(
            layout.record(run_id),
            {
                "run_id": run_id,
                "source": source,
                "outcome": "running",
                "as_of": instant_text(clock),
                "started": instant_text(now()),
                "ended": None,
                "actor": provenance.actor(),
                "host": provenance.host(),
                "options": {
                    "full_refresh": options.full_refresh,
                    "accept": list(options.accept),
                    "reason": options.reason,
                    "given": options.given,
                },
                "window": {
                    "watermark": window.watermark and instant_text(window.watermark),
                    "lookback_hours": window.lookback_hours,
                    "cutoff": window.cutoff and instant_text(window.cutoff),
                },
                "version": state.version,
                "waivers": waivers.entries,
                "behind": behind and behind.to_json(),
                "committed_watermark": state.watermark and instant_text(state.watermark),
                "config": resolved,
                "code": provenance.code_hashes(),
                "git": provenance.git_state(),
                "interpreter": provenance.interpreter(),
                "packages": provenance.packages(),
            },
        )
        return cls(run_id, settings, layout, manifest)

    @classmethod
    def existing(cls, data_dir: str | Place, run_id: str = "latest") -> Run:
        """A run of `data_dir` by its id, or the newest. Raises UsageError when there is none."""
        layout = Layout.at(place_of(data_dir), None)
        if run_id == "latest":
            known = layout.run_ids()
            if not known:
                raise UsageError("no run has begun here yet; run 01_extract first, or python run_pipeline.py.")
            run_id = known[-1]
        if Path(run_id).name != run_id:
            raise UsageError("run_id: must be the name of a folder in runs, such as 000001-20251207T060000Z.")
        manifest = Manifest.read(layout.record(run_id))
        settings = settings_from(manifest["config"], f"{run_id}/manifest.json")
        return cls(run_id, settings, Layout.at(layout.place, settings.warehouse, settings.engine), manifest)

    @classmethod
    def latest(cls, data_dir: str = "data/sandbox") -> Run:
        """The newest run, to look into from a notebook of one's own. Raises UsageError when there is none."""
        run = cls.existing(data_dir)
        confidential.guard_kernel(run.log)
        return run

    def visits(self, reveal: bool = False) -> pd.DataFrame:
        """See lib.frames.visits."""
        from lib import frames

        return frames.visits(self, reveal)

    def rejected(self, reveal: bool = False) -> pd.DataFrame:
        """See lib.frames.rejected."""
        from lib import frames

        return frames.rejected(self, reveal)

    def facts(self, reveal: bool = False) -> pd.DataFrame:
        """See lib.frames.facts."""
        from lib import frames

        return frames.facts(self, reveal)

    def daily(self) -> pd.DataFrame:
        """See lib.frames.daily."""
        from lib import frames

        return frames.daily(self)

    @property
    def source(self) -> str:
        return self.settings.source.name

    @property
    def as_of(self) -> datetime:
        """The run's clock."""
        return parse_instant(self.manifest["as_of"])

    @property
    def window(self) -> Window:
        """Which rows this run looks at."""
        watermark = self.manifest["window"]["watermark"]
        return Window(parse_instant(watermark) if watermark else None, self.manifest["window"]["lookback_hours"])

    @property
    def options(self) -> Options:
        """What the operator asked for."""
        asked = self.manifest["options"]
        return Options(asked["full_refresh"], tuple(asked["accept"]), asked["reason"], asked.get("given", {}))

    @property
    def record(self) -> Path:
        """The folder of the run's record."""
        return self.layout.record(self.run_id)

    @property
    def log(self) -> Path:
        """The run's private log."""
        return self.layout.log(self.run_id)

    @property
    def staging(self) -> Path:
        """The folder of the run's staging output, brought in where it was made elsewhere."""
        folder = self.layout.staged(self.run_id)
        if self.layout.store:
            self.layout.store.fetch_folder(folder)
        return folder

    @property
    def counts(self) -> dict[str, int]:
        """How many rows went where, of the whole batch; empty before 02."""
        return dict(self.manifest.get("counts", {}))

    @property
    def parameters(self) -> dict[str, Any]:
        """The six notebook parameters of this run, as run_pipeline.py passes them."""
        watermark = self.window.watermark
        return {
            "data_dir": told(self.layout.place),
            "run_id": self.run_id,
            "as_of": short_instant(self.as_of),
            "watermark": short_instant(watermark) if watermark else None,
            "lookback_hours": self.window.lookback_hours,
        }

    @property
    def is_stepped_by_hand(self) -> bool:
        """Whether this run is nobody's but the notebooks': its record is closed as soon as its outcome is known."""
        return os.environ.get(HELD_BY_PARENT) != self.run_id

    def end(self, outcome: Outcome, message: str | None = None) -> None:
        """Close the record of a run that was stepped by hand. Under run_pipeline.py the outer process closes it."""
        if self.is_stepped_by_hand:
            close_record(self.layout, self.run_id, outcome, exit_code=None, message=message)

    def _refuse_other_parameters(self, as_of: str | None, watermark: str | None, lookback_hours: float | None) -> None:
        begun = self.window
        given = {
            "as_of": (parse_instant(as_of, "as_of") if as_of else None, self.as_of),
            "watermark": (parse_instant(watermark, "watermark") if watermark else None, begun.watermark),
            "lookback_hours": (lookback_hours, begun.lookback_hours),
        }
        for name, (asked, had) in given.items():
            if asked is not None and asked != had:
                raise UsageError(f"{name}: run {self.run_id} was begun with another; begin a new run with 01_extract.")


def _choose_as_of(asked: str | None, state: State) -> datetime:
    """The run's clock: as asked, else now; never before the last committed clock, never beyond the machine's day."""
    today = now().replace(microsecond=0)
    latest = max(today, state.last_as_of) if state.last_as_of else today
    if asked is None:
        return latest
    clock = parse_instant(asked, "as_of")
    if state.last_as_of and clock < state.last_as_of:
        raise UsageError(
            f"as_of: is earlier than the last committed one ({short_instant(state.last_as_of)}); leave it out."
        )
    if (clock - latest).days >= 1:
        raise UsageError("as_of: lies in the future; a clock ahead of its time would let future stamps in for good.")
    return clock


def _choose_watermark(asked: str | None, state: State) -> datetime | None:
    """Where the window is measured from: the committed watermark, or an earlier one that was asked for."""
    if asked is None:
        return state.watermark
    watermark = parse_instant(asked, "watermark")
    if state.watermark is None or watermark > state.watermark:
        raise UsageError(
            "watermark: is later than the committed one, so rows between them would be lost; leave it out."
        )
    return watermark


def _make_record(layout: Layout) -> str:
    """A new run's id and folder; the sequence number comes first, so ids sort even when the clock was set back."""
    while True:
        known = layout.run_ids()
        sequence = int(known[-1][:RUN_ID_WIDTH]) + 1 if known else 1
        run_id = f"{sequence:0{RUN_ID_WIDTH}d}-{file_stamp(now())}"
        if any(each.startswith(f"{sequence:0{RUN_ID_WIDTH}d}-") for each in known):
            continue
        try:
            layout.record(run_id).mkdir(mode=0o700)
        except FileExistsError:
            continue
        layout.staged(run_id).mkdir(mode=0o700, exist_ok=True)
        return run_id


def _refuse_undeclared_parameters() -> None:
    """Papermill injects a parameter that no cell declares with a warning only; a typo would then quietly do nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    for cell in shell.user_ns.get("In", []) if shell else []:
        if not cell.startswith("# Parameters\n"):
            continue
        names = {
            target.id
            for node in ast.parse(cell).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        unknown = sorted(names - set(PARAMETERS))
        if unknown:
            raise UsageError(f"{', '.join(unknown)}: no such parameter; there are {', '.join(PARAMETERS)}.")
