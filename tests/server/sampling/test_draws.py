"""Draws are as random as they say, and stay as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise, product
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given

from ema_server.sampling.plan import Person, draw_prompts, moments, seeded
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.sampling_rules import rule_versions
from tests.server.sampling.plans import plans
from tests.server.sampling.test_accepted import MONDAY, PROPERTY, SECRET, UNIVERSAL, faults

# How random they are ---------------------------------------------------------------------------------------------------

BASE = {"questionnaire": "q", "open_minutes": 30}
STRATA = {**BASE, "key": "r", "random": {"count": 3, "from": "09:00", "to": "12:00"}}


def many(document: dict[str, Any], days: int, person: str = "P1") -> list[list[int]]:
    """The moments of each of many days in minutes since midnight."""
    drawn = Person(person, Calendar(MONDAY, MONDAY + timedelta(days=days - 1)), UNIVERSAL)
    found: list[list[int]] = [[] for _ in range(days)]
    for draw in draw_prompts(document, secret=SECRET, person=drawn, versions={}):
        found[draw.day - 1].append(draw.opens.hour * 60 + draw.opens.minute)
    return found


def chi_square(counts: Counter[Any], cells: int) -> float:
    """Distance from uniform in standard deviations of chi-square with cells - 1 degrees of freedom."""
    expected = sum(counts.values()) / cells
    statistic = sum((count - expected) ** 2 for count in counts.values()) / expected
    statistic += (cells - len(counts)) * expected
    return float((statistic - (cells - 1)) / (2 * (cells - 1)) ** 0.5)


BOUND = 4.0  # standard deviations; the seeds are fixed, so a correct draw passes always and a skewed one by 10 % of a cell fails


def test_moments_are_uniform_in_their_windows_where_the_gap_does_not_bind() -> None:
    days = many({"gap_minutes": 0, "rules": [STRATA]}, 6000)
    for slot in range(3):
        counts = Counter(day[slot] - 540 - 60 * slot for day in days)
        assert set(counts) == set(range(60))
        assert abs(chi_square(counts, 60)) < BOUND


def test_moments_of_slots_days_and_persons_know_nothing_of_each_other() -> None:
    one, other = (many({"gap_minutes": 0, "rules": [STRATA]}, 6000, person) for person in ("P1", "P2"))
    pairs: dict[str, list[tuple[int, int]]] = {
        "slots": [(day[0], day[1]) for day in one],
        "days": [(before[0], after[0]) for before, after in pairwise(one)],
        "persons": [(mine[0], theirs[0]) for mine, theirs in zip(one, other, strict=True)],
    }
    for both in pairs.values():
        cells = Counter((first % 60 // 10, second % 60 // 10) for first, second in both)
        assert abs(chi_square(cells, 36)) < BOUND


@pytest.mark.parametrize(
    ("ranges", "taken", "gap"),
    [
        (((0, 5), (6, 11), (12, 17)), (), 5),
        (((0, 9), (0, 9), (0, 9)), (), 3),
        (((0, 9), (10, 19)), (8, 15), 4),
        (((0, 7), (3, 9)), (), 1),
    ],
)
def test_every_way_that_keeps_the_gap_is_as_likely_as_any_other(
    ranges: tuple[tuple[int, int], ...], taken: tuple[int, ...], gap: int
) -> None:
    ways = {
        way
        for way in product(*(range(first, last + 1) for first, last in ranges))
        if all(later - earlier >= gap for earlier, later in pairwise(way))
        and all(abs(at - each) >= gap for at in way for each in taken)
    }
    rng = Random(7)
    counts = Counter(tuple(moments(ranges, taken, gap, rng)) for _ in range(100 * len(ways)))
    assert set(counts) == ways
    assert abs(chi_square(counts, len(ways))) < BOUND


# How they stay ---------------------------------------------------------------------------------------------------------

WINDOWS = {**BASE, "key": "w", "windows": [["09:00", "10:30"], ["14:00", "15:30"]]}
HOURLY = {**BASE, "key": "h", "every": {"minutes": 120, "jitter_minutes": 20}}
EVENING = {**BASE, "key": "e", "times": ["21:00"]}
PLAN = {"gap_minutes": 20, "rules": [WINDOWS, HOURLY, EVENING]}


def of_rules(document: dict[str, Any], versions: dict[str, int] | None = None) -> dict[str, list[datetime]]:
    drawn = Person("P1", Calendar(MONDAY, MONDAY + timedelta(days=20)), ZoneInfo("Europe/Amsterdam"))
    found: dict[str, list[datetime]] = {}
    for draw in draw_prompts(document, secret=SECRET, person=drawn, versions=versions or {}):
        found.setdefault(draw.rule, []).append(draw.opens)
    return found


def edited(key: str, **change: Any) -> dict[str, Any]:
    return {**PLAN, "rules": [{**rule, **(change if rule["key"] == key else {})} for rule in PLAN["rules"]]}


RETOLD: list[Callable[[], dict[str, Any]]] = [
    lambda: {**PLAN, "title": "Another", "note": "n", "travel": "home"},
    lambda: edited("w", title="Another"),
    lambda: edited("w", reminders=[5, 10], open_minutes=45, grace_minutes=10),
    lambda: edited("w", questionnaire="other", practice=True),
    lambda: {**PLAN, "rules": [*PLAN["rules"], {"key": "b", "questionnaire": "q", "event": True}]},
    lambda: {**PLAN, "waves": [{"key": "x", "days": [1, 5]}]},
]


@pytest.mark.parametrize("edit", RETOLD)
def test_what_does_not_say_when_moves_no_moment(edit: Callable[[], dict[str, Any]]) -> None:
    assert of_rules(edit()) == of_rules(PLAN)
    assert rule_versions(edit(), 2, [(PLAN, {"w": 1, "h": 1, "e": 1})]) == {
        **{"w": 1, "h": 1, "e": 1},
        **({"b": 2} if edit()["rules"][-1]["key"] == "b" else {}),
    }


def test_rules_above_an_edited_one_keep_their_moments() -> None:
    before = of_rules(PLAN)
    for rules in ([WINDOWS, EVENING], [WINDOWS, {**HOURLY, "every": {"minutes": 90, "jitter_minutes": 10}}, EVENING]):
        after = of_rules({**PLAN, "rules": rules})
        assert (after["w"], after["e"]) == (before["w"], before["e"])


@PROPERTY
@given(document=plans(), further=plans(most_rules=1))
def test_where_no_gap_binds_another_rule_moves_nothing_at_all(
    document: dict[str, Any], further: dict[str, Any]
) -> None:
    document = {**document, "gap_minutes": 0}
    assume(not faults(document))
    before = of_rules(document)
    (extra,) = further["rules"]
    extra = {**extra, "key": "extra"}
    assume(not faults({**document, "rules": [extra, *document["rules"]]}))
    for rules in ([extra, *document["rules"]], [*document["rules"], extra], document["rules"][::-1]):
        after = of_rules({**document, "rules": rules})
        assert {key: opened for key, opened in after.items() if key != "extra"} == before


def test_more_days_leave_those_before_as_they_were() -> None:
    short, long = (
        list(draw_prompts(PLAN, secret=SECRET, person=Person("P1", Calendar(MONDAY, last), UNIVERSAL), versions={}))
        for last in (MONDAY + timedelta(days=6), MONDAY + timedelta(days=13))
    )
    assert long[: len(short)] == short


def test_an_edit_draws_its_rule_anew_and_taking_it_back_brings_the_same_moments_back() -> None:
    moved = edited("w", windows=[["09:00", "10:30"], ["14:00", "15:31"]])
    history: list[tuple[Any, dict[str, int]]] = []
    for number, document in enumerate((PLAN, moved, PLAN, moved), start=1):
        history.insert(0, (document, rule_versions(document, number, history)))
    assert [versions for _, versions in reversed(history)] == [
        {"w": 1, "h": 1, "e": 1}, {"w": 2, "h": 1, "e": 1}, {"w": 1, "h": 1, "e": 1}, {"w": 2, "h": 1, "e": 1},
    ]  # fmt: skip
    drawn = [of_rules(document, versions) for document, versions in reversed(history)]
    assert drawn[0] == drawn[2]
    assert drawn[1] == drawn[3]
    assert drawn[0]["w"] != drawn[1]["w"]


PINNED_NUMBERS = [0.13705525590444168, 0.6118758892206061, 0.4303234554591281]
PINNED_MOMENTS = [
    "r 08:07", "r 09:32", "r 10:26", "a 12:12", "a 13:33", "a 14:16", "h 07:05", "h 08:59", "h 10:59", "h 13:03", "h 14:54",
    "h 16:55", "h 18:44", "e 20:00",
]  # fmt: skip


def test_these_moments_never_change() -> None:
    """A draw must come out the same for ever: on any machine, under any Python, after any change of this code."""
    generator = seeded(SECRET, person="P1", local_day=MONDAY, rule="r", version=1)
    assert [generator.random() for _ in range(3)] == PINNED_NUMBERS
    plan = {
        "gap_minutes": 30,
        "rules": [
            {**STRATA, "key": "r"},
            {**STRATA, "key": "a", "random": {"count": 3, "from": "13:00", "to": "16:00", "spread": "anywhere"}},
            HOURLY,
            EVENING,
        ],
    }
    drawn = Person("P1", Calendar(MONDAY, MONDAY), ZoneInfo("Europe/Amsterdam"))
    opened = [
        f"{draw.rule} {draw.opens:%H:%M}" for draw in draw_prompts(plan, secret=SECRET, person=drawn, versions={"a": 2})
    ]
    assert opened == PINNED_MOMENTS
