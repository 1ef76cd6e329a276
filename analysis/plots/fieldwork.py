"""The report's pictures of fieldwork: every person and day, answers per day, time to answer. Green alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.plots.sheet import RAMP, Frame, Rows, Sheet, draw, load_altair
from analysis.words import counted, share

DRAWN = 500
"""Persons up to which everyone is drawn."""
NEVER_MORE_ROWS = 32
"""Rows of the person × day picture; longer studies have several days a row."""


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


def compliance_picture(compliance: Mapping[str, Any], frame: Frame) -> str:
    """A column a person (most answers first), a row a day: greens by the share answered, hollow none, blank no record.

    `frame.height` is set here; more than 32 days share rows.
    """
    alt, sheet = load_altair(), Sheet()
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
    return draw(sheet, alt.layer(*layers), frame, said)


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
    alt, sheet = load_altair(), Sheet()
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
    return draw(
        sheet, alt.layer(*layers), Frame(198, 44, 0, 0, 2, 0), f"Answers per study day, {min(sums):,} to {max(sums):,}"
    )


def latency_histogram(latency: Mapping[str, Any]) -> str:
    """Minutes from prompt to answer in bars of two minutes, later than an hour in the last. 290 × 78."""
    alt, sheet = load_altair(), Sheet()
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
    return draw(
        sheet, alt.layer(chart), Frame(290, 78, 2, 44, 4, 20), f"Minutes from prompt to answer. {latency['sentence']}"
    )


def _row_name(row: int, per_row: int, last: int, width: int) -> str:
    day = row * per_row + 1
    return f"day {day}" if width > 500 else str(day)
