"""Round ticks and how they read."""

from __future__ import annotations

import math

from analysis.plots.sheet import Axis
from analysis.words import number


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Round values between two limits, about so many."""
    span = (high - low) or 1.0
    raw = span / about
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(at * step, 10) for at in range(first, last + 1)]


def signed(value: float, percent: bool) -> str:
    shown = 100 * value if percent else value
    return number(shown, places_of(shown), sign=True)


def places_of(value: float) -> int:
    """Decimals that a round tick needs."""
    return next((places for places in range(6) if abs(round(value, places) - value) < 1e-9), 6)


def tick_words(axis: Axis) -> str:
    """The tick's words, with U+2212 for minus; percentages for probabilities."""
    if axis.percent:
        return "format(datum.value * 100, '.0f') + ' %'"
    return minus()


def minus() -> str:
    """Vega's expression for a tick with U+2212 for minus."""
    return "replace(datum.label, '-', '\N{MINUS SIGN}')"
