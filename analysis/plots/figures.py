"""Every picture of a night, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.plots.fieldwork import fieldwork
from analysis.plots.numbers import caterpillar, common_scale, estimate_axis, estimate_row, variance_bar
from analysis.plots.sheet import Axis, Frame
from analysis.plots.signature import lens, signature


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
    low, high, ticks = common_scale(rows)
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
