"""Whom a dry run asks: people who nobody is, over zones, seasons, arms and hours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import cycle, islice
from random import Random
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from ema_server.sampling.plan import Person
from ema_server.studies.sampling_arithmetic import EVERY, waking_on
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.sampling_slots import DAY, clock

# Whole, half and quarter hours off UTC, clock changes in both hemispheres, at midnight, of half an hour, and none.
WORLD = (
    "Europe/Amsterdam", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "Europe/London", "America/Santiago",
    "Asia/Tokyo", "America/Los_Angeles", "Africa/Nairobi", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu",
    "America/Sao_Paulo", "Pacific/Auckland", "Africa/Cairo", "Pacific/Honolulu",
)  # fmt: skip
YEAR = 2026  # whose seasons are gone through where no dates are given
PLAN_HOURS = "the plan’s hours"
# Of each kind its share in sixteenths, and by how many minutes they get up and go to bed later than the plan says.
HOURS = (
    (PLAN_HOURS, 8, 0, 0),
    ("early riser", 2, -90, -60),
    ("long sleeper", 2, 60, -60),
    ("night owl", 2, 180, 240),
    ("late at weekends", 2, 120, 120),
)
WEEKEND = ("6", "7")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Simulated:
    """One person of a dry run, and how their hours are called."""

    person: Person
    hours: str

    @property
    def own_hours(self) -> bool:
        return self.hours != PLAN_HOURS

    @property
    def in_words(self) -> str:
        first = self.person.calendar.first_day
        arm = f", arm {self.person.calendar.arm}" if self.person.calendar.arm else ""
        return f"{self.hours} in {self.person.zone}, from {first.day} {first:%B %Y}{arm}"


def cast_of(
    document: Mapping[str, Any],
    *,
    study_days: int,
    people: int,
    zones: Sequence[str],
    starts: Sequence[date] | None,
    arms: Sequence[str],
    seed: int,
) -> list[Simulated]:
    """Everybody of a dry run. Zones, hours and arms are balanced; without `starts` every second person whose zone has clock
    changes meets one in the middle of their days, and the others begin all over the year."""
    rng = Random(f"{seed}|cast")
    kinds = [name for name, share, _, _ in HOURS for _ in range(share)] if uses_waking(document) else [PLAN_HOURS]
    of_zones, of_hours = _dealt(rng, zones, people), _dealt(rng, kinds, people)
    of_arms = _dealt(rng, arms or arms_of(document) or [""], people)
    found = []
    for place in range(people):
        zone = of_zones[place]
        first = rng.choice(starts) if starts else _in_season(rng, zone, place, study_days)
        calendar = Calendar(
            first,
            first + timedelta(days=study_days - 1),
            of_arms[place],
            events={
                event["key"]: first + timedelta(days=rng.randrange(study_days))
                for event in document.get("own_events", ())
            },
        )
        waking = _waking(document, of_hours[place])
        found.append(
            Simulated(Person(f"simulated {seed}-{place + 1}", calendar, ZoneInfo(zone), waking), of_hours[place])
        )
    return found


def arms_of(document: Mapping[str, Any]) -> list[str]:
    """The arms that a plan speaks of."""
    named = [arm for rule in document["rules"] for arm in rule.get("arms", ())]
    return list(dict.fromkeys([*document.get("allocation", {}).get("arms", ()), *named]))


def uses_waking(document: Mapping[str, Any]) -> bool:
    """Whether it matters when somebody is awake."""
    rules = document["rules"]
    texts = json.dumps([[rule.get(name) for name in ("times", "windows", "random", "every")] for rule in rules])
    ranged = [rule[name] for rule in rules for name in ("random", "every") if name in rule]
    return (
        "waking" in document
        or any(word in texts for word in ("wake", "sleep"))
        or any(not {"from", "to"} <= set(each) for each in ranged)
    )


@lru_cache(maxsize=512)
def changes_in(zone: str, first: date, last: date) -> tuple[date, ...]:
    """The local days on which a zone's clocks change."""
    place = ZoneInfo(zone)

    def offset(day: date) -> timedelta | None:
        return datetime.combine(day, time(12), place).utcoffset()

    days = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    return tuple(day for day in days if offset(day) != offset(day - timedelta(days=1)))


def _in_season(rng: Random, zone: str, place: int, study_days: int) -> date:
    changes = changes_in(zone, date(YEAR, 1, 1), date(YEAR, 12, 31))
    anywhere = date(YEAR, 1, 1) + timedelta(days=rng.randrange(365))
    if not changes or rng.random() < 0.5:
        return anywhere
    return changes[place % len(changes)] - timedelta(days=study_days // 2)


def _waking(document: Mapping[str, Any], kind: str) -> dict[str, list[str]]:
    """Their own hours, as a schedule keeps them; none for whoever has the plan's."""
    _, _, later_up, later_to_bed = next(each for each in HOURS if each[0] == kind)
    if kind == PLAN_HOURS:
        return {}
    (wake, sleep), _ = waking_on(document, {}, 1)
    own = [clock((wake + later_up) % DAY), clock((sleep + later_to_bed) % DAY)]
    return dict.fromkeys(WEEKEND, own) if kind == "late at weekends" else {EVERY: own}


def _dealt(rng: Random, values: Sequence[T], count: int) -> list[T]:
    found = list(islice(cycle(values), count))
    rng.shuffle(found)
    return found
