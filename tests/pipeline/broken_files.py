"""Good files and a hundred ways to break them: file number n is the same every time."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.pipeline.clinic import ROOT, csv_text, row

FIELD_LIMIT = 1 << 20
THREE: dict[str, Any] = {
    "columns": {
        "visit_id": "a", "patient_id": "b", "visit_date": "c",
        "provider_id": None, "diagnosis_code": None, "visit_cost": None, "last_updated": None,
    },
    "source": {"deliveries": "full"},
}  # fmt: skip


@dataclass(frozen=True)
class Seed:
    """A good file, and the config that reads it."""

    content: bytes
    config: dict[str, Any] = field(default_factory=dict)


def sample() -> list[bytes]:
    return (ROOT / "data" / "input" / "patient_visits.csv").read_bytes().splitlines(keepends=True)


def small(*cells: dict[str, str], end: str = "\n") -> bytes:
    rows = [
        row(f"W{number:04d}", patient_id=f"Pat{number:04d}", visit_cost="73.25") | each
        for number, each in enumerate(cells)
    ]
    return csv_text(rows).replace("\n", end).encode()


def three(*lines: str, end: str = "\n") -> Seed:
    return Seed(end.join(("a,b,c", *lines, "")).encode(), THREE)


SMALL = {
    "simple": three("W1,Pat1,2025-12-01", "W2,Pat2,2025-12-02"),
    "simple, CRLF": three("W1,Pat1,2025-12-01", "W2,Pat2,2025-12-02", end="\r\n"),
    "empty cells": three('W1,"",""', ",,", "W3,Pat3,2025-12-03"),
    "empty cells, CRLF": three('W1,"",""', ",,", "W3,Pat3,2025-12-03", end="\r\n"),
    "comma in quotes": three('W1,"Mercer, Ines",2025-12-01', '"W,2",Pat2,"2025-12-02"'),
    "escaped quotes": three('W1,"Jan ""Piet"" Bos",2025-12-01', 'W2,"""",2025-12-02'),
    "newlines in quotes": three('W1,"Nord\nklinik\nHaus",2025-12-01', "W2,Pat2,2025-12-02"),
    "newlines in quotes, CRLF": three('W1,"Nord\r\nklinik\r\nHaus",2025-12-01', "W2,Pat2,2025-12-02", end="\r\n"),
    "quotes and newlines": three('W1,"Nord\n""Haus""\n",2025-12-01', 'W2,"\n",2025-12-02'),
    "json in a field": three('W1,"{""ward"": ""north"", ""beds"": [1, 2.5]}",2025-12-01'),
    "utf-8": three("Größe,Ωμέγα,2025-12-01", "日本語,ʤʧʨ,2025-12-02"),
    "seven columns, CRLF": Seed(small({}, {"diagnosis_code": ""}, {"visit_cost": "1.005"}, end="\r\n")),
    "semicolons": Seed(small({}, {}, {}).replace(b",", b";"), {"source": {"delimiter": ";"}}),
    "tabs": Seed(small({}, {}, {}).replace(b",", b"\t"), {"source": {"delimiter": "\t"}}),
    "latin-1": Seed(
        small({"provider_id": "Dr. Größ"}, {}).decode().encode("latin-1"), {"source": {"encoding": "latin-1"}}
    ),
    "utf-16": Seed(small({}, {}, {}).decode().encode("utf-16"), {"source": {"encoding": "utf-16"}}),
}  # fmt: skip


def further_seeds() -> list[Seed]:
    """The files of FUZZ_SEEDS, their first three columns mapped."""
    folder = os.environ.get("FUZZ_SEEDS")
    seeds = []
    for path in sorted(Path(folder).rglob("*.csv")) if folder else []:
        content = path.read_bytes()
        names = [each.strip() for each in content.decode().splitlines()[0].split(",")][:3]
        columns = THREE["columns"] | dict(zip(("visit_id", "patient_id", "visit_date"), names, strict=False))
        seeds.append(Seed(content, THREE | {"columns": columns} if len(names) == 3 else {}))
    return seeds


# How it is broken: each takes bytes, and says all that it does by the random numbers it is given

Mutation = Callable[[bytes, random.Random], bytes]
PIECES = [
    b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\n\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", "\u200b".encode(), "\u2028".encode(), "\x85".encode(), b"\x1b[2J", b"\x1f\x8b", b" ", b"#", b"\\",
]  # fmt: skip
CELLS = [
    b"=cmd|x", b"NaN", b"inf", b"1e309", b"-1", b"1,234.56", b'"1,234.56"', b"9" * 40, b"0x1F", "１２".encode(), b"",
    b"   ", b"2025-02-30", b"0000-00-00", b"9999-12-31", b"2025-12-01T24:00", b"now", b"epoch", b"<b>alert</b>",
    b"2025-12-01T10:00:00+02:00", b"2025-12-01", b"0001-01-01", b"'; DROP TABLE fact_visits; --", b'""', b'"x"y',
]  # fmt: skip


def lines_of(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True) or [b""]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        data = data[:at] + rng.choice(PIECES) * rng.choice((1, 1, 1, 3)) + data[at:]
    return data


def delete(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(data))
        data = data[:at] + data[at + rng.choice((1, 1, 2, 30, 200)) :]
    return data


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def double_lines(data: bytes, rng: random.Random) -> bytes:
    lines = lines_of(data)
    for _ in range(rng.randint(1, 3)):
        lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"".join(lines)


def swap_lines(data: bytes, rng: random.Random) -> bytes:
    lines = lines_of(data)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def join_lines(data: bytes, rng: random.Random) -> bytes:
    lines = lines_of(data)
    at = rng.choice((0, rng.randrange(len(lines))))
    lines[at] = lines[at].rstrip(b"\r\n")
    return b"".join(lines)


def plant_quotes(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2, 2, 4))):
        places = [found.start() + rng.randint(0, 1) for found in re.finditer(b"[,;\t\n\r]", data)] or [0]
        at = rng.choice(places)
        data = data[:at] + b'"' + data[at:]
    return data


