"""Differences of a probability averaged over people: what a logistic model's coefficient is in percentage points."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.estimates import averaged
from analysis.prediction import own_rows


def averaged_change(fit: Any, name: str, step: float) -> dict[str, float]:
    """Percentage points with one `step` more of the column `name`: estimate, lower, upper; every person counts once.

    From half a step below to half a step above the usual value (0 to 1 for a column of 0 and 1), the other columns as
    observed, the random effects integrated out. The interval is the coefficient's own, carried to this scale; it allows
    no difference wherever that one does.
    """
    design, beta = fit.design, fit.fit.beta.copy()
    rows = own_rows(design)
    place = design.fixed_names.index(name)
    share = np.repeat(1.0 / np.diff(design.starts), np.diff(design.starts)) / design.n_persons
    values = rows.x[:, place]
    ends = (0.0, 1.0) if set(np.unique(values)) == {0.0, 1.0} else _ends(design, values, step)
    test = fit.tests().loc[name]

    def change(coefficient: float) -> float:
        moved_beta = beta.copy()
        moved_beta[place] = coefficient
        levels = []
        for end in ends:
            x = _moved(rows.x, design.fixed_names, name, end)
            z = _moved(rows.z, design.random_names, name, end)
            sd = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", z, fit.fit.g, z), 0.0))
            levels.append(float(share @ averaged(rows.offset + x @ moved_beta, sd)[0]))
        return 100.0 * (levels[1] - levels[0])

    limits = [change(test["lower"]), change(test["upper"])]
    if test["lower"] <= 0.0 <= test["upper"]:  # a spread of slopes alone moves the average; that is no difference
        limits.append(0.0)
    return {"estimate": change(test["estimate"]), "lower": min(limits), "upper": max(limits)}


def _ends(design: Any, values: np.ndarray, step: float) -> tuple[float, float]:
    """Half a step on either side of the average over people, each once."""
    sizes = np.diff(design.starts)
    centre = float((np.add.reduceat(values, design.starts[:-1]) / sizes).mean())
    return centre - step / 2, centre + step / 2


def _moved(matrix: np.ndarray, names: list[str], name: str, value: float) -> np.ndarray:
    """The columns (r, k) with `name` at one value, and with it the products that it is a factor of."""
    out = matrix.copy()
    for j, column in enumerate(names):
        factors = column.split(":")
        others = [factor for factor in factors if factor != name]
        if name in factors and all(other in names for other in others):
            out[:, j] = value * np.prod(
                [matrix[:, names.index(other)] for other in others] or [np.ones(len(out))], axis=0
            )
    return out
