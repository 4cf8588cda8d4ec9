"""Cells that touch every rule of the source contract, and others put together at random."""

from __future__ import annotations

from random import Random

IDS = (
    "", " ", "\t V \t", "00123", "NA", "x" * 128, "x" * 129, "é" * 128, "\U0001f600" * 128, "\U0001f600" * 129,
    "a\u00a0b", "a\u200bb", "a\u00adb", "a\u061cb", "a\u180eb", "a\u2028b", "a\u202eb", "a\u2060b", "a\u206fb",
    "a\ufeffb", "a\x00b", "a\x1fb", "a\x7fb", "a\x85b", "a\x9fb", "a\u2010b", "a\u2030b", "a\u2070b", 'a"b', "a\nb",
    "a\r\nb", "'; --", "a\\b", "\u00a0", "\u2003V", "e\u0301", "${x}", "{x}",
)  # fmt: skip
COSTS = (
    "", "0", "-0", "-0.00", "1", "01", "1.", ".5", "1e3", "1_000", "+1", "1,5", "$1", "NaN", "inf", "1.004", "1.005",
    "1.0049999999999999999999999", "2.675", "0.005", "9999999.994", "9999999.995", "10000000",
    "10000000.00000000000000000001", "10000000.000000000000000000", "-1", "-0.0000000000000000000000001",
    "0" * 60 + "1.5", "1" + "0" * 60, "12345678901234567", "\u0661", "1 ", " 1\t", "1 1", "0x1", "--1", "-", "1.5\n",
)  # fmt: skip
DATES = (
    "", "2025-03-01", "2025-02-29", "2024-02-29", "1900-01-01", "1899-12-31", "2025-03-03", "2025-03-04",
    "0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2025-3-1", "2025/03/01", "20250301", "2025-03-01T12:00",
    "2025-03-01 12:00:00", "2025-03-01T24:00", "2025-03-01T12:00Z", "2025-03-01T23:59:59.123456789-12:00",
    "2025-03-01T12:00+0530", "2025-03-01T12:00+24:00", "2025-03-01T", "2025-03-01 ", "epoch", "infinity", "today",
    "2025-13-01", "2025-00-10", "\u0662025-03-01", "2025-03-01T12", "2025-03-01T12:00:60", "2025-03-01t12:00",
    "2025-03-01T12:00z", "2025-03-01\n",
)  # fmt: skip
STAMPS = (
    *DATES, "2025-03-02T06:05:00Z", "2025-03-02T06:05:00.000001Z", "2025-03-02T06:00:00+00:00",
    "2025-03-01T12:00:00.1Z", "2025-03-01T12:00:00.1234567Z", "2025-03-01T12:00:00.999999999Z",
    "2025-03-01T12:00:00.Z", "2025-03-01T12:00:00.1234567890Z", "2025-03-01T00:00+14:00", "2025-03-01T00:00-23:59",
    "0001-01-01T00:00+01:00", "9999-12-31T23:59-01:00", "2025-03-01T12:00 UTC", "2025-03-01T12:00Europe/Berlin",
    "2025-03-01T12:00:00+0000", "1969-12-31T23:59:59.999999Z", "1582-10-10T00:00Z", "0099-01-01",
)  # fmt: skip
OF_COLUMN = {
    **dict.fromkeys(("visit_id", "patient_id", "provider_id", "diagnosis_code"), IDS),
    "visit_date": DATES, "visit_cost": COSTS, "last_updated": STAMPS,
}  # fmt: skip
CELLS = tuple((name, text) for name, texts in OF_COLUMN.items() for text in texts)
PIECES = "0123456789-:.+TZ /eé\u200b\t,\"'\\x"


def broken(random: Random) -> dict[str, str]:
    """One to three cells: known ones, or known ones with characters put in, taken out and changed."""
    cells = {}
    for name in random.sample(sorted(OF_COLUMN), random.randint(1, 3)):
        text = list(random.choice(OF_COLUMN[name]))
        for _ in range(random.randint(0, 2)):
            place = random.randint(0, len(text))
            text[place : place + random.randint(0, 2)] = random.choice(PIECES)
        cells[name] = "".join(text)
    return cells
