"""REDCap data dictionaries, as REDCap exports them, into documents that can be published."""

from __future__ import annotations

from typing import Any

import pytest

from ema_server.surveys.exchange import CannotRead, read_file
from ema_server.surveys.exchange.tables import COLUMNS
from tests.server.surveys.exchange.forms import dictionary, items, lost, only, redcap, sound

NEVER = "0, Not at all | 1, Several days | 2, More than half the days | 3, Nearly every day"


def field(name: str, kind: str = "text", label: str | None = None, **cells: str) -> dict[str, str]:
    return {"field_name": name, "field_type": kind, "field_label": name if label is None else label, **cells}


def test_each_form_is_a_questionnaire_with_pages_scales_and_branching() -> None:
    carried = redcap(
        field("age", form_name="demographics", text_validation_type_or_show_slider_number="integer", text_validation_min="18", text_validation_max="99", required_field="y"),
        field("email", form_name="demographics", text_validation_type_or_show_slider_number="email", identifier="y"),
        field("sex", "radio", form_name="demographics", select_choices_or_calculations="0, Female | 1, Male | 2, Other"),
        field("smokes", "yesno", "Do you <b>smoke</b>, at [age]?", form_name="demographics", section_header="<h3>Habits</h3>"),
        field("cigarettes", form_name="demographics", branching_logic="[smokes] = '1' and [age] >= 18", field_note="per day", text_validation_type_or_show_slider_number="number", text_validation_min="1"),
        field("phq1", "radio", "Little interest", form_name="phq_2", matrix_group_name="phq", section_header="Over the last two weeks", select_choices_or_calculations=NEVER, required_field="y"),
        field("phq2", "radio", "Feeling down", form_name="phq_2", matrix_group_name="phq", select_choices_or_calculations=NEVER, required_field="y"),
        field("total", "calc", "Total", form_name="phq_2", select_choices_or_calculations="[phq1] + [phq2]"),
        field("average", "calc", "Mean", form_name="phq_2", select_choices_or_calculations="round(mean([phq1], [phq2]), 1)"),
        field("symptoms", "checkbox", form_name="phq_2", branching_logic="[total] > 2", select_choices_or_calculations="1, Headache | 2, Nausea, or worse | 99, None of these", field_annotation="@NONEOFTHEABOVE='99' @MAXCHECKED=2"),
        field("bad", "slider", "How bad?", form_name="phq_2", branching_logic="[symptoms(2)] = '1'", select_choices_or_calculations="not at all | so-so | very"),
    )  # fmt: skip
    assert list(carried.documents) == ["demographics", "phq-2"]
    by_name = items(carried)
    assert by_name["age"] == {"name": "age", "type": "number", "step": 1, "range": [18, 99], "text": "age"}
    assert by_name["email"]["sensitive"] is True
    assert by_name["sex"]["type"] == "choice"
    assert by_name["smokes"]["text"] == "Do you smoke, at {age}?"
    assert by_name["smokes_header"]["text"] == "Habits"
    assert by_name["cigarettes"]["show_if"] == "smokes and age >= 18"
    assert by_name["cigarettes"]["hint"] == "per day"
    phq = carried.documents["phq-2"]
    assert phq["title"] == "Phq 2"
    assert phq["pages"] == [{"key": "phq", "title": "Over the last two weeks"}]
    assert (by_name["phq1"]["type"], by_name["phq1"]["range"], by_name["phq1"]["page"]) == ("likert", [0, 3], "phq")
    assert phq["scales"] == [
        {"key": "total", "title": "Total", "items": ["phq1", "phq2"], "score": "sum"},
        {"key": "average", "title": "Mean", "items": ["phq1", "phq2"], "score": "mean", "minimum_answered": 1},
    ]
    assert by_name["symptoms"]["show_if"] == "phq1 + phq2 > 2"
    assert by_name["symptoms"]["at_most"] == 2
    assert by_name["symptoms"]["options"][1:] == [{"value": 2, "label": "Nausea, or worse"}, {"value": 99, "label": "None of these", "exclusive": True}]  # fmt: skip
    assert by_name["bad"]["labels"] == {"0": "not at all", "50": "so-so", "100": "very"}
    assert by_name["bad"]["show_if"] == "selected(symptoms, 2)"
    assert "row 2 (record_id): the record's id – left out" in lost(carried)
    assert "average is no longer rounded." in carried.notes


