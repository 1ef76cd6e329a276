"""Products of a few long columns, one row of an array each; too thin for a linear algebra library's threads to pay."""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.rows import dot


@compiled
def products(x: np.ndarray) -> np.ndarray:
    """xx' (p, p) of x (p, n)."""
    p, n = x.shape
    out = np.empty((p, p))
    for a in range(p):
        for b in range(a + 1):
            out[a, b] = dot(x[a], x[b], n)
            out[b, a] = out[a, b]
    return out


@compiled
def mixed(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """weights'x (k, n) of x (p, n), weights (p, k); zeros among the weights cost nothing."""
    p, n = x.shape
    out = np.zeros((weights.shape[1], n))
    for b in range(weights.shape[1]):
        row = out[b]
        for a in range(p):
            by = weights[a, b]
            if by != 0.0:
                column = x[a]
                for j in range(n):
                    row[j] += column[j] * by
    return out
