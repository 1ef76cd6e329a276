"""Our documents as JSON files."""

from __future__ import annotations

import json

import pytest

from ema_server.surveys.exchange import CannotRead, as_json, read_file

DOCUMENT = {
    "items": [
        {"type": "slider", "range": [0, 100], "labels": {"100": {"nl": "zeer", "en": "very"}, "0": {"nl": "niet", "en": "not"}}, "text": {"nl": "Blij?", "en": "Happy {@day}?"}, "name": "happy"},
        {"name": "thought", "type": "text", "text": {"en": "Thought?", "nl": "Gedachte?"}, "show_if": "happy < 0.5"},
    ],
    "title": {"nl": "Nu", "en": "Now"},
    "languages": ["nl", "en"],
}  # fmt: skip


def test_one_document_has_one_spelling_and_comes_back_as_it_was() -> None:
    text = as_json.write(DOCUMENT)
    assert json.loads(text) == DOCUMENT
    assert as_json.write(json.loads(json.dumps(DOCUMENT, sort_keys=True))) == text
    assert list(json.loads(text)) == ["title", "languages", "items"]
    assert list(json.loads(text)["title"]) == ["nl", "en"]
    assert list(json.loads(text)["items"][0]["labels"]) == ["0", "100"]
    carried = read_file("Right now.json", b"\xef\xbb\xbf" + text.encode())
    assert carried.documents == {"right-now": DOCUMENT}
    assert carried.lost == []


def test_faults_of_a_document_are_told_and_left_in() -> None:
    carried = read_file("x.json", b'{"title": "T", "items": [{"name": "a", "type": "likert", "text": "A"}]}')
    assert [lost.place for lost in carried.lost] == ["items[0] (a).range"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"title": "T",\n "items": [}', "Line 2, column 12: "),
        (b'{"title": "T",\n "items": [1, 2', "the file ends"),
        (b'{"items": [{"name": "stress", "range": [0, 1], "range": [0, 2]}]}', "The key 'range' is there twice in the object of 'stress'"),
        (b"[1]", "is a JSON object"),
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b'{"a": 1e999}', "too large a number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large a number"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 30 + b"]" * 30 + b"}", "nested too deeply"),
        (b'{"title": "a\\u0000b"}', "title: 'a\\x00b' holds a character"),
        (b'{"title": "\\ud800"}', "half a surrogate pair"),
        ('{"title": "Zoë"}'.encode("latin-1"), "Line 1: byte 14 is no UTF-8"),
        (b'{"a": "' + b"x" * 5_000_001 + b'"}', "at most 5 MB"),
    ],
)  # fmt: skip
def test_broken_json_is_refused_with_its_place(content: bytes, told: str) -> None:
    with pytest.raises(CannotRead) as refused:
        read_file("x.json", content)
    assert told in refused.value.detail
