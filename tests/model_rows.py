"""One row, judged in plain Python: texts in, a version or every reason against it out. Shares no line with `lib`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from zoneinfo import ZoneInfo

COLUMNS = ("visit_id", "patient_id", "provider_id", "diagnosis_code", "visit_date", "visit_cost", "last_updated")
VOCABULARY = (
    "missing_visit_id", "invalid_visit_id", "missing_patient_id", "invalid_patient_id", "invalid_provider_id",
    "invalid_diagnosis_code", "missing_visit_date", "invalid_visit_date", "visit_date_out_of_range",
    "invalid_visit_cost", "visit_cost_out_of_range", "missing_last_updated", "invalid_last_updated",
    "future_last_updated", "malformed_row",
)  # fmt: skip
FORBIDDEN_RANGES = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E), (0x200B, 0x200F), (0x2028, 0x202E),
    (0x2060, 0x206F), (0xFEFF, 0xFEFF),
)  # fmt: skip
FORBIDDEN = {chr(code) for low, high in FORBIDDEN_RANGES for code in range(low, high + 1)}

COST = re.compile(r"-?[0-9]+(\.[0-9]+)?")
ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)
DIRECTIVES = {
    "%Y": "[0-9]{4}", "%y": "[0-9]{2}", "%m": "[0-9]{2}", "%-m": "[0-9]{1,2}", "%d": "[0-9]{2}", "%-d": "[0-9]{1,2}",
    "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}", "%H": "[0-9]{2}", "%-H": "[0-9]{1,2}",
    "%I": "[0-9]{2}", "%-I": "[0-9]{1,2}", "%p": "[AaPp][Mm]", "%M": "[0-9]{2}", "%S": "[0-9]{2}", "%f": "[0-9]{1,6}",
    "%%": "%",
}  # fmt: skip

Line = tuple[int, int]
"""Where a row stands: (delivery sequence, physical line)."""
Identity = tuple[str | None, ...]
"""A row's own text, cell by cell, or the physical text of a malformed one."""
Order = tuple[datetime, int, int]
"""What versions of a visit are ordered by: (last_updated, delivery sequence, physical line)."""


@dataclass(frozen=True)
class Row:
    """One record: texts by canonical name (unmapped columns absent), or the physical text of a malformed one."""

    line: int
    cells: Mapping[str, str] = field(default_factory=dict)
    malformed: str | None = None


@dataclass(frozen=True)
class Version:
    """One accepted row. `values` are what makes two versions equal: without the stamp when the source has none."""

    source: str
    visit_id: str
    patient_id: str
    provider_id: str | None
    diagnosis_code: str | None
    visit_date: date
    visit_cost_cents: int | None
    last_updated: datetime
    delivery_seq: int
    source_line: int
    stamped: bool = True

    @property
    def at(self) -> Line:
        return self.delivery_seq, self.source_line

    @property
    def order(self) -> Order:
        return self.last_updated, self.delivery_seq, self.source_line

    @property
    def values(self) -> tuple[str, ...]:
        cents = self.visit_cost_cents
        cost = "" if cents is None else f"{cents // 100}.{cents % 100:02}"
        stamp = self.last_updated.isoformat(timespec="microseconds") if self.stamped else ""
        day = self.visit_date.isoformat()
        return self.visit_id, self.patient_id, self.provider_id or "", self.diagnosis_code or "", day, cost, stamp

    @property
    def row_hash(self) -> str:
        return sha256("\x1f".join(self.values).encode()).hexdigest()


@dataclass(frozen=True)
class Judged:
    """One row after judgement: a version, or the reasons against it. `stamp` is None when it cannot be read."""

    at: Line
    row: Row
    reasons: tuple[str, ...]
    version: Version | None
    visit_id: str | None
    stamp: datetime | None

    @property
    def identity(self) -> Identity:
        """The row's own text: the same text refused in an earlier run makes it known."""
        return (*(self.row.cells.get(name) for name in COLUMNS), self.row.malformed)


