"""docs/coverage.md and its picture, from a line of the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt
import pandas as pd

from proofs import log

PAGE = log.ROOT / "docs" / "coverage.md"
PICTURE = log.ROOT / "docs" / "coverage.svg"
LOW, HIGH = 0.935, 0.965
INTERVALS = {
    "default": "default: Kenward–Roger",
    "CR2": "CR2, Bell–McCaffrey df",
    "normal": "normal: estimate ± 1.96 SE",
}
COLOURS = ("#1b5e7a", "#c2702b", "#9a9a9a")
EFFECTS = ("within", "between", "contextual")


def write(line: Mapping[str, Any]) -> None:
    PAGE.write_text(page(line))
    picture(line["figures"]).save(str(PICTURE))


def page(line: Mapping[str, Any]) -> str:
    figures = line["figures"]
    misses = list(_misses(figures))
    text = [
        "# Coverage of the intervals with few persons",
        "",
        log.signature(line),
        "",
        f"How often does a 95 % interval hold the truth? {figures['replicates']:,} simulated studies for each condition: 10, 20 or 40 persons,",
        "28 prompts each, all answered or a quarter missed at random. Truth: `y = 1 + (.3 + u1)(x − x̄) + .6 x̄ + u0 + e`, normal, SDs of u0, u1, e",
        "1, .3, 1, correlation of u0 and u1 .3; x̄ is the person's mean over the rows that are there, so the between effect is that of the",
        "observed (formative) mean. Model: `y ~ within(x) + between(x) + (1 + within(x) | person)` by REML. The contextual effect is between minus",
        "within, by `fit.contrast`. Goal: the default interval within 1.5 points of 95; what misses it stands in **bold**.",
        "",
        "![Coverage of each interval by number of persons](coverage.svg)",
        "",
        "Coverage in percent ± Monte-Carlo standard error, and the intervals' mean width:",
        "",
        f"| persons, prompts | interval | {' | '.join(EFFECTS)} | widths |",
        "|---|---|---|---|---|---|",
        *_rows(figures),
        "",
        "| persons, prompts | singular fits | not converged |",
        "|---|---|---|",
    ]
    text += [f"| {at['name']} | {at['singular']:.1%} | {at['not_converged']} |" for at in figures["conditions"]]
    text += ["", "## Where the default misses its goal", "", *(misses or ["Nowhere."]), ""]
    return "\n".join(text)


def _rows(figures: Mapping[str, Any]) -> Iterator[str]:
    for at in figures["conditions"]:
        for method, words in INTERVALS.items():
            one = at["methods"][method]
            cells = [_cell(one[effect], judged=method == "default") for effect in EFFECTS]
            widths = ", ".join(f"{one[effect]['width']:.2f}" for effect in EFFECTS)
            name = at["name"] if method == "default" else ""
            yield f"| {name} | {words} | {' | '.join(cells)} | {widths} |"


def _cell(one: Mapping[str, float], *, judged: bool) -> str:
    words = f"{100 * one['coverage']:.1f} ± {100 * one['error']:.1f}"
    return f"**{words}**" if judged and _misses_goal(one) else words


def _misses_goal(one: Mapping[str, float]) -> bool:
    return not LOW <= one["coverage"] <= HIGH


def _misses(figures: Mapping[str, Any]) -> Iterator[str]:
    """Each miss, and whether the fits on the boundary explain it."""
    for at in figures["conditions"]:
        for effect in EFFECTS:
            one = at["methods"]["default"][effect]
            if _misses_goal(one):
                side = "too often: the interval is wider" if one["coverage"] > HIGH else "too seldom: it is narrower"
                yield (
                    f"- {at['name']}, {effect}: {one['coverage']:.1%}, {side} than promised. "
                    f"{one['coverage_regular']:.1%} among the fits with a spread in every direction"
                    + (
                        f", {one['coverage_singular']:.1%} among the {at['singular']:.1%} that are singular, in which the spread of the slopes "
                        "or their correlation with the intercepts was estimated on its boundary."
                        if one["coverage_singular"] is not None
                        else "; no fit was singular."
                    )
                )


def picture(figures: Mapping[str, Any]) -> alt.Chart | alt.FacetChart:
    """Coverage of each interval with ±2 Monte-Carlo errors, the goal shaded."""
    rows = pd.DataFrame(
        {
            "condition": at["name"],
            "effect": effect,
            "interval": words,
            "coverage": 100 * one["coverage"],
            "low": 100 * (one["coverage"] - 2 * one["error"]),
            "high": 100 * (one["coverage"] + 2 * one["error"]),
        }
        for at in figures["conditions"]
        for method, words in INTERVALS.items()
        for effect in EFFECTS
        for one in [at["methods"][method][effect]]
    )
    order = [at["name"] for at in figures["conditions"]]
    base = alt.Chart(rows).encode(
        y=alt.Y("condition:N", sort=order, title=None, axis=alt.Axis(labelLimit=300)),
        yOffset=alt.YOffset("interval:N", sort=list(INTERVALS.values())),
        color=alt.Color(
            "interval:N",
            sort=list(INTERVALS.values()),
            scale=alt.Scale(range=list(COLOURS)),
            legend=alt.Legend(orient="top", title=None),
        ),
    )
    scale = alt.Scale(zero=False, nice=True)
    goal = (
        alt.Chart(rows).mark_rect(color="#e8f0ea").encode(x=alt.datum(100 * LOW, scale=scale), x2=alt.datum(100 * HIGH))
    )
    aim = alt.Chart(rows).mark_rule(color="#888", strokeDash=[3, 3]).encode(x=alt.datum(95.0))
    spread = base.mark_rule().encode(x=alt.X("low:Q", title="coverage, %", scale=scale), x2="high:Q")
    point = base.mark_point(filled=True, size=45, opacity=1.0).encode(x="coverage:Q")
    layers = alt.layer(goal, aim, spread, point).properties(width=240, height=260)
    chart: alt.FacetChart = layers.facet(column=alt.Column("effect:N", sort=list(EFFECTS), title=None))
    return chart
