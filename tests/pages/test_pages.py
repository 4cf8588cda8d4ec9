"""The pages in a real browser: desk and phone, light and dark, printed, offline, by keyboard, for every ending."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from lib.sealed_page import is_sealed
from tests.browser import chromium, take_shot
from tests.pages.axe import serious_violations
from tests.pages.endings import HOSTILE, HOSTILE_REASON, KINDS, History

pytestmark = pytest.mark.timeout(1200)  # the first of them waits for six runs

PAGES = (*KINDS, "index")
DESK, PHONE = 1440, 390
A4_POINTS = (595, 842)
"""Width and height of an upright page; the index lies across."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser"), network_log=True) as window:
        yield window


def see(window: webdriver.Chrome, page: Path, width: int = DESK, scheme: str = "light") -> webdriver.Chrome:
    """The page opened at a width, in light or dark, with the network off."""
    window.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    window.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    window.get(page.as_uri())
    take_shot(window, f"{page.parent.name}-{page.stem}-{width}-{scheme}")
    return window


def ask(window: webdriver.Chrome, script: str) -> Any:
    return window.execute_script(f"return {script}")


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("kind", PAGES)
def test_nothing_runs_out_of_the_page_to_the_right(
    history: History, browser: webdriver.Chrome, kind: str, width: int
) -> None:
    see(browser, history.page(kind), width)
    assert ask(browser, "document.documentElement.scrollWidth") <= ask(browser, "document.documentElement.clientWidth")
    outside = """[...document.querySelectorAll('main *, header *')].filter(each => !each.closest('.scroll, figure, svg')
        && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.outerHTML)"""
    assert ask(browser, outside) == []


@pytest.mark.parametrize("kind", PAGES)
def test_axe_finds_nothing_serious_in_light_and_dark_with_and_without_code(
    history: History, browser: webdriver.Chrome, kind: str
) -> None:
    for scheme in ("light", "dark"):
        see(browser, history.page(kind), scheme=scheme)
        ground = ask(browser, "getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 380) == (scheme == "light")
        browser.execute_script("document.querySelector('#show-code')?.click()")
        assert serious_violations(browser) == []


@pytest.mark.parametrize("kind", PAGES)
def test_it_prints_to_a4(history: History, browser: webdriver.Chrome, kind: str) -> None:
    see(browser, history.page(kind), scheme="dark")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(printed["data"])
    sizes = [tuple(map(float, found)) for found in re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)]
    assert {(round(width), round(height)) for width, height in sizes} == {A4_POINTS[:: -1 if kind == "index" else 1]}
    stages = ask(browser, "document.querySelectorAll('section.stage').length")
    assert pdf.count(b"/Type /Page\n") >= 1 + stages, "each stage begins a page"


