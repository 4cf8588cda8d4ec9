"""Write the sample that ships: two deliveries of an invented clinic, with the troubles of a real one.

    python data/make_sample.py [FOLDER]          # default: data/input, beside this script

`patient_visits.csv` is the first delivery: all up to Saturday 2025-12-06 12:00 UTC, its newest `last_updated`.
`patient_visits_next.csv` is the week after it, an increment. Nobody in them exists: ids, codes, days and costs are
drawn from a fixed seed by the standard library's `random()` alone, so that every Python writes the same bytes.

One line is one version of a visit, in the order in which the clinic saved them. `FIRST` and `NEXT` below list every
planted trouble with its number of lines and what has to become of them; the script prints both lists.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import accumulate, chain
from pathlib import Path
from random import Random

SEED = 20251206
COLUMNS = ("visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost", "last_updated")
FIRST_DAY, LAST_DAY = date(2025, 6, 1), date(2025, 12, 12)
EXPORT = datetime(2025, 12, 6, 12, tzinfo=UTC)
NEXT_EXPORT = datetime(2025, 12, 13, 12, tzinfo=UTC)
CUTOFF = EXPORT - timedelta(hours=24)
PATIENTS, PROVIDERS = 1400, 40

# ICD-10 code, median cost: the commonest first, the n-th about 1/n as frequent (Zipf). J codes double towards winter.
DIAGNOSES = (
    ("I10", 92), ("Z00.00", 148), ("E11.9", 118), ("J06.9", 74), ("M54.5", 105), ("E78.5", 88), ("F41.1", 124),
    ("K21.9", 96), ("J45.909", 112), ("N39.0", 83), ("R05.9", 71), ("J11.1", 79), ("M25.561", 131), ("F32.9", 127),
    ("G43.909", 138), ("L20.9", 77), ("E03.9", 86), ("J02.9", 69), ("H10.9", 64), ("R51.9", 90), ("B34.9", 66),
    ("M17.11", 189), ("I25.10", 242), ("E66.9", 101), ("J20.9", 84), ("K58.9", 109), ("D50.9", 98), ("S93.401A", 176),
    ("R10.9", 143), ("Z23", 38), ("N18.3", 214), ("I48.91", 265), ("L30.9", 73), ("H66.90", 78), ("M79.7", 117),
    ("F10.20", 152), ("J18.9", 318), ("G47.33", 228), ("C50.919", 684), ("I50.9", 402), ("S52.501A", 523),
    ("O80", 1460),
)  # fmt: skip

Row = dict[str, str]
Places = list[list["Line"]]
"""A line of the clean file and what was put behind it."""


@dataclass(frozen=True)
class Visit:
    """One version of a visit; cost in cents, None when not yet known."""

    visit_id: str
    patient_id: str
    provider_id: str
    diagnosis_code: str
    visit_date: date
    cents: int | None
    stamp: datetime


@dataclass(frozen=True)
class Line:
    """A line to be written: `row`, or the literal `text` of one that is not a row any more."""

    visit: Visit
    clean: Row
    row: Row
    text: str | None = None
    trouble: str = ""
    crlf: bool = False

    def written(self) -> str:
        return (joined(self.row) if self.text is None else self.text) + ("\r\n" if self.crlf else "\n")


@dataclass(frozen=True)
class Trouble:
    """`lines` lines changed by `change`, or put behind the row they are made from when `extra`."""

    name: str
    lines: int
    outcome: str
    change: Callable[[Row, int], Row | str]
    extra: bool = False


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if any(each in value for each in ',"\r\n') else value


def joined(row: Row) -> str:
    return ",".join(quoted(value) for value in row.values())


def put(column: str, *values: str) -> Callable[[Row, int], Row]:
    """A change that puts the values into a column, one line after the other; `{}` stands for what was there."""
    return lambda row, n: row | {column: values[n % len(values)].replace("{}", row[column])}


def day_first(row: Row, n: int) -> Row:
    year, month, day = row["visit_date"][:10].split("-")
    return row | {"visit_date": f"{day}/{month}/{year}" if n else "31/12/2025"}


def later(row: Row, n: int = 0, **changed: str) -> Row:
    """The same visit, saved again a day later."""
    stamp = datetime.fromisoformat(row["last_updated"])
    stamp = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
    return row | {"last_updated": f"{stamp + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"} | changed


FIRST = (
    # refused: about 2 % of the lines, each for the reason that its outcome names
    Trouble("visit_id blank", 5, "missing_visit_id", put("visit_id", "", "  ")),
    Trouble("patient_id blank", 9, "missing_patient_id", put("patient_id", "", "", "\t")),
    Trouble("visit_date blank", 3, "missing_visit_date", put("visit_date", "")),
    Trouble("last_updated blank", 2, "missing_last_updated", put("last_updated", "", " ")),
    Trouble("a day that no calendar has", 4, "invalid_visit_date", put("visit_date", "2025-02-30", "2025-11-31")),
    Trouble("day first, with slashes", 6, "invalid_visit_date", day_first),
    Trouble("Excel serial, zeros, no zeros", 3, "invalid_visit_date",
            put("visit_date", "45967", "0000-00-00", "2025-9-1")),
    Trouble("century mistyped", 2, "visit_date_out_of_range", put("visit_date", "1025-10-03", "2125-08-19")),
    Trouble("cost with a decimal comma", 5, "invalid_visit_cost", put("visit_cost", "125,50", "88,00")),
    Trouble("cost with a thousands comma", 3, "invalid_visit_cost", put("visit_cost", "1,234.56")),
    Trouble("cost NaN, inf", 4, "invalid_visit_cost", put("visit_cost", "NaN", "NaN", "NaN", "inf")),
    Trouble("cost with a currency sign", 2, "invalid_visit_cost", put("visit_cost", "$95.00", "95 EUR")),
    Trouble("cost negative", 4, "visit_cost_out_of_range", put("visit_cost", "-{}", "-45.00")),
    Trouble("cost over the limit", 2, "visit_cost_out_of_range", put("visit_cost", "99999999.00", "10000000.01")),
    Trouble("stamp a century ahead", 3, "future_last_updated",
            lambda row, n: row | {"last_updated": "21" + row["last_updated"][2:]}),
    Trouble("stamp in epoch ms, 24:00, a word", 3, "invalid_last_updated",
            put("last_updated", "1762850400000", "2025-11-11T24:00:00Z", "yesterday")),
    Trouble("control character in an id", 2, "invalid_patient_id", put("patient_id", "{}\x0b", "\x1f{}")),
    Trouble("zero-width space in an id", 2, "invalid_visit_id", put("visit_id", "{}\u200b", "\u200b{}")),
    Trouble("bidi override in a provider", 2, "invalid_provider_id", put("provider_id", "{}\u202e")),
    Trouble("line break in a quoted provider", 2, "invalid_provider_id",
            put("provider_id", "{}, ward 3\nlocum", "{}\r\nlocum")),
    Trouble("byte order mark in a code", 1, "invalid_diagnosis_code", put("diagnosis_code", "\ufeff{}")),
    Trouble("three faults at once", 2, "missing_patient_id invalid_visit_date visit_cost_out_of_range",
            lambda row, n: row | {"patient_id": "", "visit_date": "31.08.2025", "visit_cost": "-1"}),
    Trouble("short row", 3, "malformed_row", lambda row, n: ",".join(list(row.values())[: 5 - n])),
    Trouble("long row: a comma not quoted", 2, "malformed_row",
            lambda row, n: ",".join(v.replace("PR", "PR,") for v in row.values())),
    Trouble("text after a closing quote", 2, "malformed_row",
            lambda row, n: joined(row).replace(row["patient_id"], f'"{row["patient_id"]}"x', 1)),
    Trouble("header again", 1, "invalid_visit_date invalid_visit_cost invalid_last_updated",
            lambda row, n: ",".join(COLUMNS), extra=True),
    Trouble("broken newer version of a good visit", 3, "invalid_visit_cost",
            lambda row, n: later(row, visit_cost="n/a"), extra=True),
    # accepted, every one
    Trouble("exact repeat", 46, "superseded", lambda row, n: row, extra=True),
    Trouble("changed, same stamp", 5, "superseded same_stamp",
            lambda row, n: row | {"visit_cost": "75.00"}, extra=True),
    Trouble("id NA, null, zeros, 23 digits", 4, "", put("visit_id", "NA", "null", "00123", "12345678901234567890123")),
    Trouble("spaces around an id", 3, "", put("visit_id", " {} ", "{} ", "\t{}")),
    Trouble("row that begins with #", 1, "", put("visit_id", "#{}")),
    Trouble("formula, script, SQL as a code", 3, "",
            put("diagnosis_code", "=cmd|' /C calc'!A0", "<script>alert(1)</script>", "'; DROP TABLE fact_visits; --")),
    Trouble("quoted comma, quoted quote", 3, "", put("provider_id", "{}, locum", '{} "Bo"', "{}, locum")),
    Trouble("date with a time of day", 5, "", put("visit_date", "{}T23:30:00-05:00", "{} 08:15")),
    Trouble("cost to the half cent, minus zero", 4, "", put("visit_cost", "84.125", "-0", "60.005", "60.004")),
    Trouble("day mistyped, no other visit on it", 1, "moved by the next", put("visit_date", "2025-05-30")),
    Trouble("blank line", 4, "not a row", lambda row, n: "", extra=True),
)  # fmt: skip

LAST_HOURS = (
    # in the first delivery's last 24 hours, which the second run reads again
    Trouble("patient_id blank, corrected at once", 1, "missing_patient_id", put("patient_id", "")),
    Trouble("patient_id blank, delivered again", 1, "missing_patient_id", put("patient_id", "")),
    Trouble("stamp at the next run's cutoff", 1, "", put("last_updated", "2025-12-05T12:00:00Z")),
    Trouble("visit on the last day, the newest stamp", 2, "", lambda row, n: row | {"visit_date": "2025-12-06",
            "last_updated": ("2025-12-06T12:00:00Z", "2025-12-06T14:00:00+02:00")[n]}),
)  # fmt: skip
OUT_OF_ORDER, CRLF_LINES = 8, 200

NEXT = (
    Trouble("patient_id blank", 2, "missing_patient_id", put("patient_id", "")),
    Trouble("cost negative", 1, "visit_cost_out_of_range", put("visit_cost", "-{}")),
    Trouble("short row", 1, "malformed_row", lambda row, n: ",".join(list(row.values())[:5])),
    Trouble("exact repeat", 3, "superseded", lambda row, n: row, extra=True),
    Trouble("blank line", 1, "not a row", lambda row, n: "", extra=True),
)
HANDED_OVER = {
    # lines of the second delivery that have to do with the first
    "late: not in the first, within 24 h of its newest stamp": (8, "inserted"),
    "too late: not in the first, older than that": (2, "missed"),
    "exact repeat of a line within the window": (8, "unchanged"),
    "exact repeat of an older line": (6, "already held"),
    "changed, same stamp": (2, "updated same_stamp"),
    "moved to the day before, newer stamp": (3, "updated"),
    "moved from a day that has no other visit": (1, "updated"),
    "refused in the first, right and newer now": (3, "inserted, quarantine closed"),
    "refused in the first, right under the same stamp": (1, "inserted, quarantine closed"),
    "refused in the first, the same text again": (2, "known refused"),
    "broken newer version of a good visit": (1, "invalid_visit_cost"),
}


class Clinic:
    """Draws visits; only `random()` is asked, so that no version of Python draws otherwise."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed).random
        self.codes = list(accumulate(1 / rank for rank in range(1, len(DIAGNOSES) + 1)))
        self.doctors = list(accumulate(1 / (rank + 6) for rank in range(PROVIDERS)))

    def below(self, number: int) -> int:
        return int(self.random() * number)

    def drawn(self, heaped: list[float]) -> int:
        """An index, as likely as its share of the heaped weights."""
        mark = self.random() * heaped[-1]
        return next(index for index, height in enumerate(heaped) if mark < height)

    def shuffled(self, lines: list[int]) -> list[int]:
        return [each for _, each in sorted((self.random(), each) for each in lines)]

    def cost(self, code: int) -> int | None:
        """Lognormal about the code's median, in cents; about one in 25 not yet known."""
        normal = sum(self.random() for _ in range(12)) - 6
        cents = round(DIAGNOSES[code][1] * math.exp(0.4 * normal) * 100)
        return None if self.random() < 0.045 else cents

    def visits_on(self, day: date) -> int:
        """Few at weekends, a dip in August, half as many again by December."""
        grown = 19 + 11 * (day - FIRST_DAY).days / (LAST_DAY - FIRST_DAY).days
        weekday = (1.15, 1.05, 1.0, 1.0, 0.85, 0.14, 0.07)[day.weekday()]
        return int(grown * weekday * (0.85 if day.month == 8 else 1) * (0.85 + 0.3 * self.random()) + 0.5)

    def code_on(self, day: date) -> int:
        code = self.drawn(self.codes)
        redraw = day.month < 10 and DIAGNOSES[code][0].startswith("J") and self.random() < 0.5
        return self.drawn(self.codes) if redraw else code

    def versions(self) -> Iterator[Visit]:
        """Every version of every visit: most saved within three days, one in ten corrected in the weeks after."""
        number = 0
        for day in (FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)):
            for _ in range(self.visits_on(day)):
                number += 1
                code = self.code_on(day)
                visit = Visit(
                    visit_id=f"V{number:06d}",
                    patient_id=f"P{1 + int(PATIENTS * self.random() ** 1.6):05d}",
                    provider_id=f"PR{1 + self.drawn(self.doctors):02d}" if self.random() > 0.02 else "",
                    diagnosis_code=DIAGNOSES[code][0] if self.random() > 0.03 else "",
                    visit_date=day,
                    cents=self.cost(code),
                    stamp=self.saved(day, days=(0, 0, 0, 0, 0, 1, 1, 1, 2, 3)[self.below(10)]),
                )
                yield visit
                while self.random() < 0.1:
                    visit = self.corrected(visit, code)
                    yield visit

    def saved(self, day: date, days: int) -> datetime:
        at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(days=days)
        return at + timedelta(seconds=self.below(11 * 3600))

    def corrected(self, visit: Visit, code: int) -> Visit:
        stamp = self.saved(visit.stamp.date(), days=1 + self.below(20))
        what = self.random()
        if what < 0.65 or visit.cents is None:
            return replace(visit, stamp=stamp, cents=self.cost(code))
        if what < 0.85:
            return replace(visit, stamp=stamp, diagnosis_code=DIAGNOSES[self.drawn(self.codes)][0])
        earlier = visit.visit_date - timedelta(days=1 + self.below(3))
        return replace(visit, stamp=stamp, visit_date=max(earlier, FIRST_DAY))

    def row(self, visit: Visit) -> Row:
        """The visit as text. The stamp in one of the ways in which the clinic's programs write an instant."""
        way, stamp = self.random(), visit.stamp
        if way < 0.72:
            text = f"{stamp:%Y-%m-%dT%H:%M:%SZ}"
        elif way < 0.82:
            text = f"{stamp:%Y-%m-%d %H:%M:%S}"
        elif way < 0.90:
            text = stamp.astimezone(timezone(timedelta(hours=2))).isoformat()
        elif way < 0.94:
            text = f"{stamp.astimezone(timezone(-timedelta(hours=5, minutes=30))):%Y-%m-%dT%H:%M:%S%z}"
        else:
            # never a part of a second beyond the export's own instant
            text = f"{stamp - timedelta(microseconds=1 + self.below(999_999)):%Y-%m-%dT%H:%M:%S.%fZ}"
        cost = "" if visit.cents is None else f"{visit.cents // 100}.{visit.cents % 100:02d}"
        values = (
            visit.visit_id,
            visit.patient_id,
            visit.provider_id,
            visit.diagnosis_code,
            str(visit.visit_date),
            cost,
            text,
        )
        return dict(zip(COLUMNS, values, strict=True))

    def line(self, visit: Visit) -> Line:
        row = self.row(visit)
        return Line(visit, row, row)

    def plant(self, places: Places, free: list[int], troubles: tuple[Trouble, ...]) -> None:
        """Put the troubles into the places, each into one of the `free`, which it uses up."""
        for trouble in troubles:
            for n in range(trouble.lines):
                at = free.pop()
                changed = trouble.change(places[at][0].row, n)
                made = replace(places[at][0], trouble=trouble.name)
                made = replace(made, text=changed) if isinstance(changed, str) else replace(made, row=changed)
                if trouble.extra:
                    places[min(at + self.below(40), len(places) - 1)].append(made)
                else:
                    places[at][0] = made

    def resaved(self, line: Line, **changed: str) -> Line:
        """The visit's right row, saved again in the week after the first delivery."""
        stamp = self.saved(date(2025, 12, 8 + self.below(5)), days=0)
        return replace(line, row=line.clean | {"last_updated": f"{stamp:%Y-%m-%dT%H:%M:%SZ}"} | changed, text=None)


