"""The report's pictures of numbers: estimates with intervals, shares of variance, persons' slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import picture
from analysis.picture import ENOUGH
from analysis.plots.fieldwork import DRAWN
from analysis.plots.scales import round_ticks, signed
from analysis.plots.sheet import BETWEEN, BG, INK, SURFACE, WITHIN, Frame, Rows, Sheet, draw, load_altair
from analysis.words import number


def estimate_row(row: Mapping[str, Any], low: float, high: float) -> str:
    """One estimate: zero line, dot, thick 95 % bar; pale pill where 95 % of persons' slopes lie. 330 × 46."""
    alt, sheet = load_altair(), Sheet()
    colour = {"within": WITHIN, "between": BETWEEN}.get(row["part"], INK)
    at = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=None)
    ends = {"x": row["lower"], "x2": row["upper"], "y": 0}
    y = alt.Y("y:Q", scale=alt.Scale(domain=[-1, 1]), axis=None)
    layers = [alt.Chart(sheet([{"x": 0}])).mark_rule(aria=False).encode(x=at)]
    if row.get("pill"):
        pill = {"x": row["pill"][0], "x2": row["pill"][1], "y": 0.565, "y2": -0.565}
        layers.append(
            alt.Chart(sheet([pill]))
            .mark_rect(aria=False, fill=colour, fillOpacity=0.11, cornerRadius=13)
            .encode(x=at, x2="x2:Q", y=y, y2="y2:Q")
        )
    hollow = row["part"] == "contextual"
    layers += [
        alt.Chart(sheet([ends])).mark_rule(style="interval", aria=False, color=colour).encode(x=at, x2="x2:Q", y=y),
        alt.Chart(sheet([{"x": row["estimate"], "y": 0}]))
        .mark_point(
            aria=False,
            size=132,
            filled=True,
            opacity=1,
            fill=SURFACE if hollow else colour,
            stroke=colour if hollow else SURFACE,
            strokeWidth=2,
        )
        .encode(x=at, y=y),
    ]
    decimals = row["decimals"]
    said = f"{row['label']} {number(row['estimate'], decimals)}, 95 percent interval {number(row['lower'], decimals)} to {number(row['upper'], decimals)}"
    return draw(sheet, alt.layer(*layers), Frame(330, 46, 10, 10, 0, 0), said)


def estimate_axis(low: float, high: float, ticks: Sequence[float], *, percent: bool) -> str:
    """The scale under the estimate rows. 330 × 24."""
    alt, sheet = load_altair(), Sheet()
    data = sheet([{"x": tick, "text": signed(tick, percent)} for tick in ticks])
    at = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=None)
    layers = [
        alt.Chart(data).mark_rule(aria=False).encode(x=at, y=alt.value(0), y2=alt.value(5)),
        alt.Chart(data).mark_text(aria=False, baseline="top").encode(x=at, y=alt.value(9), text="text:N"),
    ]
    return draw(sheet, alt.layer(*layers), Frame(330, 24, 10, 10, 0, 0), "Scale of the estimates")


def variance_bar(shares: Sequence[Mapping[str, Any]], frame: Frame) -> str:
    """One bar: persons orange, days pale blue, moments blue; the percentages under their parts."""
    alt, sheet = load_altair(), Sheet()
    at, parts = 0.0, []
    for each in shares:
        parts.append(
            {**each, "x": at, "x2": at + each["share"], "y": 0, "y2": 1, "percent": f"{round(100 * each['share'])} %"}
        )
        at += each["share"]
    unit = alt.Scale(domain=[0, 1], nice=False)
    x, y = alt.X("x:Q", scale=unit, axis=None), alt.Y("y:Q", scale=unit, axis=None)
    colour = {"person": BETWEEN, "day": WITHIN, "moment": WITHIN}
    layers = []
    for part in parts:
        # The last part's words stand at the right end, so that a thin one never leaves the drawing.
        right = part is parts[-1] and len(parts) > 1
        edge = alt.X("x2:Q" if right else "x:Q", scale=unit, axis=None)
        one = sheet([part])
        align = "right" if right else "left"
        layers += [
            alt.Chart(one)
            .mark_rect(
                aria=False,
                fill=colour[part["part"]],
                fillOpacity=0.45 if part["part"] == "day" else 0.9,
                stroke=BG,
                strokeWidth=2,
                cornerRadius=3,
            )
            .encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
            alt.Chart(one)
            .mark_text(aria=False, align=align, baseline="top", fontSize=13, fontWeight=600, color=INK)
            .encode(x=edge, y=alt.value(frame.inner_height + 7), text="percent:N"),
            alt.Chart(one)
            .mark_text(aria=False, align=align, baseline="top", fontSize=12)
            .encode(x=edge, y=alt.value(frame.inner_height + 24), text="label:N"),
        ]
    return draw(sheet, alt.layer(*layers), frame, "; ".join(f"{part['label']} {part['percent']}" for part in parts))


