"""report.html from notebooks as they may be found: marked and unmarked outputs, damaged, missing; and the command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from lib.report import write_report
from lib.run import Run
from lib.sealed_page import is_sealed
from lib.shown import marked
from lib.stamp import TAG
from tests.pipeline.clinic import ROOT, Clinic, row


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A loaded run whose record has no notebook yet."""
    clinic = Clinic(tmp_path_factory.mktemp("clinic"))
    clinic.deliver([row("V1")])
    result = clinic.run()
    assert result.run is not None
    result.run.end("loaded")
    return result.run


def page_of(run: Run, cells: list[Any] | str | None) -> str:
    """The page when 01 holds these cells, or this text, or is not there."""
    path = run.record / "01_extract.ipynb"
    path.unlink(missing_ok=True)
    if isinstance(cells, str):
        path.write_text(cells)
    elif cells is not None:
        nbformat.write(new_notebook(cells=cells), path)
    page = write_report(run.layout, run.run_id)
    assert page == run.record / "report.html" and is_sealed(page.read_bytes())
    return page.read_text()


def shown(markup: str = "<p>3 rows</p>", **data: str) -> Any:
    return new_output("display_data", {"text/html": markup, **data}, metadata=marked())


def test_only_what_lib_show_made_is_on_the_page(run: Run) -> None:
    outputs = [
        shown("<p>made by lib.show</p>"),
        new_output("display_data", {"text/html": "<p>Canary-1</p>"}),
        new_output("execute_result", {"text/plain": "Canary-2"}),
        new_output("stream", text="Canary-3"),
        new_output("display_data", {"image/png": "Q2FuYXJ5"}, metadata={"image/png": {"alt": "Canary-4"}}),
    ]
    text = page_of(run, [new_markdown_cell("# 01 · Extract"), new_code_cell("x", outputs=outputs)])
    assert "made by lib.show" in text and "Canary" not in text and "Q2FuYXJ5" not in text
    assert "Left out, as not made by lib.show: 4 outputs" in text


def test_neither_script_nor_picture_by_script_nor_widget_is_on_the_page(run: Run) -> None:
    kinds = {
        "application/javascript": "alert(1)",
        "image/svg+xml": "<svg onload='alert(1)'></svg>",
        "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
        "text/latex": "$x$",
        "text/plain": "<b>plain</b>",
    }
    output = new_output("display_data", kinds, metadata=marked())
    text = page_of(run, [new_code_cell("x", outputs=[output])])
    assert "alert(1)" not in text and "<svg" not in text and "&lt;b&gt;plain&lt;/b&gt;" in text


@pytest.mark.parametrize(
    "markup", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<iframe src=//x></iframe>"]
)
def test_markup_in_prose_output_code_error_or_description_does_nothing(run: Run, markup: str) -> None:
    picture = {"image/png": {"alt": f'"> {markup}'}, **marked()}
    outputs = [
        shown(f"<p>{markup}</p>"),
        new_output("display_data", {"image/png": f'aGk="> {markup}'}, metadata=picture),
        new_output("error", ename="x", evalue="x", traceback=[markup]),
    ]
    text = page_of(run, [new_markdown_cell(f"# 01 {markup}"), new_code_cell(f"x = '{markup}'", outputs=outputs)])
    tags: list[tuple[str, set[str]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, {name for name, _ in attributes}))  # type: ignore[method-assign]
    parser.feed(text)
    assert [attributes for tag, attributes in tags if tag == "img"] == [{"src", "alt"}]
    assert {"script", "iframe"} & {tag for tag, _ in tags} == set()


def test_a_raw_cell_is_not_on_the_page(run: Run) -> None:
    """nbconvert hands its text on as it is."""
    text = page_of(run, [new_markdown_cell("# 01 · Extract"), new_raw_cell("<script>alert(1)</script>")])
    assert "alert" not in text and "01 · Extract" in text


