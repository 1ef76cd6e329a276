"""The pictures of `benchmark`: the caterpillar of shrunken figures, and the funnel of raw ones (Spiegelhalter, 2005)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import binom, poisson

from analysis.picture import ENOUGH
from analysis.plots.look import BETWEEN, INK, INK2, INK3, finished, titled
from analysis.plots.modes import DRAWN, NAMED
from analysis.plots.scales import minus
from analysis.plots.sheet import load_altair
from analysis.words import level_words

WIDTH = 740
LIMITS = (0.95, 0.998)
OUTSIDE = 12
"""Groups beyond the outer limits up to which their names stand beside them."""
RATIOS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100)
NEAR = (0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2)
"""Ticks of ratios, and of ratios that are all near one."""
WIDE = 30.0
"""Sizes that differ by more than this factor are drawn on a logarithmic axis."""


def benchmark_caterpillar(result: Any) -> Any:
    """Groups sorted by the shrunken figure with its limits; a grey dash is the raw figure, hollow where own rows weigh little."""
    alt = load_altair()
    rows = _rows(result).sort_values("value", ignore_index=True, kind="stable")
    if len(rows) > DRAWN:
        rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, DRAWN).round().astype(int))]
    rows = rows.assign(rank=np.arange(len(rows)) + 0.5, few=rows["weight"] < ENOUGH)
    ratio = result.measure == "ratio"
    low, high = float(rows["lower"].min()), float(rows["upper"].max())
    room = (high / low) ** 0.25 if ratio else 0.25 * (high - low)
    ends = [low / room, high * room] if ratio else [low - room, high + room]  # raw figures may lie far outside
    seen = rows["raw"].clip(*ends)
    beyond = " A dash at the edge lies beyond it." if (seen != rows["raw"]).any() else ""
    domain = [min(low, float(seen.min())), max(high, float(seen.max()))]
    if ratio:
        scale = alt.Scale(type="log", domain=domain, nice=False)
        axis = alt.Axis(title=None, values=_ratio_ticks(*domain), format="~g", labelOverlap=False)
    else:
        scale, axis = alt.Scale(domain=domain, nice=True), alt.Axis(title=None, labelExpr=minus())
    x = alt.X("rank:Q", scale=alt.Scale(domain=[0, len(rows)], nice=False), axis=None)
    base = alt.Chart(rows.assign(raw=seen))

    def up(field: str) -> Any:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    many = len(rows)
    width, size = (2.0, 40) if many <= 100 else (1.2, 16) if many <= 250 else (0.8, 6)
    tips = _tips(result)
    zero = alt.Chart(pd.DataFrame({"y": [1.0 if ratio else 0.0]})).mark_rule(strokeWidth=1)
    layers = [
        zero.encode(y=up("y")),
        base.mark_rule(color=BETWEEN, strokeWidth=width, opacity=0.45).encode(
            x=x, y=up("lower"), y2="upper:Q", tooltip=tips
        ),
        base.mark_tick(
            orient="horizontal",
            color=INK3,
            thickness=1.6,
            size=min(12.0, 0.7 * WIDTH / many),
        ).encode(x=x, y=up("raw"), tooltip=tips),
    ]
    for few in (False, True):
        look = {"fill": "#ffffff", "stroke": BETWEEN} if few else {"fill": BETWEEN, "stroke": "#ffffff"}
        some = alt.Chart(rows[rows["few"] == few]).mark_point(size=size, opacity=1, strokeWidth=0.9, **look)
        layers.append(some.encode(x=x, y=up("value"), tooltip=tips))
    if many <= NAMED:
        names = base.mark_text(angle=270, align="right", baseline="middle", fontSize=11, color=INK2)
        layers.append(names.encode(x=x, y=alt.value(306), text="level:N"))
    of = f"{many:,} of {len(result.table):,} drawn, evenly by rank. " if many < len(result.table) else ""
    title = alt.TitleParams(
        text=f"{result.outcome}: {_measured(result)} of each {result.group}",
        subtitle=[
            f"Dot: predicted {_against(result)} expected, after shrinkage. Line: {100 * result.level:g} % limits. Grey dash: the raw figure.",
            f"{of}Hollow: rests on own rows by less than half.{beyond}",
        ],
        fontSize=17,
        offset=16,
    )
    return finished(alt.vconcat(alt.layer(*layers).properties(width=WIDTH, height=300), title=title))


def benchmark_funnel(result: Any) -> Any:
    """Raw figures (rings) by size between control limits about the average, tied to where shrinkage puts them (dots)."""
    alt = load_altair()
    rows = _rows(result)
    ratio = result.measure == "ratio"
    rows = rows.assign(at=rows["expected"] if ratio else rows["n"])
    curves = _curves(result, rows["at"])
    wide = rows["at"].max() > WIDE * rows["at"].min()
    across = alt.Scale(type="log" if wide else "linear", domain=[curves["at"].min(), curves["at"].max()], nice=False)
    words = f"expected {result.outcome} →" if ratio else f"rows of a {result.group} →"
    x = alt.X("at:Q", scale=across, axis=alt.Axis(title=words, tickCount=6))
    top = max(float(rows[["raw", "value"]].max().max()), 2.0 if ratio else 0.0)
    bottom = 0.0 if ratio else float(rows[["raw", "value"]].min().min())
    room = 0.06 * (top - bottom)
    scale = alt.Scale(domain=[bottom - (0.0 if ratio else room), top + room], nice=False)
    axis = alt.Axis(title=None, labelExpr=minus())

    def up(field: str) -> Any:
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    layers = []
    for level in sorted(LIMITS, reverse=True):
        area = alt.Chart(curves[curves["level"] == level]).mark_area(color=INK, opacity=0.06, clip=True)
        layers.append(area.encode(x=x, y=up("lower"), y2="upper:Q"))
    tips, base = _tips(result), alt.Chart(rows)
    line = alt.Chart(pd.DataFrame({"y": [1.0 if ratio else 0.0]})).mark_rule(strokeWidth=1)
    layers += [
        line.encode(y=up("y")),
        base.mark_rule(color=INK3, strokeWidth=0.8, opacity=0.7).encode(x=x, y=up("raw"), y2="value:Q"),
        base.mark_point(size=44, fill="#ffffff", stroke=INK, strokeWidth=1.2, opacity=1).encode(
            x=x, y=up("raw"), tooltip=tips
        ),
        base.mark_point(size=30, fill=BETWEEN, stroke="#ffffff", strokeWidth=0.8, opacity=1).encode(
            x=x, y=up("value"), tooltip=tips
        ),
    ]
    outside = rows[_outside(result, rows)]
    if 0 < len(outside) <= OUTSIDE:
        names = alt.Chart(outside).mark_text(align="left", dx=7, fontSize=11, color=INK2)
        layers.append(names.encode(x=x, y=up("raw"), text="level:N"))
    labels = curves.loc[curves.groupby("level")["at"].idxmax()].assign(
        text=[f"{100 * level:g} %" for level in sorted(LIMITS)]
    )
    marks = alt.Chart(labels).mark_text(align="left", dx=6, fontSize=11, color=INK3)
    layers.append(marks.encode(x=x, y=up("upper"), text="text:N"))
    title = titled(
        f"{result.outcome}: {_measured(result)} by size",
        "Ring: raw. Dot: after shrinkage. Shades: where 95 and 99.8 % of raw figures would lie if all "
        f"{level_words(result.group)} were average.",
        f"{len(outside)} of {len(rows):,} raw figures lie beyond the outer limits.",
        offset=16,
    )
    return finished(alt.layer(*layers).properties(width=WIDTH - 40, height=360, title=title))


def _ratio_ticks(low: float, high: float) -> list[float]:
    return [tick for tick in (RATIOS if high > 5.0 * low else NEAR) if low <= tick <= high]


def _rows(result: Any) -> pd.DataFrame:
    """The table with its compared columns under plain names: level, raw, value, raw_lower, …"""
    names = {f"raw_{result.measure}": "raw", result.measure: "value"}
    if result.measure == "difference":
        table = result.table.drop(columns=["raw_ratio", "ratio"], errors="ignore")
    else:
        table = result.table
    rows: pd.DataFrame = table.rename(columns=names).assign(level=table.index.astype(str)).reset_index(drop=True)
    return rows


def _curves(result: Any, sizes: pd.Series) -> pd.DataFrame:
    """Control limits over the sizes seen: columns at, level, lower, upper."""
    grid = np.geomspace(max(float(sizes.min()) * 0.9, 1e-6), float(sizes.max()) * 1.05, 160)
    parts = []
    for level in LIMITS:
        low, high = _limits(result, grid, level)
        parts.append(pd.DataFrame({"at": grid, "level": level, "lower": low, "upper": high}))
    return pd.concat(parts, ignore_index=True)


def _outside(result: Any, rows: pd.DataFrame) -> np.ndarray:
    low, high = _limits(result, rows["at"].to_numpy(dtype=float), LIMITS[1])
    return np.asarray((rows["raw"] < low) | (rows["raw"] > high))


def _limits(result: Any, at: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Limits of the raw figure of an average group: exact counts interpolated (Spiegelhalter, 2005, appendix A.1).

    Of a binomial outcome at the trials that the overall expected rate gives for that many expected events.
    """
    tail = 0.5 - level / 2
    if result.measure == "difference":
        half = ndtri(1.0 - tail) * result.residual / np.sqrt(at)
        return -half, half
    if result.family == "poisson":
        return _interpolated(poisson(at), tail) / at, _interpolated(poisson(at), 1.0 - tail) / at
    rate = float(result.table["expected"].sum() / result.table["n"].sum())
    trials = at / rate
    below, above = np.maximum(np.floor(trials), 1.0), np.maximum(np.ceil(trials), 1.0)
    share = trials - np.floor(trials)
    out = []
    for side in (tail, 1.0 - tail):
        ends = [_interpolated(binom(whole, rate), side) / (whole * rate) for whole in (below, above)]
        out.append((1.0 - share) * ends[0] + share * ends[1])
    return out[0], out[1]


def _interpolated(count: Any, probability: float) -> np.ndarray:
    """The quantile of a count, made continuous by its distribution function's steps."""
    reached = count.ppf(probability)
    excess = (count.cdf(reached) - probability) / count.pmf(reached)
    return np.asarray(np.maximum(reached - excess, 0.0))


def _tips(result: Any) -> list[Any]:
    alt = load_altair()
    return [
        alt.Tooltip("level:N", title=result.group),
        alt.Tooltip("n:Q", title="n", format=","),
        alt.Tooltip("raw:Q", title=f"raw {result.measure}", format=".3~g"),
        alt.Tooltip("value:Q", title=result.measure, format=".3~g"),
        alt.Tooltip("rank_lower:Q", title="rank from", format=".0f"),
        alt.Tooltip("rank_upper:Q", title="rank to", format=".0f"),
        alt.Tooltip("weight:Q", title="rests on own rows", format=".0%"),
    ]


def _measured(result: Any) -> str:
    return "ratio to expected" if result.measure == "ratio" else "difference from expected"


def _against(result: Any) -> str:
    return "over" if result.measure == "ratio" else "less"
