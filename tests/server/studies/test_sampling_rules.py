"""Every fault of a sampling plan is named with its place."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ema_server.demo import migraine, student_life, support_stress
from ema_server.studies.sampling_days import Calendar, spans, wave_of
from ema_server.studies.sampling_rules import plan_faults
from tests.world import SAMPLING

RULE = {"key": "m", "questionnaire": "q", "open_minutes": 60, "times": ["10:00"]}


def found(*rules: Any, **more: Any) -> list[str]:
    return plan_faults({"rules": list(rules), **more}, questionnaires={"q"}, days=14)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in RULE.items() if key != name}


ONCE = without("times")


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        {**ONCE, "windows": [["09:00", "10:30"], ["10:30", "12:00"]]},
        {**RULE, "weekdays": [6, 7], "days": [2, 14], "practice": True, "title": "Weekend"},
        {**ONCE, "once": "enrolment"},
        {**ONCE, "once": "end", "at": "18:00"},
        {**ONCE, "once": "withdrawal"},
        {**ONCE, "once": {"day": 14}},
        {"key": "button", "questionnaire": "q", "event": True, "days": [1, 7]},
    ],
)
def test_what_can_be_done_has_no_fault(rule: dict[str, Any]) -> None:
    assert found(rule) == []


def test_plans_that_are_in_use_stay_valid() -> None:
    assert plan_faults(SAMPLING, questionnaires={"momentary"}, days=14) == []
    for demo in (migraine, student_life, support_stress):
        assert plan_faults(demo.SAMPLING, questionnaires={"momentary", "diary"}) == []
    imported = {"imported": True, "note": "n", "rules": [{**RULE, "times": [], "open_minutes": 7.5}]}
    assert plan_faults(imported, questionnaires={"q"}) == []


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({**RULE, "questionnaire": "other"}, "rules[0] (m).questionnaire: 'other' was never published here; there are: q."),
        ({**RULE, "questionnaire": ["q"]}, "rules[0] (m).questionnaire: ['q'] was never published here"),
        (without("times"), "rules[0] (m): needs exactly one of times, windows, random, every, once, after, event to say when; it has none."),
        ({**RULE, "once": "end"}, "rules[0] (m): needs exactly one of times, windows, random, every, once, after, event to say when; it has times and once."),
        ({**RULE, "event": "yes"}, "rules[0] (m).event: 'yes' is neither true nor false."),
        ({**RULE, "open_minutes": 0}, "rules[0] (m).open_minutes: 0 is no whole number from 1"),
        ({**RULE, "open_minutes": True}, "rules[0] (m).open_minutes: True is no whole number from 1"),
        ({**RULE, "times": ["10:00", "25:00"]}, "rules[0] (m).times: '25:00' is no time; it must be a list of different times"),
        ({**RULE, "times": ["10:00", "10:00"]}, "rules[0] (m).times: 10:00 is there twice; it must be a list of different times"),
        ({**ONCE, "windows": [["22:00", "01:00"]]}, "rules[0] (m).windows[0]: ends at 01:00, not after it begins at 22:00"),
        ({**ONCE, "windows": [["09:00", "11:00"], ["10:00", "12:00"]]}, "rules[0] (m).windows[1]: begins at 10:00, before the one above ends at 11:00."),
        ({**ONCE, "windows": [["09:00"]]}, "rules[0] (m).windows[0]: ['09:00'] is no window"),
        ({**ONCE, "once": "yearly"}, "rules[0] (m).once: 'yearly' is unknown; one of enrolment, end, withdrawal or {\"day\": k}."),
        ({**ONCE, "once": {"day": 15}}, "rules[0] (m).once: {'day': 15} must be {\"day\": k}, k from 1 to 14."),
        ({**ONCE, "once": "end", "at": "6pm"}, "rules[0] (m).at: '6pm' is no time of day"),
        ({**ONCE, "once": "end", "days": [1, 2]}, "rules[0] (m).days: a one-off survey has its one day, so it has no days."),
        ({**RULE, "at": "10:00"}, "rules[0] (m).at: is the time of day of a rule with once"),
        ({"key": "m", "questionnaire": "q", "event": True, "open_minutes": 5}, "rules[0] (m).open_minutes: an event button makes no prompts"),
        ({**RULE, "weekdays": [0]}, "rules[0] (m).weekdays: [0] must be a list of different numbers from 1 (Monday) to 7."),
        ({**RULE, "days": [1, 15]}, "rules[0] (m).days: goes to day 15; the study lasts 14 days."),
        ({**RULE, "days": [5, 2]}, "rules[0] (m).days: ends on day 2, before it begins on day 5."),
        ({**RULE, "waves": ["w9"]}, "rules[0] (m).waves: there is no wave 'w9'; there are: none."),
        ({**RULE, "practice": 1}, "rules[0] (m).practice: 1 is neither true nor false."),
        ({**RULE, "open_minuts": 5}, "rules[0] (m).open_minuts: is unknown; is 'open_minutes' meant? There are key, title"),
        ({**RULE, "key": "a b"}, "rules[0] (a b).key: 'a b' must be letters"),
        ("rule", "rules[0]: 'rule' must be an object."),
    ],
)  # fmt: skip
def test_a_fault_names_its_place_and_what_would_be_accepted(rule: Any, fault: str) -> None:
    assert any(each.startswith(fault) for each in found(rule)), found(rule)


def test_faults_of_the_plan_and_its_waves() -> None:
    assert found(RULE, RULE) == ["rules[1] (m).key: 'm' is there twice."]
    assert found(RULE, schema="ema-sampling/9")[0].startswith("schema: 'ema-sampling/9' is unknown")
    assert found(RULE, more=1)[0].startswith("plan.more: is unknown")
    assert found(RULE, waves=[{"key": "w1"}]) == [
        "waves[0] (w1).days: missing; must be [first, last], days of the person from 1 to 14."
    ]
    overlapping = [{"key": "a", "days": [1, 7]}, {"key": "b", "days": [7, 14]}, {"key": "b", "days": [1, 20]}]
    assert found(RULE, waves=overlapping) == [
        "waves[1] (b).days: 7 to 14 overlap those of a.",
        "waves[2] (b).key: 'b' is there twice.",
        "waves[2] (b).days: goes to day 20; the study lasts 14 days.",
    ]
    for nonsense in (None, [], 5, {}, {"rules": {}}, {"rules": [], "waves": 5}, {"rules": [5], "waves": [5]}):
        assert plan_faults(nonsense, questionnaires=set())


def test_waves_and_spans() -> None:
    plan = {"waves": [{"key": "a", "days": [1, 7]}, {"key": "b", "days": [20, 26]}]}
    month = Calendar(date(2026, 3, 1), date(2026, 3, 30))
    assert [wave_of(plan, month, day) for day in (1, 7, 8, 20, 27)] == ["a", "a", "", "b", ""]
    assert spans(plan, {}, month) == [(1, 30)]
    assert spans(plan, {"waves": ["a", "b"], "days": [5, 22]}, month) == [(5, 7), (20, 22)]
    assert spans(plan, {"waves": ["b"], "days": [1, 9]}, month) == []
