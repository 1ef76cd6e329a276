"""What `fit.plot_effects()` shows, as numbers; nothing is drawn here. A linear model needs its persons' state alone.

A predictor's parts as estimates, the line between persons, each person's own segment, and everyone slid to one origin
(the lens). Binary outcomes are shown as probabilities averaged over people, their differences in percentage points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis.estimates import averaged
from analysis.picture import nice_reach
from analysis.plots.people import persons_table, points_of
from analysis.plots.probability import averaged_change
from analysis.plots.typical import band, columns_at, contrast, slope_at, with_words

DRAWN = 500
"""Persons up to which everyone is drawn; above, a seeded sample."""
SPLIT = re.compile(r"^(within|within_day|between_days|between)\((.+)\)$")
LABELS = {
    "within": "Within a person",
    "within_day": "Within a day",
    "between_days": "Between days",
    "between": "Between people",
}
POINTS = 9
"""Points of a curve: 500 people's curves stay below the 5,000 rows that Altair takes as they are."""


@dataclass(frozen=True)
class SplitPicture:
    """One split predictor.

    parts : label, part, estimate, lower, upper, said; pill_lower, pill_upper where 95 % of people's own slopes lie
    people : person, n, x, y (own average), slope, weight, opacity, few;  segments : person, x, y, few, opacity
    between : x, y, lower, upper over the range of people's averages, empty without a between part
    lens : part, label, x, y, lower, upper from −reach to +reach;  lens_people : person, x, y, opacity
    step : the step that percentage points are for (binary), else 1;  drawn, persons : people drawn, people in all
    """

    predictor: str
    outcome: str
    binary: bool
    parts: pd.DataFrame
    people: pd.DataFrame
    segments: pd.DataFrame
    between: pd.DataFrame
    lens: pd.DataFrame
    lens_people: pd.DataFrame
    reach: float
    height: float
    steps: dict[str, float]
    persons: int


def split_predictors(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Predictor → part → its column, of those with a part that varies within persons."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        match = SPLIT.match(name)
        if match:
            found.setdefault(match.group(2), {})[match.group(1)] = name
    return {name: parts for name, parts in found.items() if "within" in parts or "within_day" in parts}


def split_picture(fit: Any, predictor: str, parts: dict[str, str]) -> SplitPicture:
    """Everything that the picture of one split predictor shows."""
    binary = fit.family == "binomial"
    inner = parts.get("within", parts.get("within_day", ""))
    people = persons_table(fit, predictor, inner, parts.get("between"))
    steps = _steps(fit, people, inner)
    shown = people.sample(DRAWN, random_state=0).sort_index() if len(people) > DRAWN else people
    reach = nice_reach(2.0 * steps["within"])
    lens, lens_people = _lens(fit, inner, parts.get("between"), shown, reach)
    return SplitPicture(
        predictor=predictor,
        outcome=fit.design.spec.outcome,
        binary=binary,
        parts=_points(fit, parts, steps) if binary else _slopes(fit, parts, inner),
        people=shown.assign(y=expit(shown["y"]) if binary else shown["y"]),
        segments=_segments(shown, curved=binary),
        between=_between(fit, parts["between"], people) if "between" in parts else pd.DataFrame(),
        lens=lens,
        lens_people=lens_people,
        reach=reach,
        height=_height(lens, lens_people),
        steps=steps,
        persons=len(people),
    )


@dataclass(frozen=True)
class LinePicture:
    """One predictor that is not split: person lines (person, n, own, few, opacity, x, y) and the population's with its band."""

    predictor: str
    outcome: str
    binary: bool
    people: pd.DataFrame
    population: pd.DataFrame
    persons: int


def sloping_predictor(fit: Any) -> str | None:
    """The first plain numeric predictor whose slope differs between persons; None where there is none."""
    random = {column.name for column in fit.design.random[fit.design.persons.terms]}
    plain = (column.name for column in fit.design.fixed if column.kind == "raw" and column.name in fit.state.names)
    return next((name for name in plain if name in random and ":" not in name), None)


def line_picture(fit: Any, name: str) -> LinePicture:
    """Everyone's own line over the values that they gave, and the average person's over all values."""
    binary = fit.family == "binomial"
    people = persons_table(fit, name, name, None)
    shown = people.sample(DRAWN, random_state=0).sort_index() if len(people) > DRAWN else people
    usual, sd, low, high = shown[["x", "sd", "low", "high"]].to_numpy().T
    low = np.where(np.isinf(low), usual - 2.0 * sd, low)  # without rows, where most of a person's values lie
    high = np.where(np.isinf(high), usual + 2.0 * sd, high)
    share = np.linspace(0.0, 1.0, POINTS if binary else 2)
    x = low[:, None] + (high - low)[:, None] * share
    y = shown["y"].to_numpy()[:, None] + shown["slope"].to_numpy()[:, None] * x
    return LinePicture(
        predictor=name,
        outcome=fit.design.spec.outcome,
        binary=binary,
        people=points_of(shown, x, expit(y) if binary else y),
        population=_averaged_band(fit, name, np.linspace(x.min(), x.max(), 2 * POINTS), 0.0),
        persons=len(people),
    )


def _slopes(fit: Any, parts: dict[str, str], inner: str) -> pd.DataFrame:
    """The parts' slopes, of products at the other factors' averages, and how the between part differs from the within part."""
    weights = {part: slope_at(fit.design.fixed, fit.state, parts[part]) for part in LABELS if part in parts}
    rows = [{"part": part, "label": LABELS[part], **contrast(fit, weights[part])} for part in weights]
    if "within" in parts and "between" in parts:
        difference = contrast(fit, weights["between"] - weights["within"])
        rows.append({"part": "contextual", "label": "Difference", **difference})
    out = pd.DataFrame(rows)[["part", "label", "estimate", "lower", "upper"]]
    sd = _slope_sd(fit, inner)
    own = out["part"].isin(["within", "within_day"]) & (sd > 0.0)
    out["pill_lower"] = (out["estimate"] - 1.96 * sd).where(own)
    out["pill_upper"] = (out["estimate"] + 1.96 * sd).where(own)
    return with_words(out)


def _points(fit: Any, parts: dict[str, str], steps: dict[str, float]) -> pd.DataFrame:
    """Percentage points for a typical step of a person, and for a typical difference between people."""
    rows = []
    for part in (name for name in LABELS if name in parts):
        change = averaged_change(fit, parts[part], steps["between" if part == "between" else "within"])
        rows.append({"part": part, "label": LABELS[part], **change})
    out = pd.DataFrame(rows).assign(pill_lower=np.nan, pill_upper=np.nan)
    return with_words(out)


def _slope_sd(fit: Any, name: str) -> float:
    terms = fit.design.persons.terms
    change = slope_at(fit.design.random[terms], fit.state, name)
    return float(np.sqrt(max(change @ fit.fit.g[terms, terms] @ change, 0.0)))


def _steps(fit: Any, people: pd.DataFrame, inner: str) -> dict[str, float]:
    """The typical within-person step (pooled SD) and the typical difference between people (SD of their averages)."""
    inside = fit.state.n - 1.0
    pooled = float(np.sqrt((inside * people["sd"] ** 2).sum() / max(inside.sum(), 1.0)))
    return {"within": pooled, "between": float(people["x"].std(ddof=1))}


def _segments(people: pd.DataFrame, *, curved: bool) -> pd.DataFrame:
    """Each person's own line, one SD of their own x long, inside the values seen."""
    usual, sd, lowest, highest, at, slope = people[["x", "sd", "low", "high", "y", "slope"]].to_numpy(dtype=float).T
    low, high = np.maximum(usual - sd / 2, lowest), np.minimum(usual + sd / 2, highest)
    x = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, POINTS if curved else 2)
    y = at[:, None] + slope[:, None] * (x - usual[:, None])
    return points_of(people, x, expit(y) if curved else y)


