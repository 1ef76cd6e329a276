"""`fit.plot_modes(group)`: each level's own deviation with its interval, sorted: the caterpillar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.picture import ENOUGH
from analysis.plots.look import BETWEEN, INK, INK2, WITHIN, finished, stacked, titled
from analysis.plots.scales import minus
from analysis.plots.sheet import load_altair
from analysis.words import decimals_for, level_words, number

WIDTH = 740
NOTHING = 1e-10
"""A random effect's SD below this share of the residual SD (of 1 where binary) is no spread, only rounding."""
DRAWN = 500
"""Levels up to which all are drawn; above, so many evenly by rank, both ends among them."""
NAMED = 45
"""Levels up to which their names stand below the picture."""


def mode_rows(fit: Any, group: str | None = None) -> dict[str, pd.DataFrame]:
    """Random term → one row a level, sorted by mode: level, n, rank, mode, sd, lower, upper, own, few.

    lower, upper : mode ± 1.96 conditional SD;  own : 1 − conditional variance / variance between levels, the share of the
    mode that rests on the level's own rows (the rest is shrinkage);  few : is that below one half?
    """
    modes, spread = fit.conditional_modes(group), fit.conditional_sd(group)
    factor = fit.design.factors[fit.design.place_of(group)]
    variance, n = np.diag(fit.random[factor.name]), fit.design.rows_of(factor)
    out = {}
    for place, term in enumerate(modes.columns):
        mode, sd = modes[term].to_numpy(), spread[term].to_numpy()
        own = 1.0 - sd**2 / variance[place] if variance[place] > 0.0 else np.zeros_like(sd)
        frame = pd.DataFrame(
            {
                "level": modes.index.astype(str),
                "n": n.astype(int),
                "mode": mode,
                "sd": sd,
                "lower": mode - 1.96 * sd,
                "upper": mode + 1.96 * sd,
                "own": np.clip(own, 0.0, 1.0),
            }
        ).sort_values("mode", ignore_index=True, kind="stable")
        out[str(term)] = frame.assign(rank=np.arange(len(frame)) + 0.5, few=frame["own"] < ENOUGH)
    return out


def modes_chart(fit: Any, group: str | None = None) -> Any:
    """An Altair chart: one panel a random term, everybody's deviation from the average with its 95 % interval."""
    alt = load_altair()
    rows = mode_rows(fit, group)
    factor = fit.design.factors[fit.design.place_of(group)].name
    deviations = np.sqrt(np.maximum(np.diag(fit.random[factor]), 0.0))
    deviations[deviations <= NOTHING * (fit.residual_sd or 1.0)] = 0.0
    scale = f" {fit.effect_scale}"
    panels = [
        _panel(term, frame, sd, factor, 240 if len(rows) == 1 else 190)
        for (term, frame), sd in zip(rows.items(), deviations, strict=True)
    ]
    title = alt.TitleParams(
        text=f"How each {factor} differs from the average",
        subtitle=[f"Dot: the estimate{scale}, pulled towards 0 where there are few rows. Line: ± 1.96 conditional SD."],
        fontSize=17,
        offset=18,
    )
    return finished(
        stacked(panels, spacing=30).properties(title=title) if len(panels) > 1 else _headed(panels[0], title)
    )


def _headed(panel: Any, title: Any) -> Any:
    return load_altair().vconcat(panel, title=title)


def _panel(term: str, rows: pd.DataFrame, sd: float, factor: str, height: int) -> Any:
    """Sorted levels over the pale band in which 95 % of all lie by the model; hollow where own rows weigh too little."""
    alt = load_altair()
    shown = _thinned(rows)
    shown = shown.assign(rank=np.arange(len(shown)) + 0.5)
    colour = BETWEEN if term == "Intercept" else WITHIN if term.startswith("within") else INK
    across = alt.Scale(domain=[0, len(shown)], nice=False)
    ends = [*shown["lower"], *shown["upper"], -1.96 * sd, 1.96 * sd]
    scale = alt.Scale(domain=[min(ends), max(ends)] if max(ends) > min(ends) else [-1, 1], nice=True)
    axis = alt.Axis(title=None, labelExpr=minus())
    x, y = alt.X("rank:Q", scale=across, axis=None), alt.Y("mode:Q", scale=scale, axis=axis)
    width = 2.0 if len(shown) <= 100 else 1.2 if len(shown) <= 250 else 0.8
    size = 34 if len(shown) <= 100 else 16 if len(shown) <= 250 else 6
    tips = [
        alt.Tooltip("level:N", title=factor),
        alt.Tooltip("n:Q", title="rows", format=","),
        alt.Tooltip("mode:Q", title="deviation", format="+.3~g"),
        alt.Tooltip("sd:Q", title="conditional SD", format=".3~g"),
        alt.Tooltip("own:Q", title="rests on own rows", format=".0%"),
    ]
    band = alt.Chart(pd.DataFrame({"low": [-1.96 * sd], "high": [1.96 * sd]})).mark_rect(color=colour, opacity=0.08)
    zero = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(strokeWidth=1)
    lines = alt.Chart(shown).mark_rule(color=colour, strokeWidth=width, opacity=0.4)
    layers = [
        band.encode(y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q"),
        zero.encode(y=alt.Y("y:Q", scale=scale, axis=axis)),
        lines.encode(x=x, y=alt.Y("lower:Q", scale=scale, axis=axis), y2="upper:Q", tooltip=tips),
    ]
    for few in (False, True):
        some = shown[shown["few"] == few]
        if len(some):
            look = {"fill": "#ffffff", "stroke": colour} if few else {"fill": colour, "stroke": "#ffffff"}
            edge = 0.9 if len(shown) <= 250 else 0.4
            dots = alt.Chart(some).mark_point(size=size, opacity=1, strokeWidth=edge, **look)
            layers.append(dots.encode(x=x, y=y, tooltip=tips))
    if len(shown) <= NAMED:
        names = alt.Chart(shown).mark_text(angle=270, align="right", baseline="middle", fontSize=11, color=INK2)
        layers.append(names.encode(x=x, y=alt.value(height + 6), text="level:N"))
    words = _words(rows, sd, len(shown), level_words(factor))
    return alt.layer(*layers).properties(width=WIDTH, height=height, title=titled(term, *words, offset=10))


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """All rows, or DRAWN of them evenly by rank with both ends."""
    if len(rows) <= DRAWN:
        return rows
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, DRAWN).round().astype(int))]


def _words(rows: pd.DataFrame, sd: float, drawn: int, who: str) -> list[str]:
    many = f" {drawn} of {len(rows):,} drawn, evenly by rank." if drawn < len(rows) else ""
    if sd == 0.0:
        return [f"The data show no spread here: all have the average.{many}"]
    few = int(rows["few"].sum())
    hollow = f" Hollow: {few:,} of {len(rows):,} rest on their own rows by less than half." if few else ""
    own = f"{round(100 * float(rows['own'].mean()))} %"
    return [
        f"SD between {who} {number(sd, decimals_for(sd))}; the pale band holds 95 % of them. "
        f"On average {own} of a deviation rests on own rows.",
        f"{hollow.strip()}{many}".strip(),
    ]
