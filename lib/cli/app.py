"""The command itself: what --help says of the whole."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="run_pipeline.py",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn a clinic's deliveries of patient visits into tables that can be trusted, with a record of every run.\n\n"
    "Without a command it runs the pipeline once. Exit codes: 0 loaded or nothing new; 1 unexpected; 2 bad option or"
    " config; 3 delivery refused; 4 gate failed, delivery held; 5 another run holds the warehouse; 6 something stored"
    " is not what it was; 7 temporary, run again; 8 loaded, report incomplete; 9 last load too old (status);"
    " 130/143 interrupted.",
    epilog="\b\nExamples:\n"
    "  python run_pipeline.py\n"
    "  python run_pipeline.py --source 'inbox/*.csv' --data-dir data/north --config north.yaml\n"
    '  python run_pipeline.py --accept refused_share --reason "agreed with the clinic"\n'
    "  python run_pipeline.py --full-refresh\n"
    "  python run_pipeline.py status --max-age 26h\n"
    '  python run_pipeline.py deliveries discard 7 --reason "a test file"',
)
