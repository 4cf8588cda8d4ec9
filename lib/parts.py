"""A staged table: a Parquet file, or a folder of part files that several workers wrote, in the order of their names."""

from __future__ import annotations

import shutil
from pathlib import Path

from lib.files import sha256_of_file

PARTS = "part-*.parquet"


def part_files(table: Path) -> list[Path]:
    """The files that the table is, in the order of its rows."""
    return sorted(table.glob(PARTS)) if table.is_dir() else [table]


def scanned(table: Path) -> Path:
    """What DuckDB's read_parquet is given for the whole table: the file, or a pattern."""
    return table / PARTS if table.is_dir() else table


def remove_table(table: Path) -> None:
    """Remove what was staged before, by whichever engine."""
    if table.is_dir():
        shutil.rmtree(table)
    else:
        table.unlink(missing_ok=True)


def part_hashes(table: Path) -> dict[str, str]:
    """SHA-256 of each file of the table, by its name from the folder that the table is in."""
    return {each.relative_to(table.parent).as_posix(): sha256_of_file(each) for each in part_files(table)}


def unexpected_parts(folder: Path, names: set[str]) -> list[str]:
    """Files of the folder's tables that are not among `names`: a part more would be rows that nobody judged."""
    tables = {folder / name.split("/")[0] for name in names if "/" in name}
    found = {each.relative_to(folder).as_posix() for table in tables for each in table.rglob("*")}
    return sorted(found - names)
