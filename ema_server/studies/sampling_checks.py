"""The small questions that every check of a sampling plan asks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,39}")
CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
MOST_TITLE = 200
SHOWN_NAMES = 10
MOST_DEPTH = 20
MOST_DIGITS = 20
UNSTORED = re.compile("[\x00\ud800-\udfff]")


def storage_fault(value: Any, at: str = "plan", depth: int = 0) -> str | None:
    """The first thing in a document that no database keeps as JSON, or gives back as it was; None where there is none."""
    if depth > MOST_DEPTH:
        return f"{at}: is nested too deeply; at most {MOST_DEPTH} levels."
    if isinstance(value, str):
        held = f"{at}: {shown(value)} holds a character (NUL or half a surrogate pair) that no text has."
        return held if UNSTORED.search(value) else None
    if isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        found = (
            storage_fault(name, at, depth) or storage_fault(inside, f"{at}.{str(name)[:40]}", depth + 1)
            for name, inside in pairs
        )
        return next(filter(None, found), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{at}: {value} is no number."
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"{at}: is too large a number; at most {MOST_DIGITS} digits."
    return None


def key_faults(at: str, thing: Mapping[str, Any], seen: set[str]) -> list[str]:
    key = thing.get("key")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        return [f"{at}.key: {shown(key)} must be letters, digits, '.', '-' and '_', at most 40, and is needed."]
    if key in seen:
        return [f"{at}.key: {key!r} is there twice."]
    seen.add(key)
    return []


def unknown(at: str, thing: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    strange = [name for name in thing if name not in known][:SHOWN_NAMES]
    return [f"{at}.{str(name)[:40]}: is unknown; {_meant(str(name)[:40], known)}." for name in strange]


def _meant(name: str, known: tuple[str, ...]) -> str:
    alike = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"is {alike[0]!r} meant? There are {', '.join(known)}" if alike else f"there are {', '.join(known)}"


def title_faults(at: str, thing: Mapping[str, Any]) -> list[str]:
    title = thing.get("title", "")
    if isinstance(title, str) and len(title) <= MOST_TITLE:
        return []
    return [f"{at}.title: {shown(title)} is no text of at most {MOST_TITLE} characters."]


def distinct(given: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(map(fits, given)) and len(set(given)) == len(given)


def names_faults(at: str, names: Any, known: Mapping[str, Any], what: str) -> list[str]:
    """A list of different keys of things that are there."""
    if not distinct(names, lambda each: isinstance(each, str)):
        return [f"{at}: {shown(names)} must be a list of different keys of {what}s."]
    offered = ", ".join(known) or "none"
    missing = [name for name in names if name not in known][:SHOWN_NAMES]
    return [f"{at}: there is no {what} {name[:40]!r}; there are: {offered}." for name in missing]


def whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_clock(value: Any) -> bool:
    return isinstance(value, str) and CLOCK.fullmatch(value) is not None


def name_of(thing: Mapping[str, Any]) -> str:
    key = thing.get("key")
    return key[:40] if isinstance(key, str) else "no key"


def last(days: int | None) -> str:
    return "" if days is None else f" to {days}"


def shown(value: Any) -> str:
    """A value for a sentence, however large or deep it is."""
    try:
        text = repr(value[:40] if isinstance(value, str) else value)
    except (RecursionError, ValueError):  # nested too deep; a number of too many digits
        return f"this {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "…"
