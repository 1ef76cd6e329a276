"""The report's pictures: rows → Altair → SVG (UI §4). The only import of Altair, and a lazy one.

Colours are CSS variables (`var(--within)`), so one drawing serves light, dark and print. Every figure has a wide and,
where it needs one, a narrow drawing under NAME and NAME-narrow; sizes are exact, in CSS pixels. Blue is within a
person, orange between persons, green fieldwork, and nothing is coloured by a test.
"""

from __future__ import annotations

import html
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis import picture
from analysis.picture import ENOUGH
from analysis.words import counted, number, share

Rows = list[dict[str, Any]]

INK, INK2, INK3, GRID, SURFACE, BG = (f"var(--{name})" for name in ("ink", "ink2", "ink3", "grid", "surface", "bg"))
WITHIN, BETWEEN, FIELD = "var(--within)", "var(--between)", "var(--field)"
RAMP = tuple(f"var(--f{level})" for level in range(5))
"""Answered none to all: one hue, ordered by lightness."""

THEME: dict[str, Any] = {
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "labelColor": INK2,
        "labelFontSize": 11,
        "labelPadding": 7,
        "titleColor": INK2,
        "titleFontSize": 12,
        "titleFontWeight": 400,
        "gridColor": GRID,
        "gridWidth": 1,
        "tickCount": 5,
    },
    "axisX": {"grid": False, "titleAnchor": "end", "titlePadding": 8},
    "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleBaseline": "bottom", "titleY": -14},
    "legend": {"disable": True},
    "line": {"strokeWidth": 3, "strokeCap": "round"},
    "rule": {"color": INK3},
    "text": {"color": INK2, "fontSize": 11},
    "point": {"filled": True},
    "style": {
        # By `color`: a stroke or fill in a style loses to the mark's own default.
        "within": {"color": WITHIN, "strokeWidth": 1.9, "strokeCap": "round"},
        "between": {"color": BETWEEN, "strokeWidth": 3, "strokeCap": "round"},
        "between-band": {"color": BETWEEN, "opacity": 0.12, "strokeWidth": 0},
        "within-band": {"color": WITHIN, "opacity": 0.28, "strokeWidth": 0},
        "person": {"color": BETWEEN, "filled": True, "stroke": SURFACE, "strokeWidth": 0.8, "size": 26, "opacity": 1},
        "person-few": {
            "color": SURFACE,
            "filled": True,
            "stroke": BETWEEN,
            "strokeWidth": 1.2,
            "size": 24,
            "opacity": 1,
        },
        "interval": {"strokeWidth": 5, "strokeCap": "round"},
    },
}
"""mockups/vega-theme.json with its colours as the page's variables."""

DRAWN = 500
"""Persons up to which everyone is drawn."""
NEVER_MORE_ROWS = 32
"""Rows of the person × day picture; longer studies have several days a row."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A drawing's size and the room around its plot, in CSS pixels."""

    width: int
    height: int
    left: int = 4
    right: int = 4
    top: int = 4
    bottom: int = 4

    @property
    def inner_width(self) -> int:
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> int:
        return self.height - self.top - self.bottom


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of the signature picture: its words, its limits, and how its ticks read."""

    title: str
    low: float
    high: float
    percent: bool = False


def all_figures(
    compliance: Mapping[str, Any], latency: Mapping[str, Any] | None, models: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Every picture of a night: the fieldwork's, and those of the models that have one."""
    from altair.utils.schemapi import debug_mode

    # The drawings are fixed and tested with Altair's checks on; checking each mark again every night doubles the time.
    with debug_mode(False):
        found = fieldwork(compliance, latency)
        for model in models:
            if "picture" in model:
                found |= model_figures(model)
    return found


