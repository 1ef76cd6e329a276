"""The canonical form that phones can compute, by its published vectors, and twins of what is quick about it."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ema_server.common.batch import raw_parts
from ema_server.common.canonical import key_twice, read_item, rfc8785

VECTORS = json.loads((Path(__file__).resolve().parents[3] / "docs" / "canonical-form.json").read_text())
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: vector["what"])
def test_every_vector_has_its_form_and_that_form_has_itself(vector: dict[str, str]) -> None:
    _, canonical = read_item(vector["sent"].encode(), deepest=20)
    assert canonical.decode() == vector["canonical"]
    assert hashlib.sha256(canonical).hexdigest() == vector["sha256"]
    assert read_item(canonical, deepest=20)[1] == canonical


@pytest.mark.parametrize("vector", VECTORS["rejected"], ids=lambda vector: vector["what"])
def test_what_has_no_form_is_refused_in_words(vector: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        read_item(vector["sent"].encode(), deepest=20)


def test_the_key_that_is_there_twice_is_named() -> None:
    with pytest.raises(ValueError, match=r"^mood: this key is there twice"):
        read_item(b'{"answers": {"mood": 1, "stress": 2, "mood": 1}}', deepest=20)


@settings(max_examples=300, deadline=None)
@given(VALUES, st.booleans())
def test_spelling_changes_nothing(value: Any, ascii_only: bool) -> None:
    try:
        spelt = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    except UnicodeEncodeError:
        return
    if "\\u0000" in json.dumps(value):
        return
    assert read_item(spelt, deepest=20)[1] == rfc8785(value)
    assert json.loads(rfc8785(value), parse_int=float) == json.loads(spelt, parse_int=float)


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_value_and_its_digits_are_the_fewest(number: float) -> None:
    text = rfc8785(number).decode()
    assert float(text) == number
    assert Decimal(text).normalize() == Decimal(repr(number)).normalize()  # Python's digits are the fewest as well
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)


PIECES = st.sampled_from(
    ['"a"', '"b"', ":", " :", ": ", ",", "{", "}", "1", '"\\":"', '"\\u0022:"', '"\\u003a"', '"\\\\"']
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
@example('{"a" :1,"b":"\\u0022:","a":2}')
@example('{"a":"\\":","a" :1}')
def test_counting_colons_finds_what_reading_pair_by_pair_finds(text: str) -> None:
    raw = text.encode()
    try:
        json.loads(raw)
    except ValueError:
        return
    twice, refused = key_twice(raw), ""
    try:
        read_item(raw, deepest=20)
    except ValueError as error:
        refused = str(error)
    assert refused.startswith(f"{twice}: ") if twice is not None else not refused


@settings(max_examples=200, deadline=None)
@given(st.lists(VALUES, max_size=4), VALUES, st.sampled_from(["NaN", '"\\ud800"', "[" * 3000 + "]" * 3000]))
def test_one_member_that_no_decoder_takes_leaves_the_others_as_they_came(good: list[Any], more: Any, bad: str) -> None:
    spelt = [json.dumps(each) for each in good]
    for place in {0, len(spelt) // 2, len(spelt)}:
        parts = [*spelt[:place], bad, *spelt[place:]]
        body = f'{{"more": {json.dumps(more)}, "items": [ {" , ".join(parts)} ]}}'
        assert raw_parts(body.encode(), "items") == [part.encode() for part in parts]


@pytest.mark.parametrize(
    "body",
    [
        '{"items": [1], "items": [2]}', '{"items": [NaN], "items": [1]}', '{"a": 1, "a": 2, "items": []}', '{"items": {}}',
        '{"items": null}', "{}", "[]", "null", '"items"', "", "{", '{"items": [NaN]', '{"items": [NaN}]', '{"items": [NaN,]}',
        '{"items": [NaN] x}', '{"x": NaN "items": [NaN]}', '{"items": ["', '{"more": {"items": [NaN]}}', '\ufeff{"items": [1]}',
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused_whole(body: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        raw_parts(body.encode(), "items")
