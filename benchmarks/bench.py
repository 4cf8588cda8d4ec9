"""Measure the real command beside what a user would pick instead: a dbt-duckdb project, a pandas script.

    make bench                                          # 1k and 1M rows, three rounds: about a quarter of an hour
    make bench ARGS="--sizes 1k,1M,10M --full-rounds 1"
    make bench ARGS="--from benchmarks/out/results.json --publish"

Exit 1 when a run fails, when tables differ, or when a run of ours takes more memory than --max-gib. Times are shown
and never judged.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contenders import contenders
from benchmarks.environments import PEERS
from benchmarks.machine import describe
from benchmarks.measure import Bench, Results
from benchmarks.plot import write_plot
from benchmarks.report import markdown

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "docs" / "speed.svg"
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}
_SHOWN_PACKAGES = ("dbt-core", "dbt-duckdb")


def number(text: str) -> int:
    """1000, 1k or 10M."""
    found = re.fullmatch(r"([1-9][0-9]*)([kM]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no number such as 1000, 1k or 10M")
    return int(found[1]) * _UNITS[found[2]]


def numbers(text: str) -> list[int]:
    """Several numbers, ascending, with commas between them; none of ''."""
    return sorted({0 if part == "0" else number(part) for part in text.split(",") if part})


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="make bench", description="Time and memory, beside two peers, in turn.")
    parser.add_argument("--sizes", type=numbers, default=[1_000, 1_000_000], help="rows loaded first (1k,1M)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everyone has a turn (3)")
    parser.add_argument("--full-rounds", type=int, help="of these, how many with a full load (all)")
    parser.add_argument("--only", default="sqlite,duckdb,dbt,pandas", help="who takes part (sqlite,duckdb,dbt,pandas)")
    parser.add_argument("--look", type=numbers, default=None, help="sizes to look into by stage and kind (--sizes)")
    parser.add_argument("--no-growth", action="store_true", help="leave out growth with columns and deliveries")
    parser.add_argument("--growth-rows", type=number, default=100_000, help="rows with more columns (100k)")
    parser.add_argument("--columns", type=numbers, default=[0, 20, 60], help="how many columns more (0,20,60)")
    parser.add_argument("--cut-rows", type=number, default=20_000, help="rows cut into deliveries (20k)")
    parser.add_argument("--files", type=numbers, default=[1, 10, 100, 1000], help="how many deliveries (1,10,100,1k)")
    parser.add_argument("--max-gib", type=float, default=2.5, help="memory of all processes of a run of ours (2.5)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out", help="data, environments, results")
    parser.add_argument("--from", dest="stored", type=Path, help="measure nothing: table and plot of these results")
    parser.add_argument("--publish", action="store_true", help=f"also write {PUBLISHED.relative_to(ROOT)}")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> Results:
    """Everything that the options ask for; stored after each step, so that an interrupted benchmark is no loss."""
    everyone = contenders(options.out / "environments")
    chosen = {key: everyone[key] for key in options.only.split(",")}
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "stored", "publish")} | {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "peers": _peer_versions(),
    }

    def save(results: Results) -> None:
        (options.out / "results.json").write_text(json.dumps(asdict(results), indent=1) + "\n")

    bench = Bench(chosen, options.out, Results(settings, describe()), options.max_gib, save)
    bench.leave_out_missing()
    for rows in options.sizes:
        print(f"\n{rows:,} rows", flush=True)
        bench.compare(rows, options.rounds, options.full_rounds or options.rounds)
    for rows in options.sizes if options.look is None else options.look:
        bench.look(rows)
    if not options.no_growth:
        bench.grow(options.growth_rows, options.columns, options.cut_rows, options.files, 1)
    save(bench.results)
    return bench.results


def _peer_versions() -> dict[str, str]:
    """The versions that the dbt peer's lock asks for."""
    lock = (PEERS / "dbt" / "requirements.lock").read_text()
    return {name: found[1] for name in _SHOWN_PACKAGES if (found := re.search(rf"^{name}==(\S+)", lock, re.MULTILINE))}


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    options = options_of(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    options.out = options.out.resolve()
    try:
        results = json.loads(options.stored.read_text()) if options.stored else asdict(measure(options))
    except RuntimeError as error:  # an environment could not be made
        print(error, file=sys.stderr)
        return 1
    text = markdown(results)
    (options.out / "results.md").write_text(text)
    print("\n" + text)
    if results["loads"]:
        print(write_plot(results, options.out / "speed.svg"))
        if options.publish:
            print(write_plot(results, PUBLISHED))
    for problem in results["problems"]:
        print(f"PROBLEM  {problem}", file=sys.stderr)
    return int(bool(results["problems"]))


if __name__ == "__main__":
    sys.exit(main())
