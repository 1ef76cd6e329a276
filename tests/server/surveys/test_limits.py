"""What somebody may paste, upload or send costs seconds at most: a page's request must not hold a web process."""

from __future__ import annotations

import json
import re
from io import BytesIO
from time import process_time
from typing import Any

import openpyxl
import pytest

from ema_server.studies.drafts import merged, side_by_side
from ema_server.surveys import preview
from ema_server.surveys.answers import faults as answer_faults
from ema_server.surveys.document import read
from ema_server.surveys.exchange import CannotRead, wording
from ema_server.surveys.exchange.drafting import Draft
from ema_server.surveys.exchange.wording import LONGEST_NAME, Names
from ema_server.surveys.faults import MOST_TOLD, faults
from ema_server.surveys.files import texts_in
from ema_server.surveys.typed import read_typed

SECONDS = 4.0  # of this processor: each took above 7 and up to hours before it was bounded, and takes below 1.5 now


def _document(**more: Any) -> dict[str, Any]:
    return {"title": "t", "items": [{"name": "a", "type": "yesno", "text": "t"}], **more}


def _slider(number: int, **more: Any) -> dict[str, Any]:
    return {"name": f"a{number}", "type": "slider", "range": [0, 100], "text": "t", **more}


JUNK = {
    "a key many times": "{" + ",\n".join(['"a":1'] * 100_000) + "}",
    "unknown keys": json.dumps({f"k{n}": 1 for n in range(60_000)}, indent=0),
    "languages": json.dumps(_document(languages=[f"aa-a{n:05d}" for n in range(60_000)])),
    "pages": json.dumps(_document(pages=[{"key": f"p{n}"} for n in range(45_000)])),
    "labels": json.dumps({"title": "t", "items": [_slider(0, labels={f"{n}x": "x" for n in range(60_000)})]}),
    "one long label": json.dumps({"title": "t", "items": [_slider(0, labels={" (" * 200_000: "x"})]}),
    "conditions that need a proof": json.dumps(
        {
            "title": "t",
            "items": [
                *(_slider(n) for n in range(6)),
                *(
                    _slider(n, show_if=" and ".join(f"a{of} < {n + k}" for of in range(3) for k in range(9)) + " and a0 > 900")
                    for n in range(10, 300)
                ),
            ],
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", JUNK)
def test_a_megabyte_of_junk_is_told_in_seconds_and_in_few_faults(what: str) -> None:
    began = process_time()
    typed = read_typed(JUNK[what])
    assert process_time() - began < SECONDS
    assert 0 < len(typed.faults) <= 2 * MOST_TOLD + 3


def test_faults_beyond_those_that_are_told_are_not_forgotten() -> None:
    found = faults({f"k{n}": 1 for n in range(MOST_TOLD + 5)})
    assert len(found) == MOST_TOLD + 1
    assert "mend them first" in found[-1].message


@pytest.mark.parametrize("chosen", [15, 40])
def test_many_choices_in_one_condition_are_neither_a_bomb_nor_called_impossible(chosen: int) -> None:
    condition = " and ".join(f"selected(c,{n})" for n in range(chosen))
    items = [{"name": "c", "type": "choices", "options": list(range(50)), "text": "t"}, _slider(1, show_if=condition)]
    assert faults({"title": "t", "items": items}) == []


def test_a_likert_of_a_million_points_is_refused_since_each_would_be_drawn() -> None:
    found = faults({"title": "t", "items": [{"name": "a", "type": "likert", "range": [0, 10**15], "text": "t"}]})
    assert [fault.place for fault in found] == ["items[0] (a).range"]
    assert "slider" in found[0].message


@pytest.mark.parametrize("key", ["1_0", " 1 ", "1e0", "+1", "١", "nan"])
def test_a_label_belongs_to_a_value_as_it_is_written(key: str) -> None:
    found = faults({"title": "t", "items": [_slider(0, labels={key: "x"})]})
    assert ["is no number" in fault.message for fault in found] == [True]


def test_other_alphabets_digits_are_no_numbers_of_a_condition_nor_of_a_time() -> None:
    found = faults({"title": "t", "items": [_slider(0), _slider(1, show_if="a0 > ١")]})
    assert "means nothing here" in found[0].message
    survey = read({"title": "t", "items": [{"name": "a", "type": "time", "text": "t"}]})
    assert answer_faults(survey, {"a": "0٣:1٢"}, complete=True)


def test_a_long_answer_piped_in_often_does_not_fill_the_memory() -> None:
    items = [{"name": "a", "type": "text", "text": "t"}]
    items += [{"name": f"b{n}", "type": "yesno", "text": "{a}" * 200, "page": "p"} for n in range(200)]
    survey = read({"title": "t", "pages": [{"key": "p"}], "items": items})
    screen = preview.screen(survey, {"a.a": ["x" * 10_000]}, at="item:a", move="next")
    assert sum(len(question.text) for question in screen.questions) <= 200 * 5_000


def test_texts_without_common_lines_are_not_compared_for_minutes() -> None:
    left = "\n".join(str(n % 200) for n in range(100_000))
    right = "\n".join(str(n * 7 % 200) for n in range(100_000))
    began = process_time()
    assert len(side_by_side(left, right)) >= 100_000
    assert merged("", left, right).clashes == 1
    assert process_time() - began < SECONDS


def _xlsform(survey: list[list[str]], choices: list[list[str]]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "survey"  # type: ignore[union-attr]
    for row in survey:
        book.active.append(row)  # type: ignore[union-attr]
    sheet = book.create_sheet("choices")
    for row in [["list_name", "name", "label"], *choices]:
        sheet.append(row)
    content = BytesIO()
    book.save(content)
    return content.getvalue()


def test_calculations_within_calculations_are_not_written_out_for_ever() -> None:
    rows = [["type", "name", "label", "calculation", "relevant"], ["integer", "c0", "How?", "", ""]]
    rows += [["calculate", f"c{n}", "", " + ".join([f"${{c{n - 1}}}"] * 30), ""] for n in range(1, 9)]
    rows += [["text", "b", "B", "", "${c8} > 3"]]
    began = process_time()
    brought = texts_in("form.xlsx", _xlsform(rows, []))
    assert process_time() - began < SECONDS
    assert any("too long for a condition" in each for each in brought.lost)


class _Ends:
    """A pattern that counts how much of a text it looked through."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.read = pattern, 0

    def search(self, text: str, start: int) -> re.Match[str] | None:
        found = self.pattern.search(text, start)
        self.read += (found.end() if found else len(text)) - start
        return found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<!--" * 100_000, "<!--" * 100_000),
        ("<script>" * 100_000, ""),
        ("a<!--<style <script" * 50_000, None),
        ("<!-- --><script>x</script>a" * 50_000, "a" * 50_000),
        ("</script><!--" * 50_000 + "-->b", "b"),
        ("<\u017fcript>a</script>b", "ab"),
        ("<!-- <script> --> a </script> b <STYLE>c</Style\n> <!--", "a b <!--"),
    ],
    ids=["comments", "scripts", "all kinds", "pairs", "one end", "another letter", "within each other"],
)
def test_scripts_and_comments_without_an_end_are_each_looked_through_once(
    text: str, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {kind: _Ends(pattern) for kind, pattern in wording._ENDS.items()}
    monkeypatch.setattr(wording, "_ENDS", ends)
    plain, _ = wording.plain(text)
    assert left is None or plain == left
    assert sum(end.read for end in ends.values()) <= len(ends) * len(text)


@pytest.mark.parametrize("text", ["[mood" + "\u2003" * 130_000 + "?", "${" * 60_000])
def test_references_without_an_end_are_brackets(text: str) -> None:
    draft = Draft("redcap" if text.startswith("[") else "xlsform", "t", [], [])
    assert draft.text(text, "here").startswith(text[:3].replace("{", "{{"))


class _Asked(set[str]):
    """A set that counts how often somebody looks into it."""

    times = 0

    def __contains__(self, name: object) -> bool:
        self.times += 1
        return super().__contains__(name)


@pytest.mark.parametrize("theirs", ["mood", "m" * 60, "day"])
def test_names_that_become_alike_are_told_apart_without_trying_all_that_are_taken(theirs: str) -> None:
    names, asked = Names(), _Asked()
    names.taken = asked
    given = [names.take(f"{theirs}_{n}" if n % 2 else theirs) for n in range(3_000)]
    assert len(set(given)) == 3_000
    assert max(map(len, given)) <= LONGEST_NAME
    assert asked.times <= 3 * len(given)


def test_the_first_numbers_follow_each_other_where_the_name_is_cut() -> None:
    names = Names()
    given = [names.take("m" * 60) for _ in range(11)]
    assert [name.removeprefix("m" * 37).lstrip("m") for name in given] == ["", *(f"_{n}" for n in range(2, 12))]


def test_a_list_of_choices_that_many_questions_share_does_not_fill_the_memory() -> None:
    rows = [["type", "name", "label"], *(["select_one l", f"b{n}", "L"] for n in range(900))]
    content = _xlsform(rows, [["l", f"o{n}", "Label " * 800] for n in range(500)])
    with pytest.raises(CannotRead, match="split the form"):
        texts_in("form.xlsx", content)
