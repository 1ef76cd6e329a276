"""From rows to levels and back: sums of rows over their levels, and what levels give to their rows."""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.elimination import Layout, RowPlaces


@compiled
def sum_over_levels(z: np.ndarray, codes: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """Σ z·value of each level's rows, added to out (levels, q); z (n, q), codes (n,), values (n,)."""
    for j in range(len(codes)):
        for a in range(z.shape[1]):
            out[codes[j], a] += z[j, a] * values[j]


@compiled
def add_from_levels(z: np.ndarray, codes: np.ndarray, effects: np.ndarray, out: np.ndarray) -> None:
    """Adds z·effects of each row's level, effects (levels, q), to out (n,)."""
    for j in range(len(codes)):
        total = 0.0
        for a in range(z.shape[1]):
            total += z[j, a] * effects[codes[j], a]
        out[j] += total


@compiled
def leverages(
    at: Layout, rows: RowPlaces, v: np.ndarray, inverse: np.ndarray, tail: np.ndarray, out: np.ndarray
) -> None:
    """v'H⁻¹v of every row into out (n,): v (n, terms) is ZΛ, the inverse as `select_inverse` gives it, without dense columns."""
    factors, eliminated = len(at.q), len(at.base) - 1
    for j in range(len(out)):
        total = 0.0
        for f in range(eliminated):
            node, width = rows.node[f, j], at.q[f]
            start = at.ptr[node]
            for b in range(width):
                vb = v[j, at.first[f] + b]
                for a in range(width):
                    total += vb * v[j, at.first[f] + a] * inverse[start + a * width + b]
                for g in range(f + 1, eliminated):
                    place = start + at.row_of[f, g] * width + b
                    for a in range(at.q[g]):
                        total += 2.0 * vb * v[j, at.first[g] + a] * inverse[place + a * width]
                for h in range(factors - eliminated):
                    g = eliminated + h
                    place = start + (at.t_row[f] + rows.place[f, h, j]) * width + b
                    for a in range(at.q[g]):
                        total += 2.0 * vb * v[j, at.first[g] + a] * inverse[place + a * width]
        for h in range(factors - eliminated):
            g = eliminated + h
            for b in range(at.q[g]):
                vb, column = v[j, at.first[g] + b], rows.column[h, j] + b
                for h2 in range(factors - eliminated):
                    g2 = eliminated + h2
                    for a in range(at.q[g2]):
                        total += vb * v[j, at.first[g2] + a] * tail[rows.column[h2, j] + a, column]
        out[j] = total
