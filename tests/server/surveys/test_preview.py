"""The preview: screen by screen as a phone shows them, from what a form sends."""

from __future__ import annotations

import json
from typing import Any

from ema_server.surveys import examples, preview
from ema_server.surveys.document import Survey, read
from ema_server.surveys.faults import faults

EVERY_TYPE: dict[str, Any] = {
    "title": {"ar": "الآن", "en": "Now"},
    "languages": ["ar", "en"],
    "items": [
        {"name": name, "type": kind, "text": {"ar": "سؤال", "en": f"{name}?"}, **more}
        for name, kind, more in [
            ("hello", "information", {}),
            ("agree", "likert", {"range": [1, 5]}),
            ("many", "likert", {"range": [0, 30]}),
            ("slide", "slider", {"range": [-1.5, 1.5], "step": 0.5}),
            ("weight", "number", {"unit": "kg"}),
            ("yes", "yesno", {}),
            ("one", "choice", {"options": [1, 2]}),
            (
                "some",
                "choices",
                {"options": ["a", "b", {"value": "none", "label": {"ar": "لا", "en": "None"}, "exclusive": True}]},
            ),
            ("word", "text", {"max_length": 5}),
            ("on", "date", {}),
            ("at", "time", {"range": ["06:00", "22:00"]}),
            ("long", "duration", {}),
            ("photo", "media", {"kind": "photo"}),
        ]
    ],
}
GOOD = {
    "a.agree": ["3"], "a.many": ["12"], "a.slide": ["-0.5"], "a.weight": ["70.5"], "a.yes": ["false"], "a.one": ["2"],
    "a.some": ["a", "b"], "a.word": ["short"], "a.on": ["2026-03-02"], "a.at": ["07:30"], "a.long": ["90"], "a.photo": ["true"],
}  # fmt: skip
BAD = {
    "a.agree": ["9"], "a.many": ["x"], "a.slide": ["0.3"], "a.weight": ["1e999"], "a.yes": ["maybe"], "a.one": ["7"],
    "a.some": ["a", "none"], "a.word": ["too long"], "a.on": ["2026-02-30"], "a.at": ["05:00"], "a.long": ["-1"], "a.photo": ["x"],
}  # fmt: skip


def survey() -> Survey:
    assert not faults(EVERY_TYPE)
    return read(EVERY_TYPE)


def example() -> Survey:
    return read(json.loads(examples.MOMENTARY))


def test_every_type_is_answered_through_to_the_end() -> None:
    here = preview.screen(survey(), GOOD)
    seen = []
    while not here.ended:
        seen += [question.name for question in here.questions]
        here = preview.screen(survey(), GOOD, at=here.key, move="next")
    assert seen == [item["name"] for item in EVERY_TYPE["items"]]
    assert dict(here.answered)["some"] == "a, b"
    assert preview.given_answers(survey(), GOOD)["one"] == 2


def test_an_answer_that_does_not_fit_keeps_one_on_its_screen_with_the_reason() -> None:
    for field in BAD:
        name = field[2:]
        here = preview.screen(survey(), {**GOOD, field: BAD[field]}, at=f"item:{name}", move="next")
        (question,) = here.questions
        assert (question.name, bool(question.fault)) == (name, True), name
        assert preview.screen(survey(), {**GOOD, field: []}, at=f"item:{name}", move="next").questions[0].fault


def test_the_language_gives_words_and_direction() -> None:
    arabic = preview.screen(survey(), {}, language="ar")
    assert (arabic.direction, arabic.questions[0].text) == ("rtl", "سؤال")
    assert preview.screen(survey(), {}, language="en").direction == "ltr"
    assert preview.screen(survey(), {}, language="xx").language == "ar"


def test_branches_and_piping_follow_the_answers() -> None:
    mood = {"a.cheerful": ["80"], "a.calm": ["60"], "a.worried": ["20"]}
    asked = preview.screen(example(), mood, at="page:mood", move="next")
    assert [question.name for question in asked.questions] == ["company"]
    alone = preview.screen(example(), {**mood, "a.company": ["nobody"]}, at="item:company", move="next")
    assert [question.name for question in alone.questions] == ["happened"]
    assert alone.of == 3
    friends = preview.screen(example(), {**mood, "a.company": ["friends"]}, at="item:company", move="next")
    assert friends.questions[0].hint == "You answered: Friends."
    assert friends.of == 4
    back = preview.screen(example(), {**mood, "a.company": ["friends"]}, at=friends.key, move="back")
    assert back.questions[0].name == "company"
    # Somebody went back and is alone now: what was answered about company is on no screen and in no score.
    end = preview.screen(
        example(), {**mood, "a.company": ["nobody"], "a.pleasant": ["3"]}, at="item:happened", move="next"
    )
    assert end.ended
    assert [name for name, _ in end.answered] == ["cheerful", "calm", "worried", "company"]
    assert end.scores == [("Well-being", "73.3333")]


def test_a_random_page_has_the_same_order_for_the_same_number() -> None:
    orders = {
        tuple(question.name for question in preview.screen(example(), {}, seed=seed).questions) for seed in range(1, 30)
    }
    assert len(orders) == 6
    assert preview.screen(example(), {}, seed=4).questions == preview.screen(example(), {}, seed=4).questions


def test_only_the_facts_that_are_asked_for_can_be_set() -> None:
    document = {
        "title": "t",
        "items": [
            {"name": "a", "type": "yesno", "text": "Day {@day}?"},
            {"name": "b", "type": "yesno", "text": "B?", "show_if": '@practice or @arm == "x"'},
        ],
    }
    assert not faults(document)
    read_one = read(document)
    first = preview.screen(read_one, {"f.day": ["3"]})
    assert [(fact.name, fact.value) for fact in first.facts] == [("day", "3"), ("arm", ""), ("practice", "false")]
    assert first.questions[0].text == "Day 3?"
    answered = {"a.a": ["true"]}
    assert preview.screen(read_one, {**answered, "f.arm": ["y"]}, at="item:a", move="next").ended
    assert not preview.screen(read_one, {**answered, "f.arm": ["x"]}, at="item:a", move="next").ended


def test_reading_through_shows_every_screen() -> None:
    screens = preview.every_screen(example(), language="nl")
    assert [len(screen.questions) for screen in screens] == [3, 1, 1, 1]


def test_any_fields_at_all_are_answered_with_a_screen() -> None:
    for fields in (
        {"a.one": [""]},
        {"a.some": ["a"] * 9},
        {"f.day": ["x"]},
        {"a.slide": ["nan"]},
        {"a.nothing": ["1"]},
    ):
        for move in ("start", "stay", "next", "back"):
            for at in ("", "item:slide", "end", "page:none"):
                assert preview.screen(survey(), fields, at=at, move=move).key  # type: ignore[arg-type]