def fieldwork(compliance: Mapping[str, Any], latency: Mapping[str, Any] | None) -> dict[str, str]:
    """The person × day picture, the answers per day, and how fast people answer."""
    if not compliance["persons"]:
        return {}
    found = {
        "compliance": compliance_picture(compliance, Frame(992, 0, left=58, top=14, right=4, bottom=4)),
        "compliance-narrow": compliance_picture(compliance, Frame(350, 0, left=34, top=14, right=2, bottom=4)),
        "per-day": per_day(compliance["per_day"]),
    }
    if latency is not None:
        found["latency"] = latency_histogram(latency)
    return found


def model_figures(model: Mapping[str, Any]) -> dict[str, str]:
    """Every picture of one fitted model's results (see `report.build`), by name; the model's key comes first."""
    key, shown = model["key"], model["picture"]
    x, y = Axis(**shown["x"]), Axis(**shown["y"])
    finding = model["finding"]
    found = {
        f"{key}:signature": signature(
            shown,
            x,
            y,
            Frame(590, 420, left=46, right=14, top=34, bottom=46),
            f"Each person at their own average. {finding}",
        ),
        f"{key}:signature-narrow": signature(
            shown,
            x,
            y,
            Frame(350, 330, left=46, right=10, top=32, bottom=46),
            f"Each person at their own average. {finding}",
            small=True,
        ),
        f"{key}:thumbnail": signature(shown, x, y, Frame(298, 170, 8, 8, 8, 8), finding, small=True, bare=True),
        f"{key}:lens": lens(
            shown["lens"], Frame(366, 420, left=46, right=74, top=34, bottom=46), f"Lined up at one point. {finding}"
        ),
        f"{key}:lens-narrow": lens(
            shown["lens"], Frame(350, 320, left=46, right=74, top=20, bottom=40), f"Lined up at one point. {finding}"
        ),
        f"{key}:variance": variance_bar(model["shares"], Frame(470, 66, 0, 0, 0, 40)),
        f"{key}:variance-narrow": variance_bar(model["shares"], Frame(350, 66, 0, 0, 0, 40)),
    }
    rows = model["estimate_rows"]
    low, high, ticks = _common_scale(rows)
    for row in rows:
        found[f"{key}:{row['part']}"] = estimate_row(row, low, high)
    found[f"{key}:axis"] = estimate_axis(low, high, ticks, percent=False)
    if model["spread"] is not None and model["spread"]["sd"] > 0:
        slopes = model["persons"]
        found[f"{key}:slopes"] = caterpillar(
            slopes, model["within"], Frame(992, 190, left=46, right=8, top=12, bottom=22)
        )
        found[f"{key}:slopes-narrow"] = caterpillar(
            slopes, model["within"], Frame(350, 180, left=42, right=4, top=12, bottom=22)
        )
    return found