def caterpillar(persons: Sequence[Mapping[str, Any]], within: Mapping[str, Any], frame: Frame) -> str:
    """Persons sorted by slope with their own intervals over the band of the average slope; hollow where too few answers."""
    alt, sheet = load_altair(), Sheet()
    drawn = sorted((one for one in persons if one["slope"] is not None), key=lambda one: one["slope"])[:DRAWN]
    rows: Rows = [
        {
            "person": one["person"],
            "rank": rank + 0.5,
            "y": one["slope"],
            "lower": one["slope_lower"],
            "upper": one["slope_upper"],
            "few": bool(one["weight"] < ENOUGH),
            "text": picture.person_text(one),
        }
        for rank, one in enumerate(drawn)
    ]
    values = [row[end] for row in rows for end in ("lower", "upper")] + [0.0]
    low, high = min(values), max(values)
    ticks = round_ticks(low, high, 4)
    labels = " : ".join(f"abs(datum.value - {t:g}) < 1e-9 ? '{signed(t, False)}'" for t in ticks) + " : ''"
    across, scale = alt.Scale(domain=[0, len(rows)], nice=False), alt.Scale(domain=[low, high], nice=False)
    axis = alt.Axis(values=ticks, title=None, labelExpr=labels)
    x, y = alt.X("rank:Q", scale=across, axis=None), alt.Y("y:Q", scale=scale, axis=axis)
    width = 1.6 if frame.width > 500 else 1
    band = {"x": 0, "x2": len(rows), "y": within["lower"], "y2": within["upper"]}
    layers = [
        alt.Chart(sheet([{"y": 0}])).mark_rule(aria=False).encode(y=y),
        alt.Chart(sheet([band]))
        .mark_rect(aria=False, fill=WITHIN, fillOpacity=0.16)
        .encode(x=alt.X("x:Q", scale=across, axis=None), x2="x2:Q", y=y, y2="y2:Q"),
        alt.Chart(sheet(rows))
        .mark_rule(style="within", strokeWidth=width, opacity=0.45)
        .encode(x=x, y=alt.Y("lower:Q", scale=scale, axis=axis), y2="upper:Q", description="text:N"),
    ]
    for few in (False, True):
        some = [row for row in rows if row["few"] is few]
        if some:
            look = {"fill": SURFACE if few else WITHIN, "stroke": WITHIN if few else SURFACE, "strokeWidth": 1}
            layers.append(
                alt.Chart(sheet(some))
                .mark_point(size=30 if frame.width > 500 else 14, opacity=1, **look)
                .encode(x=x, y=y, description="text:N")
            )
    for at, text, align in ((0, "most negative", "left"), (len(rows), "most positive", "right")):
        layers.append(
            alt.Chart(sheet([{"rank": at, "text": text}]))
            .mark_text(aria=False, align=align, baseline="top")
            .encode(x=x, y=alt.value(frame.inner_height + 6), text="text:N")
        )
    lowest, highest = (number(rows[at]["y"], 2) for at in (0, -1)) if rows else ("", "")
    return draw(sheet, alt.layer(*layers), frame, f"Slopes of {len(rows)} people, sorted, from {lowest} to {highest}")


def common_scale(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, list[float]]:
    """Limits that hold every estimate, its interval, its pill and zero, and round ticks inside them."""
    ends = [0.0]
    for row in rows:
        ends += [row["lower"], row["upper"], *(row.get("pill") or ())]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low or 1.0)
    return low - room, high + room, round_ticks(low, high, 5)
