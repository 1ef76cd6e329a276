"""A questionnaire as a phone shows it, one screen after the other, from fields as a form sends them. Nothing is kept.

A form's field for the answer to item `stress` is `a.stress`, for the fact `@day` it is `f.day`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ema_server.surveys import answers as rules
from ema_server.surveys import expressions
from ema_server.surveys.alerts import fired
from ema_server.surveys.document import Item, Survey
from ema_server.surveys.expressions import FACTS
from ema_server.surveys.faults import LONGEST
from ema_server.surveys.order import shown_order
from ema_server.surveys.scores import scores
from ema_server.surveys.texts import Text, direction, each_string, piped_names

Fields = Mapping[str, Sequence[str]]
Move = Literal["stay", "next", "back", "start"]

MOST_POINTS = 11  # of a Likert item that are drawn one below the other; more stand in a list to choose from
USUAL_FACTS = {"day": 1, "prompt": 1, "weekday": 1, "hour": 12, "practice": False}


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to tap: its value as the form sends it, what is written on it, whether it is chosen."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One item as it stands on the screen."""

    name: str
    type: str
    text: str
    hint: str
    required: bool
    value: str
    choices: list[Choice]
    low: str = ""
    high: str = ""
    step: str = "any"
    low_label: str = ""
    high_label: str = ""
    unit: str = ""
    longest: int | None = None
    kind: str = ""
    fault: str = ""

    @property
    def field(self) -> str:
        return f"a.{self.name}"


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A fact that the questionnaire asks for, and what the preview takes it to be."""

    name: str
    kind: str
    value: str


@dataclass(frozen=True)
class Screen:
    """What the phone shows now. At the end there are no questions, but what the answers come to."""

    key: str
    number: int
    of: int
    title: str
    questions: list[Question]
    language: str
    direction: str
    seed: int
    facts: list[KnownFact]
    carried: list[tuple[str, str]]  # fields of the other screens, so that the form sends them again
    order: list[str] = field(default_factory=list)
    scores: list[tuple[str, str]] = field(default_factory=list)
    answered: list[tuple[str, str]] = field(default_factory=list)
    alerts: list[tuple[str, str, str]] = field(default_factory=list)
    """Those that these answers fire, on whichever screen somebody is: key, condition, the card that the phone shows."""

    @property
    def ended(self) -> bool:
        return not self.questions

    @property
    def steps(self) -> list[bool]:
        """The bar above the question: one part for each screen, filled up to here."""
        return [place < self.number for place in range(self.of)]


def screen(
    survey: Survey, fields: Fields, *, at: str = "", move: Move = "start", language: str = "", seed: int = 1
) -> Screen:
    """The screen to which a move leads from the one at which somebody is. Who leaves one that is not answered, stays."""
    walk = _Walk(survey, fields, language if language in survey.languages else next(iter(survey.languages), ""), seed)
    if move == "start":
        return walk.show(0)
    place = walk.place_of(at)
    faults = walk.faults_at(place) if move == "next" else {}
    if move == "next" and not faults:
        place += 1
    elif move == "back":
        place = max(place - 1, 0)
    return walk.show(place, faults)


def every_screen(survey: Survey, *, language: str = "", seed: int = 1) -> list[Screen]:
    """All screens that conditions may lead to, nothing answered: for reading a questionnaire through."""
    walk = _Walk(
        survey,
        {},
        language if language in survey.languages else next(iter(survey.languages), ""),
        seed,
        everything=True,
    )
    return [walk.show(place) for place in range(len(walk.screens))]


def given_answers(survey: Survey, fields: Fields) -> dict[str, Any]:
    """Answers from the texts that a form sends; what cannot be read stays a text, for the rules to refuse."""
    given = {item.name: _answer(item, fields.get(f"a.{item.name}", ())) for item in survey.items if item.asks}
    return {name: value for name, value in given.items() if value is not None}


def given_facts(survey: Survey, fields: Fields) -> dict[str, Any]:
    """The facts that the questionnaire asks for or tells, as the form gives them, else as they usually are."""
    found: dict[str, Any] = {}
    for name in asked_facts(survey):
        given = next(iter(fields.get(f"f.{name}", ())), None)
        value = USUAL_FACTS.get(name) if given is None else _fact(name, given.strip())
        if value is not None:
            found[name] = value
    return found


def asked_facts(survey: Survey) -> list[str]:
    """The facts in conditions, alerts and texts, in the order of the format's list."""
    texts: list[Text | None] = []
    for item in survey.items:
        texts += [item.text, item.hint, *item.labels.values(), *(option.label for option in item.options)]
    piped = {name[1:] for text in texts for each in each_string(text) for name in piped_names(each) if name[0] == "@"}
    alerts = {name for alert in survey.alerts for name in expressions.facts(alert.when)}
    return [name for name in FACTS if name in piped | survey.facts | alerts]


