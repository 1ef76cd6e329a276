"""`fit.plot_effects()`: the two slopes of a split predictor as one picture, or the fixed effects as a forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import SpecError
from analysis.plots.effect_rows import (
    LinePicture,
    SplitPicture,
    line_picture,
    sloping_predictor,
    split_picture,
    split_predictors,
)
from analysis.plots.forest import forest, forest_rows
from analysis.plots.look import BETWEEN, COLOURS, INK, WITHIN, finished, stacked, titled
from analysis.plots.scales import minus, places_of, round_ticks
from analysis.plots.sheet import load_altair
from analysis.words import MINUS, decimals_for, number

LEFT, RIGHT, HEIGHT = 400, 260, 372
"""Widths of the two halves of the picture and its height, axes not included."""
PERCENT = "format(datum.value * 100, '.0f') + ' %'"


def effects_chart(fit: Any, terms: Sequence[str] | None = None) -> Any:
    """An Altair chart: each split predictor's picture; a forest of the terms where nothing is split, or for `terms`.

    `terms` may name split predictors (`"support"`) and fixed effects. Raises SpecError for any other name.
    """
    alt = load_altair()
    names = list(fit.design.fixed_names)
    split = split_predictors(names)
    if terms is None:
        wanted = list(split) or [name for name in names if name != "Intercept"] or names
    else:
        wanted = [terms] if isinstance(terms, str) else list(terms)
    for name in wanted:
        if name not in split and name not in names:
            raise SpecError(f"plot_effects: the model has no term {name!r}; it has {', '.join([*split, *names])}.")
    charts = [split_chart(split_picture(fit, name, split[name])) for name in wanted if name in split]
    single = [name for name in wanted if name not in split]
    sloping = sloping_predictor(fit) if terms is None and not split else None
    if sloping is not None:
        title = alt.TitleParams(f"How {fit.design.spec.outcome} goes with {sloping}", fontSize=17, offset=18)
        pair = [_lines_chart(line_picture(fit, sloping)), _forest_chart(fit, single, RIGHT)]
        charts.append(alt.hconcat(*pair, spacing=50, title=title))
    elif single:
        charts.append(_forest_chart(fit, single))
    return finished(stacked(charts))


def split_chart(shown: SplitPicture) -> Any:
    """Left everyone at their own average; right the estimates, and below them everyone lined up at one point."""
    alt = load_altair()
    left_words, right_words = _people_words(shown), _parts_words(shown)
    lines = max(len(left_words), len(right_words))  # equally many, so that both titles stand on one line
    left, right = (words + [" "] * (lines - len(words)) for words in (left_words, right_words))
    name = f"How {shown.outcome} goes with {shown.predictor}"
    side = alt.vconcat(
        _parts(shown).properties(title=titled("The slopes", *right, offset=32)), _lens(shown), spacing=30
    )
    people = _people(shown).properties(title=titled("Each person at their own average", *left, offset=6))
    return alt.hconcat(people, side, spacing=50, title=alt.TitleParams(name, fontSize=17, offset=18))


def _people(shown: SplitPicture) -> Any:
    """Dots at each person's average, their own slopes through them, the line between people with its band."""
    alt = load_altair()
    y_axis = alt.Axis(title=f"{_outcome(shown)} ↑", labelExpr=PERCENT if shown.binary else minus())
    x = alt.X(
        "x:Q", scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(title=f"{shown.predictor} →", labelExpr=minus())
    )
    y = alt.Y("y:Q", scale=alt.Scale(zero=False, nice=True), axis=y_axis)
    tips = [
        alt.Tooltip("person:N", title="person"),
        alt.Tooltip("n:Q", title="answers", format=","),
        alt.Tooltip("own:N", title="own slope"),
    ]
    layers = []
    if len(shown.between):
        band = alt.Chart(shown.between).mark_area(color=BETWEEN, opacity=0.13, clip=True)
        layers.append(band.encode(x=x, y=alt.Y("lower:Q", scale=alt.Scale(zero=False), axis=y_axis), y2="upper:Q"))
    opacity = alt.Opacity("opacity:Q", scale=None)
    for few in (False, True):
        some = shown.segments[shown.segments["few"] == few]
        if len(some):
            dash = {"strokeDash": [3, 3]} if few else {}
            lines = alt.Chart(some).mark_line(
                color=WITHIN, strokeWidth=1.7 if len(shown.people) <= 150 else 1.0, strokeCap="round", **dash
            )
            layers.append(lines.encode(x=x, y=y, detail="person:N", opacity=opacity, tooltip=tips))
    if len(shown.between):
        line = alt.Chart(shown.between).mark_line(color=BETWEEN, strokeWidth=3, strokeCap="round")
        layers.append(line.encode(x=x, y=y))
    for few in (False, True):
        some = shown.people[shown.people["few"] == few]
        if len(some):
            fill, edge = ("#ffffff", BETWEEN) if few else (BETWEEN, "#ffffff")
            dots = alt.Chart(some).mark_point(
                size=26 if len(shown.people) <= 150 else 12, opacity=1, fill=fill, stroke=edge, strokeWidth=0.9
            )
            layers.append(dots.encode(x=x, y=y, tooltip=tips))
    return alt.layer(*layers).properties(width=LEFT, height=HEIGHT)


