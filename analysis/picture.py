"""What the drawings of one model show: rows for `plots`, from a fit's numbers. Nothing is drawn or fitted here.

Binary outcomes are drawn as probabilities: a person's segment follows their own logistic curve, the lens shows changes in
percentage points, averaged over people for the two thick lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis import estimates
from analysis.estimates import Margins, Rows
from analysis.words import Subject, decimals_for, number, one

Points = list[dict[str, float]]
Curve = Callable[[np.ndarray], np.ndarray]
"""Linear predictor → what is drawn."""

ENOUGH = 0.5
"""Share of a person's slope that rests on their own answers, below which no personal slope is shown (METHODS §2.9)."""
COMMON_SLOPE_OPACITY = 0.45
CURVE_POINTS = 9


def estimate_rows(
    about: Subject, result: Mapping[str, Any], points: Mapping[str, Margins] | None, G: np.ndarray
) -> list[dict[str, Any]]:
    """The rows of the estimate picture: percentage points where binary, else per unit with the pill of persons' slopes."""
    if points:
        return [
            _estimate_row(name, points[name].estimate, points[name].lower, points[name].upper, None)
            for name in ("within", "between")
        ]
    sd = float(np.sqrt(max(G[1, 1], 0.0)))
    found = []
    for name in ("within", "between", "contextual"):
        row = result[name]
        pill = [row["estimate"] - 1.96 * sd, row["estimate"] + 1.96 * sd] if name == "within" and sd > 0 else None
        found.append(_estimate_row(name, row["estimate"], row["lower"], row["upper"], pill))
    return found


def caption(about: Subject, result: Mapping[str, Any]) -> str:
    """What the numbers of the estimate picture are."""
    if about.binary:
        step = number(result["step"], decimals_for(result["step"]))
        between = number(result["step_between"], decimals_for(result["step_between"]))
        return (
            f"Percentage points of {about.outcome}, averaged over people: within for one typical step of a person "
            f"({step} {about.predictor_unit}), between for one typical difference between people "
            f"({between} {about.predictor_unit}). Thick bar: 95 % interval."
        )
    pill = (
        " Pale band: where 95 % of people’s own slopes lie." if result["spread"] and result["spread"]["sd"] > 0 else ""
    )
    return (
        f"{_capital(about.outcome_unit)} of {about.outcome} per {one(about.predictor_unit)} of {about.predictor}. "
        f"Thick bar: 95 % interval.{pill}"
    )


def signature(
    about: Subject,
    rows: Rows,
    model: Mapping[str, Any],
    result: Mapping[str, Any],
    beta: pd.Series,
    V: pd.DataFrame,
    G: np.ndarray,
    terms: tuple[str, str],
) -> dict[str, Any]:
    """Axes, persons' segments, the line between persons and the lens (see `plots.signature` and `plots.lens`)."""
    df = result["between"]["df"]
    line = estimates.between_line(rows, beta, V, terms, estimates.critical_value(df))
    own: Curve = expit if about.binary else np.asarray
    everyone: Curve = (lambda eta: estimates.averaged(eta, math.sqrt(G[0, 0]))[0]) if about.binary else np.asarray
    segments = [_segment(person, own) for person in result["persons"]]
    drawn = [
        {"x": float(x), "y": float(y), "lower": float(lower), "upper": float(upper)}
        for x, y, lower, upper in zip(
            line["x"], everyone(line["eta"].to_numpy()), everyone(line["lower"].to_numpy()), everyone(line["upper"].to_numpy()),
            strict=True,
        )
    ]  # fmt: skip
    predictor, outcome = model["predictor"], model["outcome"]
    x_low, x_high = _limits(predictor.get("range"), [point["x"] for one in segments for point in one["line"]])
    values = [point["y"] for one in segments for point in one["line"]] + [
        end for p in drawn for end in (p["lower"], p["upper"])
    ]
    y_low, y_high = _limits([0, 1] if about.binary else outcome.get("range"), values)
    if not about.binary:
        y_high = min(y_high, max(values) + 0.04 * (max(values) - y_low))  # the scale's start stays, its empty end goes
    return {
        "x": {"title": predictor.get("axis", about.predictor), "low": x_low, "high": x_high},
        "y": {"title": outcome.get("axis", about.outcome), "low": y_low, "high": y_high, "percent": about.binary},
        "segments": segments,
        "line": drawn,
        "lens": _lens(about, result, beta, V, G, terms, rows),
    }


def _estimate_row(part: str, estimate: float, lower: float, upper: float, pill: list[float] | None) -> dict[str, Any]:
    return {
        "part": part,
        "label": _capital(part),
        "estimate": estimate,
        "lower": lower,
        "upper": upper,
        "decimals": decimals_for((upper - lower) / 2),
        "pill": pill,
    }


