"""A plan that is accepted can be met on every day by anybody, and one rule alone is refused only where it must be."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ema_server.sampling.plan import Person, draw_day
from ema_server.studies.sampling_arithmetic import person_faults, waking_faults, waking_on
from ema_server.studies.sampling_days import Calendar, holds
from ema_server.studies.sampling_rules import plan_faults
from ema_server.studies.sampling_slots import DAY, slots_of
from tests.server.sampling.plans import DAYS, at, plans

SECRET = b"s" * 32
MONDAY = date(2026, 3, 2)
UNIVERSAL = ZoneInfo("UTC")  # no clock changes: every day is ordinary
PROPERTY = settings(
    derandomize=True, deadline=None, max_examples=150,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip


def faults(document: dict[str, Any], days: int | None = DAYS) -> list[str]:
    return plan_faults(document, questionnaires={"q"}, days=days, arms=["a", "b"])


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    first = MONDAY + timedelta(days=draw(st.integers(0, 6)))
    event = first + timedelta(days=draw(st.integers(-2, 8)))
    last = first + timedelta(days=draw(st.integers(0, DAYS - 1)))
    return Calendar(first, last, draw(st.sampled_from(["", "a", "b"])), events={"quit": event})


def keeps_the_gap(document: dict[str, Any], person: Person) -> None:
    """All that is asked for is drawn, each in its range, and no two of a person's moments are closer than the gap."""
    gap, opened = timedelta(minutes=document["gap_minutes"]), []
    for day in range(1, person.calendar.days + 1):
        local_day = person.calendar.local_day(day)
        waking, bounded = waking_on(document, person.waking, local_day.isoweekday())
        asked = [
            slot
            for rule in document["rules"]
            if holds(document, rule, person.calendar, day)
            for slot in slots_of(rule, waking, bounded=bounded)
        ]
        drawn = draw_day(document, secret=SECRET, person=person, versions={}, day=day)
        assert {slot for slot, _ in drawn} == set(asked)
        midnight = datetime.combine(local_day, datetime.min.time(), UTC)
        for slot, moment in drawn:
            assert slot.earliest <= (moment - midnight) // timedelta(minutes=1) <= slot.latest
            opened.append(moment)
    opened.sort()
    assert all(later - earlier >= gap for earlier, later in pairwise(opened))


@PROPERTY
@given(document=plans(), calendar=calendars(), name=st.integers(0, 10**6))
def test_a_plan_that_is_accepted_keeps_the_gap_over_all_rules_for_anybody(
    document: dict[str, Any], calendar: Calendar, name: int
) -> None:
    assume(not faults(document))
    keeps_the_gap(document, Person(f"P{name}", calendar, UNIVERSAL))


HOURS = st.tuples(st.integers(0, 1439), st.integers(0, 1439)).map(lambda both: [at(both[0]), at(both[1])])


@PROPERTY
@given(
    document=plans(), calendar=calendars(), own=st.dictionaries(st.sampled_from(["every", "1", "2", "6"]), HOURS, max_size=3)
)  # fmt: skip
def test_a_schedule_that_is_accepted_keeps_the_gap_for_its_person_also_over_midnight(
    document: dict[str, Any], calendar: Calendar, own: dict[str, list[str]]
) -> None:
    assume(not faults(document) and not waking_faults(own) and not person_faults(document, calendar, own))
    keeps_the_gap(document, Person("P1", calendar, UNIVERSAL, own))


def why_not(document: dict[str, Any]) -> bool:
    """Whether a plan of one rule is impossible or unsafe, reckoned here without the code that refuses it."""
    (rule,), gap = document["rules"], document["gap_minutes"]
    wake, sleep = (480, 1320) if document.get("waking") != ["00:00", "23:59"] else (0, 1439)

    def minute(text: str) -> int:
        return {"wake": wake, "wake+30": wake + 30, "sleep": sleep, "sleep-30": sleep - 30}.get(
            text, int(text[:2]) * 60 + int(text[-2:]) if text[0].isdigit() else -1
        )

    how = rule.get("random", rule.get("every", {}))
    first, end = minute(how.get("from", "wake")), minute(how.get("to", "sleep"))
    if "times" in rule:
        ranges = sorted((minute(text), minute(text)) for text in rule["times"])
    elif "windows" in rule:
        ranges = [(minute(opens), minute(closes) - 1) for opens, closes in rule["windows"]]
    elif "every" in rule:
        step, jitter = how["minutes"], how["jitter_minutes"]
        if step - 2 * jitter < max(gap, 1):
            return True  # two neighbours may come too close
        ranges = [(max(at - jitter, first), min(at + jitter, end - 1)) for at in range(first, end, step)]
    elif "random" in rule and how["spread"] == "anywhere":
        ranges = [(first, end - 1)] * how["count"]
    elif "random" in rule:
        part = (end - first) / how["count"]
        ranges = [(int(first + k * part), int(first + (k + 1) * part) - 1) for k in range(how["count"])]
        if gap > (end - first) // how["count"]:
            return True  # a gap longer than the parts
    else:
        return False  # one prompt
    if "windows" in rule and any(later[0] - earlier[0] < gap for earlier, later in pairwise(ranges)):
        return True  # a gap longer than from the beginning of one window to the next
    if first >= end or any(low > high for low, high in ranges):
        return True
    if "waking" in document and not wake <= ranges[0][0] <= ranges[-1][1] < sleep:
        return True  # the plan's own hours would leave some out
    reached = -DAY
    for low, high in ranges:  # as early as can be
        reached = max(low, reached + max(gap, 1))
        if reached > high:
            return True  # there is no way
    daily = not rule.keys() & {"weekdays"}
    if "days" in rule and rule["days"][0] == rule["days"][1]:
        daily = False
    return bool(gap and daily and ranges[0][0] + DAY - ranges[-1][1] < gap + 60)  # the night, an hour shorter


@settings(PROPERTY, max_examples=400)
@given(document=plans(most_rules=1))
def test_of_one_rule_nothing_is_refused_that_is_possible_and_safe(document: dict[str, Any]) -> None:
    assert bool(faults(document)) == why_not(document), faults(document)
