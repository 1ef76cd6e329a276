"""A questionnaire as values: `read(document)` from a document in which `faults.faults` found none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ema_server.surveys import expressions
from ema_server.surveys.expressions import Node
from ema_server.surveys.texts import Text, languages_of

SCHEMA = "ema-survey/1"
CARDS = ("crisis",)  # what a phone can show when an alert fires: the study's crisis card
KEPT = 256  # questionnaires read in this process


@dataclass(frozen=True, slots=True)
class Option:
    value: str | int
    label: Text
    exclusive: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is shown. What its type does not have is empty."""

    name: str
    type: str
    text: Text
    hint: Text | None = None
    required: bool = True
    show_if: Node | None = None
    page: str | None = None
    sensitive: bool = False
    ambient: bool = False
    range: tuple[Any, Any] | None = None
    step: float | None = None
    unit: str = ""
    labels: Mapping[str, Text] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    at_least: int | None = None
    at_most: int | None = None
    max_length: int | None = None
    kind: str = ""
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def sealed(self) -> bool:
        """Whether its answers are stored under the person's key and enter no model."""
        return self.sensitive or self.type == "text"

    @property
    def asks(self) -> bool:
        return self.type != "information"

    def option(self, value: object) -> Option | None:
        return next((each for each in self.options if each.value == value and type(each.value) is type(value)), None)


@dataclass(frozen=True, slots=True)
class Page:
    key: str
    title: Text | None = None
    show_if: Node | None = None
    order: Literal["fixed", "random"] = "fixed"


@dataclass(frozen=True, slots=True)
class Scale:
    key: str
    title: Text
    items: tuple[str, ...]
    reversed: frozenset[str]
    score: Literal["mean", "sum"]
    minimum_answered: int
    source: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """Answers of which somebody must know at once. `condition` is the text of `when`; `card`: what the phone shows then."""

    key: str
    when: Node
    condition: str
    card: str | None = None


@dataclass(frozen=True)
class Survey:
    """A whole questionnaire. `languages` holds the fallback first, and nothing where every text is a plain string."""

    title: Text
    languages: tuple[str, ...]
    items: tuple[Item, ...]
    pages: Mapping[str, Page]
    scales: tuple[Scale, ...]
    source: Mapping[str, str] = field(default_factory=dict)
    alerts: tuple[Alert, ...] = ()

    by_name: Mapping[str, Item] = field(init=False, repr=False, compare=False, default_factory=dict)
    facts: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())
    """The facts that some condition asks for."""

    def __post_init__(self) -> None:
        conditions = [item.show_if for item in self.items] + [page.show_if for page in self.pages.values()]
        asked = frozenset(name for each in conditions if each is not None for name in expressions.facts(each))
        object.__setattr__(self, "by_name", {item.name: item for item in self.items})
        object.__setattr__(self, "facts", asked)


def read(document: Mapping[str, Any]) -> Survey:
    """The document's values. Whoever calls has asked `faults.faults` before, or has a published version."""
    items = tuple(_item(each) for each in document["items"])
    return Survey(
        title=document["title"],
        languages=languages_of(document),
        items=items,
        pages={each["key"]: _page(each) for each in document.get("pages", ())},
        scales=tuple(_scale(each) for each in document.get("scales", ())),
        source=document.get("source", {}),
        alerts=tuple(_alert(each) for each in document.get("alerts", ())),
    )


_read: OrderedDict[str, Survey] = OrderedDict()


def read_once(digest: str, document: Mapping[str, Any]) -> Survey:
    """`read`, remembered by the document's digest: a published version never changes."""
    survey = _read.get(digest)
    if survey is None:
        survey = _read[digest] = read(document)
        if len(_read) > KEPT:
            _read.popitem(last=False)
    return survey


def _item(given: Mapping[str, Any]) -> Item:
    ends = given.get("range")
    return Item(
        name=given["name"],
        type=given["type"],
        text=given["text"],
        hint=given.get("hint"),
        required=given.get("required", True),
        show_if=_condition(given),
        page=given.get("page"),
        sensitive=given.get("sensitive", False),
        ambient=given.get("ambient", False),
        range=(ends[0], ends[1]) if ends else None,
        step=given.get("step"),
        unit=given.get("unit", ""),
        labels=given.get("labels", {}),
        options=tuple(_option(each) for each in given.get("options", ())),
        at_least=given.get("at_least"),
        at_most=given.get("at_most"),
        max_length=given.get("max_length"),
        kind=given.get("kind", ""),
        source=given.get("source", {}),
    )


def _option(given: Any) -> Option:
    if isinstance(given, dict):
        return Option(given["value"], given.get("label", str(given["value"])), given.get("exclusive", False))
    return Option(given, str(given))


def _page(given: Mapping[str, Any]) -> Page:
    return Page(given["key"], given.get("title"), _condition(given), given.get("order", "fixed"))


def _scale(given: Mapping[str, Any]) -> Scale:
    items = tuple(given["items"])
    return Scale(
        key=given["key"],
        title=given.get("title", given["key"]),
        items=items,
        reversed=frozenset(given.get("reversed", ())),
        score=given.get("score", "mean"),
        minimum_answered=given.get("minimum_answered", len(items)),
        source=given.get("source", {}),
    )


def _alert(given: Mapping[str, Any]) -> Alert:
    return Alert(given["key"], expressions.parse(given["when"]), given["when"], given.get("card"))


def _condition(given: Mapping[str, Any]) -> Node | None:
    text = given.get("show_if")
    return None if text is None else expressions.parse(text)
