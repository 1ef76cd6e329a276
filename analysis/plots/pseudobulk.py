"""`pseudobulk(…).plot()`: three analyses of one outcome as intervals, or the p of many outcomes as two histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.forest import forest, term_words
from analysis.plots.look import BETWEEN, INK, INK3, finished, stacked, titled
from analysis.plots.sheet import load_altair
from analysis.plots.typical import with_words

WIDTH = 660
BINS = 20
SHOWN = 3
"""Terms drawn of many outcomes."""


def pseudobulk_chart(result: Any) -> Any:
    """Orange: groups as replicates; ink: the mixed model; grey: rows as replicates, which is wrong."""
    return finished(_intervals(result) if result.outcomes == 1 else _histograms(result))


def _intervals(result: Any) -> Any:
    tables = [(f"group {result.how}s", result.groups, BETWEEN), ("mixed model", result.mixed, INK)]
    tables.append(("rows as replicates (wrong)", result.rows_as_replicates, INK3))
    panels = []
    for term in result.terms:
        rows = [
            {"label": name, **table.loc[term, ["estimate", "lower", "upper"]], "colour": colour}
            for name, table, colour in tables
            if table is not None
        ]
        frame = with_words(pd.DataFrame(rows)).assign(part="", pill_lower=np.nan, pill_upper=np.nan)
        panels.append(forest(frame, WIDTH).properties(title=titled(term_words(term), offset=10)))
    title = load_altair().TitleParams(
        text=result.title,
        subtitle=[f"{result.outcome} per unit of the term, {100 * result.level:g} % intervals."],
        fontSize=17,
        offset=18,
    )
    return load_altair().vconcat(*panels, title=title, spacing=34)


def _histograms(result: Any) -> Any:
    alt = load_altair()
    edges = np.linspace(0.0, 1.0, BINS + 1)
    panels = []
    for term in result.terms[:SHOWN]:
        charts = []
        for name, table, colour in (
            (f"{result.n_groups:,} groups as replicates", result.groups, BETWEEN),
            (f"{result.n_rows:,} rows as replicates (wrong)", result.rows_as_replicates, INK3),
        ):
            own = table.xs(term, level="term")
            counts = np.histogram(own["p_value"].dropna(), edges)[0]
            bars = pd.DataFrame({"left": edges[:-1] + 0.003, "right": edges[1:] - 0.003, "count": counts, "zero": 0})
            found = int((own["q_value"] < 0.05).sum())
            charts.append(
                alt.Chart(bars)
                .mark_rect(color=colour, opacity=0.85)
                .encode(
                    x=alt.X("left:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(title="p →", tickCount=5)),
                    x2="right:Q",
                    y=alt.Y("count:Q", axis=alt.Axis(title=None)),
                    y2="zero:Q",
                )
                .properties(width=300, height=190, title=titled(name, f"q below 0.05: {found:,}", offset=12))
            )
        panels.append(
            alt.hconcat(*charts, spacing=50, title=titled(term_words(term), offset=10)).resolve_scale(y="shared")
        )
    title = alt.TitleParams(
        text=f"p of {result.outcomes:,} outcomes",
        subtitle=[
            "Without any differences p is flat; a pile at zero on the right alone comes of taking rows of one group as independent."
        ],
        fontSize=17,
        offset=18,
    )
    return alt.vconcat(stacked(panels), title=title)
