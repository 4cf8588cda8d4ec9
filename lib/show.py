"""How a notebook shows things: sentences, tables, checks. As HTML and, the same, as text; everything escaped.

File names and the config may hold markup, so nothing reaches HTML unescaped. Each function shows at once and returns
nothing. All pass through lib/shown.py. A table shows counts: of a frame of rows it shows no value (lib/disclosure.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Any

import pandas as pd

from lib import shown
from lib.clock import parse_instant, short_instant
from lib.disclosure import mask_rows
from lib.drawing import finish, show_picture
from lib.errors import PipelineError
from lib.run import Run

MOST_ROWS = 40
"""A table shows at most so many rows, and says how many more there are."""

UNBROKEN = 20
"""Characters of a table's cell that are not wrapped."""

NOTHING = "\N{EN DASH}"
SHARES = ("share",)
"""Columns of numbers from 0 to 1, shown as percentages."""


@dataclass(frozen=True)
class Shown:
    """One thing to show, in the two forms a notebook keeps."""

    text: str
    html: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def say(sentence: str) -> None:
    """A sentence with computed numbers."""
    _display(Shown(sentence, f"<p>{escape(sentence)}</p>"))


def conclude(sentence: str) -> None:
    """The sentence that ends a notebook, once every picture is in its place (lib/drawing.py)."""
    finish()
    say(sentence)


def header(run: Run) -> None:
    """What a reader must know of a run first: which, when, over what, by whom, with which code."""
    table(header_frame(run), names=False)


def header_frame(run: Run) -> pd.DataFrame:
    """Grain: one row per fact of the run, as text: its name and what it is."""
    git = run.manifest["git"]
    facts = {
        "run": run.run_id,
        "as of": short_instant(run.as_of),
        "window": window_text(run),
        "source": run.source,
        "batch": batch_text(run),
        "by": f"{run.manifest['actor']} on {run.manifest['host']}",
        "code": _code(git["commit"], git["dirty"]),
        "data folder": run.layout.name,
    }
    return pd.DataFrame({"fact": list(facts), "is": list(facts.values())})


def window_text(run: Run) -> str:
    """The run's window in words: watermark, lookback and cutoff."""
    window = run.window
    if run.options.full_refresh:
        return "every row: a full refresh"
    if window.watermark is None or window.cutoff is None:
        return "every row: there is no watermark yet"
    cutoff, watermark = short_instant(window.cutoff), short_instant(window.watermark)
    return f"updated at or after {cutoff} = watermark {watermark} less {window.lookback_hours:g} h"


def batch_text(run: Run) -> str:
    """The run's batch in words."""
    batch = run.manifest.get("batch")
    if batch is None:
        return "not chosen yet"
    numbers = [each["sequence"] for each in batch["deliveries"]]
    many = (
        f"delivery {numbers[0]}" if len(numbers) == 1 else f"{len(numbers):,} deliveries, {numbers[0]} to {numbers[-1]}"
    )
    return f"{many} ({batch['kind']})"


def table(frame: pd.DataFrame, names: bool = True) -> None:
    """A frame as a table: thousands separated, missing values as a dash, at most 40 rows; without `names` no head."""
    frame = mask_rows(frame)
    columns = [_cells(column.tolist(), str(name)) for name, column in frame.head(MOST_ROWS).items()]
    rows = [list(row) for row in zip(*columns, strict=True)]
    head = [str(name).replace("_", " ") for name in frame.columns] if names else None
    left = [not _is_number(kind) for kind in frame.dtypes]
    more = f"… and {len(frame) - MOST_ROWS:,} more rows" if len(frame) > MOST_ROWS else ""
    more = "no rows" if frame.empty else more
    _display(Shown(_text_table(head, rows, left, more), _html_table(head, rows, left, more)))


def change(what: str, before: int, after: int) -> None:
    """How a step changed a count, in a line: `rows: 3,787 → 3,703 (84 fewer)`."""
    difference = after - before
    how = "unchanged" if not difference else f"{abs(difference):,} {'more' if difference > 0 else 'fewer'}"
    say(f"{what}: {before:,} → {after:,} ({how})")


def check(claim: str, holds: bool) -> None:
    """A claim with its mark, ✓ or ✗. Raises PipelineError when it does not hold: nothing after it may be believed."""
    say(f"{'✓' if holds else '✗'} {claim}")
    if not holds:
        raise PipelineError(
            f"this check does not hold: {claim}; nothing after it is shown. Please report it as a defect."
        )


def query(text: str) -> None:
    """A statement as it would be typed."""
    _display(Shown(text, f"<pre><code>{escape(text)}</code></pre>"))


def picture(plot: str, *args: Any, **kwargs: Any) -> None:
    """The figure that a function of lib makes of the rest, with its alternative text. The function is named, as
    `plots.plot_visits_per_day`, so that only who draws imports matplotlib (lib/drawing.py)."""
    show_picture(plot, *args, **kwargs)


def _code(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "not in git; the manifest has the SHA-256 of every file"
    return f"{commit[:12]}{' with uncommitted changes' if dirty else ''}"


def _cells(values: list[Any], name: str) -> list[str]:
    """The values of one column as text, numbers with as many decimals as the column needs."""
    numbers = [value for value in values if isinstance(value, float | int) and value == value]
    return [_cell(value, name, decimals=1 if any(value % 1 for value in numbers) else 0) for value in values]


def _cell(value: Any, name: str, decimals: int) -> str:
    """One value as text. Booleans are numbers to Python, so they come first."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return NOTHING
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return short_instant(parse_instant(value.isoformat())) if value.tzinfo else _plain_day(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value
    if name in SHARES:
        return f"{100 * float(value):.1f} %"
    return f"{value:,.{decimals}f}"


def _plain_day(value: datetime) -> str:
    return value.date().isoformat() if value.time().isoformat() == "00:00:00" else value.isoformat(sep=" ")


def _is_number(kind: Any) -> bool:
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)


def _text_table(head: list[str] | None, rows: list[list[str]], left: list[bool], more: str) -> str:
    lines = [*([head] if head else []), *rows]
    widths = [max((len(line[place]) for line in lines), default=0) for place in range(len(left))]
    drawn = [
        "  ".join(
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*drawn, *([more] if more else [])])


def _html_table(head: list[str] | None, rows: list[list[str]], left: list[bool], more: str) -> str:
    def line(cells: list[str], tag: str) -> str:
        sides = ["left" if text else "right" for text in left]
        drawn = [
            f'<{tag} style="text-align: {side}">{_escaped(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        ]
        return f"<tr>{''.join(drawn)}</tr>"

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    body = "".join(line(row, "td") for row in rows)
    below = f"<p>{escape(more)}</p>" if more else ""
    return f"<table>{top}<tbody>{body}</tbody></table>{below}"


def _escaped(cell: str) -> str:
    """Inert in HTML; a short value stays on one line beside a long one: `72.0 h`."""
    inert = escape(cell)
    return inert.replace(" ", "&nbsp;") if len(cell) <= UNBROKEN else inert


def _display(thing: Shown) -> None:
    shown.show(thing)
