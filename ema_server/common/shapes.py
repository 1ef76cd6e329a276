"""What is wrong with a value that has not the shape it should have: the field, what was sent, what would be accepted."""

from __future__ import annotations

import re
from typing import Any

import msgspec

LONGEST = 60
_PLACE = re.compile(r"^(.*) - at `(?:key in )?\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")


def fault_of(error: msgspec.ValidationError, value: Any) -> str:
    """msgspec's words with the value at that place: `survey_version: '1' was sent. Expected `int`, got `str`.`"""
    found = _PLACE.match(str(error))
    expected, path = found.groups() if found else (str(error), "")
    steps = list(_STEP.finditer(path))
    if "".join(step[0] for step in steps) != path:  # somewhere in an object with any keys: `[...]`
        steps = steps[:1]
    for step in steps:
        try:
            value = value[step[1]] if step[1] else value[int(step[2])]
        except (KeyError, IndexError, TypeError):
            return f"{path.lstrip('.')}: {expected}."
    name = path.lstrip(".")
    return f"{name}: {_shown(value)} was sent. {expected}." if name else f"{expected}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
