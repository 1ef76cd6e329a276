"""Plans that cannot be met are refused with the arithmetic, and hostile ones quickly."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ema_server.studies.sampling_arithmetic import person_faults, waking_faults
from ema_server.studies.sampling_days import Calendar
from ema_server.studies.sampling_rules import PLAN_KEYS, RULE_KEYS, plan_faults

BASE = {"questionnaire": "q", "open_minutes": 60}
FIXED = {**BASE, "key": "f", "times": ["10:00"]}
ITEMS = {"q": ["stress", "note"]}


def found(*rules: Any, days: int | None = 14, **more: Any) -> list[str]:
    rules = tuple({**BASE, "key": f"r{place}", **rule} for place, rule in enumerate(rules))
    return plan_faults({"rules": list(rules), **more}, questionnaires=ITEMS, days=days, arms=["a", "b"])


def rule(**way: Any) -> dict[str, Any]:
    return way


@pytest.mark.parametrize(
    ("rules", "more", "fault"),
    [
        # Alone
        ([{"windows": [["09:00", "11:00"], ["10:00", "12:00"]]}], {}, "rules[0] (r0).windows[1]: begins at 10:00, before the one above ends at 11:00. Accepted: a beginning from 11:00 on."),
        ([{"windows": [["22:00", "01:00"]]}], {}, "rules[0] (r0).windows[0]: ends at 01:00, not after it begins at 22:00; none goes over midnight. Accepted: an end after the beginning, to 23:59 at most."),
        ([{"windows": [["09:00", "10:00"], ["10:00", "11:00"]]}], {"gap_minutes": 90}, "rules[0] (r0).windows[1]: begins 60 minutes after the one above; a gap of 90 minutes (gap_minutes) is longer. Accepted: a gap of at most 60, or windows further apart."),
        ([{"random": {"count": 6, "from": "09:00", "to": "12:00"}}], {"gap_minutes": 45}, "rules[0] (r0).random.count: 6 equal parts of 09:00–12:00 have 30 minutes each; a gap of 45 minutes (gap_minutes) is longer. Accepted: at most 4 prompts, or a shorter gap."),
        ([{"random": {"count": 6, "from": "09:00", "to": "12:00", "spread": "anywhere"}}], {"gap_minutes": 45}, "rules[0] (r0).random.count: 6 prompts with a gap of 45 minutes (gap_minutes) need 226 minutes; from 09:00 to 12:00 are 180. Accepted: at most 4 prompts."),
        ([{"random": {"count": 6, "from": "09:00", "to": "09:03", "spread": "anywhere"}}], {}, "rules[0] (r0).random.count: 6 prompts with a gap of 0 minutes (gap_minutes) need 6 minutes; from 09:00 to 09:03 are 3. Accepted: at most 3 prompts."),
        ([{"random": {"count": 3, "from": "sleep", "to": "wake"}}], {}, "rules[0] (r0).random.to: ends at 08:00, not after it begins at 22:00; none goes over midnight."),
        ([{"every": {"minutes": 30}}], {"gap_minutes": 45}, "rules[0] (r0).every.minutes: 30 is less than the gap of 45 minutes (gap_minutes)."),
        ([{"every": {"minutes": 90, "jitter_minutes": 31}}], {"gap_minutes": 30}, "rules[0] (r0).every.jitter_minutes: 31 is no whole number from 0 to 30: beyond it two neighbours could come closer than 30 minutes."),
        ([{"times": ["10:00", "10:20"]}], {"gap_minutes": 30}, "rules[0] (r0): asks at 10:20, 20 minutes after rules[0] (r0) at 10:00; the gap is 30 minutes (gap_minutes)."),
        ([{"times": ["08:00", "wake"]}], {}, "rules[0] (r0).times: wake is there twice"),
        ([{"times": ["sleep+150"]}], {}, "rules[0] (r0): asks at 24:30, not on its day (wake–sleep is 08:00–22:00)."),
        # Together
        ([{"times": ["10:00"]}, {"windows": [["09:45", "10:15"]]}], {"gap_minutes": 30}, "rules[1] (r1): prompt 1 has 09:45–10:15, 30 minutes; a gap of 30 minutes (gap_minutes) takes 30 around fixed times, and nothing is sure to be left."),
        ([{"windows": [["09:00", "10:00"]]}, {"windows": [["09:00", "10:00"]]}], {"gap_minutes": 45}, "rules[1] (r1): prompt 1 has 09:00–10:00, 60 minutes; a gap of 45 minutes (gap_minutes) takes 89 around each of 1 prompts of earlier rules, and nothing is sure to be left."),
        ([{"times": ["10:00"], "days": [1, 5]}, {"once": "end", "at": "10:10"}], {"gap_minutes": 30}, "rules[1] (r1): asks at 10:10, 10 minutes after rules[0] (r0) at 10:00"),
        ([{"times": ["10:00"], "days": [500, 501]}, {"times": ["10:10"], "days": [501, 600]}], {"gap_minutes": 30, "days": 700}, "rules[1] (r1): asks at 10:10, 10 minutes after rules[0] (r0) at 10:00"),
        ([{"times": ["00:10", "23:40"]}], {"gap_minutes": 60}, "gap_minutes: from the last prompt of a day (23:40) to the first of the next (00:10) there may be 30 minutes, and 60 less where the clocks go forward; the gap is 60."),
        ([{"every": {"minutes": 15, "from": "00:00", "to": "23:59"}}, {"times": ["10:07"]}], {}, "rules: 97 prompts may come on one day (r0, r1); at most 96."),
        # The plan's hours, waves, events, arms
        ([{"times": ["07:30", "12:00"]}], {"waking": ["08:00", "22:00"]}, "rules[0] (r0): asks at 07:30, outside of the waking hours 08:00–22:00 (waking)."),
        ([FIXED], {"waking": ["22:00", "08:00"]}, "waking: ends at 08:00, not after it begins at 22:00; hours over midnight are given to one person."),
        ([FIXED], {"waves": [{"key": "w1"}]}, "waves[0] (w1).days: missing; must be [first, last], days of the person from 1 to 14."),
        ([FIXED], {"travel": "never"}, "travel: 'never' is unknown; one of at_once, next_day, home."),
        ([{"questionnaire": "other", "times": ["10:00"]}], {}, "rules[0] (r0).questionnaire: 'other' was never published here; there are: q."),
        ([{"times": ["10:00"], "from_event": "quit"}], {}, "rules[0] (r0).from_event: there is no own event 'quit'; there are: none."),
        ([{"times": ["10:00"], "arms": ["c"]}], {}, "rules[0] (r0).arms: there is no arm 'c'; there are: a, b."),
        ([FIXED], {"allocation": {"arms": {"a": 1, "c": 0}}}, "allocation.arms: there is no arm 'c'; there are: a, b."),
        ([FIXED], {"allocation": {"arms": {"a": 1, "b": 0}}}, "allocation.arms.b: 0 is no whole number from 1 to 20."),
        # Follow-ups and decisions
        ([{"after": {"questionnaire": "q", "minutes": 30}}], {}, "rules[0] (r0).after: its own answer asks for it again, without end. Accepted: an at_most, how often a day, or an if."),
        ([{"after": {"questionnaire": "q", "minutes": 30, "at_most": 2, "if": "stres > 50"}}], {}, "rules[0] (r0).after.if: the questionnaire has no item 'stres'; it has stress, note."),
        ([{"times": ["10:00"], "decide": {"options": {"a": 0.6, "b": 0.6}}}], {}, "rules[0] (r0).decide.options: the probabilities sum to 1.2; they must sum to 1."),
    ],
)  # fmt: skip
def test_what_cannot_be_met_is_refused_with_the_arithmetic(
    rules: list[dict[str, Any]], more: dict[str, Any], fault: str
) -> None:
    assert any(each.startswith(fault) for each in found(*rules, **more)), found(*rules, **more)


@pytest.mark.parametrize(
    ("rules", "more"),
    [
        ([{"every": {"minutes": 90, "jitter_minutes": 30}}], {"gap_minutes": 30, "waking": ["08:00", "22:00"]}),
        ([{"random": {"count": 6}}, {"times": ["sleep-5"], "weekdays": [7]}], {"gap_minutes": 20}),
        ([{"times": ["10:00"], "weekdays": [1, 3]}, {"times": ["10:10"], "weekdays": [2, 4]}], {"gap_minutes": 30}),
        ([{"times": ["10:00"], "arms": ["a"]}, {"times": ["10:10"], "arms": ["b"]}], {"gap_minutes": 30}),
        ([{"times": ["10:00"], "days": [1, 3]}, {"times": ["10:10"], "days": [4, 9]}], {"gap_minutes": 30}),
        ([{"times": ["00:10", "23:40"], "weekdays": [1, 3]}], {"gap_minutes": 60}),
        ([{"after": {"questionnaire": "q", "minutes": 30, "at_most": 2}}], {}),
        ([{"after": {"questionnaire": "q", "minutes": 30, "if": "stress > 50"}}], {}),
    ],
)
def test_what_can_be_met_is_not_refused(rules: list[dict[str, Any]], more: dict[str, Any]) -> None:
    assert found(*rules, **more) == []


WEEK = Calendar(date(2026, 3, 2), date(2026, 3, 8))


def test_a_persons_hours_that_leave_no_time_for_a_rule_are_refused() -> None:
    plan = {
        "rules": [{**BASE, "key": "m", "times": ["10:00", "12:00"]}, {"key": "b", "questionnaire": "q", "event": True}]
    }
    assert person_faults(plan, WEEK, {"every": ["11:00", "22:00"]}) == []
    assert person_faults(plan, WEEK, {"every": ["13:00", "22:00"]}) == [
        "waking: 13:00–22:00 leave no time for any prompt of m; widen them."
    ]
    assert waking_faults({"every": ["9:00", "22:00"], "8": ["09:00", "22:00"], "1": ["09:00", "09:00"]}) == [
        "waking.every: ['9:00', '22:00'] must be like [\"07:00\", \"23:00\"].",
        "waking.8: is no day; there are every and 1 (Monday) to 7.",
        "waking.1: begins and ends at 09:00; somebody must be awake for some time.",
    ]


def test_hours_that_differ_by_the_day_keep_the_gap_over_the_night_between_them() -> None:
    plan = {"gap_minutes": 30, "rules": [{**BASE, "key": "m", "random": {"count": 3}}]}
    late_then_early = {"every": ["10:00", "22:00"], "5": ["16:00", "04:00"], "6": ["04:30", "20:00"]}
    assert person_faults(plan, WEEK, late_then_early) == [
        "gap_minutes: from the last prompt of a day (27:59) to the first of the next (04:30) there may be 31 minutes, and 60 less "
        "where the clocks go forward; the gap is 30. Accepted: an earlier end, a later beginning or a gap of at most 0."
    ]  # fmt: skip
    assert person_faults(plan, WEEK, {**late_then_early, "6": ["06:30", "20:00"]}) == []


def deep(levels: int) -> Any:
    nested: Any = []
    for _ in range(levels):
        nested = [nested]
    return nested


HOSTILE = [
    None, True, float("nan"), float("inf"), -1, 10**5000, "x" * 1_000_000, deep(100_000), {"a": deep(100_000)}, [], {}, [None],
    list(range(100_000)), "wake+9999", "٠٩:٣٠", ["09:00"] * 100_000, {str(each): each for each in range(10_000)}, b"x",
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_values_anywhere_are_refused_briefly_and_raise_nothing(place: int) -> None:
    value = HOSTILE[place]
    sound = {"random": {"count": 3}, "every": {"minutes": 60}, "after": {"questionnaire": "q", "minutes": 5},
             "decide": {"options": {"a": 0.5, "b": 0.5}}}  # fmt: skip
    parts = {"random": ("count", "from", "to", "spread"), "every": ("minutes", "from", "jitter_minutes"),
             "after": ("questionnaire", "minutes", "if", "at_most"), "decide": ("options", "rest_minutes")}  # fmt: skip
    documents: list[Any] = [
        value,
        {"rules": [value]},
        {"rules": [FIXED], "waves": [value]},
        {"rules": [FIXED], "own_events": [value]},
    ]
    documents += [{"rules": [FIXED], key: value} for key in PLAN_KEYS if key != "imported"]
    documents += [{"rules": [{**FIXED, key: value}]} for key in RULE_KEYS]
    documents += [
        {"rules": [{**BASE, "key": "m", name: {**sound[name], part: value}}]}
        for name, several in parts.items()
        for part in several
    ]
    documents += [
        {"rules": [FIXED], "waves": [{"key": "w", "days": [1, 2], key: value}]} for key in ("key", "days", "title")
    ]
    documents += [{"rules": [FIXED], "allocation": {"arms": {"a": value, "b": 1}}}]
    for document in documents:
        found = plan_faults(document, questionnaires=ITEMS, days=400, arms=["a", "b"])
        assert sum(map(len, found)) < 100_000


def test_ten_thousand_rules_are_too_many_and_busy_days_too_full() -> None:
    many = [{**BASE, "key": f"k{each}", "times": ["10:00"]} for each in range(10_000)]
    assert found(*many) == ["rules: there are 10000; at most 100."]
    busy = [{**BASE, "key": f"k{each}", "random": {"count": 96}} for each in range(100)]
    assert found(*busy)[0].startswith("rules: 9600 prompts may come on one day")


def test_the_plan_that_the_documentation_shows_can_be_met() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "sampling.md").read_text()
    document = json.loads(page.split("```json\n")[1].split("```")[0])
    questionnaires = {"baseline", "momentary", "weekly", "craving"}
    assert plan_faults(document, questionnaires=questionnaires, days=193) == []


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"title": "a\0b"}, "plan.title: 'a\\x00b' holds a character (NUL or half a surrogate pair) that no text has."),
        ({"note": {"a\ud800": 1}}, "plan.note: 'a\\ud800' holds a character (NUL or half a surrogate pair) that no text has."),
        ({"a\ud800": 1}, "plan: 'a\\ud800' holds a character (NUL or half a surrogate pair) that no text has."),
        ({"note": [float("nan")]}, "plan.note.0: nan is no number."),
        ({"note": deep(30)}, f"plan.note{'.0' * 20}: is nested too deeply; at most 20 levels."),
        ({"note": 10**400}, "plan.note: is too large a number; at most 20 digits."),
        ({"imported": "yes"}, "imported: 'yes' is neither true nor false."),
    ],
)  # fmt: skip
def test_what_no_database_keeps_is_refused_with_its_place(document: dict[str, Any], fault: str) -> None:
    assert plan_faults({"rules": [FIXED], **document}, questionnaires=ITEMS) == [fault]


def test_rules_of_an_imported_plan_say_nothing_that_plans() -> None:
    rule = {"key": "m", "questionnaire": "q", "open_minutes": "zz", "reminders": "x", "after": 5, "times": []}
    assert plan_faults({"imported": True, "rules": [rule]}, questionnaires={"q"}) == [
        "rules[0] (m).after: a rule of an imported plan plans nothing, so it has no after.",
        "rules[0] (m).reminders: a rule of an imported plan plans nothing, so it has no reminders.",
        "rules[0] (m).open_minutes: 'zz' is no number from 0 to 527040.",
    ]
