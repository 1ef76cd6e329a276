"""What differs between two versions of a questionnaire, in words for whoever is about to publish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ema_server.surveys.document import Alert, Item, Option, Page, Scale, Survey, read
from ema_server.surveys.texts import Text, in_language

SHORTEST = 60  # characters after which a text is cut in a sentence


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Each change as a sentence, in the order in which people look: the whole, items, order, pages, scales, alerts. Both documents
    are sound ones. Nothing where they ask the same."""
    return _Comparison(before, after).sentences


def changed_meaning(before: Survey, after: Survey, name: str) -> list[str]:
    """How the numbers in this column would mean something else: an item's or scale's answers before and after.

    Rewording, hints, translations and sources are no such change; type, range, options and what a score is made of are.
    """
    scale, item = _scale(before, name), before.by_name.get(name)
    if scale is not None:
        now = _scale(after, name)
        if now is None:
            return [f"the scale {name!r} would be gone"]
        found = [
            f"the scale {name!r}: {what} would be {_said(new)} instead of {_said(old)}"
            for what, old, new in _differences(scale, now, _SCALE_MEANS)
        ]
        return found + [
            each for member in scale.items if member in now.items for each in changed_meaning(before, after, member)
        ]
    if item is None:
        return []
    now_item = after.by_name.get(name)
    if now_item is None:
        return [f"the item {name!r} would be gone"]
    old_facts, new_facts = _item_means(before, item), _item_means(after, now_item)
    return [
        f"the item {name!r}: {what} would be {_said(new_facts[what])} instead of {_said(old_facts[what])}"
        for what in old_facts
        if old_facts[what] != new_facts[what]
    ]


_SCALE_MEANS: Mapping[str, Callable[[Scale], Any]] = {
    "the items": lambda scale: sorted(scale.items),
    "what is reversed": lambda scale: sorted(scale.reversed),
    "the score": lambda scale: scale.score,
    "the fewest answers": lambda scale: scale.minimum_answered,
}


def _item_means(survey: Survey, item: Item) -> dict[str, Any]:
    """What an analysis relies on. An option is its value with its label in the fallback language."""
    return {
        "the type": item.type,
        "the range": item.range,
        "the step": item.step,
        "the unit": item.unit,
        "the options": [_option_words(option, survey) for option in item.options],
        "the labels": {value: in_language(text, None, survey.languages) for value, text in item.labels.items()},
        "whether it is sealed": item.sealed,
    }


