"""JupyterLab in a real browser, for tests: a private server, a headless Chromium, and a page that a person's hands use.

Nothing of the user's is read or written: home, settings, kernels, browser profile and data are the test's own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from tests.waiting import turn

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "Makefile", "config.yaml", "data/input", "expectations", "lib", "notebooks", "requirements.lock", "run_pipeline.py",
)  # fmt: skip
PACKAGES = ("chromium", "chromium-driver")
PATIENCE = 180
"""Seconds that one step may take on a busy machine."""

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--no-proxy-server",
)  # fmt: skip
WIDTH, HEIGHT = 1400, 1400
SHOTS = Path(os.environ["SCREENSHOTS"]) if os.environ.get("SCREENSHOTS") else None

SETTINGS = {
    "docmanager-extension/plugin": {"autosave": False},  # what is saved, the test saves
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}

Seen = TypeVar("Seen")


def wait_for(what: str, look: Callable[[], Seen | None], seconds: float = PATIENCE) -> Seen:
    """The first thing that `look` finds. Fails the test, saying what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    pytest.fail(f"waited {seconds:g} s for {what}", pytrace=False)


def copy_project(folder: Path) -> Path:
    """What the notebooks need of the project, and nothing that a run made of it."""
    nothing_made = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=nothing_made)
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


# The server


@dataclass(frozen=True)
class Server:
    """A JupyterLab that runs."""

    url: str
    token: str
    log: Path


@contextmanager
def jupyterlab(command: list[str], folder: Path, home: Path) -> Iterator[Server]:
    """Run `command`, which starts JupyterLab, in `folder`, with `home` for everything that is a user's own."""
    runtime = home / "jupyter" / "runtime"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter" / "config"),
        "JUPYTER_DATA_DIR": str(home / "jupyter" / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "IPYTHONDIR": str(home / "ipython"),
    }
    for name, settings in SETTINGS.items():
        path = home / "jupyter/config/lab/user-settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    log = home / "jupyterlab.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield wait_for("JupyterLab to start", lambda: _started(process, runtime, log))
    finally:
        _stop(process)


def _started(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> Server | None:
    if process.poll() is not None:
        pytest.fail(f"JupyterLab ended with {process.returncode}: {log.read_text()[-2000:]}", pytrace=False)
    for path in runtime.glob("jpserver-*.json"):
        try:
            about = json.loads(path.read_text())
        except json.JSONDecodeError:  # half written
            return None
        return Server(about["url"], about["token"], log)
    return None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server, which ends its kernels, then whatever is left of its session."""
    for asked in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, asked)
            process.wait(30)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


# The browser


def find_chromium() -> tuple[str, str] | None:
    """Browser and driver, or None."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def require_chromium() -> tuple[str, str]:
    """Browser and driver. Root on Debian gets them from its packages; for others, the test fails and says how."""
    with turn(Path(__file__)):
        if find_chromium() is None and os.geteuid() == 0 and shutil.which("apt-get"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *PACKAGES]):
                subprocess.run(["apt-get", *words], env=environment, capture_output=True, check=False)
    found = find_chromium()
    if found is None:
        pytest.fail(
            "the notebooks are tested in a browser, and there is no chromium with chromedriver on PATH;"
            f" install them: apt-get install -y {' '.join(PACKAGES)}",
            pytrace=False,
        )
    return found


@contextmanager
def chromium(home: Path, *, network_log: bool = False) -> Iterator[webdriver.Chrome]:
    """A headless browser with its own profile; with a log of its network, if asked."""
    browser, driver = require_chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={home / 'chromium'}"):
        options.add_argument(flag)
    if network_log:
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(home)}
    window = webdriver.Chrome(options=options, service=Service(executable_path=driver, env=environment))
    try:
        yield window
    except BaseException:
        take_shot(window, "failed")
        raise
    finally:
        window.quit()


def take_shot(window: webdriver.Chrome, name: str) -> None:
    """A picture of the window into the folder that SCREENSHOTS names, if any."""
    if SHOTS is not None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        window.save_screenshot(str(SHOTS / f"{name}.png"))


# The page

_FRONT = "const panel = document.querySelector('#jp-main-dock-panel .jp-NotebookPanel:not(.lm-mod-hidden)');"

_TAB = "#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current"

_STATUS = (  # before there is a kernel, the indicator says idle too
    _FRONT
    + """
    const kernel = panel?.querySelector('.jp-Toolbar-kernelName')?.textContent;
    if (!kernel || kernel === 'No Kernel' || !panel.querySelector('.jp-CodeCell')) return 'no kernel';
    return panel.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status;"""
)

