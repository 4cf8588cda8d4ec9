"""report.html: the five executed notebooks as one page, derived from the record and made again at any time."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import DictLoader
from nbconvert import HTMLExporter

from lib.errors import UsageError
from lib.fates import reconciliation_line
from lib.files import read_json, whole_file
from lib.layout import NOTEBOOKS, Layout
from lib.manifest import Manifest
from lib.sealed_page import seal

FILE_NAME = "report.html"

STAGES = (
    ("01 · Extract", "01-·-Extract"),
    ("02 · Stage", "02-·-Stage"),
    ("03 · Validate", "03-·-Validate"),
    ("04 · Load", "04-·-Load"),
    ("05 · Analytics", "05-·-Analytics"),
)

TEMPLATE_NAME = "report.html.j2"
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{% block html_head_css %}
{{ super() }}
<style>.jp-RenderedHTMLCommon table { margin-left: 0; }</style>
{% endblock html_head_css %}
{% block data_png scoped %}
<div class="jp-RenderedImage jp-OutputArea-output">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
     alt="{{ (output | get_metadata('alt', 'image/png') or '') | escape_html }}">
</div>
{% endblock data_png %}
"""
"""nbconvert's page, with the pictures' own alternative texts, which its templates drop."""

SAFE_TAGS = [
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "details", "div", "dl", "dt", "em", "h1", "h2", "h3",
    "h4", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "summary", "sup", "table", "tbody",
    "td", "th", "thead", "tr", "ul",
]  # fmt: skip
"""What headings, prose and tables need; anything else in an output is shown as text."""

SAFE_ATTRIBUTES = {"*": ["id", "class", "style", "title"], "a": ["href"], "th": ["scope"], "td": ["colspan", "rowspan"]}
SAFE_STYLES = ["text-align"]


def write_report(layout: Layout, run_id: str) -> Path:
    """Write the page beside its record and return its path. Raises UsageError when the run has no notebook."""
    record = layout.record(run_id)
    manifest = Manifest.read(record)
    pages = [nbformat.read(path, as_version=4) for path in _executed(record)]
    if not pages:
        raise UsageError(f"{run_id}: has no executed notebook to report on.")
    merged = nbformat.v4.new_notebook(metadata=pages[0].metadata)
    merged.metadata["title"] = f"Patient visits, run {run_id}"
    merged.cells = [nbformat.v4.new_markdown_cell(_first_screen(manifest, record))]
    for page in pages:
        merged.cells += [_keep_apart(cell, index) for index, cell in enumerate(page.cells)]
    exporter = HTMLExporter(
        template_file=TEMPLATE_NAME,
        extra_loaders=[DictLoader({TEMPLATE_NAME: TEMPLATE})],
        sanitize_html=True,
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        mermaid_js_url="",
    )
    # nbconvert's own filter, which its templates call by this name, would show headings and table heads as text.
    exporter.register_filter("clean_html", clean_html)
    page, _ = exporter.from_notebook_node(merged)
    target = record / FILE_NAME
    with whole_file(target) as stream:
        stream.write(seal(page.encode()))
    return target


def clean_html(markup: str | bytes) -> str:
    """Markup without anything that could run or load: unknown tags become text, unknown attributes go."""
    text = markup.decode() if isinstance(markup, bytes) else str(markup)
    cleaned: str = bleach.clean(
        text, tags=SAFE_TAGS, attributes=SAFE_ATTRIBUTES, css_sanitizer=CSSSanitizer(SAFE_STYLES)
    )
    return cleaned


def decision_of(manifest: Manifest) -> str:
    """The word at the top: PASSED, PASSED WITH WARNINGS, PASSED BY OVERRIDE or FAILED."""
    if manifest.get("outcome") != "loaded":
        return "FAILED"
    gate = manifest.get("gate") or {}
    word: str = gate.get("decision", "PASSED")
    return word


def _executed(record: Path) -> list[Path]:
    return [path for name in NOTEBOOKS if (path := record / f"{name}.ipynb").exists()]


