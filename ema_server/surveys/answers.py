"""Answers to a questionnaire: which items are shown, which answers count, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ema_server.surveys import expressions
from ema_server.surveys.document import Item, Survey
from ema_server.surveys.expressions import Node
from ema_server.surveys.kinds import KINDS, shown_value
from ema_server.surveys.texts import Text, in_language, pipe

LONGEST_RESPONSE_MS = 7 * 24 * 60 * 60 * 1000
NO_FACTS: Mapping[str, Any] = {}


def counted(survey: Survey, answers: Mapping[str, Any], facts: Mapping[str, Any] = NO_FACTS) -> dict[str, Any]:
    """The answers to items that were shown; one to an item behind a condition that does not hold does not count."""
    kept: dict[str, Any] = {}
    for item in survey.items:
        value = answers.get(item.name)
        if value is not None and _holds(survey, item, kept, facts):
            kept[item.name] = value
    return kept


def shown(survey: Survey, answers: Mapping[str, Any], facts: Mapping[str, Any] = NO_FACTS) -> list[Item]:
    """The items that these answers lead to, in the document's order."""
    kept = counted(survey, answers, facts)
    return [item for item in survey.items if _holds(survey, item, kept, facts)]


def unanswered(survey: Survey, answers: Mapping[str, Any], facts: Mapping[str, Any] = NO_FACTS) -> dict[str, bool]:
    """The items that ask and have no answer, each with whether it was shown: skipped, or never asked. Whoever reads open
    answers alone leaves the sealed items aside. Not here is one whose condition asks for a fact that is not known."""
    kept = counted(survey, answers, facts)
    return {
        item.name: _holds(survey, item, kept, facts)
        for item in survey.items
        if item.asks and answers.get(item.name) is None and not _asks_unknown(survey, item, facts)
    }


def faults(
    survey: Survey, answers: Mapping[str, Any], *, complete: bool, facts: Mapping[str, Any] = NO_FACTS
) -> list[str]:
    """Why these answers do not fit: which item, which value, what would be accepted; nothing where they do.

    `complete` answers hold every required item that was shown. Where a condition asks for a fact that is not known
    (an answer without a prompt has no day), the item behind it may be answered and need not be.
    """
    found = [
        f"{name[:40]}: this version of the questionnaire has no such item."
        for name in answers
        if name not in survey.by_name
    ]
    kept: dict[str, Any] = {}
    for item in survey.items:
        value = answers.get(item.name)
        if value is not None:
            fault = KINDS[item.type].value_fault(item, value)
            if fault:
                found.append(f"{item.name}: {fault}")
                continue
        if value is None and not (complete and item.required and item.asks):
            continue
        if not _holds(survey, item, kept, facts):
            continue
        if value is None:
            if not _asks_unknown(survey, item, facts):
                found.append(f"{item.name}: an answer is required.")
        else:
            kept[item.name] = value
    return found


def order_faults(survey: Survey, order: Any) -> list[str]:
    """What is wrong with the order in which a phone says that it showed the items. Any order may be told: it is evidence."""
    if not isinstance(order, Sequence) or isinstance(order, str):
        return ["shown: send the list of the items' names, as they were shown."]
    unknown = next((name for name in order if not isinstance(name, str) or name not in survey.by_name), None)
    if unknown is not None:
        return [f"shown: this version of the questionnaire has no item {str(unknown)[:40]!r}."]
    return ["shown: an item is there twice."] if len(set(order)) < len(order) else []


def response_time_faults(survey: Survey, times: Mapping[str, Any]) -> list[str]:
    """What is wrong with the milliseconds that a phone says each item took, from shown to last answered."""
    found = []
    for name, took in times.items():
        if name not in survey.by_name:
            found.append(f"response_ms: this version of the questionnaire has no item {name[:40]!r}.")
        elif not isinstance(took, int) or isinstance(took, bool) or not 0 <= took <= LONGEST_RESPONSE_MS:
            found.append(
                f"response_ms.{name}: {shown_value(took)} is none; send whole milliseconds from 0 to {LONGEST_RESPONSE_MS}."
            )
    return found


def worded(
    text: Text,
    survey: Survey,
    *,
    answers: Mapping[str, Any],
    facts: Mapping[str, Any] = NO_FACTS,
    language: str | None = None,
) -> str:
    """A text in a language, with what was answered piped in."""

    def in_words(name: str) -> str | None:
        value = facts.get(name[1:]) if name.startswith("@") else answers.get(name)
        item = survey.by_name.get(name)
        return None if value is None else answer_in_words(item, value, survey, language) if item else str(value)

    return pipe(in_language(text, language, survey.languages), in_words)


def answer_in_words(item: Item, value: Any, survey: Survey, language: str | None = None) -> str:
    """An answer as a person reads it: options and values by their labels."""

    def label(each: Any) -> str:
        option = item.option(each)
        key = str(each).lower() if isinstance(each, bool) else f"{each:g}" if isinstance(each, float) else str(each)
        text = option.label if option else item.labels.get(key)
        return in_language(text, language, survey.languages) if text is not None else key

    return ", ".join(label(each) for each in value) if isinstance(value, list) else label(value)


def _conditions(survey: Survey, item: Item) -> list[Node]:
    page = survey.pages[item.page].show_if if item.page is not None else None
    return [condition for condition in (page, item.show_if) if condition is not None]


def _holds(survey: Survey, item: Item, kept: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    if item.show_if is None and item.page is None:
        return True
    return all(
        expressions.holds(condition, kept, facts) or _unknown(condition, facts)
        for condition in _conditions(survey, item)
    )


def _unknown(condition: Node, facts: Mapping[str, Any]) -> bool:
    return any(facts.get(name) is None for name in expressions.facts(condition))


def _asks_unknown(survey: Survey, item: Item, facts: Mapping[str, Any]) -> bool:
    return any(_unknown(condition, facts) for condition in _conditions(survey, item))
