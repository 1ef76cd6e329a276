"""Scales: numbers made of several items' answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ema_server.surveys.document import Scale, Survey


def scores(survey: Survey, counted: Mapping[str, Any]) -> dict[str, float]:
    """Each scale's score for the answers that count; NaN where too few of its items are answered."""
    return {scale.key: score(survey, scale, counted) for scale in survey.scales}


def score(survey: Survey, scale: Scale, counted: Mapping[str, Any]) -> float:
    """The mean of the answered items, reversed ones turned round; a sum is that mean times the number of items, so that
    a missing answer does not lower it (person-mean substitution, the usual rule of manuals that allow missing items)."""
    values = []
    for name in scale.items:
        value = counted.get(name)
        if value is None:
            continue
        if name in scale.reversed:
            low, high = survey.by_name[name].range or (0, 1)  # a yes/no item runs from 0 to 1
            value = low + high - value
        values.append(float(value))
    if len(values) < max(scale.minimum_answered, 1):
        return math.nan
    mean = math.fsum(values) / len(values)
    return mean * len(scale.items) if scale.score == "sum" else mean


def bounds(survey: Survey, scale: Scale) -> tuple[float, float] | None:
    """The lowest and highest score that is possible; None where the items have no range."""
    ends = [
        survey.by_name[name].range or ((0, 1) if survey.by_name[name].type == "yesno" else None) for name in scale.items
    ]
    if any(end is None for end in ends):
        return None
    factor = len(ends) if scale.score == "sum" else 1
    low = math.fsum(float(end[0]) for end in ends if end) / len(ends)
    high = math.fsum(float(end[1]) for end in ends if end) / len(ends)
    return low * factor, high * factor