def test_what_a_failing_cell_says_is_shown_as_it_is(run: Run) -> None:
    error = new_output(
        "error", ename="GateFailed", evalue="x", traceback=["\x1b[31mGateFailed\x1b[0m: <i>5 %</i> of it"]
    )
    text = page_of(run, [new_code_cell("x", outputs=[error])])
    assert "<pre>GateFailed: &lt;i&gt;5 %&lt;/i&gt; of it</pre>" in text


def test_what_the_page_says_by_itself_is_not_said_twice(run: Run) -> None:
    cells = [
        new_markdown_cell("# PASSED stamp", metadata={"tags": [TAG]}),
        new_markdown_cell("papermill says", metadata={"tags": ["papermill-error-cell-tag"]}),
        new_markdown_cell("# 01 · Extract"),
    ]
    text = page_of(run, cells)
    assert "PASSED stamp" not in text and "papermill says" not in text
    assert '<h2 id="stage-01">01 · Extract</h2>' in text


def test_prose_whose_code_shows_nothing_is_hidden_with_the_code(run: Run) -> None:
    cells = [
        new_markdown_cell("## Parameters"), new_code_cell("a = 1"), new_code_cell("a = 2"),
        new_markdown_cell("## Run"), new_code_cell("header(run)", outputs=[shown("<p>circumstances</p>")]),
        new_markdown_cell("## Counts"), new_code_cell("b"), new_code_cell("say()", outputs=[shown()]),
        new_markdown_cell("## Hand-off"),
    ]  # fmt: skip
    text = page_of(run, cells)
    hidden = re.findall(r'<div class="prose code">\s*<h3>(.*?)</h3>', text)
    seen = re.findall(r'<div class="prose">\s*<h3>(.*?)</h3>', text)
    assert (hidden, seen) == (["Parameters", "Run"], ["Counts", "Hand-off"])
    assert re.search(r'<div class="code">\s*<div class="output"><p>circumstances</p>', text)


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"cells": 7}', '{"cells": [{}], "nbformat": 4, "metadata": {}}'])
def test_a_damaged_notebook_is_told_and_the_rest_of_the_page_is_made(run: Run, damaged: str) -> None:
    text = page_of(run, damaged)
    assert "01_extract.ipynb is no notebook any more" in text and "PASSED" in text and "02 · Stage" in text


def test_without_any_notebook_there_is_still_a_first_screen(run: Run) -> None:
    text = page_of(run, None)
    assert "Where every row went" in text and 'id="stage-05"' in text


def command(data_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_pipeline.py"), "report", "--data-dir", str(data_dir), *words],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [[], ["1"], ["000001"], ["000001-2"]], ids=["newest", "number", "padded", "beginning"]
)
def test_report_makes_page_and_index_again_and_says_where_they_lie(run: Run, words: list[str]) -> None:
    pages = [run.record / "report.html", run.layout.runs / "index.html"]
    for page in pages:
        page.unlink(missing_ok=True)
    made = command(run.layout.data_dir, *words)
    assert (made.returncode, made.stdout.split(), made.stderr) == (0, [str(page) for page in pages], "")
    assert all(is_sealed(page.read_bytes()) for page in pages)


def test_report_opens_the_page_in_the_users_browser(run: Run, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o700)
    assert command(run.layout.data_dir, "--open", BROWSER=f"{browser} %s").returncode == 0
    assert (tmp_path / "opened").read_text().strip() == (run.record / "report.html").as_uri()


@pytest.mark.parametrize(("word", "told"), [("2", "there is no such run"), ("../..", "there is no such run")])
def test_report_of_no_run_makes_nothing(run: Run, word: str, told: str) -> None:
    (run.layout.runs / "index.html").unlink(missing_ok=True)
    made = command(run.layout.data_dir, word)
    assert made.returncode == 2 and told in made.stderr and made.stderr.count("\n") == 1
    assert not (run.layout.runs / "index.html").exists()


def test_report_before_the_first_run_says_so(tmp_path: Path) -> None:
    made = command(tmp_path / "data")
    assert (made.returncode, made.stderr) == (2, "report: there is no run yet; run python run_pipeline.py.\n")
    assert not (tmp_path / "data").exists()