def _segment(person: Mapping[str, Any], curve: Curve) -> dict[str, Any]:
    """A dot at the person's own average and a segment one SD of their own x long, inside the values seen."""
    half = person["sd_x"] / 2
    ends = (max(person["lo_x"], person["mean_x"] - half), min(person["hi_x"], person["mean_x"] + half))
    x = np.linspace(*ends, CURVE_POINTS if curve is expit else 2) if ends[1] > ends[0] else np.array([])
    y = curve(person["intercept"] + person["slope"] * (x - person["mean_x"]))
    return {
        "person": person["person"],
        "text": person_text(person),
        "x": person["mean_x"],
        "y": float(curve(np.array([person["intercept"]]))[0]),
        "opacity": opacity(person["weight"]),
        "few": bool(person["weight"] is not None and person["weight"] < ENOUGH),
        "line": _points(x, y),
    }


def person_text(person: Mapping[str, Any]) -> str:
    """What hovering a person says: no number for a slope that does not rest on their own answers."""
    said = f"{person['person']}: {person['n']} answers, usual {number(person['mean_x'], decimals_for(person['sd_x']))}"
    if person["weight"] is None:
        return said
    if person["weight"] < ENOUGH:
        return f"{said}, too few for a slope"
    return f"{said}, own slope {number(person['slope'], 2, sign=True)}"


def opacity(weight: float | None) -> float:
    """0.18 to 0.8 by how much a person's answers weigh (UI §4)."""
    if weight is None:
        return COMMON_SLOPE_OPACITY
    return round(0.18 + 0.62 * min(1.0, max(0.0, (weight - 0.3) / 0.6)), 2)


def _lens(
    about: Subject,
    result: Mapping[str, Any],
    beta: pd.Series,
    V: pd.DataFrame,
    G: np.ndarray,
    terms: tuple[str, str],
    rows: Rows,
) -> dict[str, Any]:
    """Everyone slid to one origin, from −reach to +reach of the predictor; changes of the outcome from there."""
    reach = nice_reach(result["step"])
    x = np.linspace(-reach, reach, 2 * CURVE_POINTS + 1) if about.binary else np.array([-reach, 0.0, reach])
    level = estimates.average_level(rows, beta, terms)
    people = []
    for person in result["persons"]:
        y = person["slope"] * x
        if about.binary:
            y = expit(person["intercept"] + person["slope"] * x) - expit(person["intercept"])
        people.append(
            {
                "person": person["person"],
                "text": person_text(person),
                "opacity": round(0.4 * opacity(person["weight"]), 2),
                "line": _points(x, y),
            }
        )
    lines = {}
    for part in ("within", "between"):
        row = result[part]
        sd = np.zeros_like(x) + math.sqrt(G[0, 0])
        if part == "within":
            sd = np.sqrt(np.maximum(G[0, 0] + 2 * G[0, 1] * x + G[1, 1] * x**2, 0.0))
        ends = []
        for name in ("estimate", "lower", "upper"):
            if not about.binary:
                ends.append(row[name] * x)
                continue
            start, _ = estimates.averaged(np.array([level]), np.array([math.sqrt(G[0, 0])]))
            ends.append(estimates.averaged(level + row[name] * x, sd)[0] - start[0])
        low, high = np.minimum(ends[1], ends[2]), np.maximum(ends[1], ends[2])
        lines[part] = [
            {"x": float(a), "y": float(b), "lower": float(c), "upper": float(d)}
            for a, b, c, d in zip(x, ends[0], low, high, strict=True)
        ]
    tops = sorted(max(abs(point["y"]) for point in one["line"]) for one in people)
    own = tops[int(0.95 * (len(tops) - 1))]
    thick = max(abs(lines[part][end]["y"]) for part in lines for end in (0, -1))
    bands = max(abs(lines[part][end][side]) for part in lines for end in (0, -1) for side in ("lower", "upper"))
    height = 1.08 * min(max(own, thick, bands), 2.5 * max(own, thick))
    return {"reach": reach, "height": height or 1.0, "people": people, "percent": about.binary, **lines}


def nice_reach(step: float) -> float:
    """A round number of units near a typical step: 1, 2, 5, 10, …"""
    if step <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(step))
    return min((size * each for each in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / step)))


def _limits(scale: Any, values: list[float]) -> tuple[float, float]:
    """The scale's own ends where it has some, else the values' with a little room."""
    if scale:
        return float(scale[0]), float(scale[1])
    low, high = min(values), max(values)
    room = 0.04 * (high - low or 1.0)
    return low - room, high + room


def _points(x: np.ndarray, y: np.ndarray) -> Points:
    return [{"x": round(float(a), 5), "y": round(float(b), 6)} for a, b in zip(x, y, strict=True)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
