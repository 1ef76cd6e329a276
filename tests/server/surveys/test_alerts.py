"""Alerts: which fire, what is refused, how a change of them is told, and when the preview shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ema_server.surveys.alerts import fired
from ema_server.surveys.changes import changes
from ema_server.surveys.document import read
from ema_server.surveys.faults import faults
from ema_server.surveys.preview import screen

EXAMPLES = json.loads((Path(__file__).parents[3] / "docs" / "alerts.json").read_text())
DOCUMENT: dict[str, Any] = EXAMPLES["document"]


def with_alerts(*alerts: Any) -> dict[str, Any]:
    return {**DOCUMENT, "alerts": list(alerts)}


def test_the_example_is_sound() -> None:
    assert faults(DOCUMENT) == []


@pytest.mark.parametrize("case", EXAMPLES["cases"], ids=lambda case: json.dumps(case["answers"]))
def test_alerts_fire_as_the_examples_for_phones_say(case: dict[str, Any]) -> None:
    assert fired(read(DOCUMENT), case["answers"], case["facts"]) == case["fired"]


@pytest.mark.parametrize(
    ("alert", "fault"),
    [
        ("x", "alerts[0] (no key).key: an alert needs a key of its own"),
        ({"key": "A", "when": "mood < 3"}, "alerts[0] (A).key: an alert needs a key"),
        ({"key": "a"}, "alerts[0] (a).when: an alert needs an expression; write a text such as mood < 10."),
        ({"key": "a", "when": 3}, "alerts[0] (a).when: 3 is no expression"),
        ({"key": "a", "when": "mood <"}, "alerts[0] (a).when: something is missing at the end"),
        ({"key": "a", "when": "sad < 3"}, "alerts[0] (a).when: there is no item or scale 'sad'."),
        ({"key": "a", "when": "mood + 3"}, "alerts[0] (a).when: this gives a number, not a condition"),
        ({"key": "a", "when": "thoughts > 3"}, "alerts[0] (a).when: thoughts (true or false) cannot be compared"),
        ({"key": "a", "when": "mood < 0"}, "alerts[0] (a).when: can never be true, so this alert would never fire."),
        ({"key": "a", "when": "distress > 100"}, "alerts[0] (a).when: can never be true"),
        ({"key": "a", "when": "mood < 3", "card": "red"}, "alerts[0] (a).card: 'red' is no card; there is crisis."),
        ({"key": "a", "when": "mood < 3", "to": "x"}, "alerts[0] (a).to: is unknown here; there are card, key, when."),
        ({"key": "a", "when": None}, "alerts[0].when: is null"),
    ],
)
def test_a_faulty_alert_is_told_with_its_place(alert: Any, fault: str) -> None:
    found = [str(each) for each in faults(with_alerts(alert))]
    assert found
    assert found[0].startswith(fault), found


def test_two_alerts_of_one_key_and_too_many_are_told() -> None:
    one = {"key": "a", "when": "mood < 3"}
    assert "two alerts have the key 'a'." in str(faults(with_alerts(one, one))[0])
    many = [{"key": f"a{n}", "when": "mood < 3"} for n in range(101)]
    assert str(faults(with_alerts(*many))[0]) == "alerts: 101 alerts; at most 100 are possible."
    assert str(faults({**DOCUMENT, "alerts": {}})[0]).startswith("alerts: a list of alerts is meant")


def test_a_faulty_scale_is_one_fault_and_not_that_of_its_alerts_too() -> None:
    scale = {"key": "distress", "items": ["mood", "nothing"]}
    found = faults({**DOCUMENT, "scales": [scale]})
    assert [each.place for each in found] == ["scales[0] (distress).items"]


def test_changes_of_alerts_are_told_in_words() -> None:
    before = with_alerts({"key": "low", "when": "mood < 10"}, {"key": "old", "when": "tense > 90"})
    after = with_alerts({"key": "low", "when": "mood < 20", "card": "crisis"}, {"key": "new", "when": "thoughts"})
    assert changes(before, after) == [
        "Alert low fires if mood < 20; it fired if mood < 10.",
        "Alert low: the phone shows the crisis card now when it fires.",
        "Alert new is new: it fires if thoughts.",
        "Alert old is removed; it fired if tense > 90.",
    ]


def test_the_preview_says_when_an_alert_fires() -> None:
    survey = read(DOCUMENT)
    quiet = screen(survey, {"a.mood": ["60"]}, at="item:mood", move="stay")
    assert quiet.alerts == []
    assert "day" in {fact.name for fact in quiet.facts}, "a fact that an alert asks for can be set"
    low = screen(survey, {"a.mood": ["10"], "f.day": ["8"]}, at="item:mood", move="stay")
    assert low.alerts == [("late_low", "@day > 7 and mood < 20", "")]
    assert screen(survey, {"a.mood": ["ten"], "a.tense": ["x"]}, at="item:mood", move="stay").alerts == []
