"""`mediate(…).plot()`: the paths as a diagram with their numbers, and what they add up to as intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.forest import forest
from analysis.plots.look import BETWEEN, INK, INK2, INK3, WITHIN, finished
from analysis.plots.sheet import load_altair
from analysis.plots.typical import with_words

WIDTH, HEIGHT = 660, 190
LEFT, MIDDLE, RIGHT = (0.09, 0.18), (0.5, 0.86), (0.91, 0.18)
"""Where x, m and y stand in a square of one."""
GAP = 0.16
"""Share of an arrow left free at each of its ends."""


def mediation_chart(result: Any) -> Any:
    """Blue within persons, orange between; the direct path is ink."""
    alt = load_altair()
    colour = BETWEEN if result.design == "2-1-1" else WITHIN
    names = {"indirect": f"indirect, through {result.m}", "direct": "direct, beside it", "total": "total"}
    rows = result.table.loc[list(names), ["estimate", "lower", "upper"]].reset_index(drop=True)
    rows = with_words(rows.assign(label=list(names.values()), part="", pill_lower=np.nan, pill_upper=np.nan))
    sums = forest(rows.assign(colour=[colour, INK, INK]), WIDTH)
    title = alt.TitleParams(
        text=f"{result.x} → {result.m} → {result.y}",
        subtitle=[
            f"{result.design}, {result.label}. {result.y} per unit of {result.x} below; {100 * result.level:g} % limits of draws."
        ],
        fontSize=17,
        offset=14,
    )
    return finished(alt.vconcat(_diagram(result, colour), sums, title=title, spacing=26))


def _diagram(result: Any, colour: str) -> Any:
    alt = load_altair()
    b = "b" if "b" in result.table.index else "b_between"
    nodes = pd.DataFrame(
        [
            {"x": x, "y": y, "name": name}
            for (x, y), name in zip((LEFT, MIDDLE, RIGHT), (result.x, result.m, result.y), strict=True)
        ]
    )
    arrows = pd.DataFrame(
        [
            {**_arrow(start, end), "name": f"{letter}  {_said(result.table.loc[row])}", "colour": hue, "align": align}
            for start, end, letter, row, hue, align in (
                (LEFT, MIDDLE, "a", "a", colour, "right"),
                (MIDDLE, RIGHT, "b", b, colour, "left"),
                (LEFT, RIGHT, "c′", "direct", INK, "center"),
            )
        ]
    )
    unit = alt.Scale(domain=[0, 1], nice=False)
    x, y = alt.X("x:Q", scale=unit, axis=None), alt.Y("y:Q", scale=unit, axis=None)
    hue = alt.Color("colour:N", scale=None)
    base = alt.Chart(arrows)
    layers = [
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(x=x, y=y, x2="x2:Q", y2="y2:Q", color=hue),
        base.mark_point(shape="triangle", size=110, filled=True, opacity=1).encode(
            x=alt.X("x2:Q", scale=unit, axis=None),
            y=alt.Y("y2:Q", scale=unit, axis=None),
            angle=alt.Angle("turn:Q", scale=None),
            color=hue,
        ),
        alt.Chart(nodes).mark_text(fontSize=15, fontWeight=600, color=INK).encode(x=x, y=y, text="name:N"),
    ]
    for align, dx, dy in (("right", -20, -8), ("left", 20, -8), ("center", 0, 14)):
        some = alt.Chart(arrows[arrows["align"] == align]).mark_text(align=align, dx=dx, dy=dy, fontSize=13)
        layers.append(
            some.encode(
                x=alt.X("xm:Q", scale=unit, axis=None), y=alt.Y("ym:Q", scale=unit, axis=None), text="name:N", color=hue
            )
        )
    if "cov_ab" in result.table.index:
        note = pd.DataFrame([{"x": 0.5, "y": 0.5, "name": f"cov(a, b)  {_said(result.table.loc['cov_ab'])}"}])
        layers.append(alt.Chart(note).mark_text(fontSize=12, color=INK2).encode(x=x, y=y, text="name:N"))
    else:
        note = pd.DataFrame([{"x": 0.5, "y": 0.5, "name": f"b within  {_said(result.table.loc['b_within'])}"}])
        layers.append(alt.Chart(note).mark_text(fontSize=12, color=INK3).encode(x=x, y=y, text="name:N"))
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    """Ends of an arrow between two words, its middle, and the turn of its head (clockwise from up, in degrees)."""
    one, other = np.array(start), np.array(end)
    step = other - one
    first, last = one + GAP * step, other - GAP * step
    turn = np.degrees(np.arctan2(step[0] * WIDTH, step[1] * HEIGHT))
    middle = 0.5 * (first + last)
    return {"x": first[0], "y": first[1], "x2": last[0], "y2": last[1], "xm": middle[0], "ym": middle[1], "turn": turn}


def _said(row: pd.Series) -> str:
    return str(with_words(pd.DataFrame([row]))["said"].iloc[0])
