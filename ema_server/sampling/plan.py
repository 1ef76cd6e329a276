"""From rules to prompt times: values in, values out, and the same values for ever.

A rule is `{"key", "questionnaire", "open_minutes", …}` with either `"times": ["12:00", …]` (fixed) or
`"windows": [["09:00", "10:30"], …]` (one uniformly random moment in each).
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


@dataclass(frozen=True, slots=True)
class Draw:
    """One prompt as the rules make it. `opens` and `closes` are UTC."""

    rule: str
    questionnaire: str
    day: int
    slot: int
    opens: datetime
    closes: datetime


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
    """Every prompt of one person from the first to the last day, day by day."""
    for offset in range((last_day - first_day).days + 1):
        local_day = first_day + timedelta(days=offset)
        for rule in document["rules"]:
            rng = seeded(secret, person=person, local_day=local_day, rule=rule["key"], version=version)
            length = timedelta(minutes=rule["open_minutes"])
            for slot, opens in enumerate(_moments(rule, local_day, zone, rng), start=1):
                yield Draw(rule["key"], rule["questionnaire"], offset + 1, slot, opens, opens + length)


def seeded(secret: bytes, *, person: str, local_day: date, rule: str, version: int) -> Random:
    """The generator of one person's day: HMAC-SHA256 of who, when and which rule, so any draw can be made again."""
    message = f"{person}|{local_day.isoformat()}|{rule}|{version}".encode()
    return Random(hmac.digest(secret, message, hashlib.sha256))


def _moments(rule: Mapping[str, Any], day: date, zone: ZoneInfo, rng: Random) -> Iterator[datetime]:
    for text in rule.get("times", ()):
        yield as_utc(day, time.fromisoformat(text), zone)
    for opens_at, closes_at in rule.get("windows", ()):
        opens, closes = (as_utc(day, time.fromisoformat(text), zone) for text in (opens_at, closes_at))
        seconds = int((closes - opens).total_seconds())
        yield opens + timedelta(seconds=int(rng.random() * seconds) // 60 * 60)


def as_utc(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """A wall time as UTC: in the hour that a clock change skips it moves forward, in a repeated one it is the first."""
    return datetime.combine(day, wall, zone).astimezone(UTC)
