"""A phone's clock is evidence, never truth: what it says is kept as sent, and believed only within bounds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from django.db import models

YEAR = timedelta(days=366)
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # what a column may hold
LONGEST = len("2026-03-02T09:30:00.123456789+01:00:00")


def parse_phone_time(text: str) -> datetime | None:
    """An ISO 8601 time with its offset; None for anything else, a time without an offset or of any length included.

    It keeps its offset: the year 1 at +14:00 is a time that a phone may write and that has no counterpart in UTC.
    """
    if len(text) > LONGEST:
        return None  # a fraction of a second may have any number of digits, and digits can be a telephone number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.utcoffset() is not None else None


def offset_minutes(text: str) -> int | None:
    """The offset that a phone wrote beside its time."""
    moment = parse_phone_time(text)
    offset = moment.utcoffset() if moment else None
    return None if offset is None else int(offset.total_seconds() // 60)


def believable(moment: datetime, *, study_start: date, now: datetime) -> bool:
    """From a year before the study to a year from now. A time outside (a phone back in 1970) would break every
    later reading of the column, so it is kept as text alone."""
    first, last = believable_span(study_start=study_start, now=now)
    return max(first, EARLIEST) <= moment <= min(last, LATEST)


def believable_span(*, study_start: date, now: datetime) -> tuple[datetime, datetime]:
    return datetime(study_start.year, study_start.month, study_start.day, tzinfo=UTC) - YEAR, now + YEAR


def bounded(column: str, *, name: str) -> models.CheckConstraint:
    """The database's own word that a time which some phone wrote can be read back: one in the year 1 would break every export."""
    return models.CheckConstraint(condition=models.Q(**{f"{column}__range": (EARLIEST, LATEST)}), name=name)
