"""From rules to prompt times: values in, values out, and the same values for ever.

What a plan may say is in `studies/sampling_rules.py`; what clock changes and travel do is in `docs/time.md`.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from ema_server.studies.sampling_arithmetic import waking_on
from ema_server.studies.sampling_days import Calendar, holds, wave_of
from ema_server.studies.sampling_slots import DAY, Slot, slots_of

MINUTE = timedelta(minutes=1)
BITS = 1 << 53  # of the numbers that `Random.random` gives


@dataclass(frozen=True, slots=True)
class Person:
    """What of a person their prompts depend on. `waking` are their own hours, as in `sampling_arithmetic.waking_faults`."""

    pseudonym: str
    calendar: Calendar
    zone: ZoneInfo
    waking: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
    grace_minutes: int = 0
    zone: str = ""
    besides: tuple[object, ...] = ()


def draw_prompts(
    document: Mapping[str, Any],
    *,
    secret: bytes,
    person: Person,
    versions: Mapping[str, int],
    from_day: int = 1,
) -> Iterator[Draw]:
    """Every prompt of one person that follows from their days, day by day, from a day of theirs to their last."""
    rules = {rule["key"]: rule for rule in document["rules"]}
    for day in range(max(from_day, 1), person.calendar.days + 1):
        wave = wave_of(document, person.calendar, day)
        for slot, opens in draw_day(document, secret=secret, person=person, versions=versions, day=day):
            yield draw_of(rules[slot.rule], day=day, slot=slot.number, opens=opens, wave=wave, zone=str(person.zone))


def draw_day(
    document: Mapping[str, Any], *, secret: bytes, person: Person, versions: Mapping[str, int], day: int
) -> list[tuple[Slot, datetime]]:
    """The moments of one day: fixed times stand; then rule by rule, each finds its moments beside those that are there."""
    local_day, gap = person.calendar.local_day(day), document.get("gap_minutes", 0)
    waking, bounded = waking_on(document, person.waking, local_day.isoweekday())
    midnight = as_utc(local_day, time(0), person.zone)
    fixed: list[tuple[Slot, int]] = []
    moving: list[tuple[Mapping[str, Any], list[Slot]]] = []
    for rule in document["rules"]:
        if holds(document, rule, person.calendar, day):
            slots = slots_of(rule, waking, bounded=bounded)
            fixed += [(slot, _elapsed(slot, local_day, person.zone, midnight)[0]) for slot in slots if slot.fixed]
            moving.append((rule, [slot for slot in slots if not slot.fixed]))
    found = _apart(fixed, gap)
    for rule, slots in moving:
        # In the hour that is skipped the order of the clock is not that of time.
        timed = sorted(((_elapsed(slot, local_day, person.zone, midnight), slot) for slot in slots), key=itemgetter(0))
        ranges, taken = tuple(each for each, _ in timed), tuple(sorted(at for _, at in found))
        rng = seeded(
            secret, person=person.pseudonym, local_day=local_day, rule=rule["key"], version=versions.get(rule["key"], 1)
        )
        found += zip((slot for _, slot in timed), moments(ranges, taken, gap, rng), strict=True)
    order = {rule["key"]: place for place, rule in enumerate(document["rules"])}
    found.sort(key=lambda each: (order[each[0].rule], each[0].number))
    return [(slot, midnight + at * MINUTE) for slot, at in found]


def draw_once(
    document: Mapping[str, Any], when: str, *, now: datetime, calendar: Calendar, zone: ZoneInfo
) -> Iterator[Draw]:
    """The one-off surveys of an `"enrolment"` or a `"withdrawal"` that happens now: at once, or at the next `at`."""
    today = now.astimezone(zone).date()
    for rule in document["rules"]:
        if rule.get("once") == when and ("arms" not in rule or calendar.arm in rule["arms"]):
            opens = now.replace(microsecond=0)
            if "at" in rule:
                wall = time.fromisoformat(rule["at"])
                opens = next(
                    moment for ahead in (0, 1) if (moment := as_utc(today + timedelta(days=ahead), wall, zone)) >= now
                )
            day = max(calendar.number(opens.astimezone(zone).date()), 0)
            yield draw_of(rule, day=day, slot=1, opens=opens, wave=wave_of(document, calendar, day), zone=str(zone))


def draw_of(rule: Mapping[str, Any], *, day: int, slot: int, opens: datetime, wave: str, zone: str = "") -> Draw:
    """A moment with all that its rule says of it."""
    closes = opens + rule["open_minutes"] * MINUTE
    practice, grace = bool(rule.get("practice")), rule.get("grace_minutes", 0)
    return Draw(
        rule["key"], rule["questionnaire"], day, slot, opens, closes, wave, practice, grace, zone, besides(rule)
    )  # fmt: skip


def besides(rule: Mapping[str, Any]) -> tuple[object, ...]:
    """What a prompt has of its rule without a column of its own: when the phone reminds, how long a decision rests."""
    return tuple(rule.get("reminders", ())), rule.get("decide", {}).get("rest_minutes", 0)


def seeded(secret: bytes, *, person: str, local_day: date, rule: str, version: int) -> Random:
    """The generator of one person's day: HMAC-SHA256 of who, when and which rule, so any draw can be made again."""
    message = f"{person}|{local_day.isoformat()}|{rule}|{version}".encode()
    # Seeding with bytes (version 2, since Python 3.2) and `random()` are the two things of this class that Python promises to
    # keep; nothing else of it is used. Moments that tests hold literally would show a change.
    return Random(hmac.digest(secret, message, hashlib.sha256))


