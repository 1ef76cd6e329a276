"""`fit.plot_diagnostics()`: whether the model's assumptions hold, as far as a picture can say."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from analysis.plots import residuals
from analysis.plots.look import BETWEEN, FIELD, INK, INK2, WITHIN, finished, titled
from analysis.plots.scales import minus
from analysis.plots.sheet import load_altair
from analysis.words import counted, counted_levels, number

SIZE = (345, 230)
"""Width and height of a panel's plot."""
PANEL_GAP = 56


def diagnostics_chart(fit: Any) -> Any:
    """An Altair chart of four pictures and the facts. Raises SpecError for a fit without rows."""
    alt = load_altair()
    rows = residuals.residual_rows(fit)
    memory = residuals.autocorrelation(rows["person"].to_numpy(), rows["standard"].to_numpy())
    binary = fit.family == "binomial"
    first = (
        [_binned_residuals(rows), _calibration(fit, rows)] if binary else [_against_fitted(fit, rows), _normal(rows)]
    )
    second = [
        panel
        for panel in (_modes(residuals.mode_quantiles(fit), len(fit.design.factors) > 1), _memory(memory))
        if panel is not None
    ]
    parts = [alt.hconcat(*panels, spacing=PANEL_GAP) for panels in (first, second) if panels]
    title = alt.TitleParams("Does the model fit?", fontSize=17, offset=18)
    return finished(alt.vconcat(*parts, _facts(fit, rows, memory), spacing=34, title=title))


def _against_fitted(fit: Any, rows: pd.DataFrame) -> Any:
    """Residuals over fitted values, and their mean in bins: a straight line at zero where the model's shape is right."""
    alt = load_altair()
    shown = residuals.sample_of(rows)
    few = [f"{len(shown):,} of {len(rows):,} rows drawn, evenly over people."] if len(shown) < len(rows) else []
    x = alt.X("x:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="fitted →", labelExpr=minus()))
    axis = alt.Axis(title=f"residual of {fit.design.spec.outcome} ↑", labelExpr=minus())
    y = alt.Y("y:Q", axis=axis)
    points = shown.rename(columns={"fitted": "x", "residual": "y"})[["x", "y"]]
    dots = alt.Chart(points).mark_point(color=FIELD, size=9, opacity=float(np.clip(220 / len(shown), 0.12, 0.6)))
    layers = [
        dots.encode(x=x, y=y),
        _zero(y),
        *_line(residuals.binned(*rows[["fitted", "residual"]].to_numpy().T), x, axis),
    ]
    return _panel(
        layers,
        "Residuals against fitted values",
        "Dark line: their mean, with a 95 % band; best near 0 throughout.",
        *few,
    )


def _normal(rows: pd.DataFrame) -> Any:
    level = [" "] if len(rows) > residuals.ALL_ROWS else []  # as many lines as the panel beside it
    frame = residuals.quantiles(rows["standard"].to_numpy()).assign(term="residual")
    return _panel(
        _quantile_layers(frame, {"residual": FIELD}, "residual, in SDs ↑"),
        "Are the residuals normal?",
        "Best on the line. Pale: where 95 % would lie, were they normal.",
        *level,
    )


def _modes(frame: pd.DataFrame, several: bool) -> Any | None:
    """Quantiles of people's deviations, a colour for each random term, its name in the corner."""
    if frame.empty:
        return None
    alt = load_altair()
    terms = list(dict.fromkeys(frame["term"]))
    colours = dict(zip(terms, _colours(terms), strict=True))
    layers = _quantile_layers(frame, colours, "deviation, in SDs ↑")
    for place, term in enumerate(terms):
        name = alt.Chart(pd.DataFrame({"text": [term]})).mark_text(
            align="left", color=colours[term], fontWeight=600, fontSize=11
        )
        layers.append(name.encode(x=alt.value(4), y=alt.value(8 + 15 * place), text="text:N"))
    whose, each = ("the levels’", "level’s") if several else ("people’s", "person’s")
    return _panel(
        layers, f"Are {whose} deviations normal?", f"Each {each} own deviations from the average, by random term."
    )


def _memory(memory: pd.DataFrame) -> Any | None:
    """Correlation of residuals by lag, beside what chance alone would give."""
    if memory.empty:
        return None
    alt = load_altair()
    top = max(0.1, 1.15 * float(memory[["r", "limit"]].abs().to_numpy().max()))
    scale = alt.Scale(domain=[min(-0.05, -top if memory["r"].min() < -0.05 else -0.5 * top), top], nice=True)
    axis = alt.Axis(title="correlation ↑", labelExpr=minus())
    x = alt.X("lag:O", axis=alt.Axis(title="rows apart, within a person →", labelAngle=0))
    y = alt.Y("r:Q", scale=scale, axis=axis)
    base = alt.Chart(memory.assign(low=-memory["limit"], zero=0.0))
    tips = [
        alt.Tooltip("lag:O"),
        alt.Tooltip("r:Q", title="correlation", format="+.3f"),
        alt.Tooltip("pairs:Q", format=","),
    ]
    layers = [
        base.mark_bar(size=22, color=INK, opacity=0.1).encode(
            x=x, y=alt.Y("low:Q", scale=scale, axis=axis), y2="limit:Q"
        ),
        base.mark_rule(strokeWidth=1).encode(y=alt.Y("zero:Q", scale=scale, axis=axis)),
        base.mark_bar(size=4, color=FIELD).encode(x=x, y=y, y2="zero:Q", tooltip=tips),
        base.mark_point(size=50, color=FIELD, opacity=1).encode(x=x, y=y, tooltip=tips),
    ]
    return _panel(
        layers,
        "Do neighbouring answers resemble each other?",
        "Residuals in the order of the rows. Pale: what chance alone would give.",
    )


def _binned_residuals(rows: pd.DataFrame) -> Any:
    """A binary outcome's residuals are means over bins: single ones lie on two curves and say nothing."""
    alt = load_altair()
    frame = residuals.binned(rows["fitted"].to_numpy(), 100.0 * rows["residual"].to_numpy())
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title="fitted probability →", format="%"))
    axis = alt.Axis(title="observed less fitted, percentage points ↑", labelExpr=minus())
    layers = [_zero(alt.Y("y:Q", axis=axis)), *_intervals(frame, x, axis)]
    return _panel(
        layers,
        "Observed less fitted",
        f"Means of about {int(frame['n'].median()):,} rows with 95 % intervals; best near 0.",
    )