@dataclass
class Contract:
    """What a source promises: names, formats and bounds. The defaults are config.yaml's."""

    source: str = "clinic"
    names: Mapping[str, str | None] = field(default_factory=lambda: {name: name for name in COLUMNS})
    date_formats: tuple[str, ...] = ("iso",)
    stamp_formats: tuple[str, ...] = ("iso",)
    null_markers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timezone: str = "UTC"
    min_visit_date: date = date(1900, 1, 1)
    max_future_days: int = 1
    clock_skew_minutes: int = 5
    max_visit_cost: Decimal = Decimal(10_000_000)

    @property
    def stamped(self) -> bool:
        return self.names.get("last_updated") is not None

    def judge(self, row: Row, sequence: int, clock: datetime) -> Judged:
        """A row's version, or all its reasons in the vocabulary's order. `sequence` and `clock`: its delivery's."""
        at = (sequence, row.line)
        if row.malformed is not None:
            return Judged(at, row, ("malformed_row",), None, None, None)
        found: set[str] = set()
        texts: dict[str, str | None] = {}
        for name in COLUMNS:
            text = row.cells.get(name, "").strip(" \t") if self.names.get(name) else ""
            texts[name] = None if text == "" or text in self.null_markers.get(name, ()) else text
        for name in ("visit_id", "patient_id", "visit_date", "last_updated"):
            if texts[name] is None and (name != "last_updated" or self.stamped):
                found.add(f"missing_{name}")
        for name in ("visit_id", "patient_id", "provider_id", "diagnosis_code"):
            text = texts[name] or ""
            if len(text) > 128 or FORBIDDEN & set(text):
                found.add(f"invalid_{name}")

        cents = None
        if (cost := texts["visit_cost"]) is not None:
            if not COST.fullmatch(cost):
                found.add("invalid_visit_cost")
            elif not 0 <= Decimal(cost) <= self.max_visit_cost:
                found.add("visit_cost_out_of_range")
            else:
                cents = int(Decimal(cost).quantize(Decimal("0.01"), ROUND_HALF_UP) * 100)

        day = None
        if (text_day := texts["visit_date"]) is not None:
            day = self.read_date(text_day)
            today = clock.astimezone(ZoneInfo(self.timezone)).date()
            if day is None:
                found.add("invalid_visit_date")
            elif not self.min_visit_date <= day <= today + timedelta(days=self.max_future_days):
                found.add("visit_date_out_of_range")

        stamp = None if self.stamped else clock
        if (text_stamp := texts["last_updated"]) is not None:
            stamp = self.read_stamp(text_stamp)
            if stamp is None:
                found.add("invalid_last_updated")
            elif stamp > clock + timedelta(minutes=self.clock_skew_minutes):
                found.add("future_last_updated")

        reasons = tuple(reason for reason in VOCABULARY if reason in found)
        version = None
        if not reasons:
            visit_id, patient_id = texts["visit_id"], texts["patient_id"]
            assert visit_id and patient_id and day and stamp
            version = Version(
                self.source, visit_id, patient_id, texts["provider_id"], texts["diagnosis_code"], day, cents, stamp,
                *at, stamped=self.stamped,
            )  # fmt: skip
        return Judged(at, row, reasons, version, texts["visit_id"], stamp)

    def read_date(self, text: str) -> date | None:
        """The civil date as written, whatever time and zone follow it; None when no declared format reads it."""
        for declared in self.date_formats:
            try:
                return date.fromisoformat(_iso(text)[:10]) if declared == "iso" else _strptime(text, declared).date()
            except ValueError:
                continue
        return None

    def read_stamp(self, text: str) -> datetime | None:
        """The instant in UTC, nanoseconds cut off; None when no declared format reads it, or it is not in years 1-9999.

        Without a zone it is local: a repeated hour the earlier instant, a skipped one by the offset before the gap.
        """
        for declared in self.stamp_formats:
            try:
                read = datetime.fromisoformat(_iso(text)) if declared == "iso" else _strptime(text, declared)
                zoned = read if read.tzinfo else read.replace(tzinfo=ZoneInfo(self.timezone), fold=0)
                offset = zoned.utcoffset() or timedelta(0)
                return (zoned.replace(tzinfo=None) - offset).replace(tzinfo=UTC)
            except (ValueError, OverflowError):
                continue
        return None


def _iso(text: str) -> str:
    if not ISO.fullmatch(text):
        raise ValueError("not ISO")
    return text


def _strptime(text: str, declared: str) -> datetime:
    parts = re.split(r"(%-?[A-Za-z%])", declared)
    pattern = "".join(DIRECTIVES[part] if part.startswith("%") else re.escape(part) for part in parts)
    if not re.fullmatch(pattern, text):
        raise ValueError("not in the declared format")
    return datetime.strptime(text, declared.replace("%-", "%"))