def deliveries() -> tuple[list[Line], list[Line]]:
    """The lines of the two deliveries, without their headers."""
    clinic = Clinic(SEED)
    history = sorted(clinic.versions(), key=lambda visit: (visit.stamp, visit.visit_id))
    versions = Counter(visit.visit_id for visit in history)
    places = [[clinic.line(visit)] for visit in history if visit.stamp <= EXPORT]
    week = [[clinic.line(visit)] for visit in history if EXPORT < visit.stamp <= NEXT_EXPORT]

    # Trouble is put where it can be told apart: on whole lines that are their visit's only version.
    line = [place[0] for place in places]
    whole = [n for n, each in enumerate(line) if versions[each.visit.visit_id] == 1 and all(each.row.values())]
    recent = clinic.shuffled([n for n in whole if line[n].visit.stamp > CUTOFF])
    older = clinic.shuffled([n for n in whole if line[n].visit.stamp < CUTOFF - timedelta(days=4)])
    between = clinic.shuffled([n for n in whole if CUTOFF - timedelta(days=4) < line[n].visit.stamp < CUTOFF])
    late, again, same = taken(recent, 8), taken(recent, 8), taken(recent, 2)
    missed, held, moved, good = taken(between, 2), taken(older, 6), taken(older, 3), taken(older, 1)
    clinic.plant(places, recent, LAST_HOURS)
    clinic.plant(places, older, FIRST)
    twice = [n for n, each in enumerate(line) if versions[each.visit.visit_id] == 2]
    pairs = [(n, m) for n in twice for m in twice if n < m and line[n].visit.visit_id == line[m].visit.visit_id]
    for n, m in pairs[:OUT_OF_ORDER]:
        places[n][0], places[m][0] = places[m][0], places[n][0]

    def refused(trouble: str) -> Line:
        return next(place[0] for place in places if place[0].trouble == trouble)

    handed_over = {
        "late: not in the first, within 24 h of its newest stamp": [line[n] for n in late],
        "too late: not in the first, older than that": [line[n] for n in missed],
        "exact repeat of a line within the window": [line[n] for n in again],
        "exact repeat of an older line": [line[n] for n in held],
        "changed, same stamp": [replace(line[n], row=line[n].row | {"visit_cost": "66.00"}) for n in same],
        "moved to the day before, newer stamp": [
            clinic.resaved(line[n], visit_date=str(line[n].visit.visit_date - timedelta(days=1))) for n in moved
        ],
        "moved from a day that has no other visit": [clinic.resaved(refused("day mistyped, no other visit on it"))],
        "refused in the first, right and newer now": [
            clinic.resaved(refused(trouble))
            for trouble in ("a day that no calendar has", "cost with a thousands comma", "patient_id blank")
        ],
        "refused in the first, right under the same stamp": [
            replace(each, row=each.clean) for each in [refused("patient_id blank, corrected at once")]
        ],
        "refused in the first, the same text again": [
            refused("patient_id blank, delivered again"),
            refused("stamp in epoch ms, 24:00, a word"),
        ],
        "broken newer version of a good visit": [clinic.resaved(line[n], visit_cost="1.250,00") for n in good],
    }
    for n in (*late, *missed):
        del places[n][0]
    free = clinic.shuffled(
        [n for n, (each,) in enumerate(week) if versions[each.visit.visit_id] == 1 and all(each.row.values())]
    )
    clinic.plant(week, free, NEXT)
    for trouble, lines in handed_over.items():
        if len(lines) != HANDED_OVER[trouble][0]:
            raise ValueError(f"{trouble}: {len(lines)} lines made, not as listed")
        for each in lines:
            week[clinic.below(len(week))].append(replace(each, trouble=trouble))

    first, second = list(chain(*places)), list(chain(*week))
    for n in clinic.shuffled(list(range(len(first))))[:CRLF_LINES]:
        first[n] = replace(first[n], crlf=True)
    return first, second


def taken(pool: list[int], number: int) -> list[int]:
    return [pool.pop() for _ in range(number)]


def planted() -> dict[str, dict[str, tuple[int, str]]]:
    """File name → trouble → (lines, what becomes of them; blank: accepted)."""
    first = {each.name: (each.lines, each.outcome) for each in (*FIRST, *LAST_HOURS)}
    second = {each.name: (each.lines, each.outcome) for each in NEXT}
    more = {
        "newer version before the older": (OUT_OF_ORDER, "superseded"),
        "line that ends with CR LF": (CRLF_LINES, ""),
    }
    return {"patient_visits.csv": first | more, "patient_visits_next.csv": second | HANDED_OVER}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (name, troubles), lines in zip(planted().items(), deliveries(), strict=True):
        text = ",".join(COLUMNS) + "\n" + "".join(each.written() for each in lines)
        (folder / name).write_bytes(text.encode())
        print(f"{folder / name}: {len(lines):,} lines after the header, planted:")
        for trouble, (number, outcome) in troubles.items():
            print(f"  {number:4}  {trouble:58} {outcome or 'accepted'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "input")
