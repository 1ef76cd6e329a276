"""What an item may be asked and answered."""

from __future__ import annotations

import math

import pytest

from ema_server.studies.items import answer_faults, document_faults, numeric_value

DOCUMENT = {
    "items": [
        {"name": "mood", "type": "likert", "range": [1, 5]},
        {"name": "stress", "type": "slider", "range": [0, 100]},
        {"name": "alone", "type": "yesno", "required": False},
        {"name": "where", "type": "choice", "options": ["home", "work"], "required": False},
        {"name": "steps", "type": "number", "required": False},
        {"name": "note", "type": "text", "required": False},
    ]
}
GOOD = {"mood": 3, "stress": 41.5}


def test_good_answers_have_no_fault() -> None:
    assert document_faults(DOCUMENT) == []
    assert (
        answer_faults(DOCUMENT, {**GOOD, "alone": True, "where": "home", "steps": 1e6, "note": "x"}, complete=True)
        == []
    )


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ({"mood": 6}, "outside 1 to 5"),
        ({"mood": 2.5}, "no whole number"),
        ({"mood": True}, "no number"),
        ({"stress": math.nan}, "no number"),
        ({"stress": math.inf}, "outside 0 to 100"),
        ({"steps": 10**400}, "outside"),
        ({"stress": "12"}, "no number"),
        ({"alone": "yes"}, "neither true nor false"),
        ({"where": "pub"}, "none of home, work"),
        ({"note": 3}, "text"),
        ({"weather": 3}, "no such item"),
    ],
)
def test_a_fault_names_the_item_and_what_would_be_accepted(answers: dict[str, object], word: str) -> None:
    (fault,) = answer_faults(DOCUMENT, {**GOOD, **answers}, complete=True)
    assert fault.startswith(f"{next(iter(answers))}: ")
    assert word in fault


def test_a_required_answer_may_be_missing_only_where_the_questionnaire_was_broken_off() -> None:
    assert answer_faults(DOCUMENT, {"mood": 3}, complete=False) == []
    assert answer_faults(DOCUMENT, {"mood": 3}, complete=True) == ["stress: an answer is required."]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": []},
        {"items": [{"name": "Mood!", "type": "text"}]},
        {"items": [{"name": "a", "type": "text"}, {"name": "a", "type": "text"}]},
        {"items": [{"name": "a", "type": "dance"}]},
        {"items": [{"name": "a", "type": "likert", "range": [5, 1]}]},
        {"items": [{"name": "a", "type": "choice"}]},
    ],
)
def test_a_questionnaire_that_cannot_be_asked_is_refused(document: dict[str, object]) -> None:
    assert document_faults(document)


def test_answers_become_numbers() -> None:
    item = {"name": "alone", "type": "yesno"}
    assert (numeric_value(item, True), numeric_value(item, False)) == (1.0, 0.0)
    assert math.isnan(numeric_value(item, None))
    assert math.isnan(numeric_value({"name": "note", "type": "text"}, "5"))
