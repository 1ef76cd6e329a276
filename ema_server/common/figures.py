"""Numbers as people read them on a page: U+2212 for minus, commas for thousands, an en dash where there is none.

The engine has the same rules for its sentences (`analysis.words`); importing it would load numba into every web process.
"""

from __future__ import annotations

import math


def number(value: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """For instance −0.31, +1.40 or 4,151; never a negative zero."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0.,"):
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def p_value(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