def _calibration(fit: Any, rows: pd.DataFrame) -> Any:
    alt = load_altair()
    frame = residuals.binned(rows["fitted"].to_numpy(), fit.design.outcome)
    scale = alt.Scale(domain=[0, 1], clamp=True)
    axis = alt.Axis(title=f"observed share of {fit.design.spec.outcome} ↑", format="%")
    x = alt.X("x:Q", scale=scale, axis=alt.Axis(title="fitted probability →", format="%"))
    line = alt.Chart(pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]})).mark_line(color=INK2, strokeWidth=1)
    layers = [line.encode(x=x, y=alt.Y("y:Q", scale=scale, axis=axis)), *_intervals(frame, x, axis, scale)]
    return _panel(
        layers, "Do probabilities mean what they say?", "Best on the line: of rows with 70 %, seven in ten are yes."
    )


def _facts(fit: Any, rows: pd.DataFrame, memory: pd.DataFrame) -> Any:
    """What the figures say, in lines of words."""
    alt = load_altair()
    lines = fact_lines(fit, rows, memory)
    frame = pd.DataFrame({"line": range(len(lines)), "text": lines})
    width = 2 * SIZE[0] + PANEL_GAP + 34
    down = alt.Y("line:Q", axis=None, scale=alt.Scale(domain=[0, max(len(lines), 2)], reverse=True, nice=False))
    words = alt.Chart(frame).mark_text(align="left", baseline="top", fontSize=12, color=INK)
    chart = words.encode(x=alt.value(0), y=down, text="text:N")
    return chart.properties(width=width, height=19 * max(len(lines), 2), title=titled("In words", offset=8))


