"""The columns of a design, shifted and scaled: what models fitted from rows compute with."""

from __future__ import annotations

import numpy as np

from analysis.checks import without_variation
from analysis.design import Column, Design
from analysis.moments import inner_to_written


def inner_columns(
    design: Design, columns: tuple[Column, ...], constants: list[int | None], all_moved: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns (k, n) scaled to unit mean square and centred where a constant takes up the shift, or all; centres; their map."""
    values = np.ascontiguousarray(design.matrix(columns).T)
    centres = np.zeros(len(columns))
    scale = np.ones(len(columns))
    for j, constant in enumerate(constants):
        if columns[j].kind == "one":
            continue
        size = np.abs(values[j]).max()
        if constant is not None or all_moved:
            centres[j] = values[j, 0] + (values[j] - values[j, 0]).mean()
            values[j] -= centres[j]
        scale[j] = np.sqrt(np.mean(values[j] ** 2))
        if scale[j] <= 1e-12 * size:
            raise without_variation(columns[j].name)
        values[j] /= scale[j]
    moved = np.where([constant is None for constant in constants], 0.0, centres)
    return values, centres, inner_to_written(moved, scale, constants)
