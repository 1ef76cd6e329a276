"""What is wrong with a questionnaire: every fault with its place, in words that say what would be accepted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ema_server.surveys import expressions
from ema_server.surveys.columns import RESERVED, columns
from ema_server.surveys.document import CARDS, SCHEMA, read
from ema_server.surveys.expressions import Call, ExpressionFault, Node
from ema_server.surveys.kinds import COMMON_KEYS, KINDS, kind_in_expressions, shown_value
from ema_server.surveys.reach import Domain, Effort, can_hold
from ema_server.surveys.texts import LANGUAGE, each_string, has_stray_brace, piped_names

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
NAME_RULE = "lower-case letters, digits and _, at most 40, beginning with a letter"
LONGEST = 5_000  # characters of one text
MOST_ITEMS = 1_000  # and pages, and scales
MOST_LANGUAGES = 100
MOST_ALERTS = 100
MOST_TOLD = 500  # faults: nobody reads more, and telling each of a million would cost minutes
DEEPEST = 8  # levels of a document, more than the format has
SOURCE_KEYS = {"citation", "doi", "url", "licence", "item"}
DOCUMENT_KEYS = {"schema", "title", "languages", "items", "pages", "scales", "alerts", "source"}
PAGE_KEYS = {"key", "title", "show_if", "order"}
SCALE_KEYS = {"key", "title", "items", "reversed", "score", "minimum_answered", "source"}
ALERT_KEYS = {"key", "when", "card"}


@dataclass(frozen=True, slots=True)
class Fault:
    """`place` is a path into the document, with the item's name: `items[3] (stress).range`."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def faults(document: Any) -> list[Fault]:
    """Everything that is wrong with a document; nothing where it can be published."""
    return _Reading(document).faults