def _people_words(shown: SplitPicture) -> list[str]:
    lines = []
    if len(shown.people) < shown.persons:
        lines.append(f"{len(shown.people):,} of {shown.persons:,} people, drawn at random.")
    lines += ["Dot: a person’s average. Blue: their own slope, fainter with fewer answers."]
    if shown.people["few"].any():
        lines.append("Hollow, dashed: too few answers for a slope of their own.")
    if len(shown.between):
        lines.append("Orange: the line between people, with its 95 % band.")
    return lines


def _parts(shown: SplitPicture) -> Any:
    """The estimates with intervals over one zero line, in words above their bars."""
    return forest(shown.parts.assign(colour=[COLOURS.get(part, INK) for part in shown.parts["part"]]), RIGHT)


def _parts_words(shown: SplitPicture) -> list[str]:
    if shown.binary:
        steps = {part: number(step, decimals_for(step)) for part, step in shown.steps.items()}
        between = f", between per {steps['between']}" if "between" in set(shown.parts["part"]) else ""
        return [
            f"Percentage points (pp) of {shown.outcome}, 95 % interval;",
            f"within per {steps['within']}{between} more {shown.predictor}.",
        ]
    unit = f"{shown.outcome} per unit of {shown.predictor}, with 95 % interval."
    pill = ["Pale: where 95 % of people’s own slopes lie."] if shown.parts["pill_lower"].notna().any() else []
    return [unit, *pill]


def _lens(shown: SplitPicture) -> Any:
    """Everyone slid to one origin: faint people, thick blue within, orange between, each with its band."""
    alt = load_altair()
    reach, height = shown.reach, shown.height
    places = places_of(reach)
    words = (
        f"datum.value == 0 ? 'own usual' : (datum.value < 0 ? '{number(-reach, places)}' : '+{number(reach, places)}')"
    )
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[-reach, reach], nice=False),
        axis=alt.Axis(values=[-reach, 0, reach], labelExpr=words, title=None),
    )
    ticks = [tick for tick in round_ticks(-height, height, 5) if abs(tick) <= height]
    signed = f"(datum.value > 0 ? '+' : '') + replace(datum.label, '-', '{MINUS}')" + (
        " + ' pp'" if shown.binary else ""
    )
    scale, axis = alt.Scale(domain=[-height, height], nice=False), alt.Axis(values=ticks, title=None, labelExpr=signed)
    y = alt.Y("y:Q", scale=scale, axis=axis)
    layers = [
        alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(strokeWidth=1).encode(y=y),
        alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeDash=[2, 3]).encode(x=x),
        alt.Chart(shown.lens_people)
        .mark_line(color=WITHIN, strokeWidth=1, clip=True)
        .encode(x=x, y=y, detail="person:N", opacity=alt.Opacity("opacity:Q", scale=None)),
    ]
    for part, width, shade in (("between", 3.0, 0.13), ("within", 3.5, 0.28)):
        some = shown.lens[shown.lens["part"] == part]
        if len(some):
            colour = COLOURS[part]
            area = alt.Chart(some).mark_area(color=colour, opacity=shade, clip=True)
            layers.append(area.encode(x=x, y=alt.Y("lower:Q", scale=scale, axis=axis), y2="upper:Q"))
            line = alt.Chart(some).mark_line(color=colour, strokeWidth=width, strokeCap="round", clip=True)
            layers.append(line.encode(x=x, y=y))
    names = _names(shown)
    label = alt.Chart(names).mark_text(align="left", dx=7, fontWeight=600, fontSize=11)
    layers.append(label.encode(x=x, y=y, text="label:N", color=alt.Color("colour:N", scale=None)))
    change = f"Change of {shown.outcome}, {'pp' if shown.binary else 'from their own usual'}."
    title = titled("Lined up at their own usual", f"{change} Thin: people.")
    return alt.layer(*layers).properties(width=RIGHT, height=170, title=title)


