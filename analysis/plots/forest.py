"""Estimates with their intervals over one zero line."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.look import INK2
from analysis.plots.probability import averaged_change
from analysis.plots.scales import minus
from analysis.plots.sheet import load_altair
from analysis.plots.typical import with_words

ROW = 44
"""Height of a row: a line of words over a bar."""


def forest_rows(fit: Any, names: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """The terms' estimates and intervals with the fit's own degrees of freedom, and what they are in words.

    A binary outcome's are percentage points of its probability with one unit more, averaged over people; the intercept
    has none, and is left out there.
    """
    outcome = fit.design.spec.outcome
    if fit.family == "binomial":
        table = pd.DataFrame({name: averaged_change(fit, name, 1.0) for name in names if name != "Intercept"}).T
        unit = [f"Percentage points of {outcome} with one unit more,", "averaged over people; 95 % interval."]
    else:
        table = fit.tests().loc[names, ["estimate", "lower", "upper"]]
        unit = [f"{outcome} per unit of the term, 95 % interval."]
    rows = table.rename_axis("label").reset_index().assign(pill_lower=float("nan"), pill_upper=float("nan"), part="")
    rows["label"] = [term_words(name) for name in rows["label"]]
    return with_words(rows), unit


def forest(rows: pd.DataFrame, width: int) -> Any:
    """Rows of label, part, estimate, lower, upper, said, colour; pill_lower and pill_upper draw the pale band behind.

    The words stand above their bar; the ring of a difference is hollow, so that grey print tells it apart.
    """
    alt = load_altair()
    places = np.arange(len(rows))
    rows = rows.assign(words=places + 0.26, bar=places + 0.68, top=places + 0.45, end=places + 0.92, zero=0.0)
    ends = np.append(rows[["lower", "upper", "pill_lower", "pill_upper"]].to_numpy().ravel(), 0.0)
    low, high = np.nanmin(ends), np.nanmax(ends)
    room = 0.04 * (high - low or 1.0)
    scale = alt.Scale(domain=[low - room, high + room], nice=False)
    axis = alt.Axis(title=None, tickCount=4, labelExpr=minus())
    down = alt.Scale(domain=[len(rows), 0], nice=False)
    y, colour = alt.Y("bar:Q", axis=None, scale=down), alt.Color("colour:N", scale=None)
    tips = [alt.Tooltip("label:N", title="term"), alt.Tooltip("said:N", title="estimate (95 % interval)")]
    base = alt.Chart(rows)

    def along(field: str) -> Any:
        return alt.X(f"{field}:Q", scale=scale, axis=axis)

    layers = [
        base.mark_rule(strokeWidth=1).encode(x=along("zero"), y=alt.Y("top:Q", axis=None, scale=down), y2="end:Q")
    ]
    pills = rows[rows["pill_lower"].notna()]
    if len(pills):
        wide_bar = alt.Chart(pills).mark_bar(size=22, cornerRadius=11, opacity=0.13, orient="horizontal")
        layers.append(wide_bar.encode(x=along("pill_lower"), x2="pill_upper:Q", y=y, color=colour))
    bars = base.mark_rule(strokeWidth=5, strokeCap="round")
    layers.append(bars.encode(x=along("lower"), x2="upper:Q", y=y, color=colour, tooltip=tips))
    for hollow in (False, True):
        some = rows[(rows["part"] == "contextual") == hollow]
        if len(some):
            look = {"fill": "#ffffff"} if hollow else {"stroke": "#ffffff"}
            dots = alt.Chart(some).mark_point(size=110, filled=True, opacity=1, strokeWidth=2, **look)
            channel = {"stroke" if hollow else "fill": alt.Color("colour:N", scale=None)}
            layers.append(dots.encode(x=along("estimate"), y=y, tooltip=tips, **channel))
    at = alt.Y("words:Q", axis=None, scale=down)
    name = base.mark_text(align="left", baseline="middle", fontWeight=600)
    layers.append(name.encode(x=alt.value(0), y=at, text="label:N", color=colour))
    said = base.mark_text(align="right", baseline="middle", color=INK2)
    layers.append(said.encode(x=alt.value(width), y=at, text="said:N"))
    return alt.layer(*layers).properties(width=width, height=ROW * len(rows))


def term_words(name: str) -> str:
    """A term as people read it: `arm[T.b]` is "arm: b", a product has its ×."""
    factors = [re.sub(r"^(?:C\()?(.+?)(?:,.*)?\)?\[(?:T\.)?(.+)\]$", r"\1: \2", factor) for factor in name.split(":")]
    return " × ".join(factors)
