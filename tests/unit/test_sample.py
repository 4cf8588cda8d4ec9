"""The shipped sample: written by its script to the byte, and as troubled as the script says."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from data import make_sample
from lib.config import CANONICAL, ROOT

INPUT = ROOT / "data" / "input"
FIRST, NEXT = "patient_visits.csv", "patient_visits_next.csv"
FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def records(name: str) -> list[list[str]]:
    """The file's records after the header, blank lines left out."""
    text = (INPUT / name).read_bytes().decode()
    return [record for record in csv.reader(io.StringIO(text, newline="")) if record][1:]


def when(text: str) -> datetime:
    stamp = datetime.fromisoformat(text)
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def text_reason(column: str, value: str, required: bool) -> str:
    if not value:
        return f"missing_{column}" if required else ""
    return f"invalid_{column}" if FORBIDDEN.search(value) else ""


def date_reason(value: str) -> str:
    if not value:
        return "missing_visit_date"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?", value):
        return "invalid_visit_date"
    try:
        day = date.fromisoformat(value[:10])
    except ValueError:
        return "invalid_visit_date"
    return "" if 1900 <= day.year <= 2100 else "visit_date_out_of_range"


def cost_reason(value: str) -> str:
    if not value:
        return ""
    if not re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "invalid_visit_cost"
    return "" if 0 <= Decimal(value) <= 10_000_000 else "visit_cost_out_of_range"


def stamp_reason(value: str) -> str:
    if not value:
        return "missing_last_updated"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]([01]\d|2[0-3]):.*", value):
        return "invalid_last_updated"
    return "future_last_updated" if when(value).year > 2100 else ""


def reasons(record: list[str]) -> str:
    """A second, plain judge of a record: its reasons in the vocabulary's order of columns, blank when accepted."""
    if len(record) != len(CANONICAL) or re.fullmatch(r"P\d{5}x", record[1]):
        return "malformed_row"
    visit, patient, provider, code, day, cost, stamp = (value.strip(" \t") for value in record)
    found = (
        text_reason("visit_id", visit, required=True),
        text_reason("patient_id", patient, required=True),
        text_reason("provider_id", provider, required=False),
        text_reason("diagnosis_code", code, required=False),
        date_reason(day),
        cost_reason(cost),
        stamp_reason(stamp),
    )
    return " ".join(filter(None, found))


def promised(name: str) -> Counter[str]:
    """What the script says will be refused: reasons → lines."""
    found: Counter[str] = Counter()
    for lines, outcome in make_sample.planted()[name].values():
        if re.search(r"\b(missing|invalid|malformed|future)_|out_of_range", outcome):
            found[outcome] += lines
    return found


def test_script_writes_the_committed_bytes(tmp_path):
    subprocess.run([sys.executable, "data/make_sample.py", str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    for name in (FIRST, NEXT):
        assert (tmp_path / name).read_bytes() == (INPUT / name).read_bytes(), f"{name}: run data/make_sample.py again"


@pytest.mark.parametrize(
    ("name", "again"), [(FIRST, Counter()), (NEXT, Counter({"missing_patient_id": 1, "invalid_last_updated": 1}))]
)
def test_a_second_judge_refuses_what_was_planted_and_nothing_else(name, again):
    """`again` are lines refused in the first delivery that come with the same text in the second."""
    judged = Counter(filter(None, map(reasons, records(name))))
    assert judged == promised(name) + again


@pytest.mark.parametrize("name", [FIRST, NEXT])
def test_the_refused_stay_below_the_gate(name):
    judged = [reasons(record) for record in records(name)]
    assert 0.01 < sum(map(bool, judged)) / len(judged) < 0.04
    assert sum("missing_" in each for each in judged) / len(judged) < 0.02
    assert sum("invalid_visit_date" in each for each in judged) / len(judged) < 0.02


def test_header_size_span_and_newest_stamp():
    assert (INPUT / FIRST).read_bytes().split(b"\n")[0].decode().split(",") == list(CANONICAL)
    good = [record for record in records(FIRST) if not reasons(record)]
    assert 3000 <= len(records(FIRST)) <= 4000
    assert 200 <= len(records(NEXT)) <= 300
    assert max(when(record[6].strip()) for record in good) == datetime(2025, 12, 6, 12, tzinfo=UTC)
    days = sorted(record[4][:10] for record in good)
    assert (days[0], days[1][:7], days[-1]) == ("2025-05-30", "2025-06", "2025-12-06")
    assert 0.03 < sum(not record[5] for record in good) / len(good) < 0.06


def test_bytes_that_only_bytes_show():
    text = (INPUT / FIRST).read_bytes().decode()
    assert len(re.findall(r"(?m)^(?!\r?$).*\r$", text)) == make_sample.CRLF_LINES + 1  # one stands inside quotes
    assert len(re.findall(r"(?<=\n)\r?\n", text)) == 4
    for each in (
        "\x0b",
        "\x1f",
        "\u200b",
        "\u202e",
        "\ufeff",
        "=cmd|",
        "<script>",
        "DROP TABLE",
        '""Bo""',
        "+02:00",
        "-0530",
    ):
        assert each in text, ascii(each)
    assert "\0" not in text, "git would take the file for a binary one"


def test_the_second_delivery_meets_the_first_as_listed():
    stamps = {record[0]: record[6] for record in records(FIRST) if not reasons(record)}
    cutoff = datetime(2025, 12, 5, 12, tzinfo=UTC)
    newest = datetime(2025, 12, 6, 12, tzinfo=UTC)
    fresh = [record for record in records(NEXT) if not reasons(record) and record[0] not in stamps]
    assert sum(when(record[6]) < cutoff for record in fresh) == 2, "missed"
    assert sum(cutoff <= when(record[6]) <= newest for record in fresh) == 8 + 1, "late, and one that was refused"
    first = {tuple(record) for record in records(FIRST) if not reasons(record)}
    assert sum(tuple(record) in first for record in records(NEXT)) == 8 + 6, "exact repeats"
    same = [r for r in records(NEXT) if stamps.get(r[0]) == r[-1] and tuple(r) not in first]
    assert len(same) == 2, "changed under the same stamp"


def test_ids_are_plainly_invented():
    odd = [r for name in (FIRST, NEXT) for r in records(name) if not re.fullmatch(r"\s*#?V\d{6}\s*", r[0])]
    assert len(odd) < 20, "only the ids planted as troubles"
