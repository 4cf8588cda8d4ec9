"""Instants: one text form, always UTC, microseconds kept."""

from __future__ import annotations

from datetime import UTC, datetime

from lib.errors import UsageError


def now() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)


def parse_instant(text: str, what: str = "instant") -> datetime:
    """An ISO 8601 instant as UTC; one without a zone is UTC. Raises UsageError."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{what} is not an ISO 8601 instant; write it like 2025-12-07T06:00:00Z.") from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def stored_instant(text: str | None) -> datetime | None:
    """A stored instant, or None where none is stored."""
    return parse_instant(text) if text else None


def instant_text(value: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffff+00:00`: fixed width, so text sorts as time. Used wherever an instant is stored."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def short_instant(value: datetime) -> str:
    """For people: whole seconds where there are no microseconds, `2025-12-06T12:00:00+00:00`."""
    return value.astimezone(UTC).isoformat()


def file_stamp(value: datetime) -> str:
    """For file names: `20251207T060000Z`."""
    return value.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
