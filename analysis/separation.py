"""Does a model's likelihood rise without end along some direction of its parameters? (Albert & Anderson, 1984)

Only rows at the edge of what their family allows can rise for ever: 0 and 1, a count of zero, a category. A direction along
which no row falls and one rises is found, or excluded, by a linear programme (Konis, 2007).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix, hstack, vstack

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
    never_down, never_moved = _cone(data)
    rises = np.asarray(never_down.sum(axis=0)).ravel()
    found = linprog(
        -rises / max(1, never_down.shape[0]),
        A_ub=-never_down if never_down.shape[0] else None,
        b_ub=np.zeros(never_down.shape[0]) if never_down.shape[0] else None,
        A_eq=never_moved if never_moved.shape[0] else None,
        b_eq=np.zeros(never_moved.shape[0]) if never_moved.shape[0] else None,
        bounds=(-1.0, 1.0),
        method="highs",
    )
    return bool(found.status == 0 and -found.fun > RISE)


def _cone(data: Responses) -> tuple[csr_matrix, csr_matrix]:
    """Directions d of (β*, ψ) along which no row falls: the rows of a matrix A with Ad ≥ 0, and of one with Ad = 0."""
    x = csr_matrix(data.x.T)
    y = data.y
    if data.family < families.POISSON:
        signs = np.where(y == 1.0, 1.0, -1.0)[:, None]
        inside = (y > 0.0) & (y < 1.0)
        return x[~inside].multiply(signs[~inside]).tocsr(), x[inside]
    if data.family < families.ORDINAL_LOGIT:
        return -x[y == 0.0], x[y > 0.0]
    r, n = data.n_extra, len(y)
    at = y.astype(int)
    above, below = np.flatnonzero(at < r), np.flatnonzero(at > 0)
    upper = csr_matrix((np.ones(len(above)), (np.arange(len(above)), at[above])), shape=(len(above), r))
    lower = csr_matrix((-np.ones(len(below)), (np.arange(len(below)), at[below] - 1)), shape=(len(below), r))
    cone = vstack([hstack([-x[above], upper]), hstack([x[below], lower])]).tocsr()
    return cone, csr_matrix((0, data.n_fixed + r)) if n else cone