def signature(
    shown: Mapping[str, Any], x: Axis, y: Axis, frame: Frame, label: str, *, small: bool = False, bare: bool = False
) -> str:
    """Everyone at their own average: orange dots, blue segments, the line between persons over the range of their means.

    `shown` has `segments` (person, text, x, y of the dot, opacity, few, line: points x, y) and `line` (x, y, lower, upper).
    """
    alt, sheet = _altair(), Sheet()
    scale_x, scale_y = alt.Scale(domain=[x.low, x.high]), alt.Scale(domain=[y.low, y.high])
    axis_x = None if bare else alt.Axis(title=f"{x.title} \N{RIGHTWARDS ARROW}", labelExpr=_label(x))
    axis_y = (
        None if bare else alt.Axis(title=f"{y.title} \N{UPWARDS ARROW}", titleX=-frame.left + 4, labelExpr=_label(y))
    )
    at_x, at_y = alt.X("x:Q", scale=scale_x, axis=axis_x), alt.Y("y:Q", scale=scale_y, axis=axis_y)
    people: Rows = list(shown["segments"])
    points = [
        {"person": one["person"], "text": one["text"], "opacity": one["opacity"], "few": one["few"], "at": at, **point}
        for one in people
        for at, point in enumerate(one["line"])
    ]
    width = 1.4 if small else 1.9
    layers = [
        alt.Chart(sheet(shown["line"]))
        .mark_area(style="between-band", aria=False, clip=True)
        .encode(x=at_x, y=alt.Y("lower:Q", scale=scale_y, axis=axis_y), y2="upper:Q")
    ]
    for few in (False, True):
        some = [point for point in points if point["few"] is few]
        if some:
            layers.append(
                alt.Chart(sheet(some))
                .mark_line(style="within", strokeWidth=width, strokeDash=[3, 3] if few else [1, 0], clip=True)
                .encode(
                    x=at_x,
                    y=at_y,
                    detail="person:N",
                    order="at:Q",
                    opacity=alt.Opacity("opacity:Q", scale=None, legend=None),
                    description="text:N",
                )
            )
    if not small:
        layers.append(_halo_text(sheet, shown["line"][-1], "across people", at_x, "upper", frame, scale_y))
    for few in (False, True):
        dots = [{name: one[name] for name in ("person", "text", "x", "y")} for one in people if one["few"] is few]
        if dots:
            style = "person-few" if few else "person"
            layers.append(
                alt.Chart(sheet(dots))
                .mark_point(style=style, **({"size": 16} if small else {}))
                .encode(x=at_x, y=at_y, description="text:N")
            )
    layers.insert(
        -1, alt.Chart(sheet(shown["line"])).mark_line(style="between", aria=False, clip=True).encode(x=at_x, y=at_y)
    )
    return _svg(sheet, alt.layer(*layers), frame, label)


def lens(view: Mapping[str, Any], frame: Frame, label: str) -> str:
    """Everyone slid to one origin: thin blue lines persons, thick blue the average within, orange between, same origin.

    `view` has `reach` (x from −reach to +reach), `height` (the y limit), `people` (person, text, opacity, line),
    `within` and `between` (x, y, lower, upper), `percent`, `unit`.
    """
    alt, sheet = _altair(), Sheet()
    reach, height = view["reach"], view["height"]
    ticks = [tick for tick in _ticks(-height, height, 5) if abs(tick) <= height]
    labels = " : ".join(f"datum.value == {t:g} ? '{_signed(t, view['percent'])}'" for t in ticks) + " : ''"
    axis_x = alt.Axis(
        values=[-reach, 0, reach],
        title=None,
        labelExpr=f"datum.value == 0 ? 'own usual' : (datum.value < 0 ? '{number(-reach, _places(reach))}' : '+{number(reach, _places(reach))}')",
    )
    axis_y = alt.Axis(values=ticks, title=None, labelExpr=labels)
    at_x = alt.X("x:Q", scale=alt.Scale(domain=[-reach, reach], nice=False), axis=axis_x)
    scale_y = alt.Scale(domain=[-height, height], nice=False)
    at_y = alt.Y("y:Q", scale=scale_y, axis=axis_y)
    points = [
        {"person": one["person"], "text": one["text"], "opacity": one["opacity"], "at": at, **point}
        for one in view["people"]
        for at, point in enumerate(one["line"])
    ]
    layers = [
        alt.Chart(sheet([{"y": 0}])).mark_rule(aria=False, strokeWidth=1).encode(y=at_y),
        alt.Chart(sheet([{"x": 0}])).mark_rule(aria=False, strokeDash=[2, 3]).encode(x=at_x),
        alt.Chart(sheet(view["between"]))
        .mark_area(style="between-band", aria=False, clip=True)
        .encode(x=at_x, y=alt.Y("lower:Q", scale=scale_y, axis=axis_y), y2="upper:Q"),
        alt.Chart(sheet(points))
        .mark_line(style="within", strokeWidth=1, clip=True)
        .encode(
            x=at_x,
            y=at_y,
            detail="person:N",
            order="at:Q",
            opacity=alt.Opacity("opacity:Q", scale=None),
            description="text:N",
        ),
        alt.Chart(sheet(view["within"]))
        .mark_area(style="within-band", aria=False, clip=True)
        .encode(x=at_x, y=alt.Y("lower:Q", scale=scale_y, axis=axis_y), y2="upper:Q"),
        alt.Chart(sheet(view["between"])).mark_line(style="between", aria=False, clip=True).encode(x=at_x, y=at_y),
        alt.Chart(sheet(view["within"]))
        .mark_line(style="within", strokeWidth=3.5, aria=False, clip=True)
        .encode(x=at_x, y=at_y),
        *_bracket(sheet, view, frame, at_y),
    ]
    return _svg(sheet, alt.layer(*layers), frame, label)