class _Comparison:
    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self.before, self.after = read(before), read(after)
        self.conditions = [
            {("Item", each["name"]): each.get("show_if") for each in doc["items"]}
            | {("Page", each["key"]): each.get("show_if") for each in doc.get("pages", ())}
            for doc in (before, after)
        ]
        self.sentences: list[str] = []
        self._whole()
        self._items()
        self._order()
        self._pages()
        self._scales()
        self._alerts()
        if not self.sentences and dict(before) != dict(after):
            self.sentences.append("Only what nobody sees changed: the spelling of the document, or sources.")

    def _say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def _whole(self) -> None:
        self._text("The title", self.before.title, self.after.title)
        for code in self.after.languages:
            if code not in self.before.languages:
                self._say(f"Language {code} is new.")
        for code in self.before.languages:
            if code not in self.after.languages:
                self._say(f"Language {code} is gone.")
        if self.before.languages and self.after.languages and self.before.languages[0] != self.after.languages[0]:
            self._say(f"The fallback language is {self.after.languages[0]}, it was {self.before.languages[0]}.")

    def _items(self) -> None:
        gone = [item for item in self.before.items if item.name not in self.after.by_name]
        new = [item for item in self.after.items if item.name not in self.before.by_name]
        for item in gone:
            heir = next((each for each in new if each.type == item.type and each.text == item.text), None)
            if heir:
                self._say(f"Item {item.name} is called {heir.name} now: the data hold two columns, one for each name.")
                new.remove(heir)
            else:
                self._say(f"Item {item.name} is removed: {self._quoted(item.text, self.before)}")
        for item in new:
            self._say(f"Item {item.name} is new ({_kind(item)}): {self._quoted(item.text, self.after)}")
        for item in self.before.items:
            if item.name in self.after.by_name:
                self._item(item, self.after.by_name[item.name])

    def _item(self, old: Item, new: Item) -> None:
        name = f"Item {old.name}"
        if old.type != new.type:
            self._say(f"{name} is a {_kind(new)} now, it was a {_kind(old)}.")
        self._text(f"{name}: the text", old.text, new.text)
        self._text(f"{name}: the hint", old.hint, new.hint)
        if old.type == new.type:
            for what, before, after in _differences(old, new, _ITEM_FACTS):
                self._say(f"{name}: {what} is {_said(after)}, it was {_said(before)}.")
        if old.required != new.required:
            self._say(f"{name} {'must be answered now' if new.required else 'may be skipped now'}.")
        if old.sensitive != new.sensitive:
            self._say(
                f"{name} is {'sensitive now: its answers are sealed and leave the data' if new.sensitive else 'not sensitive any more: new answers enter the data'}."
            )
        self._condition("Item", old.name)
        if old.page != new.page:
            self._say(f"{name} is {'on page ' + new.page if new.page else 'on a screen of its own'} now.")
        self._options(name, old, new)
        for value in sorted({*old.labels, *new.labels}):
            self._text(f"{name}: the label of {value}", old.labels.get(value), new.labels.get(value))

    def _options(self, name: str, old: Item, new: Item) -> None:
        before, after = ({option.value: option for option in item.options} for item in (old, new))
        for value, option in after.items():
            if value not in before:
                self._say(f"{name}: option {_option_words(option, self.after)} is new.")
            else:
                self._text(f"{name}: the label of option {value}", before[value].label, option.label)
                if before[value].exclusive != option.exclusive:
                    self._say(
                        f"{name}: option {value} {'excludes' if option.exclusive else 'no longer excludes'} the others."
                    )
        for value, option in before.items():
            if value not in after:
                self._say(f"{name}: option {_option_words(option, self.before)} is removed.")
        kept = [[value for value in values if value in before and value in after] for values in (before, after)]
        if kept[0] != kept[1]:
            self._say(f"{name}: the options stand in another order: {', '.join(str(value) for value in after)}.")

    def _order(self) -> None:
        kept = [
            [item.name for item in survey.items if item.name in other.by_name]
            for survey, other in ((self.before, self.after), (self.after, self.before))
        ]
        if kept[0] != kept[1]:
            self._say(f"The items are asked in another order: {_listed(kept[1])}.")

    def _pages(self) -> None:
        for key, page in self.after.pages.items():
            if key not in self.before.pages:
                self._say(f"Page {key} is new{', in random order' if page.order == 'random' else ''}.")
        for key, old in self.before.pages.items():
            now: Page | None = self.after.pages.get(key)
            if now is None:
                self._say(f"Page {key} is removed.")
                continue
            self._text(f"Page {key}: the title", old.title, now.title)
            self._condition("Page", key)
            if old.order != now.order:
                self._say(f"Page {key} is shown in {now.order} order now.")

    def _scales(self) -> None:
        for scale in self.after.scales:
            if _scale(self.before, scale.key) is None:
                self._say(f"Scale {scale.key} is new: the {scale.score} of {_listed(scale.items)}.")
        for old in self.before.scales:
            now = _scale(self.after, old.key)
            if now is None:
                self._say(f"Scale {old.key} is removed.")
                continue
            self._text(f"Scale {old.key}: the title", old.title, now.title)
            for what, before, after in _differences(old, now, _SCALE_MEANS):
                self._say(
                    f"Scale {old.key}: {what} {'are' if what.endswith('s') else 'is'} {_said(after)}, {'they were' if what.endswith('s') else 'it was'} {_said(before)}."
                )

    def _alerts(self) -> None:
        before, after = ({alert.key: alert for alert in survey.alerts} for survey in (self.before, self.after))
        for key, alert in after.items():
            old = before.get(key)
            if old is None:
                self._say(f"Alert {key} is new: it fires if {alert.condition}{_card_words(alert)}.")
                continue
            if old.condition != alert.condition:
                self._say(f"Alert {key} fires if {alert.condition}; it fired if {old.condition}.")
            if old.card != alert.card:
                self._say(
                    f"Alert {key}: the phone shows {f'the {alert.card} card' if alert.card else 'no card'} now when it fires."
                )
        for key, alert in before.items():
            if key not in after:
                self._say(f"Alert {key} is removed; it fired if {alert.condition}.")

    def _condition(self, what: str, key: str) -> None:
        old, new = (conditions.get((what, key)) for conditions in self.conditions)
        name = f"{what} {key}"
        if old == new:
            return
        if new is None:
            self._say(f"{name} is always shown now; it was shown if {old}.")
        else:
            self._say(f"{name} is shown if {new}; it was {'always shown' if old is None else f'shown if {old}'}.")

    def _text(self, what: str, old: Text | None, new: Text | None) -> None:
        """A text that changed, once for each language in which it did."""
        if old == new:
            return
        if old is None or new is None:
            text, survey = (new, self.after) if old is None else (old, self.before)
            self._say(f"{what} is {'new' if old is None else 'removed'}: {self._quoted(text or '', survey)}")
            return
        for code in self.after.languages or ("",):
            before, after = in_language(old, code, self.before.languages), in_language(new, code, self.after.languages)
            known = not code or code in self.before.languages or code == self.after.languages[0]
            if before != after and known:
                self._say(f"{what} is reworded{f' ({code})' if code else ''}: “{_cut(before)}” → “{_cut(after)}”")

    def _quoted(self, text: Text, survey: Survey) -> str:
        return f"“{_cut(in_language(text, None, survey.languages))}”"


