"""A questionnaire of 60 items: judged as a document, and as answers."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from bench.result import Result, Verdict, clock
from ema_server.surveys import answers
from ema_server.surveys.document import read
from ema_server.surveys.faults import faults

ITEMS = 60
LANGUAGES = ["en", "nl", "ar"]


def questionnaire() -> dict[str, Any]:
    """All that costs time: three languages, labels, piping, a page in random order, a condition on each third item, scales."""

    def text(words: str) -> dict[str, str]:
        return {language: f"{language}: {words}" for language in LANGUAGES}

    def item(number: int) -> dict[str, Any]:
        name = f"item_{number}"
        asked: dict[str, Any] = {"name": name, "type": "likert", "range": [1, 7], "text": text(f"Statement {number}")}
        asked["labels"] = {"1": text("not at all"), "7": text("very much")}
        if number % 10 == 1:
            asked |= {"type": "choice", "options": [{"value": f"o{n}", "label": text(f"Option {n}")} for n in range(6)]}
            del asked["range"], asked["labels"]
        elif 20 <= number < 30:
            asked["page"] = "mood"
        elif number % 3 == 2 and number > 3:
            asked["show_if"] = f'item_{number - 1} > 3 and (@day >= 2 or item_1 in ["o1", "o2"]) or item_2 < 2'
            asked["text"] = text(f"You said {{item_{number - 1}}}: statement {number}")
        return asked

    items = [item(number) for number in range(ITEMS)]
    for each in items:  # a condition asks about numbers alone here
        if f"item_{int(each['name'][5:]) - 1}" in {f"item_{n}" for n in range(1, ITEMS, 10)} and "show_if" in each:
            each["show_if"] = "@day >= 2"
    scales = [{"key": f"scale_{n}", "items": [f"item_{n + 2}", f"item_{n + 3}"]} for n in range(0, 50, 10)]
    return {
        "title": text("Many statements"),
        "languages": LANGUAGES,
        "pages": [{"key": "mood", "order": "random"}],
        "items": [each for each in items if each.get("page")] + [each for each in items if not each.get("page")],
        "scales": scales,
    }


def survey_60(quick: bool) -> Result:
    document = questionnaire()
    assert not faults(document), faults(document)
    survey = read(document)
    given = {item.name: item.options[0].value if item.options else 4 for item in survey.items}
    assert not answers.faults(survey, given, complete=True, facts={"day": 3})
    sides: dict[str, Callable[[], object]] = {
        "ours": lambda: faults(document),
        "read": lambda: read(document),
        "answers": lambda: answers.faults(survey, given, complete=True, facts={"day": 3}),
    }
    rounds = 50 if quick else 400
    seconds = {name: [_time(call) for _ in range(rounds)] for name, call in sides.items()}
    middle = median(seconds["ours"])
    return Result(
        "survey-60",
        f"A questionnaire of {ITEMS} items, validated",
        {
            "ours": "faults(document)",
            "read": "read(document)",
            "answers": "answers.faults(survey, given, complete=True)",
        },
        seconds,
        [
            Verdict("at most 5 ms", clock(middle), middle <= 0.005),
            Verdict("(its answers judged)", clock(median(seconds["answers"])), None),
        ],
    )


def _time(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
