"""axe-core, the accessibility checker, from npm: one version, known by its hash, kept beside pytest's cache."""

from __future__ import annotations

import base64
import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium import webdriver

from tests.npm import npm
from tests.pipeline.clinic import ROOT
from tests.waiting import turn

PACKAGE = "axe-core@4.14.1"
INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
CACHE = ROOT / ".pytest_cache" / "axe-core"
SERIOUS = ("serious", "critical")

_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(found => done(found.violations.map(each => ({
    rule: each.id, impact: each.impact, where: each.nodes.map(node => node.target.join(' ')).slice(0, 5),
}))), error => done([{rule: String(error), impact: 'critical', where: []}]));
"""


@dataclass(frozen=True)
class Violation:
    """A rule of axe-core that the page breaks, how bad that is, and at which elements."""

    rule: str
    impact: str | None
    where: list[str]


def serious_violations(window: webdriver.Chrome) -> list[Violation]:
    """What axe-core finds on the page in front that is serious or critical."""
    window.execute_script(axe_source())
    found = [Violation(**each) for each in window.execute_async_script(_RUN)]
    return [each for each in found if each.impact in SERIOUS]


def axe_source() -> str:
    """axe-core's script, fetched with npm when it is not there. Fails the test where it cannot be had."""
    name, _, version = PACKAGE.partition("@")
    archive = CACHE / f"{name}-{version}.tgz"
    CACHE.mkdir(parents=True, exist_ok=True)
    with turn(CACHE / "turn"):
        if not archive.exists() or _integrity(archive) != INTEGRITY:
            _fetch()
    if not archive.exists():
        pytest.fail(
            f"the pages are checked with {PACKAGE}, which npm did not get; see npm pack {PACKAGE}", pytrace=False
        )
    if _integrity(archive) != INTEGRITY:
        pytest.fail(f"{archive} is not the {PACKAGE} that the tests know: its hash differs", pytrace=False)
    with tarfile.open(archive) as held:
        script = held.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def _fetch() -> None:
    try:
        npm("pack", "--silent", PACKAGE, cwd=CACHE)
    except RuntimeError as error:
        pytest.fail(f"the pages are checked with {PACKAGE}: {error}", pytrace=False)


def _integrity(archive: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