def change_line_ends(data: bytes, rng: random.Random) -> bytes:
    ends = rng.choice(([b"\r\n"], [b"\r"], [b"\n"], [b"\n", b"\r", b"\r\n"], [b"\n\n", b"\r\r\n"]))
    return b"".join(each.rstrip(b"\r\n") + rng.choice(ends) for each in lines_of(data))


def plant_nuls(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + b"\0" * rng.choice((1, 1, 2, 500)) + data[at:]


def mark_order(data: bytes, rng: random.Random) -> bytes:
    mark = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb"))
    return mark + data


def spoil_utf8(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice((b"\x80", b"\xc0\xaf", b"\xe2\x82", b"\xf8\x88", b"\xed\xb0\x80")) + data[at:]


def change_delimiter(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice((b";", b"\t", b"|", b","))
    lines = lines_of(data)
    begin = rng.choice((0, 0, rng.randrange(len(lines))))
    return b"".join(lines[:begin] + [each.replace(b",", other) for each in lines[begin:]])


def change_header(data: bytes, rng: random.Random) -> bytes:
    header, *rest = lines_of(data)
    names = header.rstrip(b"\r\n").split(b",")
    at = rng.randrange(len(names))
    match rng.randrange(8):
        case 0:
            names[at] = names[at].upper()
        case 1:
            names[at] = b" \t" + names[at] + b" "
        case 2:
            names[at] = b"Stop_" + names[at]
        case 3:
            names[at] = rng.choice(names)
        case 4:
            del names[at]
        case 5:
            names.insert(at, rng.choice((b"", b"ward", b'"wa""rd, it"', b"ward\xc3\xa9", b"x" * 300)))
        case 6:
            return b"".join(rest)
        case 7:
            rest.insert(rng.randint(0, len(rest)), header)
    return b",".join(names) + b"\n" + b"".join(rest)


def change_cells(data: bytes, rng: random.Random) -> bytes:
    lines = lines_of(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(lines))
        cells = lines[at].rstrip(b"\r\n").split(b",")
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        lines[at] = b",".join(cells) + b"\n"
    return b"".join(lines)


def swap_columns(data: bytes, rng: random.Random) -> bytes:
    rows = [each.rstrip(b"\r\n").split(b",") for each in lines_of(data)]
    one, other = rng.randrange(len(rows[0])), rng.randrange(len(rows[0]))
    begin = rng.choice((0, 1, rng.randrange(len(rows))))
    for cells in rows[begin:]:
        if max(one, other) < len(cells):
            cells[one], cells[other] = cells[other], cells[one]
    return b"".join(b",".join(cells) + b"\n" for cells in rows)


def repeat(data: bytes, rng: random.Random) -> bytes:
    return data * rng.choice((0, 2, 3))


def plant_long_field(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    fill = rng.choice((b"x", b"x" * 999 + b"\n", b"x,", b'""'))
    long = fill * (rng.choice((FIELD_LIMIT, FIELD_LIMIT + 1, 3 * FIELD_LIMIT)) // len(fill))
    return data[:at] + rng.choice((long, b'"' + long + b'"', b'"' + long + b'"x')) + data[at:]


MUTATIONS: list[Mutation] = [
    flip, insert, delete, truncate, double_lines, swap_lines, join_lines, plant_quotes, plant_quotes, change_line_ends,
    plant_nuls, mark_order, spoil_utf8, change_delimiter, change_header, change_cells, change_cells, swap_columns,
    repeat,
]  # fmt: skip


def pack(data: bytes, rng: random.Random) -> bytes:
    packed = gzip.compress(data, mtime=0)
    match rng.randrange(6):
        case 0:
            return packed[: rng.randint(2, len(packed))]
        case 1:
            return packed + rng.choice((b"garbage", b"\0", b"\x1f\x8b", packed[:5], packed))
        case 2:
            return packed[:2] + flip(packed[2:], rng)
    return packed


def broken_file(number: int, seeds: list[Seed]) -> tuple[bytes, dict[str, Any]]:
    """File `number`, the same every time, and its config."""
    rng = random.Random(number)
    if rng.random() < 0.5:
        header, *rows = sample()
        begin = rng.randrange(len(rows) - 80)
        seed = Seed(header + b"".join(rows[begin : begin + rng.randint(30, 80)]))
    else:
        seed = rng.choice(seeds)
    kept, data = b"", seed.content
    if rng.random() < 0.5:  # most of what hits the header refuses the file: half of the files keep theirs
        kept, end, data = data.partition(b"\n")
        kept += end
    for _ in range(rng.choice((1, 1, 2, 2, 3, 5))):
        data = rng.choice(MUTATIONS)(data, rng)
    data = kept + data
    if rng.random() < 0.01:
        data = plant_long_field(data, rng)
    return pack(data, rng) if rng.random() < 0.1 else data, seed.config
