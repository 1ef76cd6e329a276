"""One drawing of the report: its theme, its size, its rows, and Vega's SVG made fit for a page (UI §4)."""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


class Sheet:
    """The rows of one drawing. Altair sees their names alone, so that it neither copies nor checks them; Vega gets them."""

    def __init__(self) -> None:
        self.datasets: dict[str, Rows] = {}

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        name = f"rows{len(self.datasets)}"
        self.datasets[name] = [dict(row) for row in rows]
        return load_altair().NamedData(name=name)


def load_altair() -> Any:
    """Altair, imported on the first picture: the engine alone never pays for it."""
    import altair

    return altair


def draw(sheet: Sheet, chart: Any, frame: Frame, label: str) -> str:
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
