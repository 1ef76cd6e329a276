"""Answers to a questionnaire that nobody here has seen before, by the item types of docs/questionnaires.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUMERIC = ("likert", "slider", "number", "duration")


@dataclass(frozen=True, slots=True)
class Filled:
    """`left_out` are items that cannot be answered blindly: conditional ones, and types that the kit does not know. Where one of
    them may have to be answered, the questionnaire counts as not finished."""

    values: dict[str, Any]
    left_out: list[str]
    complete: bool


def fill(document: Mapping[str, Any], variant: int = 0) -> Filled:
    pages = {page["key"]: page for page in document.get("pages", [])}
    values: dict[str, Any] = {}
    left_out: list[str] = []
    complete = True
    for item in document["items"]:
        if item["type"] == "information":
            continue
        page = pages.get(item.get("page"), {})
        conditional = bool(item.get("show_if") or page.get("show_if"))
        value = None if conditional else value_of(item, variant)
        if value is None:
            left_out.append(item["name"])
            complete = complete and item.get("required", True) is False
        else:
            values[item["name"]] = value
    return Filled(values, left_out, complete)


def value_of(item: Mapping[str, Any], variant: int = 0) -> Any:
    """A fitting answer, another one for another variant as far as there is one; None for a type that the kit does not know."""
    kind = item["type"]
    if kind in NUMERIC:
        return _number(item, variant)
    if kind in ("yesno", "media"):
        return True if kind == "media" else variant % 2 == 0
    if kind == "choice":
        offered = _options(item)
        return offered[variant % len(offered)]
    if kind == "choices":
        return _choices(item, variant)
    if kind == "text":
        return ("Zoë, even bij thuis: «goed» " + "x" * (variant % 7))[: item.get("max_length") or 100]
    if kind == "date":
        low, high = item.get("range") or ("2026-03-02", "2026-03-03")
        return low if variant % 2 == 0 else high
    if kind == "time":
        low, high = item.get("range") or ("07:05", "23:15")
        return low if variant % 2 == 0 else high
    return None


def _number(item: Mapping[str, Any], variant: int) -> float:
    low, high = item.get("range") or ((0, 600) if item["type"] == "duration" else (0, 100))
    step = item.get("step") or (1 if high - low >= 1 else high - low)
    steps = int((high - low) / step + 1e-9)
    value = low + step * ((steps // 2 + variant) % (steps + 1))
    return int(value) if float(value).is_integer() else value


def _options(item: Mapping[str, Any]) -> list[Any]:
    return [option["value"] if isinstance(option, dict) else option for option in item["options"]]


def _choices(item: Mapping[str, Any], variant: int) -> list[Any] | None:
    alone = [option["value"] for option in item["options"] if isinstance(option, dict) and option.get("exclusive")]
    others = [value for value in _options(item) if value not in alone]
    least = item.get("at_least") or 1
    if len(others) < least:
        return alone[:1] or None
    first = variant % (len(others) - least + 1)
    return others[first : first + least]


def wrong_value(item: Mapping[str, Any]) -> Any:
    """An answer that the item cannot take."""
    kind = item["type"]
    if kind in NUMERIC:
        return item["range"][1] + 1 if item.get("range") else "twelve"
    return {"choices": "no list", "text": 7, "date": "2026-13-40", "time": "25:61"}.get(kind, "no such answer")


def numeric_item(document: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    """An item whose answer is a whole number, to be written in other ways."""
    kinds = {item["name"]: item["type"] for item in document["items"]}
    return next((name for name, value in values.items() if kinds[name] in NUMERIC and isinstance(value, int)), None)