class _Walk:
    """One look at a questionnaire: the screens that these answers lead through, in this order."""

    def __init__(self, survey: Survey, fields: Fields, language: str, seed: int, *, everything: bool = False) -> None:
        self.survey, self.fields, self.language, self.seed = survey, fields, language, seed
        self.answers = given_answers(survey, fields)
        self.facts = given_facts(survey, fields)
        self.order = shown_order(survey, seed=str(seed).encode())
        self.kept = rules.counted(survey, self.answers, self.facts)
        shown = {item.name for item in (survey.items if everything else rules.shown(survey, self.answers, self.facts))}
        self.screens: list[tuple[str, list[Item]]] = []
        for name in self.order:
            item = survey.by_name[name]
            key = f"page:{item.page}" if item.page else f"item:{name}"
            if name not in shown:
                continue
            if self.screens and self.screens[-1][0] == key:
                self.screens[-1][1].append(item)
            else:
                self.screens.append((key, [item]))

    def place_of(self, key: str) -> int:
        """Where the screen of this key stands now; the last one it may have been where its condition no longer holds."""
        if key == "end":
            return len(self.screens)
        keys = [each for each, _ in self.screens]
        return keys.index(key) if key in keys else 0

    def faults_at(self, place: int) -> dict[str, str]:
        if place >= len(self.screens):
            return {}
        here = {item.name for item in self.screens[place][1]}
        told = rules.faults(self.survey, self.answers, complete=True, facts=self.facts)
        found = (fault.partition(": ") for fault in told)
        return {name: message[:1].upper() + message[1:] for name, _, message in found if name in here}

    def show(self, place: int, faults: Mapping[str, str] | None = None) -> Screen:
        ended = place >= len(self.screens)
        key, items = ("end", []) if ended else self.screens[place]
        here = {item.name for item in items}
        page = self.survey.pages.get(items[0].page or "") if items else None
        return Screen(
            key=key,
            number=min(place + 1, len(self.screens)),
            of=len(self.screens),
            title=self._words(page.title) if page and page.title else "",
            questions=[self._question(item, (faults or {}).get(item.name, "")) for item in items],
            language=self.language,
            direction=direction(self.language),
            seed=self.seed,
            facts=[
                KnownFact(name, FACTS[name], _field_text(self.facts.get(name))) for name in asked_facts(self.survey)
            ],
            carried=[
                (f"a.{item.name}", text)
                for item in self.survey.items
                if item.name not in here
                for text in self.fields.get(f"a.{item.name}", ())
            ],
            alerts=self._alerts(),
            **(self._end() if ended else {}),
        )

    def _alerts(self) -> list[tuple[str, str, str]]:
        """A value that does not fit is no answer yet."""
        told = rules.faults(self.survey, self.answers, complete=False, facts=self.facts)
        unfit = {fault.partition(": ")[0] for fault in told}
        fit = {name: value for name, value in self.answers.items() if name not in unfit}
        now = set(fired(self.survey, fit, self.facts))
        return [(each.key, each.condition, each.card or "") for each in self.survey.alerts if each.key in now]

    def _end(self) -> dict[str, Any]:
        kept, here = self.kept, {item.name for _, items in self.screens for item in items}
        titles = {scale.key: self._words(scale.title) for scale in self.survey.scales}
        return {
            "order": [name for name in self.order if name in here],
            "scores": [
                (titles[key], "no score: too few answers" if math.isnan(score) else f"{score:.6g}")
                for key, score in scores(self.survey, kept).items()
            ],
            "answered": [
                (name, rules.answer_in_words(self.survey.by_name[name], value, self.survey, self.language))
                for name, value in kept.items()
            ],
        }

    def _words(self, text: Text) -> str:
        words = rules.worded(text, self.survey, answers=self.kept, facts=self.facts, language=self.language)
        return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"  # a long answer, piped in often

    def _question(self, item: Item, fault: str) -> Question:
        low, high = item.range or ("", "")
        ends = sorted(item.labels, key=float) if item.type == "slider" else []
        return Question(
            name=item.name,
            type="likert-list" if item.type == "likert" and _points(item) > MOST_POINTS else item.type,
            text=self._words(item.text),
            hint=self._words(item.hint) if item.hint else "",
            required=item.required and item.asks,
            value=next(iter(self.fields.get(f"a.{item.name}", ())), ""),
            choices=self._choices(item),
            low=str(low),
            high=str(high),
            step="1" if item.type == "likert" else f"{item.step:g}" if item.step else "any",
            low_label=self._words(item.labels[ends[0]]) if ends else "",
            high_label=self._words(item.labels[ends[-1]]) if len(ends) > 1 else "",
            unit="minutes" if item.type == "duration" else item.unit,
            longest=item.max_length,
            kind=item.kind,
            fault=fault,
        )

    def _choices(self, item: Item) -> list[Choice]:
        chosen = self.fields.get(f"a.{item.name}", ())
        if item.type in {"choice", "choices"}:
            pairs = [(str(option.value), self._words(option.label)) for option in item.options]
        elif item.type == "yesno":
            usual = {"true": "Yes", "false": "No"}
            pairs = [(value, self._words(item.labels.get(value, usual[value]))) for value in usual]
        elif item.type == "likert" and item.range:
            points = [str(point) for point in range(item.range[0], item.range[1] + 1)]
            pairs = [(point, self._words(item.labels[point]) if point in item.labels else point) for point in points]
        else:
            return []
        return [Choice(value, label, value in chosen) for value, label in pairs]


def _points(item: Item) -> int:
    return int(item.range[1] - item.range[0]) + 1 if item.range else 0


def _answer(item: Item, texts: Sequence[str]) -> Any:
    given = [text.strip() for text in texts if text.strip()]
    if not given:
        return None
    if item.type == "choices":
        return [_option_value(item, text) for text in given]
    if item.type == "choice":
        return _option_value(item, given[0])
    if item.type in {"yesno", "media"}:
        return {"true": True, "false": False}.get(given[0], given[0])
    return _number(given[0]) if item.type in {"likert", "slider", "number", "duration"} else given[0]


def _option_value(item: Item, text: str) -> str | int:
    return next((option.value for option in item.options if str(option.value) == text), text)


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() else number


def _fact(name: str, text: str) -> Any:
    if FACTS[name] == "flag":
        return {"true": True, "false": False}.get(text)
    if FACTS[name] == "number":
        number = _number(text)
        return None if isinstance(number, str) else number
    return text or None


def _field_text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