def estimate_row(row: Mapping[str, Any], low: float, high: float) -> str:
    """One estimate: zero line, dot, thick 95 % bar; pale pill where 95 % of persons' slopes lie. 330 × 46."""
    alt, sheet = _altair(), Sheet()
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
    return _svg(sheet, alt.layer(*layers), Frame(330, 46, 10, 10, 0, 0), said)


def estimate_axis(low: float, high: float, ticks: Sequence[float], *, percent: bool) -> str:
    """The scale under the estimate rows. 330 × 24."""
    alt, sheet = _altair(), Sheet()
    data = sheet([{"x": tick, "text": _signed(tick, percent)} for tick in ticks])
    at = alt.X("x:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=None)
    layers = [
        alt.Chart(data).mark_rule(aria=False).encode(x=at, y=alt.value(0), y2=alt.value(5)),
        alt.Chart(data).mark_text(aria=False, baseline="top").encode(x=at, y=alt.value(9), text="text:N"),
    ]
    return _svg(sheet, alt.layer(*layers), Frame(330, 24, 10, 10, 0, 0), "Scale of the estimates")


def compliance_picture(compliance: Mapping[str, Any], frame: Frame) -> str:
    """A column a person (most answers first), a row a day: greens by the share answered, hollow none, blank no record.

    `frame.height` is set here; more than 32 days share rows.
    """
    alt, sheet = _altair(), Sheet()
    people = compliance["persons"][:DRAWN]
    last = len(compliance["per_day"])
    per_row = days_per_row(last)
    rows = math.ceil(last / per_row)
    step = max(7, min(14, 280 // rows if frame.width < 500 else 420 // rows))
    frame = Frame(frame.width, frame.top + frame.bottom + rows * step, frame.left, frame.right, frame.top, frame.bottom)
    column = min(frame.inner_width / len(people), 18)
    gap = 1.0 if column >= 6 else 0.4 if column >= 3 else 0.0
    cells: Rows = []
    for place, person in enumerate(people):
        for row in range(rows):
            block = person["days"][row * per_row : (row + 1) * per_row]
            answered, recorded, planned = (sum(day[part] for day in block) for part in range(3))
            if recorded:
                cells.append(
                    {
                        "level": answered_level(answered, planned),
                        "x": round(place * column, 1),
                        "x2": round(place * column + column - gap, 1),
                        "y": row * step,
                        "y2": row * step + step - (2 if step > 8 else 1),
                    }
                )
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, frame.inner_width], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[rows * step, 0], nice=False), axis=None)
    layers = []
    for level in range(5):
        some = [cell for cell in cells if cell["level"] == level]
        if not some:
            continue
        look: dict[str, Any] = {"fill": RAMP[level], "strokeWidth": 0}
        if level == 0:
            look = {"fill": None, "stroke": RAMP[2], "strokeWidth": 0.8}
            some = [{**c, "x": c["x"] + 0.4, "x2": c["x2"] - 0.4, "y": c["y"] + 0.4, "y2": c["y2"] - 0.4} for c in some]
        layers.append(
            alt.Chart(sheet(some))
            .mark_rect(aria=False, cornerRadius=1.5 if column > 6 else 0, **look)
            .encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
        )
    marked = sorted({0, (rows - 1) // 2, rows - 1})
    names = [{"y": row * step + step / 2, "text": _row_name(row, per_row, last, frame.width)} for row in marked]
    layers.append(
        alt.Chart(sheet(names)).mark_text(aria=False, align="right").encode(x=alt.value(-7), y=y, text="text:N")
    )
    edge = people and len(people) * column
    ends = [{"x": 0, "text": "most answers", "align": "left"}, {"x": edge, "text": "fewest", "align": "right"}]
    for end in ends:
        layers.append(
            alt.Chart(sheet([end]))
            .mark_text(aria=False, align=end["align"], baseline="bottom")
            .encode(x=x, y=alt.value(-4), text="text:N")
        )
    said = f"{share(compliance['answered'], compliance['planned'])} of planned prompts answered; each person a column, {counted(per_row, 'day')} a row"
    return _svg(sheet, alt.layer(*layers), frame, said)


def answered_level(answered: int, planned: int) -> int:
    """0 none, 4 all, and 1 to 3 between: nothing less than all looks like all."""
    if answered <= 0 or answered >= planned:
        return 4 * (answered > 0)
    return min(3, max(1, round(4 * answered / planned)))


def days_per_row(last: int) -> int:
    """Days that share a row of the person × day picture: one, or as many whole weeks as 32 rows need."""
    return 1 if last <= NEVER_MORE_ROWS else 7 * math.ceil(last / 7 / NEVER_MORE_ROWS)


def per_day(days: Sequence[Mapping[str, Any]]) -> str:
    """Answers of each study day as small bars, the last one strong. 198 × 44; long studies in up to 28 bars."""
    alt, sheet = _altair(), Sheet()
    per_bar = math.ceil(len(days) / 28)
    sums = [sum(day["answered"] for day in days[at : at + per_bar]) for at in range(0, len(days), per_bar)]
    width = 198 / len(sums)
    bars = [
        {"x": i * width, "x2": (i + 1) * width - min(2.0, width / 4), "y": n, "y2": 0, "last": i == len(sums) - 1}
        for i, n in enumerate(sums)
    ]
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, 198], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, max([*sums, 1])], nice=False), axis=None)
    layers = [
        alt.Chart(sheet([bar for bar in bars if bar["last"] is last]))
        .mark_rect(aria=False, fill=RAMP[4] if last else RAMP[2], cornerRadius=1.5)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
        for last in (False, True)
    ]
    return _svg(
        sheet, alt.layer(*layers), Frame(198, 44, 0, 0, 2, 0), f"Answers per study day, {min(sums):,} to {max(sums):,}"
    )