_ITEM_FACTS: Mapping[str, Callable[[Item], Any]] = {
    "the range": lambda item: item.range,
    "the step": lambda item: item.step,
    "the unit": lambda item: item.unit,
    "the fewest choices": lambda item: item.at_least,
    "the most choices": lambda item: item.at_most,
    "the longest text": lambda item: item.max_length,
    "what is recorded": lambda item: item.kind,
    "who knows it": lambda item: "the phone" if item.ambient else "the person",
}


def _differences(old: Any, new: Any, facts: Mapping[str, Callable[[Any], Any]]) -> list[tuple[str, Any, Any]]:
    return [(what, fact(old), fact(new)) for what, fact in facts.items() if fact(old) != fact(new)]


def _scale(survey: Survey, key: str) -> Scale | None:
    return next((scale for scale in survey.scales if scale.key == key), None)


def _card_words(alert: Alert) -> str:
    return f", and the phone shows the {alert.card} card" if alert.card else ""


def _kind(item: Item) -> str:
    return f"{item.type}, {_said(item.range)}" if item.range else item.type


def _option_words(option: Option, survey: Survey) -> str:
    label = in_language(option.label, None, survey.languages)
    return f"{option.value}" if label == str(option.value) else f"{option.value} (“{_cut(label)}”)"


def _said(value: Any) -> str:
    """A fact of an item or scale as a sentence holds it."""
    if value is None or value == "" or value == [] or value == {}:
        return "none"
    if isinstance(value, tuple):
        return f"{value[0]} to {value[1]}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} “{_cut(text)}”" for key, text in value.items())
    return _listed(value) if isinstance(value, list) else str(value)


def _listed(names: Iterable[str]) -> str:
    found: Sequence[str] = [str(name) for name in names]
    return ", ".join(found[:12]) + (f" … ({len(found)} in all)" if len(found) > 12 else "")


def _cut(text: str) -> str:
    return text if len(text) <= SHORTEST else text[: SHORTEST - 1] + "…"