def _names(shown: SplitPicture) -> pd.DataFrame:
    """The two lines' names at their right ends, moved apart where they would overlap."""
    ends = shown.lens.groupby("part", sort=False).tail(1)[["part", "label", "x", "y"]].reset_index(drop=True)
    ends["y"] = ends["y"].clip(-shown.height, shown.height)
    room = 2 * shown.height * 14 / 170
    if len(ends) == 2 and abs(ends["y"].diff().iloc[1]) < room:
        up = np.where(ends["y"].rank(method="first") == 2, 0.5, -0.5)
        ends["y"] = ends["y"].mean() + up * room
    return ends.assign(colour=[COLOURS[part] for part in ends["part"]])


def _outcome(shown: SplitPicture | LinePicture) -> str:
    return f"probability of {shown.outcome}" if shown.binary else shown.outcome


def _forest_chart(fit: Any, names: list[str], width: int = LEFT + RIGHT) -> Any:
    """Fixed effects that are not split, one row a term."""
    rows, unit = forest_rows(fit, names)
    return forest(rows.assign(colour=INK), width).properties(title=titled("Estimates", *unit))


def _lines_chart(shown: LinePicture) -> Any:
    """Everyone's own line over the values that they gave; the thick line is the population's, with its band."""
    alt = load_altair()
    x = alt.X("x:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=f"{shown.predictor} →", labelExpr=minus()))
    axis = alt.Axis(title=f"{_outcome(shown)} ↑", labelExpr=PERCENT if shown.binary else minus())
    scale = alt.Scale(zero=False)
    y = alt.Y("y:Q", scale=scale, axis=axis)
    tips = [
        alt.Tooltip("person:N", title="person"),
        alt.Tooltip("n:Q", title="answers"),
        alt.Tooltip("own:N", title="own slope"),
    ]
    own = alt.Chart(shown.people).mark_line(color=WITHIN, strokeWidth=1.4, strokeCap="round")
    area = alt.Chart(shown.population).mark_area(color=INK, opacity=0.12)
    line = alt.Chart(shown.population).mark_line(color=INK, strokeWidth=3, strokeCap="round")
    layers = [
        own.encode(x=x, y=y, detail="person:N", opacity=alt.Opacity("opacity:Q", scale=None), tooltip=tips),
        area.encode(x=x, y=alt.Y("lower:Q", scale=scale, axis=axis), y2="upper:Q"),
        line.encode(x=x, y=y),
    ]
    average = "The average over people" if shown.binary else "The average person"
    drawn = shown.people["person"].nunique()
    many = f"{drawn:,} of {shown.persons:,} people, drawn at random." if drawn < shown.persons else ""
    title = titled("Each person’s own line", f"Blue: a person. Dark: {average.lower()}, 95 % band.", many, offset=6)
    return alt.layer(*layers).properties(width=LEFT, height=300, title=title)
