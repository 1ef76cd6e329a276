"""XLSForms as labs write them, through pyxform, into documents that can be published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ema_server.surveys.document import read
from ema_server.surveys.exchange import CannotRead, read_file
from tests.server.surveys.exchange.forms import items, lost, only, workbook, xlsform

HEADER = ["type", "name", "label", "relevant", "constraint", "required", "appearance", "parameters", "calculation"]
PANAS = [["list_name", "name", "label::English (en)", "label::Arabic (ar)"]] + [
    ["panas", value, english, arabic]
    for value, english, arabic in [
        (1, "Very slightly or not at all", "قليلا جدا أو لا على الإطلاق"),
        (2, "A little", "قليلا"),
        (3, "Moderately", "بشكل معتدل"),
        (4, "Quite a bit", "كثيرا"),
        (5, "Extremely", "للغاية"),
    ]
]


def row(kind: str, name: str, label: str | None = "?", **cells: Any) -> list[Any]:
    return [kind, name, label if label != "?" else f"{name}?", *(cells.get(column) for column in HEADER[3:])]


def test_a_mood_form_in_english_and_arabic_keeps_texts_pages_scale_and_skip_logic() -> None:
    carried = xlsform(
        [
            ["type", "name", "label::English (en)", "label::Arabic (ar)", "hint::English (en)", "relevant", "required", "appearance", "calculation"],
            ["start", "start"],
            ["note", "hello", "How is it right now?", "كيف الحال الآن؟"],
            ["begin_group", "mood", "Right now I feel …", "الآن أشعر …", None, None, None, "field-list"],
            ["select_one panas", "happy", "Happy", "سعيد", None, None, "yes", "likert"],
            ["select_one panas", "Upset", "Upset", "منزعج", None, None, "yes", "likert"],
            ["select_one panas", "calm", "Calm", "هادئ", None, None, "yes", "likert"],
            ["end_group"],
            ["begin_group", "worse", "About that", "عن ذلك", None, "${Upset} >= 4 and not(${calm} > 3)"],
            ["select_multiple why", "reasons", "What was it, at {{home}} or elsewhere?", "ماذا كان؟", "One or more"],
            ["begin_group", "inner", None, None, None, "selected(${reasons}, 'work')"],
            ["text", "work", "You said: ${reasons}. What happened at work?", "ماذا حدث في العمل؟"],
            ["end_group"],
            ["end_group"],
            ["calculate", "positive", None, None, None, None, None, None, "(${happy} + (6 - ${Upset}) + ${calm}) div 3"],
        ],
        [*PANAS, ["why", "work", "Work", "العمل"], ["why", "people", "People", "الناس"]],
        [["form_title", "form_id", "default_language"], ["Momentary mood", "momentary_mood", "English (en)"]],
    )  # fmt: skip
    document = carried.documents["momentary-mood"]
    by_name = items(carried)
    assert document["languages"] == ["en", "ar"]
    assert by_name["happy"] == {
        "name": "happy", "type": "likert", "range": [1, 5], "page": "mood",
        "labels": {str(value): {"en": english, "ar": arabic} for _, value, english, arabic in PANAS[1:]},
        "text": {"en": "Happy", "ar": "سعيد"},
    }  # fmt: skip
    assert (
        by_name["reasons"]["text"]["en"] == "What was it, at {{{{home}}}} or elsewhere?"
    )  # four braces: a doubled pair
    assert by_name["work"]["text"]["en"] == "You said: {reasons}. What happened at work?"
    assert by_name["work"]["required"] is False
    assert document["pages"] == [
        {"key": "mood", "title": {"en": "Right now I feel …", "ar": "الآن أشعر …"}},
        {"key": "worse", "title": {"en": "About that", "ar": "عن ذلك"}, "show_if": "upset >= 4 and not calm > 3"},
        {
            "key": "inner",
            "title": {"en": "About that", "ar": "عن ذلك"},
            "show_if": 'upset >= 4 and not calm > 3 and selected(reasons, "work")',
        },
    ]
    assert document["scales"] == [
        {
            "key": "positive",
            "title": {"en": "positive", "ar": "positive"},
            "items": ["happy", "upset", "calm"],
            "reversed": ["upset"],
            "score": "mean",
        }
    ]
    assert "survey row 6 (Upset): the name 'Upset' – is upset here, in conditions and texts too" in lost(carried)
    assert "no text at survey row 10 (reasons), hint" in lost(carried)
    read(document)


def test_every_type_is_an_item_or_in_the_report() -> None:
    carried = xlsform(
        [
            HEADER,
            row("integer", "age", constraint=". > 17 and . <= 99"),
            row("decimal", "weight", constraint=". > 0"),
            row("range", "tense", parameters="start=0 end=10 step=0.5"),
            row("range", "stars", parameters="start=1 end=5 step=1", appearance="rating"),
            row("text", "thought", constraint="string-length(.) <= 200"),
            row("date", "since", constraint=". >= '2020-01-01'"),
            row("time", "woke"),
            row("dateTime", "fell"),
            row("image", "meal"),
            row("audio", "voice"),
            row("video", "clip"),
            row("acknowledge", "ok"),
            row("geopoint", "where"),
            row("barcode", "code"),
            row("file", "paper"),
            row("rank things", "ranked"),
            row("select_one things", "thing"),
            row("select_multiple things", "things", constraint="count-selected(.) <= 2 and not(selected(., 'none') and count-selected(.) > 1)"),
            row("select_one yn", "alone"),
            row("select_one_from_file towns.csv", "town"),
            row("hidden", "secret"),
        ],
        [
            ["list_name", "name", "label"],
            ["things", "tea", "Tea"], ["things", "milk", "Milk"], ["things", "none", "None of these"],
            ["yn", 1, "Yes"], ["yn", 0, "No"],
        ],
    )  # fmt: skip
    by_name = items(carried)
    report = lost(carried)
    kept = {
        name: {key: value for key, value in item.items() if key not in {"name", "text", "required"}}
        for name, item in by_name.items()
    }
    assert kept == {
        "age": {"type": "number", "step": 1, "range": [18, 99]},
        "weight": {"type": "number", "range": [0, 10**15]},
        "tense": {"type": "slider", "range": [0, 10], "step": 0.5},
        "stars": {"type": "likert", "range": [1, 5]},
        "thought": {"type": "text", "max_length": 200},
        "since": {"type": "date", "range": ["2020-01-01", "9999-12-31"]},
        "woke": {"type": "time"},
        "fell": {"type": "date"},
        "meal": {"type": "media", "kind": "photo"},
        "voice": {"type": "media", "kind": "audio"},
        "clip": {"type": "media", "kind": "video"},
        "ok": {"type": "information"},
        "thing": {"type": "choice", "options": [{"value": "tea", "label": "Tea"}, {"value": "milk", "label": "Milk"}, {"value": "none", "label": "None of these"}]},
        "things": {"type": "choices", "at_most": 2, "options": [{"value": "tea", "label": "Tea"}, {"value": "milk", "label": "Milk"}, {"value": "none", "label": "None of these", "exclusive": True}]},
        "alone": {"type": "yesno", "labels": {"true": "Yes", "false": "No"}},
    }  # fmt: skip
    for name in ("where", "code", "paper", "ranked", "town", "secret"):
        assert f"({name}): the question {name} of type" in report
    assert "survey row 3 (weight), constraint: . > 0 – the end of the range is itself accepted" in report


def test_numbered_choices_are_a_likert_only_where_something_says_that_they_are_degrees() -> None:
    choices = [["list_name", "name", "label"]]
    choices += [["sex", value, label] for value, label in [(0, "Female"), (1, "Male"), (2, "Other")]]
    choices += [["often", value, label] for value, label in [(3, "Often"), (2, "Sometimes"), (1, "Never")]]
    choices += [["gap", value, f"v{value}"] for value in (1, 2, 99)]
    carried = xlsform(
        [HEADER, row("select_one sex", "sex"), row("select_one often", "a"), row("select_one often", "b"), row("select_one gap", "c", appearance="likert")],
        choices,
    )  # fmt: skip
    by_name = items(carried)
    assert {name: by_name[name]["type"] for name in by_name} == {
        "sex": "choice",
        "a": "likert",
        "b": "likert",
        "c": "choice",
    }
    assert list(by_name["a"]["labels"]) == ["1", "2", "3"]
    assert [option["value"] for option in by_name["sex"]["options"]] == [0, 1, 2]
    assert "the order of its choices – shown from 1 to 3" in lost(carried)
    assert any(note.startswith("Likert: a, b,") for note in carried.notes)
    assert any(note.startswith("Choice (a category in the data): sex.") for note in carried.notes)


def test_a_condition_that_cannot_be_carried_over_shows_its_item_to_everybody_who_may_skip_it() -> None:
    carried = xlsform(
        [
            HEADER,
            row("date", "since"),
            row("text", "late", relevant="${since} < today()", required="yes"),
            row("text", "fine", relevant="${since} < '2026-01-01'", required="yes"),
            ["begin_group", "g", "G", "regex(${late}, '^a')"],
            row("integer", "inside", required="yes"),
            ["end_group"],
        ]
    )
    by_name = items(carried)
    assert "show_if" not in by_name["late"]
    assert by_name["late"]["required"] is False
    assert by_name["inside"]["required"] is False
    assert by_name["fine"]["show_if"] == 'since < "2026-01-01"'
    assert "required" not in by_name["fine"]
    assert "survey row 3 (late), relevant: the condition ${since} < today() – always shown, and may be skipped: today() has no counterpart here" in lost(carried)  # fmt: skip
    assert "survey row 5 (g), relevant: the condition regex(" in lost(carried)


def test_a_condition_that_nobody_can_meet_is_told_and_taken_out() -> None:
    carried = xlsform(
        [HEADER, row("integer", "age", constraint=". >= 0 and . <= 99"), row("text", "old", relevant="${age} > 150")]
    )
    assert "show_if" not in items(carried)["old"]
    assert "survey row 3 (old): show_if age > 150 – left out: can never be true" in lost(carried)


def test_names_that_are_not_ours_are_renamed_everywhere() -> None:
    long = "how_often_did_you_think_about_your_work_this_morning"
    carried = xlsform(
        [
            HEADER,
            row("integer", "Hour"),
            row("integer", long, relevant="${Hour} > 3"),
            row("integer", "_x", label=f"You said ${{{long}}}."),
            row("integer", "العمر"),
        ]
    )
    names = [item["name"] for item in only(carried)["items"]]
    assert names == ["my_hour", long[:40], "q_x", "q"]
    assert items(carried)[long[:40]]["show_if"] == "my_hour > 3"
    assert items(carried)["q_x"]["text"] == f"You said {{{long[:40]}}}."
    assert lost(carried).count("the name") == 4


def test_repeats_files_filters_defaults_and_looks_are_reported() -> None:
    carried = read_file(
        "f.xlsx",
        workbook(
            [
                ["type", "name", "label", "choice_filter", "default", "appearance", "parameters", "image", "constraint_message", "read_only", "note to self", "trigger"],
                ["begin_repeat", "meals", "Meals"],
                ["select_one or_what or_other", "meal", "<b>Meal</b> &amp; drink: a < b", None, "x"],
                ["select_one or_what", "second", "Second", None, None, "minimal", "randomize=true", "a.png", "No!", "yes", "ask Eva", "${meal}"],
                ["end_repeat"],
                ["calculate", "sum", None],
            ][:-1],
            [["list_name", "name", "label", "image"], ["or_what", "x", "X", "x.png"], ["or_what", "y", "Y"]],
            [["form_title", "style"], ["F", "pages"]],
            scratch=[["anything"]],
        ),
    )  # fmt: skip
    report = lost(carried)
    assert items(carried)["meal"]["text"] == "Meal & drink: a < b"
    assert items(carried)["meal_other"]["show_if"] == 'meal == "other"'
    for told in (
        "workbook: the sheets scratch – not read",
        "survey row 2 (meals): the repetition of meals – is asked once",
        "survey row 3 (meal): formatting (b) – the text is kept, plain",
        "survey row 3 (meal), default: x – left out",
        "survey row 4 (second), parameters: randomize",
        "survey, column appearance (minimal): at second",
        "survey, column image: at second",
        "survey, column choices, image: at or_what",
        "survey, column constraint_message: at second",
        "survey, column read_only: at second",
        "survey, column trigger: at second",
        "note to self",
        "settings, style: pages",
        "or_other at meal",
    ):
        assert told in report, told


def test_calculations_that_are_no_score_are_reported_and_written_out_where_conditions_ask() -> None:
    carried = xlsform(
        [
            HEADER,
            row("decimal", "kg"),
            row("decimal", "metres"),
            row("calculate", "bmi", None, calculation="${kg} div (${metres} * ${metres})"),
            row("text", "advice", label="Your BMI is ${bmi}", relevant="${bmi} >= 25"),
        ]
    )
    assert items(carried)["advice"]["show_if"] == "kg / (metres * metres) >= 25"
    assert items(carried)["advice"]["text"] == "Your BMI is …"
    assert "the calculation ${kg} div (${metres} * ${metres}) – left out: it is neither a mean nor a sum" in lost(
        carried
    )
    assert "scales" not in only(carried)


def test_a_group_that_goes_on_after_an_inner_one_gets_a_second_page() -> None:
    carried = xlsform(
        [HEADER, ["begin_group", "a", "A"], row("text", "x"), ["begin_group", "b", "B"], row("text", "y"), ["end_group"], row("text", "z"), ["end_group"]]
    )  # fmt: skip
    assert [page["key"] for page in only(carried)["pages"]] == ["a", "b", "a_2"]
    assert [item["page"] for item in only(carried)["items"]] == ["a", "b", "a_2"]


def test_languages_without_a_code_or_name_get_one_that_says_so() -> None:
    carried = xlsform(
        [["type", "name", "label", "label::Klingon", "label::Français"], ["text", "a", "Hello", "nuqneH", "Bonjour"], ["text", "b", "Bye", None, "Adieu"]]
    )  # fmt: skip
    assert only(carried)["languages"] == ["und", "qaa", "fr"]
    assert items(carried)["b"]["text"] == {"und": "Bye", "qaa": "Bye", "fr": "Adieu"}
    assert any("Klingon is qaa" in note for note in carried.notes)
    assert "language Klingon: no text at survey row 3 (b)" in lost(carried)


def test_an_old_workbook_and_a_csv_say_the_same() -> None:
    old = read_file("outdoors.xls", (Path(__file__).parent / "outdoors.xls").read_bytes())
    text = (
        "survey\n,type,name,label,relevant\n,select_one yn,out,Are you outdoors?,\n,integer,walked,How many minutes did you walk?,\"${out} = 'yes'\"\n"
        "choices\n,list_name,name,label\n,yn,yes,Yes\n,yn,no,No\n"
    )
    new = read_file("outdoors.csv", b"\xef\xbb\xbf" + text.encode())
    assert only(old) == only(new)
    assert items(new)["walked"]["show_if"] == "out"
    assert list(old.documents) == ["outdoors"]


@pytest.mark.parametrize(
    ("survey", "choices", "told"),
    [
        ([["name", "label"], ["a", "A"]], (), "type"),
        ([HEADER, row("select_one nowhere", "a")], (), "choices"),
        ([HEADER, row("text", "a", relevant="${b} = 1")], (), "Could not find the name 'b'"),
        ([HEADER, ["begin_group", "g", "G"], row("text", "a")], (), "g"),
        ([HEADER, row("text", "a"), row("text", "a")], (), "a"),
        ([HEADER, row("geopoint", "where")], (), "No question of this form can be carried over"),
    ],
)
def test_a_form_that_pyxform_refuses_is_refused_in_its_words(survey: Any, choices: Any, told: str) -> None:
    with pytest.raises(CannotRead) as refused:
        xlsform(survey, choices)
    assert told in refused.value.detail


def test_a_workbook_without_a_survey_sheet_is_refused() -> None:
    with pytest.raises(CannotRead, match="survey"):
        read_file("f.xlsx", workbook((), [["list_name", "name", "label"], ["a", "b", "c"]], [["form_title"], ["x"]]))
