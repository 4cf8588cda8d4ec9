"""What differs between two runs' circumstances: code, config, suites, packages, who and where. From their manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["commit", "code", "suite", "threshold", "config", "package", "interpreter", "option", "waivers", "who"]

NONE = "none"
MOST_NAMED = 6
"""Differences of one kind that are named one by one; of more, how many there are."""
PLURALS = {"commit": "commits", "code": "files of code", "suite": "suites", "package": "packages"}


@dataclass(frozen=True)
class Difference:
    """One thing that differs: its kind, its name, and what it was and is, as text (of a file: its hash's beginning)."""

    kind: Kind
    name: str
    before: str
    after: str

    @property
    def text(self) -> str:
        if self.kind in ("code", "suite"):
            done = "added" if self.before == NONE else "removed" if self.after == NONE else "changed"
            return f"{self.name} {done}"
        return f"{self.name}: {self.before} → {self.after}"


def differences(before: dict[str, Any], after: dict[str, Any]) -> tuple[Difference, ...]:
    """What differs between two manifests of runs, apart from what they read, did and when."""
    return tuple(_found(before, after))


def differing_settings(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ, by dotted name, before and after; a mapping of free names (carry) as a whole."""
    for section in (*before, *(name for name in after if name not in before)):
        old, new = before.get(section), after.get(section)
        if isinstance(old, dict) and isinstance(new, dict) and section != "carry":
            for key in (*old, *(name for name in new if name not in old)):
                if old.get(key) != new.get(key):
                    yield f"{section}.{key}", old.get(key), new.get(key)
        elif old != new:
            yield section, old, new


def since_text(found: Iterable[Difference]) -> Iterator[str]:
    """A line a difference; of many of one kind, how many there are and the first of them."""
    kinds: dict[str, list[Difference]] = {}
    for each in found:
        kinds.setdefault(each.kind, []).append(each)
    for kind, several in kinds.items():
        told = several[:MOST_NAMED] if len(several) > MOST_NAMED else several
        lead = f"{kind}: " if kind in ("threshold", "config", "package", "interpreter", "option", "who") else ""
        yield (
            lead
            + "; ".join(each.text for each in told)
            + (
                f"; and {len(several) - len(told):,} more of {len(several):,} {PLURALS.get(kind, kind + 's')}"
                if len(several) > len(told)
                else ""
            )
        )


def _found(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    commits = [_commit(each) for each in (before, after)]
    if commits[0] != commits[1]:
        yield Difference("commit", "commit", *commits)
    for path, *hashes in _pairs(before.get("code") or {}, after.get("code") or {}):
        kind: Kind = "suite" if path.startswith("expectations/") else "code"
        yield Difference(kind, path, *((each and each[:12]) or NONE for each in hashes))
    for name, old, new in differing_settings(before.get("config") or {}, after.get("config") or {}):
        yield Difference("threshold" if name.startswith("gate.") else "config", name, _text(old), _text(new))
    for name, old, new in _pairs(before.get("packages") or {}, after.get("packages") or {}):
        yield Difference("package", name, _text(old), _text(new))
    for name, old, new in _pairs(before.get("interpreter") or {}, after.get("interpreter") or {}):
        yield Difference("interpreter", name, _text(old), _text(new))
    for name, old, new in _pairs(_asked(before), _asked(after)):
        yield Difference("option", name, _text(old), _text(new))
    if (before.get("waivers") or 0) != (after.get("waivers") or 0):
        counts = [f"{each.get('waivers') or 0:,}" for each in (before, after)]
        yield Difference("waivers", "waivers in force", *counts)
    for name in ("actor", "host"):
        if before.get(name) != after.get(name):
            yield Difference("who", name, _text(before.get(name)), _text(after.get(name)))


def _pairs(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}, key=str.lower):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _asked(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the operator asked for, as names on the command line."""
    options = manifest.get("options") or {}
    asked = {"full refresh": options.get("full_refresh") or None, "accepted": ", ".join(options.get("accept") or [])}
    lookback = (manifest.get("window") or {}).get("lookback_hours")
    return {**asked, "lookback hours": lookback}


def _commit(manifest: dict[str, Any]) -> str:
    git = manifest.get("git") or {}
    return (git.get("commit") or "not in git")[:12] + (" with uncommitted changes" if git.get("dirty") else "")


def _text(value: Any) -> str:
    if value is None or value == "":
        return NONE
    return f"{value:g}" if isinstance(value, float) else str(value)
