"""The marginal likelihood by Laplace's approximation at the observed curvature, person by person, with its exact score.

The score follows the mode as the parameters move (implicit differentiation), so that fixed effects, the families' own
parameters and variances can be optimised jointly. Every person writes to a place of their own: sums come afterwards, in order.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.modes import add_random, factor_curvature, find_mode, linear_parts, solve_with
from analysis.kernels.rows import dot, expand_rows, total_of


@compiled
def longest(starts: np.ndarray, first: int, last: int) -> int:
    """Rows of the longest person among first:last; at least 12, so that one row's expansion fits into a buffer."""
    most = 12
    for i in range(first, last):
        most = max(most, starts[i + 1] - starts[i])
    return most


@compiled
def laplace(
    family: int,
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    beta: np.ndarray,
    extra: np.ndarray,
    lam: np.ndarray,
    u: np.ndarray,
    deviance: np.ndarray,
    scores: np.ndarray,
) -> None:
    """−2 log-likelihood of each person in first:last into deviance (persons,), its gradient into scores (persons, p + r + qq).

    x (p, n), z (q, n), y, size, offset (n,), lam (q, q) lower triangular; the gradient is in β (p,), extra (r,) and Λ (q, q).
    `u` (persons, q) holds where to look for the modes and is overwritten with them. A person without a mode has inf and NaN.
    """
    p, r, q = len(beta), len(extra), len(lam)
    most = longest(starts, first, last)
    fixed, eta, leverage, change = np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    v, rows, scratch = np.empty((q, most)), np.empty((12, most)), np.empty((2, most))
    chol, inverse, crossed = np.zeros((q, q)), np.empty((q, q)), np.empty((q, q))
    small, along, shift, unit = np.empty((3, q)), np.empty(q), np.empty(q), np.empty(q)
    for i in range(first, last):
        start, n = starts[i], starts[i + 1] - starts[i]
        own_y, own_size = y[start : start + n], size[start : start + n]
        linear_parts(x, z, offset, start, n, beta, lam, fixed, v)
        if not find_mode(family, own_y, own_size, extra, n, fixed, v, u[i], chol, eta, rows, scratch, small):
            deviance[i] = np.inf
            scores[i] = np.nan
            continue
        add_random(fixed, v, u[i], n, eta)
        expand_rows(family, own_y, own_size, extra, n, eta, rows, scratch)
        slope, weight, third = rows[1], rows[2], rows[3]
        factor_curvature(weight, v, n, chol, scratch[0])
        total = -2.0 * total_of(rows[0], n)
        for a in range(q):
            total += u[i, a] * u[i, a] + 2.0 * np.log(chol[a, a])
            unit[:] = 0.0
            unit[a] = 1.0
            solve_with(chol, unit, inverse[a])
        deviance[i] = total
        # t = leverage times minus the third derivative: how log|H| changes with η
        leverage[:n] = 0.0
        for a in range(q):
            for b in range(a + 1):
                one, other, by = v[a], v[b], inverse[a, b] * (1.0 if a == b else 2.0)
                for j in range(n):
                    leverage[j] += one[j] * other[j] * by
        for j in range(n):
            change[j] = -leverage[j] * third[j]
        for a in range(q):
            along[a] = dot(v[a], change, n)
        solve_with(chol, along, shift)
        moved = scratch[1]
        moved[:n] = 0.0
        for a in range(q):
            one, by = v[a], shift[a]
            for j in range(n):
                moved[j] += one[j] * by
        for j in range(n):
            change[j] -= 2.0 * slope[j]
        for j in range(n):
            change[j] -= weight[j] * moved[j]
        score = scores[i]
        for k in range(p):
            score[k] = dot(x[k, start : start + n], change, n)
        score[p : p + r] = 0.0
        if r > 0:
            for j in range(n):
                for k in (4, 8):
                    if rows[k, j] >= 0.0:
                        score[p + int(rows[k, j])] += (
                            moved[j] * rows[k + 2, j] - 2.0 * rows[k + 1, j] - leverage[j] * rows[k + 3, j]
                        )
        for a in range(q):
            own = z[a, start : start + n]
            for j in range(n):
                scratch[0, j] = weight[j] * own[j]
            for b in range(q):
                crossed[a, b] = dot(scratch[0], v[b], n)
        for a in range(q):
            own = z[a, start : start + n]
            z_slope, z_change = dot(own, slope, n), dot(own, change, n)
            for b in range(q):
                total = z_change * u[i, b] + z_slope * shift[b]
                for c in range(q):
                    total += 2.0 * crossed[a, c] * inverse[c, b]
                score[p + r + a * q + b] = total


@compiled
def curvatures(
    family: int,
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    beta: np.ndarray,
    extra: np.ndarray,
    lam: np.ndarray,
    u: np.ndarray,
    curvature: np.ndarray,
    cross: np.ndarray,
    information: np.ndarray,
) -> None:
    """At the modes u: H = Λ'Z'WZΛ + I into curvature (persons, q, q), −∂(slope in u)/∂(β, ψ) into cross (persons, q, p + r).

    W holds −∂²ℓ/∂η², so that du/d(β, ψ) = −H⁻¹ cross. Σ X'WX − cross'H⁻¹cross over the persons, the curvature in β of the
    penalised likelihood, into information (p, p).
    """
    p, q = len(beta), len(lam)
    most = longest(starts, first, last)
    fixed, eta, weighted = np.empty(most), np.empty(most), np.empty(most)
    v, rows, scratch = np.empty((q, most)), np.empty((12, most)), np.empty((2, most))
    chol, moved = np.zeros((q, q)), np.empty(q)
    information[:] = 0.0
    for i in range(first, last):
        cross[i] = 0.0
        start, n = starts[i], starts[i + 1] - starts[i]
        linear_parts(x, z, offset, start, n, beta, lam, fixed, v)
        add_random(fixed, v, u[i], n, eta)
        expand_rows(family, y[start : start + n], size[start : start + n], extra, n, eta, rows, scratch)
        for a in range(q):
            for j in range(n):
                weighted[j] = rows[2, j] * v[a, j]
            for b in range(q):
                curvature[i, a, b] = dot(weighted, v[b], n) + (1.0 if a == b else 0.0)
            for k in range(p):
                cross[i, a, k] = dot(weighted, x[k, start : start + n], n)
            if len(extra) > 0:
                for j in range(n):
                    for k in (4, 8):
                        if rows[k, j] >= 0.0:
                            cross[i, a, p + int(rows[k, j])] -= rows[k + 2, j] * v[a, j]
        factor_curvature(rows[2], v, n, chol, scratch[0])
        for k in range(p):
            column = x[k, start : start + n]
            for j in range(n):
                weighted[j] = rows[2, j] * column[j]
            solve_with(chol, cross[i, :, k].copy(), moved)
            for c in range(k + 1):
                total = dot(weighted, x[c, start : start + n], n)
                for a in range(q):
                    total -= moved[a] * cross[i, a, c]
                information[k, c] += total
                if c < k:
                    information[c, k] += total