@pytest.mark.parametrize(
    ("validation", "cells", "expected", "told"),
    [
        ("number_2dp", {}, {"type": "number"}, "number_2dp – a number with any decimals"),
        ("date_dmy", {"text_validation_min": "2024-01-01"}, {"type": "date", "range": ["2024-01-01", "9999-12-31"]}, ""),
        ("date_mdy", {"text_validation_max": "today"}, {"type": "date"}, "Text Validation Max: today – no limit"),
        ("datetime_ymd", {}, {"type": "date"}, "the time of a datetime_ymd"),
        ("time", {"text_validation_min": "06:00"}, {"type": "time", "range": ["06:00", "23:59"]}, ""),
        ("phone", {}, {"type": "text"}, "phone – any text is accepted"),
        ("", {"field_annotation": "@CHARLIMIT='140' @PLACEHOLDER='…' Ask Eva."}, {"type": "text", "max_length": 140}, "@PLACEHOLDER=… – left out"),
    ],
)  # fmt: skip
def test_validated_texts(validation: str, cells: dict[str, str], expected: dict[str, Any], told: str) -> None:
    carried = redcap(field("x", text_validation_type_or_show_slider_number=validation, **cells))
    kept = {key: value for key, value in items(carried)["x"].items() if key in {"type", "range", "max_length"}}
    assert kept == expected
    assert told in lost(carried)


def test_what_has_no_counterpart_is_reported() -> None:
    carried = redcap(
        field("dob", text_validation_type_or_show_slider_number="date_ymd"),
        field("age", "calc", select_choices_or_calculations="rounddown(datediff([dob],'today','y'))"),
        field("adult", "yesno", branching_logic="[age] >= 18", required_field="y"),
        field("scan", "file"),
        field("clinic", "sql", select_choices_or_calculations="select 1"),
        field("seen"),
        field("score", field_annotation="@HIDDEN-SURVEY"),
        field("text", field_annotation="@CALCTEXT(if([adult]='1','x','y'))"),
        field("other", branching_logic="[baseline_arm_1][adult] = '1' or [scan] <> ''"),
        field("asked", "radio", "Is [this] right?", select_choices_or_calculations="a, A | a, B", custom_alignment="RH", matrix_ranking="y", question_number="3"),
        field("asked"),
    )  # fmt: skip
    by_name, report = items(carried), lost(carried)
    assert "show_if" not in by_name["adult"]
    assert by_name["adult"]["required"] is False
    assert by_name["asked"]["text"] == "Is [this] right?"
    assert by_name["asked"]["options"] == [{"value": "a", "label": "A"}]
    assert "asked_2" in by_name
    for told in (
        "row 4 (age): the calculation rounddown(",
        "row 5 (adult), Branching Logic: the condition [age] >= 18 – always shown, and may be skipped",
        "row 6 (scan): scan of type file – left out",
        "row 7 (clinic): clinic of type sql – left out: its choices come from a database",
        "row 9 (score): score with @HIDDEN-SURVEY – left out",
        "row 10 (text): text with @CALCTEXT – left out",
        "row 11 (other), Branching Logic",
        "row 12 (asked): the choice 'a' a second time",
        "column Custom Alignment: at asked",
        "column Matrix Ranking?: at asked",
        "column Question Number (surveys only): at asked",
        "row 13 (asked): the variable 'asked' a second time",
        "row 13 (asked): the name 'asked' – is asked_2 here",
    ):
        assert told in report, told