def latency_histogram(latency: Mapping[str, Any]) -> str:
    """Minutes from prompt to answer in bars of two minutes, later than an hour in the last. 290 × 78."""
    alt, sheet = _altair(), Sheet()
    bars = [
        {
            "x": each["from"] + 0.1,
            "x2": (each["from"] + 2) - 0.1,
            "y": each["count"],
            "y2": 0,
            "late": each["to"] is None,
        }
        for each in latency["histogram"]
    ]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[0, 62], nice=False),
        axis=alt.Axis(
            values=[0, 15, 30, 45, 60],
            title=None,
            labelExpr="datum.value == 60 ? '60+ min' : datum.label",
            labelAlign="left",
            labelPadding=4,
        ),
    )
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, max(max(bar["y"] for bar in bars), 1)], nice=False), axis=None)
    chart = alt.Chart(sheet(bars)).mark_rect(aria=False, fill=RAMP[3]).encode(x=x, x2="x2:Q", y=y, y2="y2:Q")
    return _svg(
        sheet, alt.layer(chart), Frame(290, 78, 2, 44, 4, 20), f"Minutes from prompt to answer. {latency['sentence']}"
    )


def variance_bar(shares: Sequence[Mapping[str, Any]], frame: Frame) -> str:
    """One bar: persons orange, days pale blue, moments blue; the percentages under their parts."""
    alt, sheet = _altair(), Sheet()
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
    return _svg(sheet, alt.layer(*layers), frame, "; ".join(f"{part['label']} {part['percent']}" for part in parts))