def _between(fit: Any, name: str, people: pd.DataFrame) -> pd.DataFrame:
    """The line between people over the range of their averages."""
    x = np.linspace(people["x"].min(), people["x"].max(), 2 * POINTS)
    return _averaged_band(fit, name, x, float(people["x"].mean()))


def _averaged_band(fit: Any, name: str, x: np.ndarray, anchor: float) -> pd.DataFrame:
    """The population's line with its band, columns x, y, lower, upper; a probability is averaged over people."""
    line = band(fit, name, x - anchor, {})
    eta = line[["eta", "lower", "upper"]].to_numpy()
    if fit.family == "binomial":
        z = np.array([columns_at(fit.design.random, fit.state, {name: value}) for value in x - anchor])
        sd = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", z, fit.fit.g, z), 0.0))
        eta = averaged(eta, sd[:, None])[0]
    return pd.DataFrame({"x": x, "y": eta[:, 0], "lower": eta[:, 1], "upper": eta[:, 2]})


def _lens(
    fit: Any, inner: str, between: str | None, people: pd.DataFrame, reach: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Changes from one's own usual, −reach to +reach: the two population lines with bands, and each person's own line."""
    binary = fit.family == "binomial"
    x = np.linspace(-reach, reach, POINTS if binary else 3)
    z = columns_at(fit.design.random, fit.state, {inner: 0.0})
    turn = slope_at(fit.design.random, fit.state, inner)
    level = band(fit, inner, np.zeros(1), {})["eta"].iloc[0]
    lines = []
    for part, name in (("between", between), ("within", inner)):
        if name is None:
            continue
        row = contrast(fit, slope_at(fit.design.fixed, fit.state, name))
        moved = z + np.outer(x, turn) if part == "within" else np.tile(z, (len(x), 1))
        ends = [row[end] * x for end in ("estimate", "lower", "upper")]
        if binary:
            sd = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", moved, fit.fit.g, moved), 0.0))
            start = averaged(np.array([level]), np.sqrt(np.maximum(z @ fit.fit.g @ z, 0.0)))[0]
            ends = [100.0 * (averaged(level + end, sd)[0] - start) for end in ends]
        low, high = np.minimum(ends[1], ends[2]), np.maximum(ends[1], ends[2])
        label = "within a day" if name.startswith("within_day") else part
        lines.append(pd.DataFrame({"part": part, "label": label, "x": x, "y": ends[0], "lower": low, "upper": high}))
    across = np.tile(x, (len(people), 1))
    y = people["slope"].to_numpy()[:, None] * across
    if binary:
        own = people["y"].to_numpy()[:, None]
        y = 100.0 * (expit(own + y) - expit(own))
    faint = people.assign(opacity=0.4 * people["opacity"] * min(1.0, (80 / len(people)) ** 0.7))
    return pd.concat(lines, ignore_index=True), points_of(faint, across, y)


def _height(lens: pd.DataFrame, people: pd.DataFrame) -> float:
    """The lens's limit of y: 95 % of persons' lines and the population's bands, never far beyond the lines themselves."""
    tops = people["y"].abs().groupby(people["person"]).max()
    own, thick = float(tops.quantile(0.95)), float(lens["y"].abs().max())
    bands = float(lens[["lower", "upper"]].abs().to_numpy().max())
    return 1.08 * min(max(own, thick, bands), 2.5 * max(own, thick)) or 1.0
