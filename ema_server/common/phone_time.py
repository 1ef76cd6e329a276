"""A phone's clock is evidence, never truth: what it says is kept as sent, and believed only within bounds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

YEAR = timedelta(days=366)


def parse_phone_time(text: str) -> datetime | None:
    """An ISO 8601 time with its offset, in UTC; None for anything else, a time without an offset included."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def offset_minutes(text: str) -> int | None:
    """The offset that a phone wrote beside its time."""
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except (ValueError, OverflowError):
        return None
    return None if offset is None else int(offset.total_seconds() // 60)


def believable(moment: datetime, *, study_start: date, now: datetime) -> bool:
    """From a year before the study to a year from now. A time outside (a phone back in 1970) would break every
    later reading of the column, so it is kept as text alone."""
    return datetime(study_start.year, study_start.month, study_start.day, tzinfo=UTC) - YEAR <= moment <= now + YEAR