def caterpillar(persons: Sequence[Mapping[str, Any]], within: Mapping[str, Any], frame: Frame) -> str:
    """Persons sorted by slope with their own intervals over the band of the average slope; hollow where too few answers."""
    alt, sheet = _altair(), Sheet()
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
    ticks = _ticks(low, high, 4)
    labels = " : ".join(f"abs(datum.value - {t:g}) < 1e-9 ? '{_signed(t, False)}'" for t in ticks) + " : ''"
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
    return _svg(sheet, alt.layer(*layers), frame, f"Slopes of {len(rows)} people, sorted, from {lowest} to {highest}")


def _bracket(sheet: Sheet, view: Mapping[str, Any], frame: Frame, y: Any) -> list[Any]:
    """The contextual difference as a bracket at the right edge, with the names of the two lines beside it."""
    alt = _altair()
    height = view["height"]
    ends = {name: max(-height, min(height, view[name][-1]["y"])) for name in ("within", "between")}
    room = 2 * height * 14 / frame.inner_height
    names = dict(ends)
    if abs(names["between"] - names["within"]) < room:
        up = 1 if names["between"] >= names["within"] else -1
        middle = (names["between"] + names["within"]) / 2
        names = {"between": middle + up * room / 2, "within": middle - up * room / 2}
    edge = frame.inner_width
    span = sheet([{"y": ends["within"], "y2": ends["between"]}])
    layers = [
        alt.Chart(span).mark_rule(aria=False, color=INK, strokeWidth=1.5).encode(x=alt.value(edge + 6), y=y, y2="y2:Q")
    ]
    for name, colour in (("within", WITHIN), ("between", BETWEEN)):
        layers += [
            alt.Chart(sheet([{"y": ends[name]}]))
            .mark_rule(aria=False, color=INK, strokeWidth=1.5)
            .encode(x=alt.value(edge + 3), x2=alt.value(edge + 9), y=y),
            alt.Chart(sheet([{"y": names[name], "text": name}]))
            .mark_text(aria=False, align="left", color=colour, fontWeight=600)
            .encode(x=alt.value(edge + 14), y=y, text="text:N"),
        ]
    if abs(names["between"] - names["within"]) >= 2 * room:
        layers.append(
            alt.Chart(sheet([{"y": (ends["within"] + ends["between"]) / 2, "text": "difference"}]))
            .mark_text(aria=False, align="left")
            .encode(x=alt.value(edge + 14), y=y, text="text:N")
        )
    return layers


def _halo_text(sheet: Sheet, at: Mapping[str, Any], text: str, x: Any, field: str, frame: Frame, scale_y: Any) -> Any:
    """A direct label at the right end of the between line, readable over everything below it."""
    alt = _altair()
    data = sheet([{"x": at["x"], "y": at[field], "text": text}])
    y = alt.Y("y:Q", scale=scale_y)
    look: dict[str, Any] = {"aria": False, "align": "right", "dy": -8, "fontWeight": 600, "fontSize": 11}
    back = alt.Chart(data).mark_text(**look, stroke=BG, strokeWidth=4, strokeJoin="round", color=BG)
    front = alt.Chart(data).mark_text(**look, color=BETWEEN)
    return alt.layer(*(chart.encode(x=x, y=y, text="text:N") for chart in (back, front)))


