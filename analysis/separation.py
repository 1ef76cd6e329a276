"""Does a model's likelihood rise without end along some direction of its parameters? (Albert & Anderson, 1984)

Only rows at the edge of what their family allows can rise for ever: 0 and 1, a count of zero, a category. A direction along
which no row falls and one rises is found, or excluded, by a linear programme (Konis, 2007).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from analysis.kernels import families
from analysis.kernels.rows import slopes_of_rows
from analysis.responses import Responses

FLAT = 1e-4
"""A row with less curvature than this, where its random effects are zero, is all but certain: a reason to look."""
RISE = 1e-7
"""Of the fastest direction, inside a box of ±1; less is rounding."""


def runs_away(data: Responses, inner: np.ndarray, certain: bool) -> bool:
    """Is there such a direction? Asked only where rows are all but certain at the inner (β*, ψ*), or the optimum is not."""
    p = data.n_fixed
    n = len(data.y)
    rows, scratch = np.empty((3, n)), np.empty((2, max(n, 12)))
    eta = data.offset + inner[:p] @ data.x
    slopes_of_rows(data.family, data.y, data.size, inner[p:], n, eta, rows, scratch)
    if certain and (rows[2] / data.size).min() > FLAT:
        return False
    down, moved = _cone(data)
    found = linprog(
        -down.mean(axis=0) if len(down) else np.zeros(down.shape[1]),
        A_ub=-down,
        b_ub=np.zeros(len(down)),
        A_eq=moved,
        b_eq=np.zeros(len(moved)),
        bounds=(-1.0, 1.0),
        method="highs",
    )
    return bool(found.status == 0 and found.fun is not None and -found.fun > RISE)


def _cone(data: Responses) -> tuple[np.ndarray, np.ndarray]:
    """Directions d of (β*, ψ) along which no row falls: A with Ad ≥ 0, a row each or two, and the rows with Ad = 0."""
    x, y, r = data.x.T, data.y, data.n_extra
    if data.family < families.POISSON:
        inside = (y > 0.0) & (y < 1.0)
        return np.where(y == 1.0, 1.0, -1.0)[~inside, None] * x[~inside], x[inside]
    if data.family < families.ORDINAL_LOGIT:
        return -x[y == 0.0], x[y > 0.0]
    units, at = np.eye(r), y.astype(int)
    above, below = at < r, at > 0  # a threshold over the category may rise from η, one under it fall
    upper = np.hstack([-x[above], units[at[above]]])
    lower = np.hstack([x[below], -units[at[below] - 1]])
    return np.vstack([upper, lower]), np.empty((0, data.n_fixed + r))
