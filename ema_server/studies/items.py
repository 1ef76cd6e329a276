"""What an item may be asked and answered: pure rules, used alike by publishing, intake and the night.

A questionnaire is a document `{"title": …, "items": [{"name", "type", "text", …}]}`. The item types:

=========  =============================================================  =====================
type       needs                                                          an answer is
=========  =============================================================  =====================
likert     `range` [low, high] of integers, `labels` optional             an integer in the range
slider     `range` [low, high], `step` optional                           a number in the range
number     `range` optional (−1e15 to 1e15)                               a number
yesno                                                                     true or false
choice     `options`: a list of texts                                     one of the options
text                                                                      a text
=========  =============================================================  =====================

An item is required unless it says `"required": false`. `"ambient": true` marks what the phone looked up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

NUMERIC = {"likert", "slider", "number", "yesno"}
TYPES = NUMERIC | {"choice", "text"}
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_TEXT = 10_000
LARGEST = 1e15  # beyond it a double no longer tells neighbouring whole numbers apart


def document_faults(document: Mapping[str, Any]) -> list[str]:
    """What is wrong with a questionnaire, each fault with its place; an empty list if nothing is."""
    items = document.get("items")
    if not isinstance(items, list) or not items:
        return ["items: a questionnaire needs a list of at least one item."]
    faults: list[str] = []
    seen: set[str] = set()
    for place, item in enumerate(items):
        name, kind = item.get("name", ""), item.get("type")
        at = f"items[{place}] ({name or 'no name'})"
        if not NAME.fullmatch(str(name)):
            faults.append(f"{at}: name must be lower-case letters, digits and _, at most 40, beginning with a letter.")
        if name in seen:
            faults.append(f"{at}: two items have this name.")
        seen.add(name)
        if kind not in TYPES:
            faults.append(f"{at}: type {kind!r} is unknown; one of {', '.join(sorted(TYPES))}.")
        if kind in {"likert", "slider"} and not _is_range(item.get("range")):
            faults.append(f"{at}: range must be [low, high] with low < high.")
        if kind == "choice" and not (isinstance(item.get("options"), list) and item["options"]):
            faults.append(f"{at}: a choice needs a list of options.")
    return faults


def answer_faults(document: Mapping[str, Any], answers: Mapping[str, Any], *, complete: bool) -> list[str]:
    """Why these answers do not fit this questionnaire; `complete` answers must hold every required item."""
    items = {item["name"]: item for item in document["items"]}
    faults = [f"{name}: this version of the questionnaire has no such item." for name in answers if name not in items]
    for name, item in items.items():
        value = answers.get(name)
        if value is None:
            if complete and item.get("required", True):
                faults.append(f"{name}: an answer is required.")
            continue
        fault = _value_fault(item, value)
        if fault:
            faults.append(f"{name}: {fault}")
    return faults


def numeric_value(item: Mapping[str, Any], value: Any) -> float:
    """An answer as the number that is analysed (yes is 1, no is 0); NaN where there is none."""
    if value is None or item["type"] not in NUMERIC:
        return math.nan
    return float(value)


def _value_fault(item: Mapping[str, Any], value: Any) -> str | None:
    kind = item["type"]
    if kind == "yesno":
        return None if isinstance(value, bool) else f"{_shown(value)} is neither true nor false."
    if kind == "text":
        return (
            None
            if isinstance(value, str) and len(value) <= MAX_TEXT
            else f"must be a text of at most {MAX_TEXT} characters."
        )
    if kind == "choice":
        return (
            None if value in item["options"] else f"{_shown(value)} is none of {', '.join(map(str, item['options']))}."
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return f"{_shown(value)} is no number."
    low, high = item.get("range", (-LARGEST, LARGEST))
    if not low <= value <= high:
        return f"{_shown(value)} is outside {low} to {high}."
    if kind == "likert" and value != int(value):
        return f"{_shown(value)} is no whole number."
    return None


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(end, int | float) and not isinstance(end, bool) for end in value)
        and value[0] < value[1]
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
