"""A questionnaire while it is carried over: items in order, and a list of what stayed behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ema_server.surveys.document import SCHEMA
from ema_server.surveys.exchange.carried import CannotRead, Lost
from ema_server.surveys.exchange.conditions import Answers, Known, condition
from ema_server.surveys.exchange.logic import Dialect, LogicFault, parse
from ema_server.surveys.exchange.scoring import Score, score_of
from ema_server.surveys.exchange.wording import Names, listed, piped, plain, shortened
from ema_server.surveys.faults import Fault, faults
from ema_server.surveys.kinds import LARGEST, LONGEST_VALUE, kind_in_expressions
from ema_server.surveys.texts import UNANSWERED

MOST_ROUNDS = 20
MOST_CHARACTERS = 5_000_000  # of all texts: a list of choices that many questions share is written out for each
ONE_TEXT = 50  # characters that a short text counts as: it costs time too
MOST = int(LARGEST)
_REFERENCES: dict[Dialect, re.Pattern[str]] = {
    "xlsform": re.compile(r"\$\{([^{}]*)\}"),
    "redcap": re.compile(r"\[\s*([A-Za-z_]\w*)\s*(?::\w+\s*)?\]"),
}
_PLACE = re.compile(r"(items|pages|scales)\[(\d+)\] \([^)]*\)(?:\.(\w+))?")
_OPTIONAL = {
    "items": {"show_if", "hint", "labels", "step", "unit", "at_least", "at_most", "max_length"},
    "pages": {"show_if", "title"},
    "scales": {"title"},
}

Raw = str | Mapping[str, str]  # a text as the file has it, perhaps in several languages


@dataclass
class Draft:
    """`languages` are the file's names of its languages with our codes, the fallback first; none where there is one alone."""

    dialect: Dialect
    title: str
    lost: list[Lost]
    notes: list[str]
    languages: dict[str, str] = field(default_factory=dict)
    unsuffixed: str = ""  # the language of a text that names none
    answers: Answers = field(default_factory=Answers)
    names: Names = field(default_factory=Names)
    page_names: Names = field(default_factory=lambda: Names("page"))
    items: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    scales: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)  # of items, pages and scales, by our name
    missing: dict[str, list[str]] = field(default_factory=dict)  # places without a text, by language
    characters: int = 0  # of texts so far
    formatted: dict[str, list[str]] = field(default_factory=dict)  # places with markup, by what it was

    def lose(self, place: str, what: str, became: str) -> None:
        self.lost.append(Lost(place, what, became))

    def drop(self, theirs: str, place: str, what: str, became: str = "left out") -> None:
        """A question stays behind; whoever asks about it is told why."""
        self.answers.gone[theirs] = f"{theirs} was not carried over"
        self.lose(place, what, became)

    def name(self, theirs: str, place: str) -> str:
        ours = self.names.take(theirs)
        if ours != theirs:
            self.lose(place, f"the name {theirs!r}", f"is {ours} here, in conditions and texts too")
        return ours

    def text(self, raw: Raw | None, place: str, fallback: str = "") -> Any:
        """A text of ours. What is empty in one language is filled from another, and told."""
        given = raw if isinstance(raw, Mapping) else {self.unsuffixed: raw or ""}
        clean = {language: self._one(words, place) for language, words in given.items() if words and words.strip()}
        clean = {language: words for language, words in clean.items() if words}
        self.characters += sum(max(len(words), ONE_TEXT) for words in clean.values())
        if self.characters > MOST_CHARACTERS:
            raise CannotRead(
                f"With each question's choices written out the texts have more than {MOST_CHARACTERS:,} characters; "
                "split the form into several."
            )
        first = next((clean[language] for language in self.languages if language in clean), None)
        first = first or next(iter(clean.values()), fallback)
        if not self.languages:
            return first
        if clean:
            for language in self.languages:
                if language not in clean:
                    self.missing.setdefault(language, []).append(place)
        return {code: clean.get(language, first) for language, code in self.languages.items()}

    def _one(self, words: str, place: str) -> str:
        words, tags = plain(words)
        if tags:
            self.formatted.setdefault(listed(tags), []).append(place)
        replaced = piped(words, _REFERENCES[self.dialect], lambda found: self._piped(found, place))
        if len(replaced) > len(shortened(replaced)):
            self.lose(place, f"a text of {len(replaced):,} characters", "cut")
            replaced = shortened(replaced).rstrip("{}")
        return replaced

    def _piped(self, found: re.Match[str], place: str) -> str | None:
        theirs, answers = found[1].strip(), self.answers
        known = answers.known.get(theirs)
        if known is not None and known.kind:
            return f"{{{known.name}}}"
        if self.dialect == "redcap" and theirs not in answers.gone and theirs not in answers.calculations:
            return None  # brackets are also just brackets
        self.lose(place, f"{found[0]} in a text", f"shows {UNANSWERED}: it is no answer to an earlier item")
        return UNANSWERED

    def options(
        self, given: Iterable[tuple[str, Raw | None]], place: str
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Options, and their values by the codes of the file. Whole numbers stay numbers where all codes are."""
        pairs = list(given)
        whole = all(re.fullmatch(r"0|-?[1-9]\d{0,14}", code) for code, _ in pairs)
        options: list[dict[str, Any]] = []
        values: dict[str, Any] = {}
        for code, label in pairs:
            if code in values:
                self.lose(place, f"the choice {code!r} a second time", "left out")
                continue
            value: Any = int(code) if whole else code.strip()
            if isinstance(value, str) and len(value) > LONGEST_VALUE:
                value = self._short(value, set(values.values()))
                self.lose(
                    place, f"the choice {code!r}, longer than {LONGEST_VALUE} characters", f"has the value {value!r}"
                )
            values[code] = value
            options.append({"value": value, "label": self.text(label, f"{place}, choice {code}", fallback=str(value))})
        return options, values

    @staticmethod
    def _short(value: str, taken: set[Any]) -> str:
        short, number = value[:LONGEST_VALUE].strip(), 1
        while short in taken:
            number += 1
            short = f"{value[: LONGEST_VALUE - 4].strip()}_{number}"
        return short

    def condition(self, text: str, place: str) -> str | None:
        """The condition in our language; None where it could not be carried over, which is told."""
        try:
            return condition(parse(text, self.dialect), self.answers)
        except LogicFault as fault:
            self.lose(place, f"the condition {shortened(text, 300)}", f"always shown, and may be skipped: {fault}")
            return None

    def calculation(self, theirs: str, text: str) -> None:
        """Remembers a calculation; conditions that ask about it are written out."""
        try:
            self.answers.calculations[theirs] = parse(text, self.dialect)
        except LogicFault as fault:
            self.answers.gone[theirs] = f"the calculation {theirs} could not be read: {fault}"

    def add(self, theirs: str, item: dict[str, Any], place: str, values: Mapping[str, Any] | None = None) -> None:
        """`item` without its name: every later condition and text can ask about it."""
        name = self.name(theirs, place)
        item = {"name": name, **item}
        self.items.append(item)
        self.places[name] = place
        if theirs not in self.answers.known:
            self.answers.known[theirs] = Known(name, item["type"], kind_in_expressions(item), values)

    def page(self, theirs: str, place: str, title: Any = None, show_if: str | None = None) -> str:
        key = self.page_names.take(theirs)
        page = {"key": key, "title": title, "show_if": show_if}
        self.pages.append({name: value for name, value in page.items() if value})
        self.places[f"page {key}"] = place
        return key

    def scale(self, theirs: str, title: Any, place: str, text: str) -> None:
        """A calculation as a scale, or lost."""
        what = f"the calculation {shortened(text, 300)}"
        tree = self.answers.calculations.get(theirs)
        score = score_of(tree) if tree is not None else None
        if score is None:
            why = self.answers.gone.get(theirs, "it is neither a mean nor a sum of items")
            self.lose(place, what, f"left out: {why}. Where a condition asks about it, it is written out")
            return
        try:
            scale = self._scale(score)
        except LogicFault as fault:
            self.lose(place, what, f"left out: {fault}")
            return
        scale = {"key": self.name(theirs, place), "title": title, **scale}
        self.scales.append(scale)
        self.places[scale["key"]] = place
        if score.rounded:
            self.notes.append(f"{scale['key']} is no longer rounded.")
        if score.over_answered and score.kind == "sum":
            self.notes.append(
                f"{scale['key']} needs all its items: where some are missing, the file's sum is over the rest, and here there is none."
            )

    def _scale(self, score: Score) -> dict[str, Any]:
        items, turned = [], []
        for theirs in score.items:
            known = self.answers.known.get(theirs)
            if known is None:
                raise LogicFault(self.answers.gone.get(theirs, f"{theirs} is no item of this questionnaire"))
            items.append(known.name)
            if theirs in score.turned:
                ends = next(item for item in self.items if item["name"] == known.name).get("range")
                ends = (0, 1) if known.type == "yesno" else ends
                if ends is None or score.turned[theirs] != ends[0] + ends[1]:
                    raise LogicFault(f"{theirs} is not turned round within its own range")
                turned.append(known.name)
        scale: dict[str, Any] = {"items": items}
        if turned:
            scale["reversed"] = turned
        scale["score"] = score.kind
        if score.over_answered and score.kind == "mean":
            scale["minimum_answered"] = 1
        return scale

    def finish(self) -> dict[str, Any] | None:
        """The document. What the server would refuse is taken out of it and told; None where nothing remains."""
        for language, places in self.missing.items():
            fallback = next(iter(self.languages))
            instead = "another language's" if language == fallback else f"the {fallback}"
            self.lose(f"language {language}", f"no text at {listed(dict.fromkeys(places))}", f"shows {instead} text")
        document: dict[str, Any] = {"schema": SCHEMA, "title": self.text(self.title, "title", fallback="Questionnaire")}
        self.missing.clear()
        for tags, places in self.formatted.items():
            self.lose(listed(dict.fromkeys(places)), f"formatting ({tags})", "the text is kept, plain")
        if self.languages:
            document["languages"] = list(self.languages.values())
        document |= {"pages": self.pages, "items": self.items, "scales": self.scales}
        for _ in range(MOST_ROUNDS):
            if not document["items"]:
                return None
            shown = {key: value for key, value in document.items() if value or key == "items"}
            found = faults(shown)
            if not found:
                return shown
            if not self._take_out(document, found):
                break
        for fault in found:
            self.lose(fault.place, fault.message, "still there: mend it before publishing")
        return shown

    def _take_out(self, document: dict[str, Any], found: list[Fault]) -> bool:
        """Removes what is at fault: a key that may be missing, else the whole item, page or scale."""
        whole: set[tuple[str, int]] = set()
        done = False
        for fault in found:
            place = _PLACE.match(fault.place)
            if place is None:
                continue
            what, number, key = place[1], int(place[2]), place[3]
            given = document[what][number]
            name = given.get("name") or given["key"]
            at = self.places.get(f"page {name}" if what == "pages" else name, fault.place)
            removable = key in _OPTIONAL[what] or (
                key == "range" and given.get("type") in {"number", "date", "time", "duration"}
            )
            if removable:
                if key in given:
                    value = given.pop(key)
                    self.lose(at, f"{key} {shortened(str(value), 200)}", f"left out: {fault.message}")
                    done = True
            elif (what, number) not in whole:
                whole.add((what, number))
                self.lose(at, f"{what[:-1]} {name}", f"left out: {fault.message}")
        for what, number in sorted(whole, reverse=True):
            gone = document[what].pop(number)
            done = True
            if what == "pages":
                for item in document["items"]:
                    if item.get("page") == gone["key"]:
                        del item["page"]
        return done


def bounds(low: float | None, high: float | None) -> list[float] | None:
    """A range from two ends, either of which may be open."""
    if low is None and high is None:
        return None
    return [-MOST if low is None else low, MOST if high is None else high]


def ladder(values: Iterable[Any], least: int) -> tuple[int, int] | None:
    """The ends of options that are whole numbers without a gap."""
    given = list(values)
    if len(given) < least or not all(isinstance(value, int) and not isinstance(value, bool) for value in given):
        return None
    low, high = min(given), max(given)
    return (low, high) if high - low + 1 == len(given) else None


def yes_no(pairs: Iterable[tuple[str, str]]) -> dict[str, bool] | None:
    """Which code is yes: of two choices yes and no (or true and false), or 1 and 0 that are called so."""
    given = {code: label.strip().casefold() for code, label in pairs}
    codes = {code.casefold(): code for code in given}
    for yes, no in (("yes", "no"), ("true", "false")):
        if set(codes) == {yes, no}:
            return {codes[yes]: True, codes[no]: False}
        if set(given) == {"1", "0"} and given["1"] == yes and given["0"] == no:
            return {"1": True, "0": False}
    return None
