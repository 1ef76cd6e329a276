"""The validator: every fault of a questionnaire, with its place."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ema_server.reports import dataset
from ema_server.surveys.columns import RESERVED
from ema_server.surveys.faults import faults
from ema_server.surveys.schema import JSON_SCHEMA
from tests.server.surveys.documents import MOOD, asking, slider

VALIDATOR = jsonschema.Draft202012Validator(JSON_SCHEMA)


def told(document: Any) -> list[str]:
    return [str(fault) for fault in faults(document)]


def test_a_questionnaire_with_everything_has_no_fault() -> None:
    assert told(MOOD) == []


def test_the_example_in_the_documentation_has_no_fault() -> None:
    page = (Path(__file__).parents[3] / "docs" / "questionnaires.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]
    assert told(json.loads(example)) == []


COMPANY = {"name": "company", "type": "choice", "options": ["nobody", "friends"]}


@pytest.mark.parametrize(
    ("document", "place", "words"),
    [
        (["x"], "document", "JSON object"),
        ({"title": "T"}, "items", "at least one item"),
        ({"items": [{"name": "a", "type": "text", "text": "?"}]}, "title", "needs a title"),
        (asking(slider("a"), titel="x"), "titel", "is unknown here; there are alerts, items"),
        (asking(slider("a"), schema="ema-survey/9"), "schema", "this server reads ema-survey/1"),
        (asking(slider("Mood!")), "items[0] (Mood!).name", "lower-case letters"),
        (asking(slider("day")), "items[0] (day).name", "the data use themselves"),
        (asking(slider("a"), slider("a")), "items[1] (a).name", "two items have the name 'a': items[0] and items[1]"),
        (asking({"name": "a", "type": "dance"}), "items[0] (a).type", "'dance' is unknown; one of choice"),
        (asking({"name": "a", "type": ["x"]}), "items[0] (a).type", "is unknown"),
        (asking(slider("a", range=[5, 1])), "items[0] (a).range", "low below high"),
        (asking(slider("a", range=[0, float("nan")])), "items[0] (a).range", "no range"),
        (asking({"name": "a", "type": "likert", "range": [1, 2.5]}), "items[0] (a).range", "no range"),
        (asking(slider("a", step=-1)), "items[0] (a).step", "above 0"),
        (asking(slider("a", labels={"200": "x"})), "items[0] (a).labels['200']", "outside the range 0 to 100"),
        (asking(slider("a", options=[1])), "items[0] (a).options", "is unknown here"),
        (asking({"name": "a", "type": "choice"}), "items[0] (a).options", "needs a list of options"),
        (asking({**COMPANY, "options": ["x", "x"]}), "items[0] (company).options[1]", "two options have the value 'x'"),
        (asking({**COMPANY, "options": ["x", 1]}), "items[0] (company).options", "not some of each"),
        (asking({**COMPANY, "options": [True]}), "items[0] (company).options[0]", "True is no option"),
        (asking({**COMPANY, "type": "choices", "at_least": 3}), "items[0] (company).at_least", "write 1 to 2"),
        (asking({"name": "a", "type": "media"}), "items[0] (a).kind", "photo, audio, video"),
        (asking({"name": "a", "type": "time", "range": ["25:00", "26:00"]}), "items[0] (a).range", "no range"),
        (asking(slider("a", show_if="b > 3")), "items[0] (a).show_if", "there is no item 'b'"),
        (asking(slider("a", show_if="a > 3")), "items[0] (a).show_if", "asks about itself"),
        (asking(slider("a", show_if="b > 3"), slider("b")), "items[0] (a).show_if", "'b' comes later"),
        (asking(slider("a"), slider("b", show_if="a >")), "items[1] (b).show_if", "at character 4"),
        (asking(slider("a"), slider("b", show_if="a")), "items[1] (b).show_if", "gives a number, not a condition"),
        (asking(slider("a"), slider("b", show_if="a > 100")), "items[1] (b).show_if", "nobody would see this item"),
        (asking(slider("a"), slider("b", show_if="a" * 1_000_000)), "items[1] (b).show_if", "1,000,000"),
        (
            asking(slider("a"), slider("b", page="p"), pages=[{"key": "p", "show_if": "a > 100"}]),
            "pages[0] (p).show_if",
            "nobody would see this page",
        ),
        (
            asking(slider("a"), slider("b", page="p", show_if="a > 50"), pages=[{"key": "p", "show_if": "a < 50"}]),
            "items[1] (b).show_if",
            "together with its page's show_if",
        ),
        (asking(slider("a"), pages=[{"key": "p"}]), "pages[0] (p)", "no item is on this page"),
        (asking(slider("a", page="q")), "items[0] (a).page", "there is no page 'q'"),
        (
            asking(slider("a", page="p"), slider("b"), slider("c", page="p"), pages=[{"key": "p"}]),
            "items[2] (c).page",
            "must follow one another",
        ),
        (
            asking(
                slider("a", page="p"), slider("b", page="p", show_if="a > 1"), pages=[{"key": "p", "order": "random"}]
            ),
            "items[1] (b).show_if",
            "whose order is random",
        ),
        (asking(slider("a", text={"en": "A"})), "items[0] (a).text", 'needs "languages"'),
        (
            asking(slider("a", text={"en": "A"}), languages=["en", "nl"]),
            "items[0] (a).text",
            "the translation is missing: nl",
        ),
        (
            asking(slider("a", text={"en": "A", "fr": "A"}), languages=["en"]),
            "items[0] (a).text",
            "'fr' is none of the questionnaire's languages",
        ),
        (asking(slider("a", text="{b}?")), "items[0] (a).text", "there is no item of this name"),
        (asking(slider("a", text="{b}?"), slider("b")), "items[0] (a).text", "only the answer to an earlier item"),
        (asking(slider("a", text="{ oops")), "items[0] (a).text", "a brace stands alone"),
        (asking(slider("a", text="  ")), "items[0] (a).text", "is empty"),
        (asking(slider("a"), scales=[{"key": "s", "items": ["a", "b"]}]), "scales[0] (s).items", "no item 'b'"),
        (
            asking(slider("a"), slider("b", range=[1, 7]), scales=[{"key": "s", "items": ["a", "b"]}]),
            "scales[0] (s).items",
            "different ranges (a (0, 100), b (1, 7))",
        ),
        (asking(slider("a"), scales=[{"key": "a", "items": ["a"]}]), "scales[0] (a).key", "the name of another item"),
        (
            asking(slider("a"), scales=[{"key": "s", "items": ["a"], "minimum_answered": 2}]),
            "scales[0] (s).minimum_answered",
            "write 1 to 1",
        ),
        (asking(COMPANY, scales=[{"key": "s", "items": ["company"]}]), "scales[0] (s).items", "is a choice"),
        (
            asking({"name": "a__b", "type": "yesno"}, {"name": "a", "type": "choices", "options": ["b"]}),
            "items",
            "2 columns of the data would be called 'a__b'",
        ),
        (asking(slider("a"), source={"author": "x"}), "source.author", "is unknown here"),
        (
            asking({"name": "drank", "type": "yesno", "sensitive": True}, {**slider("craving"), "show_if": "drank"}),
            "items[1] (craving).show_if",
            "'drank' is sealed, and who sees this item would show what was answered",
        ),
        (
            asking(
                {"name": "why", "type": "text"},
                {**slider("weight"), "page": "p"},
                pages=[{"key": "p", "show_if": "answered(why)"}],
            ),
            "items[1] (weight).page",
            "'why' is sealed",
        ),
    ],
)
def test_a_fault_has_its_place_and_says_what_would_be_accepted(document: Any, place: str, words: str) -> None:
    found = faults(document)
    assert any(fault.place == place and words in fault.message for fault in found), told(document)


def test_what_is_sealed_or_read_may_depend_on_what_is_sealed() -> None:
    drank, amount = {"name": "drank", "type": "yesno", "sensitive": True}, {**slider("amount"), "show_if": "drank"}
    thanks = {"name": "thanks", "type": "information", "show_if": "drank"}
    assert told(asking(drank, {**amount, "sensitive": True}, thanks)) == []


def test_conditions_in_a_circle_are_called_a_circle() -> None:
    document = asking(
        slider("a", show_if="c > 1"), slider("b", show_if="a > 1"), slider("c", show_if="b > 1"), slider("d")
    )
    circles = [fault for fault in faults(document) if "a circle" in fault.message]
    assert [str(fault) for fault in circles] == [
        "items[0] (a).show_if: a circle: a → c → b → a; each waits for the next."
    ]


def test_all_faults_are_told_at_once() -> None:
    document = asking(slider("a", range=[9, 1]), {"name": "b", "type": "dance"}, {"name": "A", "type": "text"}, more=1)
    assert len(told(document)) == 4


def test_the_names_of_the_data_are_reserved() -> None:
    assert {each.name for each in (*dataset.PROMPT, *dataset.PLACES, *dataset.CLOCK)} <= RESERVED


def long_questionnaire(items: int) -> dict[str, Any]:
    return asking(
        *[slider(f"i{n}", **({"show_if": f"i{n - 1} > 10 and @day >= 2"} if n % 3 == 2 else {})) for n in range(items)],
        scales=[{"key": f"s{n}", "items": [f"i{n}", f"i{n + 1}"]} for n in range(0, items - 1, 6)],
    )


def test_a_questionnaire_of_1000_items_is_read_in_time_in_proportion() -> None:
    began = time.process_time()
    assert told(long_questionnaire(1000)) == []
    assert time.process_time() - began < 10  # 0.1 s here: a cost by pairs of items would take minutes


@pytest.mark.parametrize("document", [MOOD, long_questionnaire(60), asking(slider("a"))])
def test_what_can_be_published_fits_the_json_schema(document: Any) -> None:
    VALIDATOR.validate(document)


JUNK: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inside for place in places(each, (*path, key)))]


PLACES = [place for place in places(MOOD) if place]


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JUNK)
def test_a_document_with_anything_anywhere_is_judged_and_what_passes_fits_the_schema(place: Any, junk: Any) -> None:
    document = copy.deepcopy(MOOD)
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = junk
    if not faults(document):
        VALIDATOR.validate(document)


@settings(max_examples=100)
@given(JUNK)
def test_anything_at_all_is_judged(junk: Any) -> None:
    faults(junk)
    faults({"title": "T", "items": junk, "pages": junk, "scales": junk, "languages": junk})