class _Reading:
    """One walk through a document. Later steps look only at what earlier ones found sound."""

    def __init__(self, document: Any) -> None:
        self.faults: list[Fault] = []
        self.effort = Effort()
        if not isinstance(document, dict):
            self._add("document", "a questionnaire is a JSON object with title and items.")
            return
        try:
            self._walk(document)
        except _Enough:
            self.faults.append(Fault("document", f"there are more than these {MOST_TOLD} faults; mend them first."))

    def _walk(self, document: dict[str, Any]) -> None:
        self.document = self._without_nulls(document, "", depth=0) if _holds_null(document) else document
        self.languages = self._read_languages()
        self._head()
        self.items = self._read_items()
        self.pages = self._read_pages()
        self._memberships()
        self._conditions()
        self._texts()
        self._scales()
        self._alerts()
        if not self.faults:
            self._columns()

    def _add(self, place: str, message: str) -> None:
        if len(self.faults) >= MOST_TOLD:
            raise _Enough
        self.faults.append(Fault(place, message))

    def _without_nulls(self, value: Any, place: str, *, depth: int) -> Any:
        """The document without keys that hold null, each of which is a fault: a key is left out where it has no value."""
        if depth > DEEPEST:
            return value
        if isinstance(value, list):
            return [self._without_nulls(each, f"{place}[{n}]", depth=depth + 1) for n, each in enumerate(value)]
        if not isinstance(value, dict):
            return value
        kept = {}
        for key, each in value.items():
            at = f"{place}.{str(key)[:40]}" if place else str(key)[:40]
            if each is None:
                self._add(at, "is null; leave the key out where it has no value.")
            else:
                kept[key] = self._without_nulls(each, at, depth=depth + 1)
        return kept

    def _unknown_keys(self, given: Mapping[str, Any], known: set[str] | frozenset[str], place: str) -> None:
        for key in given:
            if key not in known:
                self._add(
                    f"{place}.{str(key)[:40]}" if place else str(key)[:40],
                    f"is unknown here; there are {', '.join(sorted(known))}.",
                )

    def _read_languages(self) -> list[str]:
        given = self.document.get("languages")
        if given is None:
            return []
        if not isinstance(given, list) or not given:
            self._add("languages", 'a list of language codes is meant, like ["en", "nl"], the fallback first.')
            return []
        if len(given) > MOST_LANGUAGES:
            self._add("languages", f"{len(given)} languages; at most {MOST_LANGUAGES} are possible.")
            return []
        for place, code in enumerate(given):
            if not isinstance(code, str) or not LANGUAGE.fullmatch(code):
                self._add(
                    f"languages[{place}]", f"{shown_value(code)} is no language code; write one like en or pt-BR."
                )
            elif given.index(code) < place:
                self._add(f"languages[{place}]", f"{code} is there twice.")
        return [code for code in given if isinstance(code, str)]

    def _head(self) -> None:
        self._unknown_keys(self.document, DOCUMENT_KEYS, "")
        if self.document.get("schema", SCHEMA) != SCHEMA:
            self._add("schema", f"{shown_value(self.document['schema'])} is unknown; this server reads {SCHEMA}.")
        if "title" not in self.document:
            self._add("title", "a questionnaire needs a title.")
        self._source(self.document, "")

    def _source(self, given: Mapping[str, Any], place: str) -> None:
        at = f"{place}.source" if place else "source"
        source = given.get("source")
        if source is None:
            return
        if not isinstance(source, dict):
            self._add(at, "an object is meant, with citation, doi, url, licence and item, all optional.")
            return
        self._unknown_keys(source, SOURCE_KEYS, at)
        for key, value in source.items():
            if not isinstance(value, str) or len(value) > LONGEST:
                self._add(f"{at}.{str(key)[:40]}", f"{shown_value(value)} is no text of at most {LONGEST} characters.")

    def _read_items(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Each item with its place; only such as have a usable name and a known type."""
        given = self.document.get("items")
        if not isinstance(given, list) or not given:
            self._add("items", "a questionnaire needs a list of at least one item.")
            return []
        if len(given) > MOST_ITEMS:
            self._add("items", f"{len(given)} items; at most {MOST_ITEMS} are possible.")
            return []
        sound: list[tuple[str, Mapping[str, Any]]] = []
        first_of: dict[str, int] = {}
        for number, item in enumerate(given):
            if not isinstance(item, dict):
                self._add(
                    f"items[{number}]",
                    f"{shown_value(item)} is no item; an item is an object with name, type and text.",
                )
                continue
            name = item.get("name")
            place = f"items[{number}] ({str(name)[:40] if name else 'no name'})"
            usable = self._name(name, f"{place}.name", first_of, number)
            kind = KINDS.get(item["type"]) if isinstance(item.get("type"), str) else None
            if kind is None:
                self._add(
                    f"{place}.type", f"{shown_value(item.get('type'))} is unknown; one of {', '.join(sorted(KINDS))}."
                )
                continue
            if "text" not in item:
                self._add(f"{place}.text", "an item needs a text.")
            self._unknown_keys(item, COMMON_KEYS | kind.takes, place)
            for key in ("required", "sensitive", "ambient"):
                if not isinstance(item.get(key, False), bool):
                    self._add(f"{place}.{key}", f"{shown_value(item[key])} is neither true nor false.")
            before = len(self.faults)
            for key, message in kind.faults(item):
                self._add(f"{place}.{key}", message)
            self._source(item, place)
            if usable and len(self.faults) == before:
                sound.append((place, item))
        return sound

    def _name(self, name: Any, place: str, first_of: dict[str, int], number: int) -> bool:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            self._add(place, f"{shown_value(name)} is no name; it must be {NAME_RULE}.")
            return False
        if name in RESERVED:
            self._add(place, f"{name!r} is a name that the data use themselves; choose another, like my_{name}.")
            return False
        if name in first_of:
            self._add(place, f"two items have the name {name!r}: items[{first_of[name]}] and items[{number}].")
            return False
        first_of[name] = number
        return True

    def _read_pages(self) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """Each page by its key, with its place."""
        given = self.document.get("pages", [])
        if not isinstance(given, list):
            self._add("pages", 'a list of pages is meant, like [{"key": "mood", "order": "random"}].')
            return {}
        if len(given) > MOST_ITEMS:
            self._add("pages", f"{len(given)} pages; at most {MOST_ITEMS} are possible.")
            return {}
        found: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for number, page in enumerate(given):
            key = page.get("key") if isinstance(page, dict) else None
            place = f"pages[{number}] ({str(key)[:40] if key else 'no key'})"
            if not isinstance(page, dict) or not isinstance(key, str) or not NAME.fullmatch(key):
                self._add(f"{place}.key", f"a page needs a key: {NAME_RULE}.")
                continue
            if key in found:
                self._add(f"{place}.key", f"two pages have the key {key!r}.")
                continue
            self._unknown_keys(page, PAGE_KEYS, place)
            if page.get("order", "fixed") not in ("fixed", "random"):
                self._add(f"{place}.order", f"{shown_value(page['order'])} is neither fixed nor random.")
            found[key] = (place, page)
        return found

    def _memberships(self) -> None:
        """Each item's page is there, each page has items, and they stand together."""
        used: list[str] = []
        for place, item in self.items:
            key = item.get("page")
            if key is None:
                used.append("")
                continue
            if not isinstance(key, str) or key not in self.pages:
                known = _some(self.pages) or "no page at all"
                self._add(f"{place}.page", f"there is no page {shown_value(key)}; there is {known}.")
                continue
            if key in used and used[-1] != key:
                self._add(
                    f"{place}.page", f"the items of page {key!r} must follow one another; move this one up to them."
                )
            used.append(key)
        for key, (place, _) in self.pages.items():
            if key not in used:
                self._add(place, f'no item is on this page; give an item "page": "{key}", or take the page out.')

    def _conditions(self) -> None:
        """Every `show_if` can be read, asks about earlier items, and can be true."""
        self.positions = {item["name"]: number for number, (_, item) in enumerate(self.items)}
        self.kinds = {item["name"]: kind_in_expressions(item) for _, item in self.items}
        self.domains = {item["name"]: _domain(item) for _, item in self.items}
        self.asks_about: dict[str, set[str]] = {}
        pages: dict[str, Node] = {}
        for key, (place, page) in self.pages.items():
            first = min((self.positions[item["name"]] for _, item in self.items if item.get("page") == key), default=0)
            node = self._condition(page, place, first, page=None)
            if node is not None:
                pages[key] = node
        for number, (place, item) in enumerate(self.items):
            node = self._condition(item, place, number, page=item.get("page"), name=item["name"])
            page_node = pages.get(item["page"]) if isinstance(item.get("page"), str) else None
            self._asks_sealed(item, f"{place}.show_if", node)
            self._asks_sealed(item, f"{place}.page", page_node)
            if (
                node is not None
                and page_node is not None
                and not can_hold(Call("and", (page_node, node)), self.domains, self.effort)
            ):
                self._add(
                    f"{place}.show_if",
                    "can never be true together with its page's show_if, so nobody would see this item.",
                )
        self._cycles()

    def _condition(
        self, given: Mapping[str, Any], place: str, position: int, *, page: Any, name: str | None = None
    ) -> Node | None:
        text = given.get("show_if")
        if text is None:
            return None
        at = f"{place}.show_if"
        if not isinstance(text, str):
            self._add(at, f"{shown_value(text)} is no expression; write a text such as stress > 60.")
            return None
        try:
            node = expressions.parse(text)
            sound = self._asks_earlier_items(node, at, position, page=page, name=name)
            if not sound:
                return None
            if (kind := expressions.kind_of(node, self.kinds)) != "flag":
                raise ExpressionFault(
                    f"this gives a {kind}, not a condition; compare it with something, like stress > 60"
                )
        except ExpressionFault as fault:
            self._add(at, f"{fault.message}.")
            return None
        if not can_hold(node, self.domains, self.effort):
            what = "this item" if name else "this page"
            self._add(at, f"can never be true, so nobody would see {what}.")
            return None
        return node

    def _asks_sealed(self, item: Mapping[str, Any], at: str, condition: Node | None) -> None:
        """Whoever reads the data does not know sealed answers, so could not know whether this one counts; and that it is
        there would tell what was sealed."""
        if condition is None or item["type"] == "information" or _is_sealed(item):
            return
        for asked in sorted(expressions.names(condition)):
            if _is_sealed(self.items[self.positions[asked]][1]):
                self._add(
                    at,
                    f"{asked!r} is sealed, and who sees this item would show what was answered; make this item sensitive "
                    "too, or ask about another.",
                )

    def _asks_earlier_items(self, node: Node, at: str, position: int, *, page: Any, name: str | None) -> bool:
        sound = True
        random_page = isinstance(page, str) and page in self.pages and self.pages[page][1].get("order") == "random"
        for asked in sorted(expressions.names(node)):
            if name is not None:
                self.asks_about.setdefault(name, set()).add(asked)
            fault = None
            if asked not in self.positions:
                fault = f"there is no item {asked!r}."
            elif self.kinds[asked] == "":
                fault = f"{asked!r} is for reading and has no answer."
            elif asked == name:
                fault = f"{asked!r} asks about itself."
            elif self.positions[asked] >= position:
                fault = f"{asked!r} comes later; a condition asks about earlier items alone."
            elif random_page and self.items[self.positions[asked]][1].get("page") == page:
                fault = f"{asked!r} is on the same page, whose order is random; it may come later."
            if fault:
                sound = False
                self._add(at, fault)
        return sound

    def _cycles(self) -> None:
        """Items that wait for each other are named as what they are, beside the faults of each."""
        asks = {name: {each for each in asked if each != name} for name, asked in self.asks_about.items()}
        while True:
            try:
                TopologicalSorter(asks).prepare()
                return
            except CycleError as error:
                circle = error.args[1][::-1]  # each asks about the next
            first = min(circle, key=lambda name: self.positions[name])
            turned = [*circle[circle.index(first) : -1], *circle[: circle.index(first)], first]
            place = self.items[self.positions[first]][0]
            self._add(f"{place}.show_if", f"a circle: {_some(turned, ' → ')}; each waits for the next.")
            for name in circle:
                asks.pop(name, None)

    def _texts(self) -> None:
        """Every text is there in every language, and pipes in what is known by then."""
        self._text(self.document.get("title"), "title", 0)
        for key, (place, page) in self.pages.items():
            first = min((self.positions[item["name"]] for _, item in self.items if item.get("page") == key), default=0)
            if page.get("title") is not None:
                self._text(page["title"], f"{place}.title", first)
        for number, (place, item) in enumerate(self.items):
            before = self._first_of_random_page(item, number)
            self._text(item.get("text"), f"{place}.text", before)
            if item.get("hint") is not None:
                self._text(item["hint"], f"{place}.hint", before)
            for value, label in (item.get("labels") or {}).items():
                self._text(label, f"{place}.labels[{shown_value(value)}]", before)
            for option_place, option in enumerate(item.get("options") or ()):
                if isinstance(option, dict) and "label" in option:
                    self._text(option["label"], f"{place}.options[{option_place}].label", before)

    def _first_of_random_page(self, item: Mapping[str, Any], number: int) -> int:
        """The number of the first item that may stand beside this one in any order."""
        page = item.get("page")
        if not isinstance(page, str) or page not in self.pages or self.pages[page][1].get("order") != "random":
            return number
        return min(self.positions[each["name"]] for _, each in self.items if each.get("page") == page)

    def _text(self, text: Any, place: str, before: int) -> None:
        if text is None:
            return  # told already
        if isinstance(text, dict):
            self._translations(text, place)
        elif not isinstance(text, str):
            self._add(place, f"{shown_value(text)} is no text.")
        elif not text.strip():
            self._add(place, "the text is empty.")
        for each in each_string(text):
            if len(each) > LONGEST:
                self._add(place, f"the text has {len(each):,} characters; at most {LONGEST:,} are possible.")
            if "{" not in each and "}" not in each:
                continue
            if has_stray_brace(each):
                self._add(place, "a brace stands alone; write {name} to pipe an answer in, or {{ for a brace.")
            for name in piped_names(each):
                self._piped(name, place, before)

    def _translations(self, text: Mapping[str, Any], place: str) -> None:
        if not self.languages:
            self._add(place, 'a text in several languages needs "languages" at the top of the document.')
            return
        missing = [code for code in self.languages if not isinstance(text.get(code), str) or not text[code].strip()]
        if missing:
            self._add(place, f"the translation is missing: {', '.join(missing)}.")
        for code in text:
            if code not in self.languages:
                self._add(
                    place,
                    f"{shown_value(code)} is none of the questionnaire's languages ({', '.join(self.languages)}).",
                )

    def _piped(self, name: str, place: str, before: int) -> None:
        if name.startswith("@"):
            if name[1:] not in expressions.FACTS:
                self._add(
                    place, f"there is no fact {name}; there are {', '.join('@' + each for each in expressions.FACTS)}."
                )
        elif name not in self.positions:
            self._add(place, f"{{{name}}}: there is no item of this name.")
        elif self.positions[name] >= before or self.kinds[name] == "":
            self._add(place, f"{{{name}}}: only the answer to an earlier item can be piped in.")

    def _scales(self) -> None:
        self.scale_domains: dict[str, Domain] = {}
        given = self.document.get("scales", [])
        if not isinstance(given, list):
            self._add("scales", 'a list of scales is meant, like [{"key": "pa", "items": ["happy", "calm"]}].')
            return
        if len(given) > MOST_ITEMS:
            self._add("scales", f"{len(given)} scales; at most {MOST_ITEMS} are possible.")
            return
        by_name = {item["name"]: item for _, item in self.items}
        keys: set[str] = set()
        for number, scale in enumerate(given):
            key = scale.get("key") if isinstance(scale, dict) else None
            place = f"scales[{number}] ({str(key)[:40] if key else 'no key'})"
            if not isinstance(scale, dict) or not isinstance(key, str) or not NAME.fullmatch(key) or key in RESERVED:
                self._add(f"{place}.key", f"a scale needs a key of its own: {NAME_RULE}.")
                continue
            if key in keys or key in by_name:
                self._add(f"{place}.key", f"{key!r} is the name of another {'scale' if key in keys else 'item'}.")
            keys.add(key)
            before = len(self.faults)
            for what, message in self._scale(scale, by_name):
                self._add(f"{place}.{what}", message)
            if len(self.faults) == before and key not in by_name:
                self.scale_domains[key] = _scale_domain(scale, by_name[scale["items"][0]])
            elif key not in by_name:
                self.scale_domains[key] = Domain(
                    "number"
                )  # its own faults are told; an alert about it is no further one
            self._unknown_keys(scale, SCALE_KEYS, place)
            self._source(scale, place)
            if scale.get("title") is not None:
                self._text(scale["title"], f"{place}.title", 0)

    def _scale(self, scale: Mapping[str, Any], by_name: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        items = scale.get("items")
        if not isinstance(items, list) or not items or not all(isinstance(name, str) for name in items):
            yield "items", "a list of item names is meant."
            return
        doubled = next((name for name, count in Counter(items).items() if count > 1), None)
        if doubled:
            yield "items", f"{shown_value(doubled)} is there twice."
            return
        ranges = {}
        for name in items:
            item = by_name.get(name)
            if item is None:
                yield "items", f"there is no item {shown_value(name)}."
            elif item["type"] not in {"likert", "slider", "number", "duration", "yesno"}:
                yield "items", f"{name!r} is a {item['type']}; a scale is made of numeric and yes/no items."
            elif item.get("sensitive"):
                yield "items", f"{name!r} is sensitive: it is sealed and enters no score."
            else:
                ranges[name] = (
                    tuple(item["range"]) if item.get("range") else ("yes/no" if item["type"] == "yesno" else None)
                )
        if len({str(ends) for ends in ranges.values()}) > 1:
            told = _some(f"{name} {ends or 'without a range'}" for name, ends in ranges.items())
            yield "items", f"the items have different ranges ({told}); a mean over them would mean nothing."
        reversed_items = scale.get("reversed", [])
        if not isinstance(reversed_items, list):
            yield "reversed", "a list of item names is meant."
            reversed_items = []
        if len(reversed_items) > len(items):
            yield "reversed", f"{len(reversed_items)} names; the scale has {len(items)} items."
            reversed_items = []
        for name in reversed_items:
            if name not in items:
                yield "reversed", f"{shown_value(name)} is none of the scale's items."
            elif name in ranges and ranges[name] is None:
                yield "reversed", f"{name!r} has no range, so it cannot be turned round."
        if scale.get("score", "mean") not in ("mean", "sum"):
            yield "score", f"{shown_value(scale['score'])} is neither mean nor sum."
        fewest = scale.get("minimum_answered", len(items))
        if not isinstance(fewest, int) or isinstance(fewest, bool) or not 1 <= fewest <= len(items):
            yield "minimum_answered", f"{shown_value(fewest)} is no number of its items; write 1 to {len(items)}."

    def _alerts(self) -> None:
        """Every `when` can be read, asks about items and scales that are there, and can be true."""
        given = self.document.get("alerts", [])
        if not isinstance(given, list):
            self._add("alerts", 'a list of alerts is meant, like [{"key": "low_mood", "when": "mood < 10"}].')
            return
        if len(given) > MOST_ALERTS:
            self._add("alerts", f"{len(given)} alerts; at most {MOST_ALERTS} are possible.")
            return
        keys: set[str] = set()
        for number, alert in enumerate(given):
            key = alert.get("key") if isinstance(alert, dict) else None
            place = f"alerts[{number}] ({str(key)[:40] if key else 'no key'})"
            if not isinstance(alert, dict) or not isinstance(key, str) or not NAME.fullmatch(key):
                self._add(f"{place}.key", f"an alert needs a key of its own: {NAME_RULE}.")
                continue
            if key in keys:
                self._add(f"{place}.key", f"two alerts have the key {key!r}.")
            keys.add(key)
            self._unknown_keys(alert, ALERT_KEYS, place)
            if "card" in alert and alert["card"] not in CARDS:
                self._add(f"{place}.card", f"{shown_value(alert['card'])} is no card; there is {', '.join(CARDS)}.")
            self._alert(alert.get("when"), f"{place}.when")

    def _alert(self, text: Any, at: str) -> None:
        if not isinstance(text, str):
            said = "an alert needs an expression" if text is None else f"{shown_value(text)} is no expression"
            self._add(at, f"{said}; write a text such as mood < 10.")
            return
        kinds = {**dict.fromkeys(self.scale_domains, "number"), **self.kinds}
        try:
            node = expressions.parse(text)
            sound = True
            for asked in sorted(expressions.names(node)):
                if asked not in kinds or kinds[asked] == "":
                    sound = False
                    self._add(
                        at,
                        f"there is no item or scale {asked!r}."
                        if asked not in kinds
                        else f"{asked!r} is for reading and has no answer.",
                    )
            if sound and (kind := expressions.kind_of(node, kinds)) != "flag":
                raise ExpressionFault(
                    f"this gives a {kind}, not a condition; compare it with something, like mood < 10"
                )
        except ExpressionFault as fault:
            self._add(at, f"{fault.message}.")
            return
        if sound and not can_hold(node, {**self.scale_domains, **self.domains}, self.effort):
            self._add(at, "can never be true, so this alert would never fire.")

    def _columns(self) -> None:
        """No two columns of the data share a name: an option's column may meet an item's."""
        counts = Counter(column.name for column in columns(read(self.document)))
        for name, count in counts.items():
            if count > 1:
                self._add(
                    "items", f"{count} columns of the data would be called {name!r}; rename an item or an option."
                )


class _Enough(Exception):
    """More faults than anybody reads."""


def _some(names: Iterable[str], between: str = ", ") -> str:
    """The first of many names: a message stays one that is read."""
    found = list(names)
    return between.join(found[:20]) + (f"{between}… ({len(found)} in all)" if len(found) > 20 else "")


def _holds_null(value: Any, depth: int = 0) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return depth <= DEEPEST and any(each is None or _holds_null(each, depth + 1) for each in inside)


def _is_sealed(item: Mapping[str, Any]) -> bool:
    return item["type"] == "text" or item.get("sensitive") is True


def _scale_domain(scale: Mapping[str, Any], item: Mapping[str, Any]) -> Domain:
    """What a score may be; all of a scale's items have one range."""
    low, high = item.get("range") or ((0, 1) if item["type"] == "yesno" else (None, None))
    factor = len(scale["items"]) if scale.get("score") == "sum" else 1
    return Domain("number", None if low is None else low * factor, None if high is None else high * factor)


def _domain(item: Mapping[str, Any]) -> Domain:
    kind = kind_in_expressions(item)
    options = tuple(each.get("value") if isinstance(each, dict) else each for each in item.get("options") or ())
    if item["type"] == "choice":
        return Domain(kind, values=options)
    if kind == "list":
        return Domain(kind, values=options, at_most=item.get("at_most"))
    if kind == "number":
        low, high = item.get("range") or ((0, None) if item["type"] == "duration" else (None, None))
        return Domain(kind, low, high, whole=item["type"] == "likert")
    return Domain(kind, open_ended=kind == "text")
