"""Answers against a questionnaire: what fits, what counts, what it scores and what it becomes in the data."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import permutations
from typing import Any

import pytest

from ema_server.surveys import texts
from ema_server.surveys.answers import counted, faults, order_faults, shown, worded
from ema_server.surveys.columns import columns, values
from ema_server.surveys.document import read
from ema_server.surveys.faults import faults as document_faults
from ema_server.surveys.order import screens, shown_order
from ema_server.surveys.scores import bounds, scores
from tests.server.surveys.documents import MOOD, asking, slider
from tests.server.surveys.test_faults import long_questionnaire

SURVEY = read(MOOD)
GOOD: dict[str, Any] = {
    "happy": 20,
    "tense": 80,
    "company": "friends",
    "pleasant": 6,
    "symptoms": ["headache"],
    "pain": 3,
}
DAY_2 = {"day": 2}
PLAIN = read(
    asking(
        {"name": "mood", "type": "likert", "range": [1, 5]},
        slider("stress"),
        slider("coarse", step=5, required=False),
        {"name": "alone", "type": "yesno", "required": False},
        {"name": "where", "type": "choice", "options": ["home", "work"], "required": False},
        {"name": "code", "type": "choice", "options": [1, 2], "required": False},
        {"name": "steps", "type": "number", "required": False},
        {"name": "note", "type": "text", "required": False, "max_length": 5},
        {"name": "bed", "type": "time", "required": False},
        {"name": "day_off", "type": "date", "range": ["2026-01-01", "2026-12-31"], "required": False},
        {"name": "slept", "type": "duration", "range": [0, 1440], "required": False},
        {
            "name": "body",
            "type": "choices",
            "options": ["head", "back", {"value": "none", "exclusive": True}],
            "at_least": 1,
            "at_most": 2,
            "required": False,
        },
        {"name": "read_me", "type": "information"},
        {"name": "photo", "type": "media", "kind": "photo", "required": False},
    )
)
ENOUGH = {"mood": 3, "stress": 41.5}


def test_good_answers_have_no_fault() -> None:
    assert faults(SURVEY, GOOD, complete=True, facts=DAY_2) == []
    more = {
        "alone": True,
        "where": "home",
        "code": 2,
        "steps": 1e6,
        "note": "x",
        "bed": "23:59",
        "day_off": "2026-02-28",
    }
    more |= {"slept": 431.5, "body": ["head", "back"], "photo": False, "coarse": 35}
    assert faults(PLAIN, {**ENOUGH, **more}, complete=True) == []


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"mood": 6}, "6 is outside 1 to 5"),
        ({"mood": 2.5}, "2.5 is no whole number"),
        ({"mood": True}, "True is no number"),
        ({"stress": math.nan}, "no number"),
        ({"stress": math.inf}, "outside 0 to 100"),
        ({"coarse": 37}, "37 is between two steps; steps are 5 apart, from 0"),
        ({"steps": 10**400}, "outside"),
        ({"stress": "12"}, "'12' is no number"),
        ({"alone": "yes"}, "neither true nor false"),
        ({"alone": 1}, "neither true nor false"),
        ({"where": "pub"}, "'pub' is none of home, work"),
        ({"where": ["home"]}, "none of home, work"),
        ({"code": "1"}, "'1' is none of 1, 2"),
        ({"code": True}, "True is none of 1, 2"),
        ({"note": 3}, "a text of at most 5 characters"),
        ({"note": "123456"}, "a text of at most 5 characters"),
        ({"bed": "24:00"}, "no time of day; send one like 23:15"),
        ({"day_off": "2026-02-29"}, "no date; send one like 2026-03-02"),
        ({"day_off": "2025-12-31"}, "outside 2026-01-01 to 2026-12-31"),
        ({"day_off": "20260301"}, "no date"),
        ({"slept": -1}, "outside 0 to 1440"),
        ({"body": "head"}, "is no list; send a list of head, back, none"),
        ({"body": []}, "at least 1 are asked for"),
        ({"body": ["head", "head"]}, "is there twice"),
        ({"body": ["head", "none"]}, "'none' cannot be chosen with others"),
        ({"body": [["head"]]}, "none of head, back, none"),
        ({"photo": "cat.jpg"}, "neither true nor false"),
        ({"read_me": True}, "takes no answer"),
        ({"weather": 3}, "no such item"),
    ],
)
def test_a_fault_names_the_item_the_value_and_what_would_be_accepted(answers: dict[str, Any], words: str) -> None:
    (fault,) = faults(PLAIN, {**ENOUGH, **answers}, complete=True)
    assert fault.startswith(f"{next(iter(answers))}: ")
    assert words in fault


def test_a_required_answer_may_be_missing_only_where_the_questionnaire_was_broken_off() -> None:
    assert faults(PLAIN, {"mood": 3}, complete=False) == []
    assert faults(PLAIN, {"mood": 3}, complete=True) == ["stress: an answer is required."]


def test_what_is_not_shown_is_not_required() -> None:
    alone = {"happy": 60, "tense": 1, "company": "nobody", "symptoms": []}
    assert faults(SURVEY, alone, complete=True, facts=DAY_2) == []
    with_friends = {**alone, "company": "friends"}
    assert faults(SURVEY, with_friends, complete=True, facts=DAY_2) == ["pleasant: an answer is required."]


def test_where_a_fact_is_unknown_nothing_behind_it_is_required_and_all_of_it_may_be_answered() -> None:
    without_pain = {name: value for name, value in GOOD.items() if name != "pain"}
    assert faults(SURVEY, without_pain, complete=True, facts=DAY_2) == ["pain: an answer is required."]
    assert faults(SURVEY, without_pain, complete=True) == []
    assert counted(SURVEY, GOOD) == GOOD
    assert SURVEY.facts == {"day"}


def test_an_answer_behind_a_condition_that_does_not_hold_does_not_count_and_nothing_that_hangs_on_it() -> None:
    went_back = {**GOOD, "company": "nobody"}
    assert faults(SURVEY, went_back, complete=True, facts=DAY_2) == []
    assert "pleasant" not in counted(SURVEY, went_back, DAY_2)
    first_day = counted(SURVEY, GOOD, {"day": 1})
    assert "symptoms" not in first_day
    assert "pain" not in first_day  # its own condition asks about symptoms, which was not shown
    names = [item.name for item in shown(SURVEY, GOOD, {"day": 1})]
    assert names[:5] == ["hello", "happy", "tense", "company", "pleasant"]
    assert "pain" not in names


def test_scores_follow_the_manuals() -> None:
    found = scores(SURVEY, {"happy": 20, "tense": 80})
    assert found["wellbeing"] == pytest.approx(20)  # (20 + (0 + 100 − 80)) / 2
    assert found["burden"] == pytest.approx(160)  # (80 + (100 − 20)) / 2 × 2
    one = scores(SURVEY, {"happy": 20})
    assert one["wellbeing"] == pytest.approx(20)  # one answer is enough for it
    assert math.isnan(one["burden"])  # not for this one
    assert all(math.isnan(score) for score in scores(SURVEY, {}).values())
    assert [bounds(SURVEY, scale) for scale in SURVEY.scales] == [(0, 100), (0, 200)]


def test_the_row_of_the_data_has_every_column_and_nothing_that_is_sealed() -> None:
    row = values(
        SURVEY, {**GOOD, "bed": "23:15", "slept": 400, "weight": 71, "note": "secret", "met_on": "2026-03-01"}, DAY_2
    )
    assert list(row) == [column.name for column in columns(SURVEY)]
    assert "weight" not in row
    assert "note" not in row
    assert row["company"] == "friends"
    assert (row["symptoms__headache"], row["symptoms__light_headed"], row["symptoms__none"]) == (1.0, 0.0, 0.0)
    assert (row["bed"], row["slept"], row["met_on"]) == (1395.0, 400.0, "2026-03-01")
    assert row["wellbeing"] == pytest.approx(20)
    assert math.isnan(row["alone"])  # type: ignore[arg-type]


def test_columns_carry_what_a_codebook_needs() -> None:
    found = {column.name: column for column in columns(SURVEY)}
    assert (found["happy"].label, found["happy"].low, found["happy"].high) == ("Happy?", 0, 100)
    assert found["happy"].levels == ((0, "not at all"),)
    assert found["happy"].source["licence"] == "CC0"
    assert found["company"].levels == (("nobody", "Nobody"), ("friends", "Friends"))
    assert found["symptoms__none"].label == "Symptoms: None"
    assert (found["bed"].unit, found["bed"].high) == ("minutes after midnight", 1439)
    assert (found["burden"].scale, found["burden"].high) == (True, 200)


def test_texts_are_worded_in_the_language_with_the_answers_piped_in() -> None:
    pleasant = SURVEY.by_name["pleasant"].text
    answers = {"company": "friends"}
    assert worded(pleasant, SURVEY, answers=answers, language="nl-BE") == "Hoe prettig: Vrienden?"
    assert worded(pleasant, SURVEY, answers=answers, language="fr") == "How pleasant: Friends?"
    assert worded(pleasant, SURVEY, answers={}, language="en") == "How pleasant: …?"
    assert (
        worded("{@day} {{x}} {note}", SURVEY, answers={"note": "<b>{company}"}, facts={"day": 3})
        == "3 {x} <b>{company}"
    )


@pytest.mark.parametrize(
    ("language", "way"),
    [
        ("ar", "rtl"),
        ("he-IL", "rtl"),
        ("fa", "rtl"),
        ("ur", "rtl"),
        ("nl", "ltr"),
        ("ku-Arab", "rtl"),
        ("ar-Latn", "ltr"),
    ],
)
def test_languages_run_their_own_way(language: str, way: str) -> None:
    assert texts.direction(language) == way


def test_a_random_page_is_shown_in_each_order_equally_often_and_the_same_for_the_same_seed() -> None:
    survey = read(
        asking(
            slider("first"),
            *[slider(name, page="p") for name in "abc"],
            slider("last"),
            pages=[{"key": "p", "order": "random"}],
        )
    )
    orders = Counter(tuple(shown_order(survey, seed=str(n).encode())) for n in range(6000))
    assert set(orders) == {("first", *middle, "last") for middle in permutations("abc")}
    assert all(abs(count - 1000) < 150 for count in orders.values())  # 5 standard deviations
    assert shown_order(survey, seed=b"1") == shown_order(survey, seed=b"1")
    assert [key for key, _ in screens(survey)] == [None, "p", None]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ("abc", "send the list"),
        (["happy", "boom"], "no item 'boom'"),
        (["happy", "happy"], "twice"),
        ([1], "no item '1'"),
    ],
)
def test_an_order_that_cannot_have_been_is_told(order: Any, words: str) -> None:
    assert words in order_faults(SURVEY, order)[0]
    assert order_faults(SURVEY, ["tense", "happy"]) == []


def test_judging_answers_costs_time_in_proportion_to_items() -> None:
    survey = read(long_questionnaire(1000))
    answers = {f"i{n}": 50 for n in range(1000)}
    began = time.process_time()
    assert faults(survey, answers, complete=True, facts=DAY_2) == []
    assert time.process_time() - began < 5  # 5 ms here


def test_an_option_has_one_column_whatever_the_version_lists_before_it() -> None:
    def named(*options: object) -> list[str]:
        document = {"title": "T", "items": [{"name": "did", "type": "choices", "text": "?", "options": [*options]}]}
        assert document_faults(document) == []
        return [column.name for column in columns(read(document))]

    assert named("at home", "at work") == ["did__at_home", "did__at_work"] == named("at work", "at home")[::-1]
    assert named(-1, 1, 0) == ["did__minus_1", "did__1", "did__0"]
    assert named("Überstunden", "Büro") == ["did__Uberstunden", "did__Buro"]
    work, rest = named("عمل", "راحة")
    assert [rest, work] == named("راحة", "عمل")
    assert all(name.isascii() and name.isidentifier() for name in (work, rest))
    long = "a very long answer that begins like another " + "x"
    assert len(set(named(long, long[:-1] + "y"))) == 2
