"""How a fit's own charts look in a notebook: the report's colours and forms, as plain values on white (UI §3, §9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.plots.sheet import load_altair

WIDTH = 800
"""Of a whole chart, axes included: what a notebook's page holds, in CSS pixels."""
INK, INK2, INK3, GRID, WITHIN, BETWEEN, FIELD = (
    "#1b1e23", "#535963", "#6a707a", "#edebe5", "#0b5fae", "#b34700", "#0c6b58",
)  # fmt: skip
COLOURS = {"within": WITHIN, "within_day": WITHIN, "between_days": "#5e97cf", "between": BETWEEN}
"""A part's colour; ink for all else."""

CONFIG: dict[str, Any] = {
    "background": "#ffffff",
    "padding": 8,
    "font": "Inter, ui-sans-serif, system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "labelColor": INK2,
        "labelFontSize": 11,
        "labelPadding": 6,
        "titleColor": INK2,
        "titleFontSize": 12,
        "titleFontWeight": 400,
        "gridColor": GRID,
        "tickCount": 5,
    },
    "axisX": {"grid": False, "titleAnchor": "end", "titlePadding": 8},
    "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleY": -14, "titleX": -34},
    "title": {
        "anchor": "start",
        "frame": "group",
        "color": INK,
        "fontSize": 14,
        "fontWeight": 600,
        "subtitleColor": INK2,
        "subtitleFontSize": 12,
        "subtitlePadding": 5,
        "offset": 26,
    },
    "legend": {"disable": True},
    "rule": {"color": INK3},
    "text": {"color": INK2, "fontSize": 12},
    "point": {"filled": True},
    "concat": {"spacing": 40},
}


def titled(text: str, *lines: str, offset: int | None = None) -> Any:
    """A title with its explanation under it, one line each."""
    alt = load_altair()
    more = {} if offset is None else {"offset": offset}
    return alt.TitleParams(text=text, subtitle=[line for line in lines if line] or alt.Undefined, **more)


def finished(chart: Any) -> Any:
    """The chart with its look built in, so that it is the same in every notebook whatever theme is on."""
    return chart.configure(**{name: value for name, value in CONFIG.items() if name != "font"}, font=CONFIG["font"])


def stacked(charts: Sequence[Any], spacing: int = 44) -> Any:
    """One above the other; a single chart stays itself."""
    return charts[0] if len(charts) == 1 else load_altair().vconcat(*charts, spacing=spacing)
