"""The signature picture: left everyone at their own average, right everyone lined up at one point (the lens)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.plots.scales import places_of, round_ticks, signed, tick_words
from analysis.plots.sheet import BETWEEN, BG, INK, WITHIN, Axis, Frame, Rows, Sheet, draw, load_altair
from analysis.words import number


def signature(
    shown: Mapping[str, Any], x: Axis, y: Axis, frame: Frame, label: str, *, small: bool = False, bare: bool = False
) -> str:
    """Everyone at their own average: orange dots, blue segments, the line between persons over the range of their means.

    `shown` has `segments` (person, text, x, y of the dot, opacity, few, line: points x, y) and `line` (x, y, lower, upper).
    """
    alt, sheet = load_altair(), Sheet()
    scale_x, scale_y = alt.Scale(domain=[x.low, x.high]), alt.Scale(domain=[y.low, y.high])
    axis_x = None if bare else alt.Axis(title=f"{x.title} \N{RIGHTWARDS ARROW}", labelExpr=tick_words(x))
    axis_y = (
        None
        if bare
        else alt.Axis(title=f"{y.title} \N{UPWARDS ARROW}", titleX=-frame.left + 4, labelExpr=tick_words(y))
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
    return draw(sheet, alt.layer(*layers), frame, label)


def lens(view: Mapping[str, Any], frame: Frame, label: str) -> str:
    """Everyone slid to one origin: thin blue lines persons, thick blue the average within, orange between, same origin.

    `view` has `reach` (x from −reach to +reach), `height` (the y limit), `people` (person, text, opacity, line),
    `within` and `between` (x, y, lower, upper), `percent`, `unit`.
    """
    alt, sheet = load_altair(), Sheet()
    reach, height = view["reach"], view["height"]
    ticks = [tick for tick in round_ticks(-height, height, 5) if abs(tick) <= height]
    labels = " : ".join(f"datum.value == {t:g} ? '{signed(t, view['percent'])}'" for t in ticks) + " : ''"
    axis_x = alt.Axis(
        values=[-reach, 0, reach],
        title=None,
        labelExpr=f"datum.value == 0 ? 'own usual' : (datum.value < 0 ? '{number(-reach, places_of(reach))}' : '+{number(reach, places_of(reach))}')",
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
    return draw(sheet, alt.layer(*layers), frame, label)


def _bracket(sheet: Sheet, view: Mapping[str, Any], frame: Frame, y: Any) -> list[Any]:
    """The contextual difference as a bracket at the right edge, with the names of the two lines beside it."""
    alt = load_altair()
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
    alt = load_altair()
    data = sheet([{"x": at["x"], "y": at[field], "text": text}])
    y = alt.Y("y:Q", scale=scale_y)
    look: dict[str, Any] = {"aria": False, "align": "right", "dy": -8, "fontWeight": 600, "fontSize": 11}
    back = alt.Chart(data).mark_text(**look, stroke=BG, strokeWidth=4, strokeJoin="round", color=BG)
    front = alt.Chart(data).mark_text(**look, color=BETWEEN)
    return alt.layer(*(chart.encode(x=x, y=y, text="text:N") for chart in (back, front)))