def fact_lines(fit: Any, rows: pd.DataFrame, memory: pd.DataFrame) -> list[str]:
    """Sentences on soundness, rows, outlying residuals and memory, none longer than a line of the picture."""
    factor, proof = fit.design.factor, fit.convergence()
    sound = bool(fit.converged) and bool(np.isfinite(fit.fixed["se"]).all())
    held = f"{counted(proof.at_boundary, 'variance')} held at zero" if proof.at_boundary else "no variance held at zero"
    proven = f"the optimum is proven (gradient {proof.projected_gradient:.0e}), " if sound else ""
    far = rows.iloc[int(rows["standard"].abs().to_numpy().argmax())]
    who = fit.design.levels[int(far["person"])]
    said = [
        f"Fit sound: {'yes' if sound else 'NO'}; {proven}{held}.",
        f"{counted(len(rows), 'row')} of {counted_levels(fit.design.n_persons, factor)}; "
        f"{counted(fit.rows_dropped, 'row')} dropped for missing values.",
        f"The largest residual is {number(abs(far['standard']), 1)} SDs: {factor} {who}, row {far['row']}.",
    ]
    if len(memory) and abs(memory["r"].iloc[0]) > memory["limit"].iloc[0]:
        r = number(memory["r"].iloc[0], 2)
        said.append(f"Residuals of neighbouring rows correlate {r}: intervals of within parts may be too narrow.")
    said += [str(message) for message in fit.messages]
    return [line for sentence in said for line in textwrap.wrap(sentence, 115)]


def _panel(layers: list[Any], name: str, *words: str) -> Any:
    width, height = SIZE
    return load_altair().layer(*layers).properties(width=width, height=height, title=titled(name, *words, offset=8))


def _zero(y: Any) -> Any:
    alt = load_altair()
    return alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(strokeWidth=1).encode(y=y)


def _line(frame: pd.DataFrame, x: Any, axis: Any) -> list[Any]:
    alt = load_altair()
    base = alt.Chart(frame)
    return [
        base.mark_area(color=INK, opacity=0.16, interpolate="monotone").encode(
            x=x, y=alt.Y("lower:Q", axis=axis), y2="upper:Q"
        ),
        base.mark_line(color=INK, strokeWidth=2.2, interpolate="monotone").encode(x=x, y=alt.Y("y:Q", axis=axis)),
    ]


def _intervals(frame: pd.DataFrame, x: Any, axis: Any, scale: Any = None) -> list[Any]:
    alt = load_altair()
    more = {} if scale is None else {"scale": scale}
    base = alt.Chart(frame)
    return [
        base.mark_rule(color=FIELD, strokeWidth=2, opacity=0.45).encode(
            x=x, y=alt.Y("lower:Q", axis=axis, **more), y2="upper:Q"
        ),
        base.mark_point(color=FIELD, size=42, opacity=1, stroke="#ffffff", strokeWidth=0.8).encode(
            x=x, y=alt.Y("y:Q", axis=axis, **more)
        ),
    ]


def _quantile_layers(frame: pd.DataFrame, colours: dict[str, str], title: str) -> list[Any]:
    """Points on the line where normal, over the band of chance; the band's ends are those of the first term."""
    alt = load_altair()
    x = alt.X("normal:Q", axis=alt.Axis(title="normal quantile →", labelExpr=minus()))
    axis = alt.Axis(title=title, labelExpr=minus())
    band = frame[frame["term"] == frame["term"].iloc[0]]
    reach = float(band["normal"].abs().max())
    line = pd.DataFrame({"normal": [-reach, reach], "value": [-reach, reach]})
    layers = [
        alt.Chart(band).mark_area(color=INK, opacity=0.1).encode(x=x, y=alt.Y("lower:Q", axis=axis), y2="upper:Q"),
        alt.Chart(line).mark_line(color=INK2, strokeWidth=1).encode(x=x, y=alt.Y("value:Q", axis=axis)),
    ]
    for term, colour in colours.items():
        dots = alt.Chart(frame[frame["term"] == term]).mark_point(color=colour, size=16, opacity=0.75)
        layers.append(dots.encode(x=x, y=alt.Y("value:Q", axis=axis)))
    return layers


def _colours(terms: list[str]) -> list[str]:
    """Orange for the level, blue for a within part, then ink and greys: as in the other pictures."""
    others = iter([INK, "#8a8f98", FIELD, "#b9b4a8"] * len(terms))
    return [BETWEEN if term == "Intercept" else WITHIN if term.startswith("within") else next(others) for term in terms]