_CELLS = (
    _FRONT
    + """
    return [...panel.querySelectorAll('.jp-Notebook-cell')].map(cell => ({
        code: cell.classList.contains('jp-CodeCell'),
        prompt: cell.querySelector('.jp-InputArea-prompt')?.textContent ?? '',
        text: cell.querySelector('.jp-OutputArea')?.innerText ?? '',
        errors: [...cell.querySelectorAll('[data-mime-type*="jupyter.error"], [data-mime-type*="jupyter.stderr"]')]
            .map(output => output.innerText),
        images: [...cell.querySelectorAll('.jp-OutputArea img')]
            .map(image => image.complete && image.naturalWidth > 0 && image.width > 0 && image.checkVisibility()),
    }));"""
)

_SCROLL = (  # to the given screenful; is there more below?
    _FRONT
    + """
    const view = panel.querySelector('.jp-WindowedPanel-outer');
    view.scrollTop = arguments[0] * (view.clientHeight - 60);
    return view.scrollTop + view.clientHeight + 5 < view.scrollHeight;"""
)


@dataclass(frozen=True)
class Cell:
    """A cell as the browser shows it: its `[1]:`, its outputs as text, its errors, whether each figure is visible."""

    code: bool
    prompt: str
    text: str
    errors: list[str]
    images: list[bool]

    @property
    def number(self) -> int | None:
        """Its place in the order of execution; None before and while it runs."""
        inner = self.prompt.strip("[]: ")
        return int(inner) if inner.isdigit() else None


class Page:
    """JupyterLab in the browser. What is done is done by clicks and keys."""

    def __init__(self, window: webdriver.Chrome, server: Server) -> None:
        self.window = window
        self.window.get(f"{server.url}lab?token={server.token}")
        wait_for("JupyterLab's page", lambda: not self._all("#jupyterlab-splash") and self._all(".jp-DirListing-item"))

    def folder(self, name: str) -> None:
        """Open a folder in the file browser."""
        self._double_click(f".jp-DirListing-item[title^='Name: {name}\\a']")

    def notebook(self, name: str) -> None:
        """Open a notebook from the file browser, and wait for its kernel."""
        self._double_click(f".jp-DirListing-item[title^='Name: {name}.ipynb']")
        wait_for(f"{name} to open", lambda: self._title().startswith(name) and self.status() == "idle")

    def run_all_cells(self) -> None:
        """Run all cells, and wait until the kernel is idle and each has its number, or one has failed."""
        self.menu("Run", "Run All Cells")
        wait_for("the cells to run", lambda: self.status() == "idle" and self._ended())

    def save(self, path: Path) -> None:
        """Save the notebook in front, and wait for its file."""
        before = path.stat().st_mtime_ns
        self.menu("File", "Save Notebook")
        wait_for("the notebook to be saved", lambda: path.stat().st_mtime_ns != before)

    def is_changed(self) -> bool:
        """Whether JupyterLab would save the notebook in front by itself, which it does every two minutes."""
        return bool(self._all(f"{_TAB}.jp-mod-dirty"))

    def menu(self, bar: str, item: str) -> None:
        """Choose from the menu bar."""
        for kind, label in (("MenuBar", bar), ("Menu", item)):
            path = f"//li[contains(@class, 'lm-{kind}-item')][.//div[normalize-space()='{label}']]"
            wait_for(f"the menu {label}", lambda path=path: self._clicked(By.XPATH, path))

    def status(self) -> str | None:
        """What the notebook's kernel does: idle, busy, …"""
        return self.window.execute_script(_STATUS)

    def cells(self) -> list[Cell]:
        """The cells of the notebook in front."""
        return [Cell(**each) for each in self.window.execute_script(_CELLS)]

    def shoot(self, name: str) -> None:
        """Pictures of the notebook in front, from top to end, into the folder that SCREENSHOTS names, if any."""
        number, more = 0, SHOTS is not None
        while more:
            more = self.window.execute_script(_SCROLL, number)
            time.sleep(0.5)
            take_shot(self.window, f"{name}_{number:02d}")
            number += 1

    def _ended(self) -> bool:
        code = [cell for cell in self.cells() if cell.code]
        return all(cell.number for cell in code) or any(cell.errors for cell in code)

    def _title(self) -> str:
        return "".join(each.text for each in self._all(f"{_TAB} .lm-TabBar-tabLabel"))

    def _all(self, selector: str) -> list[webdriver.remote.webelement.WebElement]:
        return self.window.find_elements(By.CSS_SELECTOR, selector)

    def _double_click(self, selector: str) -> None:
        def done() -> bool:
            try:
                ActionChains(self.window).double_click(self.window.find_element(By.CSS_SELECTOR, selector)).perform()
            except WebDriverException:  # not there yet, or just replaced
                return False
            return True

        wait_for(selector, done)

    def _clicked(self, by: str, selector: str) -> bool:
        try:
            self.window.find_element(by, selector).click()
        except WebDriverException:
            return False
        return True
