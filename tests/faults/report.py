"""What the matrix found, kind by kind, as one table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

HEAD = (
    "fault",
    "tries",
    "old tables",
    "new tables",
    "exit codes",
    "divergences",
    "outcomes differ",
    "left behind",
)
SHOWN = 20


@dataclass
class Kind:
    """All tries of one kind of fault."""

    tries: int = 0
    tables: Counter[str] = field(default_factory=Counter)
    exit_codes: Counter[str] = field(default_factory=Counter)
    divergences: int = 0
    outcome_mismatches: int = 0
    leftovers: int = 0


class Report:
    """Counts tries as they come."""

    def __init__(self) -> None:
        self.kinds: dict[str, Kind] = {}
        self.wrong: list[str] = []
        self.notes: list[str] = []

    def add(self, found: dict[str, Any]) -> None:
        """One try, as its lane printed it."""
        kind = self.kinds.setdefault(found["fault"], Kind())
        kind.tries += 1
        kind.tables[found["tables"]] += 1
        code = found["exit_code"]
        kind.exit_codes["none" if code is None else f"signal {-code}" if code < 0 else str(code)] += 1
        kind.divergences += bool(found["wrong"])
        kind.outcome_mismatches += found["outcome_mismatches"]
        kind.leftovers += found["leftovers"]
        self.wrong += [f"{found['fault']}, {found['at']}: {each}" for each in found["wrong"]]

    @property
    def tries(self) -> int:
        return sum(kind.tries for kind in self.kinds.values())

    @property
    def divergences(self) -> int:
        return sum(kind.divergences for kind in self.kinds.values()) + sum("broke off" in each for each in self.notes)

    def text(self) -> str:
        """The table, what went wrong, and one line that sums it up."""
        rows = [HEAD, *(self._row(name, kind) for name, kind in self.kinds.items())]
        widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines += ["", *self.notes, *self.wrong[:SHOWN]]
        if len(self.wrong) > SHOWN:
            lines.append(f"… and {len(self.wrong) - SHOWN} more")
        mismatches = sum(kind.outcome_mismatches for kind in self.kinds.values())
        lines.append(
            f"{self.tries:,} tries: {self.divergences} divergences, {mismatches} runs whose recorded outcome differs "
            "from the warehouse."
        )
        return "\n".join(lines)

    @staticmethod
    def _row(name: str, kind: Kind) -> tuple[str, ...]:
        codes = ", ".join(f"{code} ×{times}" for code, times in sorted(kind.exit_codes.items()))
        counts = (kind.tables["old"], kind.tables["new"])
        bad = (kind.divergences, kind.outcome_mismatches, kind.leftovers)
        return (name, str(kind.tries), *map(str, counts), codes, *map(str, bad))