def moments(ranges: tuple[tuple[int, int], ...], taken: tuple[int, ...], gap: int, rng: Random) -> list[int]:
    """A minute of each range (first and last included, ranges in order), uniform over all ways that keep the gap from each
    other and from what is taken. Where the gap does not bind, each minute is uniform in its range and independent of the rest.

    On the night of a clock change ranges may collide; where no way is left, each comes as early as the gap allows.
    """
    ways = _ways(ranges, taken, gap)
    found: list[int] = []
    for place, (minutes, above) in enumerate(ways or ()):
        start = bisect_left(minutes, found[-1] + max(gap, 1)) if place else 0
        below = above[start - 1] if start else 0
        # In whole numbers: so a draw that nothing binds is the same whatever the number of ways after it.
        pick = int(rng.random() * BITS) * (above[-1] - below) // BITS
        found.append(minutes[bisect_right(above, below + pick)])
    return found if ways is not None else _one_after_the_other(ranges, taken, gap)


@lru_cache(maxsize=4096)
def _ways(
    ranges: tuple[tuple[int, int], ...], taken: tuple[int, ...], gap: int
) -> tuple[tuple[list[int], list[int]], ...] | None:
    """For each range its allowed minutes with, cumulated, in how many ways the ranges after it can be filled from there; None
    if there is no way at all."""
    found: list[tuple[list[int], list[int]]] = []
    for first, last in reversed(ranges):
        minutes = [at for at in range(first, last + 1) if all(abs(at - each) >= gap for each in taken)]
        if found:
            later, above = found[-1]
            total = above[-1]
            ways = []
            for at in minutes:
                start = bisect_left(later, at + max(gap, 1))
                ways.append(total - (above[start - 1] if start else 0))
        else:
            ways = [1] * len(minutes)
        cumulated = list(accumulate(ways))
        if not cumulated or cumulated[-1] == 0:
            return None
        found.append((minutes, cumulated))
    return tuple(reversed(found))


def _one_after_the_other(ranges: Sequence[tuple[int, int]], taken: Sequence[int], gap: int) -> list[int]:
    found: list[int] = []
    for first, _ in ranges:
        at = max(first, found[-1] + max(gap, 1)) if found else first
        while clash := next((each for each in taken if abs(at - each) < gap), None):
            at = clash + gap
        found.append(at)
    return found


def _apart(fixed: Sequence[tuple[Slot, int]], gap: int) -> list[tuple[Slot, int]]:
    """Fixed times stand. Those that a clock change has brought together come one after the other."""
    found: list[tuple[Slot, int]] = []
    for slot, at in sorted(fixed, key=lambda each: (each[1], each[0].earliest)):
        found.append((slot, max(at, found[-1][1] + gap) if found else at))
    return found


def _elapsed(slot: Slot, local_day: date, zone: ZoneInfo, midnight: datetime) -> tuple[int, int]:
    """A slot's first and last minute as minutes that have passed since midnight, which clock changes do not bend."""
    first, last = (_since(midnight, local_day, at, zone) for at in (slot.earliest, slot.latest))
    # A range that begins in the hour that is skipped, and has moved, keeps its length.
    return first, last if last >= first else first + slot.latest - slot.earliest


def _since(midnight: datetime, local_day: date, at: int, zone: ZoneInfo) -> int:
    days, minute = divmod(at, DAY)
    moment = as_utc(local_day + timedelta(days=days), time(*divmod(minute, 60)), zone)
    return (moment - midnight) // MINUTE


def as_utc(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """A wall time as UTC: in the hour that a clock change skips it moves forward, in a repeated one it is the first."""
    return datetime.combine(day, wall, zone).astimezone(UTC)


def clocks(moment: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """The ways in which a prompt's time is kept beside UTC, so that none has to be derived from another later."""
    local = moment.astimezone(zone)
    return {
        "local_date": local.date(),
        "local_time": local.time(),
        "utc_offset_minutes": (local.utcoffset() or timedelta()) // MINUTE,
        "zone": str(zone),
    }