@pytest.mark.parametrize("kind", PAGES)
def test_no_request_leaves_the_page(history: History, browser: webdriver.Chrome, kind: str) -> None:
    browser.get("about:blank")
    browser.get_log("performance")
    see(browser, history.page(kind))
    told = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    asked = {each["params"]["request"]["url"] for each in told if each["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {history.page(kind).as_uri()}
    assert history.page(kind).stat().st_size < 2_000_000


@pytest.mark.parametrize("kind", PAGES)
def test_markup_in_names_and_reasons_creates_no_element(history: History, browser: webdriver.Chrome, kind: str) -> None:
    see(browser, history.page(kind))
    assert ask(browser, "document.querySelectorAll('script, iframe, object, embed, link, [onerror]').length") == 0
    assert (
        ask(browser, "[...document.images].filter(each => !each.src.startsWith('data:image/png;base64,')).length") == 0
    )
    assert ask(browser, "document.title") != "gone"
    shown = {"held": HOSTILE, "overridden": HOSTILE_REASON}
    if kind in shown:
        assert shown[kind] in ask(browser, "document.body.textContent")


@pytest.mark.parametrize("kind", PAGES)
def test_its_structure_is_that_of_a_document(history: History, browser: webdriver.Chrome, kind: str) -> None:
    see(browser, history.page(kind))
    levels = ask(browser, "[...document.querySelectorAll('h1, h2, h3, h4, h5')].map(each => +each.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = ask(browser, "[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(ids) == len(set(ids))
    links = ask(browser, "[...document.querySelectorAll('a[href^=\"#\"]')].map(each => each.hash.slice(1))")
    assert set(links) <= set(ids)
    for name in ("header", "main", "footer"):
        assert ask(browser, f"document.querySelectorAll('{name}').length") == 1
    regions = ask(browser, "[...document.querySelectorAll('.scroll')].map(each => each.ariaLabel)")
    assert all(regions) and len(set(regions)) == len(regions)
    assert ask(browser, "[...document.querySelectorAll('table')].every(each => each.parentElement.tabIndex === 0)")
    assert ask(browser, "[...document.querySelectorAll('th')].every(each => each.scope)")
    assert ask(browser, "[...document.images].every(each => each.alt.length > 20)")
    assert ask(browser, "[...document.querySelectorAll('svg')].every(each => each.ariaLabel.length > 10)")
    assert (ask(browser, "document.documentElement.lang"), bool(browser.title)) == ("en", True)


def test_code_is_shown_and_hidden_by_keyboard(history: History, browser: webdriver.Chrome) -> None:
    see(browser, history.page("passed"))
    visible = "[...document.querySelectorAll('.code .highlight')].filter(each => each.checkVisibility()).length"
    parameters = "[...document.querySelectorAll('h3')].filter(each => each.textContent === 'Parameters')"
    shown = f"{parameters}.filter(each => each.checkVisibility()).length"
    assert (ask(browser, visible), ask(browser, shown), ask(browser, f"{parameters}.length")) == (0, 0, 5)
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert ask(browser, "document.activeElement.className") == "skip"
    for _ in range(40):
        if ask(browser, "document.activeElement.id") == "show-code":
            break
        ActionChains(browser).send_keys(Keys.TAB).perform()
    assert ask(browser, "document.activeElement.id") == "show-code"
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert ask(browser, visible) > 40 and ask(browser, shown) == 5
    ActionChains(browser).send_keys(Keys.SPACE).perform()
    assert ask(browser, visible) == 0


@pytest.mark.parametrize(
    ("kind", "verdict", "told"),
    [
        ("warned", "PASSED WITH WARNINGS", ["null_cost_share", "61 read", "The tables may be used"]),
        ("held", "FAILED", ["missing_required_share", "Nothing was loaded", "--accept", "02 · Stage"]),
        ("overridden", "PASSED BY OVERRIDE", ["missing_required_share", "agreed with the clinic"]),
        ("refused", "FAILED", ["3.csv", "Nothing was loaded", "Have it delivered again"]),
        ("killed", "FAILED", ["The run died after 02_stage had ended well", "Run again", "Not reached"]),
        ("passed", "PASSED", ["40 read", "This batch holds every rule that had something to judge"]),
    ],
)
def test_the_first_screen_says_what_happened(
    history: History, browser: webdriver.Chrome, kind: str, verdict: str, told: list[str]
) -> None:
    see(browser, history.page(kind))
    assert ask(browser, "document.querySelector('h1 .verdict').textContent") == verdict
    text = ask(browser, "document.body.innerText")
    assert [each for each in [history.runs[kind], *told] if each not in text] == []
    gone = {"held": ["04", "05"], "refused": ["03", "04", "05"], "killed": ["04", "05"]}.get(kind, [])
    for number in gone:
        assert "Not reached" in ask(browser, f"document.querySelector('#stage-{number}').parentElement.innerText")


def test_the_index_tells_every_run_and_leads_to_its_page(history: History, browser: webdriver.Chrome) -> None:
    see(browser, history.page("index"))
    rows = ask(browser, "[...document.querySelectorAll('#runs ~ .scroll tbody tr')].map(each => each.innerText)")
    assert [run for row, run in zip(rows, reversed(history.runs.values()), strict=True) if run not in row] == []
    links = ask(browser, "[...document.querySelectorAll('#runs ~ .scroll a')].map(each => each.href)")
    assert links == [history.page(kind).as_uri() for kind in reversed(KINDS)]
    words = ask(browser, "[...document.querySelectorAll('.trend svg')].map(each => each.ariaLabel)")
    assert [each.partition(":")[0] for each in words] == [
        "Rows read",
        "Share of rows refused",
        "Hours of lookback that cover 99.9 % of all lateness seen (dashed",
        "Duration",
    ]
    rules = ask(browser, "document.querySelector('#rules-1 ~ .scroll').innerText")
    assert "missing_required_share" in rules and "2 of 4, 1 accepted" in rules


@pytest.mark.parametrize("kind", PAGES)
def test_the_page_is_sealed_and_private(history: History, kind: str) -> None:
    assert is_sealed(history.page(kind).read_bytes())
    assert history.page(kind).stat().st_mode & 0o777 == 0o600
