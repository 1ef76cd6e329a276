"""What differs between two versions, in words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from ema_server.surveys import examples
from ema_server.surveys.changes import changed_meaning, changes
from ema_server.surveys.document import read
from ema_server.surveys.faults import faults

BEFORE: dict[str, Any] = json.loads(examples.MOMENTARY)


def after(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(BEFORE)
    change(document)
    return document


def _swap(document: dict[str, Any]) -> None:
    items = document["items"]
    items[3], items[5], items[4] = items[5], items[3], items[4]
    items[4], items[5] = items[4], items[5]


NEW = {"name": "tired", "type": "yesno", "text": {"en": "Tired?", "nl": "Moe?"}}
CASES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda d: d["items"].append(NEW), "Item tired is new (yesno): “Tired?”"),
    (lambda d: d["items"].pop(5), "Item happened is removed: “Did anything happen since the last time?”"),
    (lambda d: d["items"][5].update(name="news"), "Item happened is called news now"),
    (lambda d: d["items"][0]["text"].update(nl="Hoe vrolijk?"), "Item cheerful: the text is reworded (nl): “Hoe opgewekt voelt u zich?” → “Hoe vrolijk?”"),
    (lambda d: d["items"][3]["options"].pop(), "Item company: option others (“Other people”) is removed."),
    (lambda d: d["items"][3]["options"].insert(0, {"value": "pet", "label": {"en": "A pet", "nl": "Dier"}}), "Item company: option pet (“A pet”) is new."),
    (lambda d: d["items"][3]["options"].reverse(), "Item company: the options stand in another order: others, friends, family, nobody."),
    (lambda d: d["items"][3]["options"][0]["label"].update(en="No one"), "Item company: the label of option nobody is reworded (en): “Nobody” → “No one”"),
    (lambda d: d["items"][4].pop("show_if"), 'Item pleasant is always shown now; it was shown if company != "nobody".'),
    (lambda d: d["items"][5].update(required=True), "Item happened must be answered now."),
    (lambda d: d["items"][0].update(step=5), "Item cheerful: the step is 5, it was 1."),
    (lambda d: d["items"][4]["labels"].pop("3"), "Item pleasant: the label of 3 is removed: “somewhat”"),
    (_swap, "The items are asked in another order: cheerful, calm, worried, happened, "),
    (lambda d: d["pages"][0].update(order="fixed"), "Page mood is shown in fixed order now."),
    (lambda d: d["scales"][0].update(score="sum"), "Scale wellbeing: the score is sum, it was mean."),
    (lambda d: d["scales"][0].update(reversed=[]), "Scale wellbeing: what is reversed is none, it was worried."),
    (lambda d: d.pop("scales"), "Scale wellbeing is removed."),
    (lambda d: d.update(source={"citation": "us"}), "Only what nobody sees changed"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), CASES)
def test_a_change_is_told_in_words(change: Callable[[dict[str, Any]], object], told: str) -> None:
    said = changes(BEFORE, after(change))
    assert any(told in sentence for sentence in said), said


def test_nothing_is_told_where_nothing_changed() -> None:
    assert changes(BEFORE, copy.deepcopy(BEFORE)) == []


def test_a_new_language_is_one_sentence_and_not_a_page_of_rewordings() -> None:
    def add(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: add(each) for key, each in value.items()}, **({"de": value["en"]} if "en" in value else {})}
        return [add(each) for each in value] if isinstance(value, list) else value

    document = {**add(BEFORE), "languages": ["en", "nl", "de"]}
    assert not faults(document)
    assert changes(BEFORE, document) == ["Language de is new."]
    assert changes(document, BEFORE) == ["Language de is gone."]


def test_meaning_is_type_range_options_and_scoring_and_not_wording() -> None:
    before = read(BEFORE)
    worded = read(
        after(lambda d: d["items"][0].update(text={"en": "Cheerful?", "nl": "Vrolijk?"}, hint={"en": "a", "nl": "b"}))
    )
    assert changed_meaning(before, worded, "cheerful") == []
    assert changed_meaning(before, worded, "wellbeing") == []
    assert changed_meaning(before, worded, "nothing of ours") == []
    narrowed = read(after(lambda d: [item.update(range=[0, 10]) for item in d["items"][:3]]))
    assert len(changed_meaning(before, narrowed, "wellbeing")) == 3
    swapped = read(after(lambda d: d["items"][3]["options"][0].update(label={"en": "Friends", "nl": "Vrienden"})))
    assert "the options would be" in changed_meaning(before, swapped, "company")[0]