def _keep_apart(cell: nbformat.NotebookNode, index: int) -> nbformat.NotebookNode:
    """Cells of five notebooks in one: their ids must not clash."""
    cell = nbformat.from_dict(dict(cell))
    cell["id"] = nbformat.v4.new_markdown_cell().id
    return cell


def _first_screen(manifest: Manifest, record: Path) -> str:
    """What a reader must know before anything else: decision, who, when, which code, where the rows went, the gate."""
    gate = manifest.get("gate") or {}
    counts = manifest.get("counts") or {}
    window, commit = manifest["window"], manifest["git"]["commit"]
    after = (manifest.get("load") or {}).get("watermark_after")
    facts = {
        "run": manifest["run_id"],
        "source": manifest["source"],
        "outcome": f"{manifest.get('outcome')} ({manifest.get('message') or 'no failure'})",
        "as of": manifest["as_of"],
        "window": f"from {window['cutoff']}, {window['lookback_hours']:g} h" if window["cutoff"] else "all rows",
        "watermark": f"{manifest['committed_watermark'] or 'none'} → {after or 'as before'}",
        "who, where": f"{manifest['actor']} on {manifest['host']}",
        "code": f"{(commit or 'not in git')[:12]}{' with changes' if manifest['git']['dirty'] else ''}",
        "gate": gate.get("summary", "not reached"),
        "rows": reconciliation_line(counts),
    }
    if accepted := manifest["options"]["accept"]:
        facts["accepted"] = f"{', '.join(accepted)} by {manifest['actor']}: {manifest['options']['reason']}"
    if attempts := manifest.get("attempts"):
        facts["resumed"] = "; ".join(_attempt(number, each) for number, each in enumerate(attempts, start=1))
    return "\n\n".join(
        [
            f"# {decision_of(manifest)}",
            _markdown_table(["", ""], [[name, value] for name, value in facts.items()]),
            *_gate_table(record),
            "Contents: " + " · ".join(f"[{title}](#{anchor})" for title, anchor in STAGES[: len(_executed(record))]),
        ]
    )


def _attempt(number: int, attempt: dict[str, Any]) -> str:
    """One attempt at a resumed run: whose it was, after which notebook it went on, how it ended."""
    after = f", after {attempt['after']}" if attempt.get("after") else ""
    why = f": {attempt['message']}" if attempt.get("message") else ""
    return f"attempt {number} by {attempt['actor']} at {attempt['started']}{after}, {attempt['outcome']}{why}"


def _gate_table(record: Path) -> list[str]:
    """The gate's rules with their worst result, failures first; nothing where the gate was not reached."""
    path = record / "dq_report.json"
    if not path.exists():
        return []
    worst: dict[str, Any] = {}
    for rule in read_json(path)["rules"]:
        if rule["id"] not in worst or (worst[rule["id"]]["passed"] and not rule["passed"]):
            worst[rule["id"]] = rule
    told = sorted(worst.values(), key=lambda rule: (rule["passed"], rule["severity"] != "critical"))
    rows = [
        [
            rule["id"],
            rule["severity"],
            _figure(rule["observed"], rule["unit"]),
            "none" if rule["threshold"] is None else f"{rule['comparison']} {_figure(rule['threshold'], rule['unit'])}",
            _holds(rule),
            rule["scope"],
        ]
        for rule in told
    ]
    return [_markdown_table(["rule", "severity", "observed", "limit", "holds", "where"], rows)]


def _holds(rule: dict[str, Any]) -> str:
    if rule["overridden"]:
        return "accepted"
    return "NO" if not rule["passed"] else "yes" if rule["observed"] is not None else ""


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "not judged"
    return f"{value:.2%}" if unit == "share" else f"{value:,.1f} h" if unit == "hours" else f"{value:,.0f}"


def _markdown_table(names: list[str], rows: list[list[Any]]) -> str:
    """A table whose cells are text: markup and bars in a file name do nothing."""
    lines = [names, ["---"] * len(names), *rows]
    cells = [[html.escape(str(cell)).replace("|", "&#124;") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