def _common_scale(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float, list[float]]:
    """Limits that hold every estimate, its interval, its pill and zero, and round ticks inside them."""
    ends = [0.0]
    for row in rows:
        ends += [row["lower"], row["upper"], *(row.get("pill") or ())]
    low, high = min(ends), max(ends)
    room = 0.05 * (high - low or 1.0)
    return low - room, high + room, _ticks(low, high, 5)


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round values between two limits, about so many."""
    span = (high - low) or 1.0
    raw = span / about
    size = 10 ** math.floor(math.log10(raw))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(at * step, 10) for at in range(first, last + 1)]


def _signed(value: float, percent: bool) -> str:
    shown = 100 * value if percent else value
    return number(shown, _places(shown), sign=True)


def _places(value: float) -> int:
    """Decimals that a round tick needs."""
    return next((places for places in range(6) if abs(round(value, places) - value) < 1e-9), 6)


def _label(axis: Axis) -> str:
    """The tick's words, with U+2212 for minus; percentages for probabilities."""
    if axis.percent:
        return "format(datum.value * 100, '.0f') + ' %'"
    return "replace(datum.label, '-', '\N{MINUS SIGN}')"


def _row_name(row: int, per_row: int, last: int, width: int) -> str:
    day = row * per_row + 1
    return f"day {day}" if width > 500 else str(day)


class Sheet:
    """The rows of one drawing. Altair sees their names alone, so that it neither copies nor checks them; Vega gets them."""

    def __init__(self) -> None:
        self.datasets: dict[str, Rows] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        name = f"rows{len(self.datasets)}"
        self.datasets[name] = [dict(row) for row in rows]
        return _altair().NamedData(name=name)


def _altair() -> Any:
    """Altair, imported on the first picture: the engine alone never pays for it."""
    import altair

    return altair


def _svg(sheet: Sheet, chart: Any, frame: Frame, label: str) -> str:
    """Render at exactly the frame's size, then leave only what a page needs."""
    import vl_convert

    padding = {"left": frame.left, "right": frame.right, "top": frame.top, "bottom": frame.bottom}
    sized = chart.properties(width=frame.inner_width, height=frame.inner_height, padding=padding, autosize="none")
    spec = sized.to_dict(validate=False)
    spec |= {"config": THEME, "datasets": sheet.datasets}
    return tidy(vl_convert.vegalite_to_svg(spec), frame, label)


_MARK = re.compile(r'<(path|line|g)\b([^>]*?) aria-label="([^"]*)"([^>]*?)/>')
_RUN = re.compile(r'(<path (?:aria-hidden="true" )?d="[^"]*"([^>]*)/>)(?:<path (?:aria-hidden="true" )?d="[^"]*"\2/>)+')


def tidy(svg: str, frame: Frame, label: str) -> str:
    """Vega's SVG for use inside a page: one labelled image, titles for persons, no fonts of its own, ids of its own.

    Marks that name a person become `data-person` with a `<title>`; runs of equal paths become one.
    """
    body = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    body = re.sub(r' (?:role|aria-roledescription|font-family|pointer-events|class)="[^"]*"', "", body)
    body = re.sub(r'<path aria-hidden="true" d="[^"]*"(?: display="none"| stroke="none"| fill="none")*/>', "", body)
    body = _MARK.sub(_titled, body)
    body = _RUN.sub(_merged, body)
    body = re.sub(r' aria-hidden="true"| transform="translate\(0,0\)"', "", body)
    while re.search(r"<g></g>", body):
        body = body.replace("<g></g>", "")
    # Vega numbers clips through the life of a process: count anew, so that the same rows are the same bytes.
    clips = {name: str(at) for at, name in enumerate(dict.fromkeys(re.findall(r"\bclip\d+", body)))}
    body = re.sub(r"\bclip\d+", lambda match: f"clip-{clips[match.group()]}", body)
    body = re.sub(r"\bclip-", f"c{zlib.crc32(body.encode()):08x}-", body)
    said = html.escape(label, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width}" height="{frame.height}" '
        f'viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{said}">{body}</svg>'
    )


def _titled(match: re.Match[str]) -> str:
    tag, before, text, after = match.groups()
    person = text.split(":", 1)[0]
    return f'<{tag} data-person="{person}"{before}{after}><title>{text}</title></{tag}>'


def _merged(match: re.Match[str]) -> str:
    ways = re.findall(r' d="([^"]*)"', match.group(0))
    return f'<path d="{"".join(ways)}"{match.group(2)}/>'
