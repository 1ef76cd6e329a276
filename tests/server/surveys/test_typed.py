"""Text as somebody types it: each fault has its line, and what is written can be read again."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from ema_server.surveys import examples
from ema_server.surveys.typed import path_of, read_typed, written


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: document: nothing is written here yet"),
        ('{"title": "t",\n "items": [1,]\n}', "line 2: items: a comma stands before ] with nothing behind it"),
        ('{"title": "t"\n\n"items": []}', 'line 1: document: a comma or } is missing before ‘"items": []}’'),
        ("{'title': 1}", "line 1: document: a key in double quotes is meant"),
        ('{"title" "t"}', 'line 1: document: a colon is missing after "title"'),
        ('{"title": t}', "line 1: title: a value is missing before ‘t}’; texts stand in double quotes"),
        ('{"title": "t', "line 1: title: unterminated string starting"),
        ('{"title": NaN}', "line 1: title: this is no number that can be stored"),
        ('{"title": 1e999}', "line 1: title: this is no number that can be stored"),
        ('{"title": "a\\u0000"}', "line 1: title: this text holds a character that cannot be stored"),
        ('{"title": "\\ud800"}', "line 1: title: this text holds a character that cannot be stored"),
        ('{"title": "t"}\n}', "line 2: document: the questionnaire has ended here"),
        ("[" * 100_000, "this is nested more than 20 levels deep"),
        ('{"title": "t",\n"title": "u", "items": []}', "line 2: title: this key stands here twice; first in line 1."),
        ("[]", "line 1: document: a questionnaire is a JSON object"),
    ],
)
def test_a_fault_of_the_text_is_told_with_its_line(text: str, told: str) -> None:
    typed = read_typed(text)
    assert not typed.sound
    assert any(told in str(fault) for fault in typed.faults), [str(fault) for fault in typed.faults]


def test_a_fault_of_the_document_has_the_line_where_it_is_mended() -> None:
    text = """{
 "title": "t",
 "items": [
  {"name": "a", "type": "slider",
   "range": [5, 1], "text": "A?"},
  {"name": "b", "type": "choice", "text": "B?",
   "options": ["x",
    "x"]},
  {"name": "c",
   "type": "text"}
 ]
}"""
    lines = {fault.place: fault.line for fault in read_typed(text).faults}
    assert lines["items[0] (a).range"] == 5
    assert lines["items[1] (b).options[1]"] == 8
    assert lines["items[2] (c).text"] == 9  # a key that is missing: where its item begins


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("title", ("title",)),
        ("items[3] (stress).range", ("items", 3, "range")),
        ("items[0] (a).b) (c).text", ("items", 0, "text")),
        ("items[2] (x).labels['7']", ("items", 2, "labels", "7")),
        ("items[2] (x).options[1].label", ("items", 2, "options", 1, "label")),
    ],
)
def test_a_place_is_a_path(place: str, path: tuple[str | int, ...]) -> None:
    assert path_of(place)[: len(path)][0] == path[0]
    if "b)" not in place:
        assert path_of(place) == path


def test_what_is_written_is_read_again_as_it_was() -> None:
    document = json.loads(examples.MOMENTARY)
    assert read_typed(examples.MOMENTARY).sound
    assert json.loads(written(document)) == document
    shuffled = json.loads(json.dumps(document, sort_keys=True))
    assert written(shuffled) == written(document)
    for line in written(document).splitlines():
        assert len(line) < 160


def test_anything_at_all_is_read_or_refused_in_words() -> None:
    rng = random.Random(6)
    for _ in range(400):
        text = list(examples.MOMENTARY)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(text))
            text[place : place + rng.randint(0, 5)] = rng.choice(
                ['"', "{", "}", "[", "]", ",", ":", "\\", "\n", "0", "é", "null"]
            )
        typed = read_typed("".join(text))
        try:
            value: Any = json.loads("".join(text))
        except ValueError:
            assert typed.document is None
            assert typed.faults
        else:
            assert typed.document == value or not isinstance(value, dict)
