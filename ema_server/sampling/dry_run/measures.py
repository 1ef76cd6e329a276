"""Gaps, burden, notifications and clock changes of everybody who was asked."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from statistics import mean, median
from typing import Any

from ema_server.sampling.dry_run.asking import Asked, wall_of
from ema_server.sampling.dry_run.cast import Simulated, changes_in
from ema_server.sampling.dry_run.found import Burden, ClockChanges, Gaps, Phones
from ema_server.sampling.plan import MINUTE, draw_day

Everybody = Sequence[tuple[Simulated, Sequence[Asked]]]

LIMIT = 64  # notifications that an app may have waiting on iOS
NAMED = 10
HALF_A_DAY = timedelta(hours=12)
MORNING = 6  # until which hour a clock change's night lasts


def gaps_of(everybody: Everybody, asked: int) -> Gaps:
    """Between prompts that follow from the days alone: the gap binds these."""
    within: list[float] = []
    nights: list[float] = []
    below: list[str] = []
    for someone, prompts in everybody:
        for before, now in pairwise(each for each in prompts if each.planned):
            minutes = (now.draw.opens - before.draw.opens) / MINUTE
            (within if before.draw.day == now.draw.day else nights).append(minutes)
            if minutes < asked:
                zone = someone.person.zone
                below.append(
                    f"{minutes:g} minutes between {before.draw.rule} at {before.draw.opens.astimezone(zone):%d %B %H:%M} and "
                    f"{now.draw.rule} at {now.draw.opens.astimezone(zone):%H:%M} in {zone} ({someone.hours})"
                    f"{', where the clocks change then' if _near_change(someone, now) else ''}."
                )
    within.sort()
    return Gaps(
        asked=asked,
        pairs=len(within),
        least=within[0] if within else None,
        low=quantile(within, 0.05),
        median=quantile(within, 0.5),
        high=quantile(within, 0.95),
        most=within[-1] if within else None,
        shortest_night=min(nights, default=None),
        below=len(below),
        below_named=below[:NAMED],
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else None


def burden_of(everybody: Everybody, lengths: Mapping[str, float]) -> Burden:
    """`lengths` are the minutes that questionnaires take; where one is missing no minutes are told."""
    days: dict[int, list[tuple[int, float]]] = defaultdict(list)
    totals: list[int] = []
    minutes: list[float] = []
    known = all(each.draw.questionnaire in lengths for _, prompts in everybody for each in prompts)
    for _, prompts in everybody:
        mine: Counter[int] = Counter()
        took: Counter[int] = Counter()  # in seconds: whole numbers
        for each in prompts:
            if not each.draw.practice:
                mine[each.draw.day] += 1
                took[each.draw.day] += round(60 * lengths.get(each.draw.questionnaire, 0))
        totals.append(sum(mine.values()))
        minutes.append(sum(took.values()) / 60)
        for day, count in mine.items():
            days[day].append((count, took[day] / 60))
    every = [each for found in days.values() for each in found]
    by_day = {day: (mean(count for count, _ in found), mean(took for _, took in found)) for day, found in days.items()}
    busiest = min(by_day, key=lambda day: (-by_day[day][0], day), default=None)
    return Burden(
        per_day=mean(count for count, _ in every) if every else None,
        most_in_a_day=max((count for count, _ in every), default=0),
        busiest_day=busiest,
        busiest_prompts=by_day[busiest][0] if busiest is not None else None,
        minutes_per_day=mean(took for _, took in every) if every and known else None,
        busiest_minutes=max(took for _, took in by_day.values()) if every and known else None,
        days_asked=len(every) / len(everybody) if everybody else None,
        per_person_least=min(totals, default=0),
        per_person_median=median(totals) if totals else 0,
        per_person_most=max(totals, default=0),
        minutes_per_person=mean(minutes) if minutes and known else None,
    )


def phones_of(everybody: Everybody, reminders: Mapping[str, Sequence[int]]) -> Phones:
    """An app that was opened or online lets the next 64 wait; the one after those is the first that stays silent."""
    reaches: list[float] = []
    most = 0
    for _, prompts in everybody:
        times = sorted(
            each.draw.opens + after * MINUTE
            for each in prompts
            if not each.follows
            for after in (0, *reminders.get(each.draw.rule, ()))
        )
        most = max(most, len(times))
        silent = zip(times, times[LIMIT:], strict=False)
        reaches.append(min(((late - early) / timedelta(days=1) for early, late in silent), default=math.inf))
    least, middle = min(reaches, default=math.inf), quantile(sorted(reaches), 0.5) or math.inf
    beyond = sum(reach < math.inf for reach in reaches)
    return Phones(LIMIT, most, beyond, _finite(least), _finite(middle), _phone_words(least, middle, most))


def _phone_words(least: float, middle: float, most: int) -> str:
    if least == math.inf:
        return (
            f"All prompts and reminders of a person, at most {most}, fit into the {LIMIT} notifications that an iPhone lets wait: "
            "it asks to the end without ever being online."
        )
    half = "all of the days" if middle == math.inf else f"{middle:.1f} days"
    return (
        f"An iPhone lets {LIMIT} notifications wait. Prompts and all their reminders fill these for {least:.1f} days at the "
        f"busiest of anybody, at the median of people for {half}. A phone that is offline and whose app is not opened for longer stays silent after that, until either "
        "happens. Answering makes room, since its reminders fall away."
    )


def changes_met(document: Mapping[str, Any], everybody: Everybody, *, secret: bytes, gap: int) -> ClockChanges:
    """The days on which clocks changed for somebody who was asked then, drawn once more to compare with what the plan says."""
    people = nights = prompts = in_the_night = moved = repeated = below = 0
    for someone, asked in everybody:
        person = someone.person
        calendar = person.calendar
        changed = changes_in(str(person.zone), calendar.first_day, calendar.last_day)
        people += bool(changed)
        for local_day in changed:
            nights += 1
            number = calendar.number(local_day)
            that_day = [each for each in asked if each.draw.opens.astimezone(person.zone).date() == local_day]
            prompts += len(that_day)
            in_the_night += sum(each.draw.opens.astimezone(person.zone).hour < MORNING for each in that_day)
            repeated += sum(_comes_twice(someone, each) for each in that_day)
            below += sum(
                (now.draw.opens - before.draw.opens) / MINUTE < gap
                for before, now in pairwise(each for each in that_day if each.planned)
            )
            for day in (number - 1, number):  # whoever is awake past midnight is still in the day before
                if day >= 1:
                    drawn = draw_day(document, secret=secret, person=person, versions={}, day=day)
                    moved += sum(
                        not slot.earliest <= wall_of(opens, day, someone) <= slot.latest
                        for slot, opens in drawn
                        if opens.astimezone(person.zone).date() == local_day
                    )
    return ClockChanges(people, nights, prompts, in_the_night, moved, repeated, below)


def overlaps_of(everybody: Everybody) -> list[tuple[str, str, float]]:
    """Which rule's prompt is still open when which rule's next one comes, and in what share of the latter's prompts. What is
    open for half a day is meant to be; follow-ups come of an answer, so the prompt before them is over."""
    times: Counter[tuple[str, str]] = Counter()
    all_of: Counter[str] = Counter()
    for _, prompts in everybody:
        asked = [each for each in prompts if not each.follows]
        all_of.update(each.draw.rule for each in asked)
        times.update(
            (before.draw.rule, now.draw.rule)
            for before, now in pairwise(asked)
            if before.draw.closes > now.draw.opens and before.draw.closes - before.draw.opens < HALF_A_DAY
        )
    return [(before, now, count / all_of[now]) for (before, now), count in times.most_common()]


def _near_change(someone: Simulated, prompt: Asked) -> bool:
    calendar = someone.person.calendar
    day = calendar.local_day(prompt.draw.day)
    return bool(changes_in(str(someone.person.zone), day, day + timedelta(days=1)))


def _comes_twice(someone: Simulated, prompt: Asked) -> bool:
    """Whether its clock time is in the hour that the clock shows twice; it is asked once all the same."""
    local = prompt.draw.opens.astimezone(someone.person.zone)
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _finite(value: float) -> float | None:
    return None if value == math.inf else value
