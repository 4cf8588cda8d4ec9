"""Whether --resume may go on with a run: it was cut short, and nothing that decided what it did has changed since.

Apart from lib/resume.py, as it brings pandas along, which takes a while: most runs are not resumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lib import provenance
from lib.clock import instant_text
from lib.config import load_settings
from lib.deliveries import standings
from lib.differences import differing_settings
from lib.errors import StoredDataChanged, UsageError
from lib.extract import run_batch
from lib.files import sha256_of_file
from lib.raw import check_snapshot
from lib.resume import WITHOUT, finished_notebooks
from lib.run import Run
from lib.state import read_state
from lib.used_code import LOCK, used_code
from lib.validate import check_staged
from lib.warehouse import reading

INSTEAD = {
    "loaded": f"is loaded; {WITHOUT}, which also completes its report",
    "held": "was held by the gate; deliver a corrected file, or accept it with --accept RULE --reason TEXT",
    "refused": f"refused its delivery; have it delivered again, then {WITHOUT}",
}
"""What to do about a run that cannot be resumed, by its outcome."""


def check_resumable(run: Run, config_file: str, given: dict[str, Any]) -> None:
    """Whether the run may go on: it ended without an end of its own, and nothing that its finished notebooks depend on
    has changed. Call it while holding the warehouse's lock, the records being repaired. `given` are settings given now
    in place of the config's.

    Raises UsageError for a run that ended otherwise, for a changed config, code, lock or table; StoredDataChanged for a
    snapshot, staged file or executed notebook that is not what it was.
    """
    instead = INSTEAD.get(run.manifest["outcome"])
    if instead:
        raise UsageError(f"--resume: run {run.run_id} {instead}.")
    if not finished_notebooks(run):
        raise UsageError(f"--resume: no notebook of run {run.run_id} ended well; {WITHOUT}.")
    changed = [
        *_changed_config(run, config_file, given),
        *_changed_code(run),
        *_changed_packages(run),
        *_changed_tables(run),
    ]
    if changed:
        raise UsageError(f"--resume: since run {run.run_id} began, {changed[0]}; {WITHOUT}.")
    _check_record(run)
    batch = run_batch(run)
    for each in (*batch.deliveries, *batch.context):
        check_snapshot(run.layout, each)
    if run.manifest.get("staged"):
        check_staged(run)


def _changed_config(run: Run, config_file: str, given: dict[str, Any]) -> Iterable[str]:
    settings = load_settings(config_file, **run.options.given | given)
    before, after = (each.model_dump(mode="json") for each in (run.settings, settings))
    for name, _, _ in differing_settings(before, after):
        yield f"the config has changed ({name})"


def _changed_code(run: Run) -> Iterable[str]:
    then, now_ = run.manifest["code"], provenance.code_hashes()
    for name in finished_notebooks(run):
        for path in sorted(used_code(name, {*then, *now_})):
            if then.get(path) != now_.get(path):
                yield f"{path}, which {name} used, has changed" if path != LOCK else f"{LOCK} has changed"


def _changed_packages(run: Run) -> Iterable[str]:
    """An installation that moved on without its lock: what ran before ran on other versions."""
    then, now_ = run.manifest["packages"], provenance.packages()
    for name in sorted({*then, *now_}, key=str.lower):
        if then.get(name) != now_.get(name):
            yield f"the installed {name} has changed ({then.get(name, 'none')} → {now_.get(name, 'none')})"


def _changed_tables(run: Run) -> Iterable[str]:
    members = {each.sequence for each in run_batch(run).deliveries}
    with reading(run.layout) as connection:
        state = read_state(connection, run.source)
        stand = [each for each in standings(connection, run.source) if each.delivery.sequence in members]
    watermark = state.watermark and instant_text(state.watermark)
    if (state.version, watermark) != (run.manifest["version"], run.manifest["committed_watermark"]):
        yield "another run has loaded"
    for each in stand:
        if each.status == "discarded":
            yield f"delivery {each.delivery.sequence} was discarded"


def _check_record(run: Run) -> None:
    for name, sha256 in run.manifest["files"].items():
        path = run.record / name
        if not path.is_file() or sha256_of_file(path) != sha256:
            raise StoredDataChanged(f"runs/{run.run_id}/{name}: was edited after the run; {WITHOUT}.")
