"""What one simulated person is asked, by the very functions that ask real ones, and what becomes of each prompt."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

from ema_server.sampling.dry_run.cast import Simulated
from ema_server.sampling.dry_run.responding import Responding, Response
from ema_server.sampling.plan import MINUTE, Draw, as_utc, draw_once, draw_prompts
from ema_server.studies.sampling_days import spans
from ema_server.studies.sampling_slots import DAY
from ema_server.studies.sampling_when import MOST_A_DAY

ENROLS_AT = time(9)


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt of a dry run. `wall` is its clock time in minutes after the midnight that began its person's day; `planned`
    are those that follow from the days alone, and keep the gap."""

    draw: Draw
    wall: int
    planned: bool
    follows: bool
    response: Response


def asked_of(
    document: Mapping[str, Any], someone: Simulated, *, secret: bytes, responding: Responding, rng: Random
) -> list[Asked]:
    """Everything that somebody is asked, in order of time; follow-ups come of the answers that are simulated."""
    person = someone.person
    rules = {rule["key"]: rule for rule in document["rules"]}
    days = [(draw, True) for draw in draw_prompts(document, secret=secret, person=person, versions={})]
    enrolled = as_utc(person.calendar.first_day, ENROLS_AT, person.zone)
    once = draw_once(document, "enrolment", now=enrolled, calendar=person.calendar, zone=person.zone)
    queue = [
        (draw.opens, place, draw, planned, False)
        for place, (draw, planned) in enumerate([*days, *((each, False) for each in once)])
    ]
    heapq.heapify(queue)
    followed: Counter[tuple[str, int]] = Counter()
    found = []
    while queue:
        _, _, draw, planned, follows = heapq.heappop(queue)
        rule = rules[draw.rule]
        response = responding.respond(rng, rule["open_minutes"], rule.get("reminders", ()))
        found.append(Asked(draw, wall_of(draw.opens, draw.day, someone), planned, follows, response))
        if response.minutes is not None:
            for after in _followed_by(document, draw, draw.opens + response.minutes * MINUTE, someone, followed):
                heapq.heappush(queue, (after.opens, len(found) + DAY * DAY, after, False, True))
    return found


def wall_of(moment: datetime, day: int, someone: Simulated) -> int:
    local = moment.astimezone(someone.person.zone)
    ahead = (local.date() - someone.person.calendar.local_day(day)).days
    return ahead * DAY + local.hour * 60 + local.minute


def _followed_by(
    document: Mapping[str, Any],
    draw: Draw,
    answered: datetime,
    someone: Simulated,
    followed: Counter[tuple[str, int]],
) -> Iterator[Draw]:
    """The follow-ups of an answer. Their conditions are taken as met: it is the most that there can be."""
    calendar = someone.person.calendar
    for rule in document["rules"]:
        if "after" not in rule or rule["after"]["questionnaire"] != draw.questionnaire:
            continue
        opens = (answered + rule["after"]["minutes"] * MINUTE).replace(microsecond=0)
        soon = rule["after"]["minutes"] < DAY // 2  # also past midnight still the day of the prompt that was answered
        day = draw.day if soon else calendar.number(opens.astimezone(someone.person.zone).date())
        place = (rule["key"], day)
        if (
            followed[place] < rule["after"].get("at_most", MOST_A_DAY)
            and any(low <= day <= high for low, high in spans(document, rule, calendar))
            and calendar.local_day(day).isoweekday() in rule.get("weekdays", range(1, 8))
        ):
            followed[place] += 1
            closes = opens + timedelta(minutes=rule["open_minutes"])
            yield Draw(
                rule["key"],
                rule["questionnaire"],
                day,
                followed[place],
                opens,
                closes,
                practice=bool(rule.get("practice")),
            )
