"""`variance_components(…).plot()`: each component's SD with its limits from zero, and its share as a bar beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.plots.look import BETWEEN, INK2, WITHIN, titled
from analysis.plots.look import finished as finish
from analysis.plots.sheet import load_altair
from analysis.words import decimals_for, interval, number

LEFT, RIGHT, ROW = 430, 230, 46


def components_chart(result: Any) -> Any:
    """Left: SDs over a common zero, words above their bars; right: shares of the variance. Orange between, blue residual."""
    alt = load_altair()
    table = result.table
    rows = table.reset_index(names="component").assign(
        colour=[WITHIN if name == "residual" else BETWEEN for name in table.index],
        bar=np.arange(len(table)) + 0.68,
        words=np.arange(len(table)) + 0.26,
        said=[_said(row) for _, row in table.iterrows()],
        percent=["" if np.isnan(share) else f"{100 * share:.1f} %" for share in table["share"]],
        zero=0.0,
    )
    down = alt.Scale(domain=[len(rows), 0], nice=False, padding=0)  # bars would be given some
    y, colour = alt.Y("bar:Q", axis=None, scale=down), alt.Color("colour:N", scale=None)
    at = alt.Y("words:Q", axis=None, scale=down)
    top = float(np.nanmax(rows[["sd", "upper"]].to_numpy())) or 1.0
    across = alt.Scale(domain=[0, 1.03 * top], nice=False)
    base, axis = alt.Chart(rows), alt.Axis(title=None, tickCount=5)
    sd = alt.X("sd:Q", scale=across, axis=axis)
    limits = alt.Chart(rows[rows["lower"].notna()]).mark_rule(strokeWidth=5, strokeCap="round", opacity=0.55)
    left = alt.layer(
        alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(strokeWidth=1).encode(x=alt.X("x:Q", scale=across, axis=axis)),
        limits.encode(x=alt.X("lower:Q", scale=across, axis=axis), x2="upper:Q", y=y, color=colour),
        base.mark_point(size=110, opacity=1, stroke="#ffffff", strokeWidth=2).encode(
            x=sd, y=y, fill=alt.Color("colour:N", scale=None)
        ),
        base.mark_text(align="left", dx=6, fontWeight=600).encode(
            x=alt.value(0), y=at, text="component:N", color=colour
        ),
        base.mark_text(align="right", color=INK2).encode(x=alt.value(LEFT), y=at, text="said:N"),
    ).properties(
        width=LEFT,
        height=ROW * len(rows),
        title=titled("SD", f"{result.outcome}, with {100 * result.level:g} % limits", offset=10),
    )
    share = alt.X("share:Q", scale=alt.Scale(domain=[0, 1]), axis=None)
    right = alt.layer(
        base.mark_bar(size=16, cornerRadius=3, opacity=0.85, orient="horizontal").encode(
            x=alt.X("zero:Q", scale=alt.Scale(domain=[0, 1]), axis=None), x2="share:Q", y=y, color=colour
        ),
        base.mark_text(align="left", dx=6, color=INK2).encode(x=share, y=y, text="percent:N"),
    ).properties(
        width=RIGHT,
        height=ROW * len(rows),
        title=titled("Share", "of the variance, given the fixed effects", offset=10),
    )
    title = alt.TitleParams(text=result.title, fontSize=17, offset=18)
    return finish(alt.hconcat(left, right, spacing=40, title=title))


def _said(row: pd.Series) -> str:
    if not np.isfinite([row["lower"], row["upper"]]).all():
        return number(row["sd"], decimals_for(row["sd"] / 2))
    places = decimals_for((row["upper"] - row["lower"]) / 2)
    return f"{number(row['sd'], places)} ({interval(row['lower'], row['upper'], places)})"
