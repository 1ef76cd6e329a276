"""From rules to prompt times: values in, values out, and the same values for ever.

What a plan may say is in `studies/sampling_rules.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from ema_server.studies.sampling_rules import spans, wave_of

ONCE_AT = "09:00"  # of a one-off survey that names a day and no time


@dataclass(frozen=True, slots=True)
class Draw:
    """One prompt as the rules make it. `opens` and `closes` are UTC."""

    rule: str
    questionnaire: str
    day: int
    slot: int
    opens: datetime
    closes: datetime
    wave: str = ""
    practice: bool = False


def draw_prompts(
    document: Mapping[str, Any],
    *,
    secret: bytes,
    person: str,
    version: int,
    first_day: date,
    last_day: date,
    zone: ZoneInfo,
) -> Iterator[Draw]:
    """Every prompt of one person that follows from their days, from the first to the last, day by day."""
    days = (last_day - first_day).days + 1
    for day in range(1, days + 1):
        local_day = first_day + timedelta(days=day - 1)
        for rule in document["rules"]:
            if _holds(document, rule, day=day, days=days, local_day=local_day):
                rng = seeded(secret, person=person, local_day=local_day, rule=rule["key"], version=version)
                for slot, opens in enumerate(_moments(rule, local_day, zone, rng), start=1):
                    yield _draw(document, rule, day=day, slot=slot, opens=opens)


def draw_once(
    document: Mapping[str, Any], when: str, *, now: datetime, first_day: date, zone: ZoneInfo
) -> Iterator[Draw]:
    """The one-off surveys of an `"enrolment"` or a `"withdrawal"` that happens now: at once, or at the next `at`."""
    today = now.astimezone(zone).date()
    for rule in document["rules"]:
        if rule.get("once") == when:
            opens = now.replace(microsecond=0)
            if "at" in rule:
                wall = time.fromisoformat(rule["at"])
                opens = next(
                    moment for ahead in (0, 1) if (moment := as_utc(today + timedelta(days=ahead), wall, zone)) >= now
                )
            day = (opens.astimezone(zone).date() - first_day).days + 1
            yield _draw(document, rule, day=max(day, 0), slot=1, opens=opens)


def _holds(document: Mapping[str, Any], rule: Mapping[str, Any], *, day: int, days: int, local_day: date) -> bool:
    """Whether a rule asks on this day."""
    once = rule.get("once")
    if once is not None:
        return day == days if once == "end" else isinstance(once, Mapping) and day == once["day"]
    if "weekdays" in rule and local_day.isoweekday() not in rule["weekdays"]:
        return False
    return any(low <= day and (high is None or day <= high) for low, high in spans(document, rule))


def _draw(document: Mapping[str, Any], rule: Mapping[str, Any], *, day: int, slot: int, opens: datetime) -> Draw:
    closes = opens + timedelta(minutes=rule["open_minutes"])
    wave, practice = wave_of(document, day), bool(rule.get("practice"))
    return Draw(rule["key"], rule["questionnaire"], day, slot, opens, closes, wave, practice)


def seeded(secret: bytes, *, person: str, local_day: date, rule: str, version: int) -> Random:
    """The generator of one person's day: HMAC-SHA256 of who, when and which rule, so any draw can be made again."""
    message = f"{person}|{local_day.isoformat()}|{rule}|{version}".encode()
    return Random(hmac.digest(secret, message, hashlib.sha256))


def _moments(rule: Mapping[str, Any], day: date, zone: ZoneInfo, rng: Random) -> Iterator[datetime]:
    if "once" in rule:
        yield as_utc(day, time.fromisoformat(rule.get("at", ONCE_AT)), zone)
    for text in rule.get("times", ()):
        yield as_utc(day, time.fromisoformat(text), zone)
    for opens_at, closes_at in rule.get("windows", ()):
        opens, closes = (as_utc(day, time.fromisoformat(text), zone) for text in (opens_at, closes_at))
        seconds = int((closes - opens).total_seconds())
        yield opens + timedelta(seconds=int(rng.random() * seconds) // 60 * 60)


def as_utc(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """A wall time as UTC: in the hour that a clock change skips it moves forward, in a repeated one it is the first."""
    return datetime.combine(day, wall, zone).astimezone(UTC)
