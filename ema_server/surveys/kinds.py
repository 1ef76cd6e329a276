"""The item types: what each needs in the document, what an answer is, and what it becomes in the data.

The table at the end is the one place that a new type touches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ema_server.surveys.document import Item, Option

LARGEST = 1e15  # beyond it a double no longer tells neighbouring whole numbers apart
LONGEST_TEXT = 10_000
LONGEST_VALUE = 60
LONGEST_DURATION = 100_000  # minutes: ten weeks
MOST_OPTIONS = 500
MOST_POINTS = 1_000  # of a likert: each is drawn
ON_STEP = 1e-6  # of a step: what a phone's division may leave over

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LABELLED = re.compile(r"-?\d{1,15}(\.\d+)?", re.ASCII)  # a value as an object's key; float() would take 1_0 too

Faults = Iterator[tuple[str, str]]  # the key that is wrong, and what is wrong with it


@dataclass(frozen=True, slots=True)
class Kind:
    """One item type. `takes` are keys beyond those of every item; `gives` is what it is in an expression."""

    takes: frozenset[str]
    gives: str  # number | text | flag | list; "" for what has no answer
    column: str  # number | flag | category | date | flags; "" for what enters no data
    faults: Callable[[Mapping[str, Any]], Faults]
    value_fault: Callable[[Item, Any], str | None]


def shown_value(value: Any) -> str:
    """A value as messages quote it: never so long that the sentence is lost."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def is_number(value: Any) -> bool:
    """A finite JSON number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_date(value: Any) -> bool:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_time(value: Any) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def minutes_of(time: str) -> int:
    """ "23:15" as minutes after midnight."""
    return int(time[:2]) * 60 + int(time[3:])


def _range_fault(ends: Any, accepts: Callable[[Any], bool], like: str) -> str | None:
    if isinstance(ends, list) and len(ends) == 2 and all(accepts(end) for end in ends) and ends[0] < ends[1]:
        return None
    return f"{shown_value(ends)} is no range; write [low, high] with low below high, like {like}."


def _numeric_faults(given: Mapping[str, Any], *, needed: bool, whole: bool = False) -> Faults:
    accepts = (lambda end: isinstance(end, int) and is_number(end)) if whole else is_number
    if given.get("range") is not None or needed:
        fault = _range_fault(given.get("range"), accepts, "[1, 7]" if whole else "[0, 100]")
        if fault:
            yield "range", fault
            return
    step, ends = given.get("step"), given.get("range")
    if step is not None and not (is_number(step) and step > 0 and (not ends or step <= ends[1] - ends[0])):
        yield "step", f"{shown_value(step)} is no step; write a number above 0 and at most as large as the range."
    yield from _label_faults(given, ends)


def _label_faults(given: Mapping[str, Any], ends: Any) -> Faults:
    labels = given.get("labels")
    if labels is None:
        return
    if not isinstance(labels, dict):
        yield "labels", 'labels are an object from values to texts, like {"1": "not at all", "7": "very much"}.'
        return
    for value in labels:
        if not _LABELLED.fullmatch(value):
            yield f"labels[{shown_value(value)}]", "is no number; a label belongs to a value of the range."
            continue
        if ends and not ends[0] <= float(value) <= ends[1]:
            yield f"labels[{shown_value(value)}]", f"is outside the range {ends[0]} to {ends[1]}."


def _likert_faults(given: Mapping[str, Any]) -> Faults:
    yield from _numeric_faults(given, needed=True, whole=True)
    low, high = given["range"] if _range_fault(given.get("range"), is_number, "") is None else (0, 0)
    if high - low >= MOST_POINTS:
        yield "range", f"{high - low + 1:,} points; a likert has at most {MOST_POINTS:,}, make it a slider or a number."


def _slider_faults(given: Mapping[str, Any]) -> Faults:
    yield from _numeric_faults(given, needed=True)


def _number_faults(given: Mapping[str, Any]) -> Faults:
    yield from _numeric_faults(given, needed=False)
    if not isinstance(given.get("unit", ""), str) or len(given.get("unit", "")) > 40:
        yield "unit", "is no unit; write a text of at most 40 characters, like kg."


def _yesno_faults(given: Mapping[str, Any]) -> Faults:
    labels = given.get("labels")
    if labels is not None and not (isinstance(labels, dict) and set(labels) <= {"true", "false"}):
        yield "labels", 'a yes/no item has labels for "true" and "false" alone.'


def _choice_faults(given: Mapping[str, Any]) -> Faults:
    options = given.get("options")
    if not isinstance(options, list) or not options:
        yield "options", "a choice needs a list of options."
        return
    if len(options) > MOST_OPTIONS:
        yield "options", f"{len(options)} options; at most {MOST_OPTIONS} are possible."
        return
    seen: set[Any] = set()
    types: set[type] = set()
    for place, option in enumerate(options):
        at = f"options[{place}]"
        value = option.get("value") if isinstance(option, dict) else option
        if isinstance(option, dict):
            for key in option:
                if key not in {"value", "label", "exclusive"}:
                    yield f"{at}.{key[:40]}", "is unknown; an option has value, label and exclusive."
            if not isinstance(option.get("exclusive", False), bool):
                yield f"{at}.exclusive", "must be true or false."
        if isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE and value.strip() == value:
            types.add(str)
        elif isinstance(value, int) and is_number(value):
            types.add(int)
        else:
            yield (
                at,
                (
                    f"{shown_value(value)} is no option; write a text of 1 to {LONGEST_VALUE} characters without spaces"
                    " round it, or a whole number."
                ),
            )
            continue
        if value in seen:
            yield at, f"two options have the value {shown_value(value)}."
        seen.add(value)
    if len(types) > 1:
        yield "options", "values are texts or whole numbers, not some of each."


def _choices_faults(given: Mapping[str, Any]) -> Faults:
    yield from _choice_faults(given)
    options = given.get("options")
    most = len(options) if isinstance(options, list) else MOST_OPTIONS
    for key in ("at_least", "at_most"):
        number = given.get(key)
        if number is not None and not (
            isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= most
        ):
            yield key, f"{shown_value(number)} is no number of options; write 1 to {most}."
            return
    if given.get("at_least") and given.get("at_most") and given["at_least"] > given["at_most"]:
        yield "at_most", f"{given['at_most']} is below at_least ({given['at_least']})."


def _text_faults(given: Mapping[str, Any]) -> Faults:
    length = given.get("max_length")
    if length is not None and not (isinstance(length, int) and is_number(length) and 1 <= length <= LONGEST_TEXT):
        yield "max_length", f"{shown_value(length)} is no length; write 1 to {LONGEST_TEXT}."


def _date_faults(given: Mapping[str, Any]) -> Faults:
    if given.get("range") is not None and (
        fault := _range_fault(given["range"], is_date, '["2026-01-01", "2026-12-31"]')
    ):
        yield "range", fault


def _time_faults(given: Mapping[str, Any]) -> Faults:
    if given.get("range") is not None and (fault := _range_fault(given["range"], is_time, '["06:00", "22:00"]')):
        yield "range", fault


def _duration_faults(given: Mapping[str, Any]) -> Faults:
    if given.get("range") is None:
        return
    fault = _range_fault(
        given["range"], lambda end: is_number(end) and 0 <= end <= LONGEST_DURATION, "[0, 1440], in minutes"
    )
    if fault:
        yield "range", fault


def _media_faults(given: Mapping[str, Any]) -> Faults:
    if given.get("kind") not in ("photo", "audio", "video"):
        yield "kind", f"{shown_value(given.get('kind'))} is none of photo, audio, video."


def _no_faults(given: Mapping[str, Any]) -> Faults:
    yield from ()


def _number_value(item: Item, value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return f"{shown_value(value)} is no number."
    low, high = item.range or ((0, LONGEST_DURATION) if item.type == "duration" else (-LARGEST, LARGEST))
    if not low <= value <= high:
        return f"{shown_value(value)} is outside {low} to {high}."
    if item.type == "likert" and value != int(value):
        return f"{shown_value(value)} is no whole number; {low} to {high} are possible."
    if item.step:
        steps = (value - (low if item.range else 0)) / item.step
        if abs(steps - round(steps)) > ON_STEP:
            return f"{shown_value(value)} is between two steps; steps are {item.step} apart, from {low if item.range else 0}."
    return None


def _flag_value(item: Item, value: Any) -> str | None:
    return None if isinstance(value, bool) else f"{shown_value(value)} is neither true nor false."


def _choice_value(item: Item, value: Any) -> str | None:
    if isinstance(value, str | int) and item.option(value):
        return None
    return f"{shown_value(value)} is none of {_offered(item)}."


def _choices_value(item: Item, value: Any) -> str | None:
    if not isinstance(value, list):
        return f"{shown_value(value)} is no list; send a list of {_offered(item)}."
    options = {(type(option.value), option.value): option for option in item.options}
    chosen: dict[tuple[type, Any], Option] = {}
    for each in value:
        key = (type(each), each) if isinstance(each, str | int) else None
        if key is None or key not in options:
            return f"{shown_value(each)} is none of {_offered(item)}."
        if key in chosen:
            return f"{shown_value(each)} is there twice."
        chosen[key] = options[key]
    alone = next((option for option in chosen.values() if option.exclusive), None)
    if alone and len(chosen) > 1:
        return f"{shown_value(alone.value)} cannot be chosen with others."
    if item.at_least and len(chosen) < item.at_least and not alone:
        return f"{len(chosen)} chosen; at least {item.at_least} are asked for."
    if item.at_most and len(chosen) > item.at_most:
        return f"{len(chosen)} chosen; at most {item.at_most} are possible."
    return None


def _text_value(item: Item, value: Any) -> str | None:
    longest = item.max_length or LONGEST_TEXT
    return (
        None if isinstance(value, str) and len(value) <= longest else f"must be a text of at most {longest} characters."
    )


def _date_value(item: Item, value: Any) -> str | None:
    if not is_date(value):
        return f"{shown_value(value)} is no date; send one like 2026-03-02."
    return _within(item, value)


def _time_value(item: Item, value: Any) -> str | None:
    if not is_time(value):
        return f"{shown_value(value)} is no time of day; send one like 23:15."
    return _within(item, value)


def _within(item: Item, value: str) -> str | None:
    if item.range and not item.range[0] <= value <= item.range[1]:
        return f"{shown_value(value)} is outside {item.range[0]} to {item.range[1]}."
    return None


def _no_value(item: Item, value: Any) -> str | None:
    return "is for reading and takes no answer."


def _offered(item: Item) -> str:
    """The values that an item takes, as far as a message can hold them."""
    values = ", ".join(str(option.value) for option in item.options)
    return values if len(values) <= 300 else f"{values[:300]}… ({len(item.options)} options)"


def _kind(
    takes: str, gives: str, column: str, faults: Callable[..., Faults], value: Callable[[Item, Any], str | None]
) -> Kind:
    return Kind(frozenset(takes.split()), gives, column, faults, value)


KINDS: dict[str, Kind] = {
    "likert": _kind("range labels", "number", "number", _likert_faults, _number_value),
    "slider": _kind("range step labels", "number", "number", _slider_faults, _number_value),
    "number": _kind("range step unit", "number", "number", _number_faults, _number_value),
    "yesno": _kind("labels", "flag", "flag", _yesno_faults, _flag_value),
    "choice": _kind("options", "choice", "category", _choice_faults, _choice_value),
    "choices": _kind("options at_least at_most", "list", "flags", _choices_faults, _choices_value),
    "text": _kind("max_length", "text", "", _text_faults, _text_value),
    "date": _kind("range", "text", "date", _date_faults, _date_value),
    "time": _kind("range", "text", "number", _time_faults, _time_value),
    "duration": _kind("range", "number", "number", _duration_faults, _number_value),
    "information": _kind("", "", "", _no_faults, _no_value),
    "media": _kind("kind", "flag", "flag", _media_faults, _flag_value),
}
COMMON_KEYS = frozenset(
    {"name", "type", "text", "hint", "required", "show_if", "page", "sensitive", "ambient", "source"}
)


def kind_in_expressions(given: Mapping[str, Any]) -> str:
    """What an item of the document is in an expression: number, text, flag or list; "" for what has no answer."""
    gives = KINDS[given["type"]].gives
    if gives != "choice":
        return gives
    first = next(iter(given["options"]))
    value = first.get("value") if isinstance(first, dict) else first
    return "number" if isinstance(value, int) else "text"