def test_conditions_that_ask_another_form_are_told() -> None:
    carried = redcap(field("a", form_name="one"), field("b", form_name="two", branching_logic="[a] = 'x'"))
    assert "a is asked in another form, one" in lost(carried)


def test_answers_of_yes_and_no_can_be_summed() -> None:
    carried = redcap(
        field("a", "yesno"), field("b", "truefalse"), field("c", "radio", select_choices_or_calculations="1, Yes | 0, No"),
        field("n", "calc", select_choices_or_calculations="sum([a], [b], [c])"),
    )  # fmt: skip
    assert only(carried)["scales"][0]["items"] == ["a", "b", "c"]
    assert any(note.startswith("n needs all its items") for note in carried.notes)


def test_a_score_over_what_is_sealed_or_of_two_ranges_is_left_out() -> None:
    carried = redcap(
        field("a", "slider", identifier="y"), field("b", "slider"), field("c", "slider", text_validation_max="10"),
        field("m", "calc", select_choices_or_calculations="mean([a], [b])"),
        field("n", "calc", select_choices_or_calculations="mean([b], [c])"),
        field("o", "calc", select_choices_or_calculations="([b] + (99 - [c])) / 2"),
    )  # fmt: skip
    assert "scales" not in only(carried)
    report = lost(carried)
    assert "row 6 (m): scale m – left out: 'a' is sensitive" in report
    assert "row 7 (n): scale n – left out: the items have different ranges" in report
    assert "not turned round within its own range" in report


@pytest.mark.parametrize("change", ["bom", "semicolons", "cp1252", "utf-16", "api", "crlf"])
def test_the_file_may_have_gone_through_a_spreadsheet(change: str) -> None:
    content = dictionary(field("mood", "slider", "How are you, Zoë?"), field("why", "notes"))
    text = content.decode()
    if change == "api":
        for heading, name in COLUMNS.items():
            text = text.replace(f'"{heading}"' if "," in heading else heading, name, 1)
    changed = {
        "bom": b"\xef\xbb\xbf" + content,
        "semicolons": text.replace(",", ";").replace('"Choices; Calculations; OR', '"Choices, Calculations, OR').replace("you;", "you,").encode(),
        "cp1252": text.encode("cp1252"),
        "utf-16": text.encode("utf-16"),
        "api": text.encode(),
        "crlf": content,
    }[change]  # fmt: skip
    carried = sound(read_file("d.csv", changed))
    assert items(carried)["mood"]["text"] == "How are you, Zoë?"
    assert any("cp1252" in note for note in carried.notes) == (change == "cp1252")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'"Variable / Field Name",Form Name\na,b\n', "lacks the column 'Field Type' and 'Field Label'"),
        (dictionary(field("a")).replace(b"Field Note", b"Field Label"), "The column 'Field Label' is there twice"),
        (dictionary(field("")), "Row 3, column 'Variable / Field Name': empty"),
        (dictionary(field("a")) + b",".join([b"x"] * 25), "Row 4 has 25 cells, the header 18"),
        (dictionary(field("a", "file")), "No field of this data dictionary can be carried over"),
        (dictionary(field("a")).split(b"\n")[0], "a header and no field"),
        (b"date,mood\n2026-01-01,3\n", "none of the files that can be read"),
        (b"\0\1\2", "NUL"),
        (b"  \n", "empty"),
        (b"x" * 10_000_001, "at most 10 MB"),
    ],
)
def test_other_files_are_refused(content: bytes, told: str) -> None:
    with pytest.raises(CannotRead) as refused:
        read_file("d.csv", content)
    assert told in refused.value.detail


def test_a_dictionary_of_two_hundred_forms_is_read_and_one_of_more_is_refused() -> None:
    forms = [field(f"f{n}", form_name=f"form_{n}") for n in range(201)]
    assert len(redcap(*forms[:200]).documents) == 200
    with pytest.raises(CannotRead, match=r"'Form Name': 201 forms; .* at most 200"):
        read_file("dictionary.csv", dictionary(*forms))
