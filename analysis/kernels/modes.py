"""The most likely random effects of one person, by Newton's method; what every marginal likelihood of `families` starts with.

u are spherical random effects: b = Λu, u ~ N(0, I). All families are log-concave, so that each person has exactly one mode.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.rows import dot, slopes_of_rows, total_of

MOST_STEPS = 200
SETTLED = 1e-12
"""Newton's decrement before the last step to a mode; the error left after that step is of its square."""
CLOSE = 1e-8
"""Below this decrement a step is taken without asking whether the density rises: rounding would decide."""
ROUNDING = 1e-12
"""The same as a share of the log density, for counts in millions."""


@compiled
def linear_parts(
    x: np.ndarray,
    z: np.ndarray,
    offset: np.ndarray,
    start: int,
    n: int,
    beta: np.ndarray,
    lam: np.ndarray,
    fixed: np.ndarray,
    v: np.ndarray,
) -> None:
    """offset + Xβ of the n rows from `start` into fixed, and their ZΛ into v (q, n): η = fixed + u'v."""
    for j in range(n):
        fixed[j] = offset[start + j]
    for k in range(len(beta)):
        column, by = x[k, start : start + n], beta[k]
        for j in range(n):
            fixed[j] += column[j] * by
    for a in range(len(lam)):
        v[a, :n] = 0.0
        for c in range(a, len(lam)):
            row, column, by = v[a], z[c, start : start + n], lam[c, a]
            for j in range(n):
                row[j] += column[j] * by


@compiled
def add_random(fixed: np.ndarray, v: np.ndarray, u: np.ndarray, n: int, eta: np.ndarray) -> None:
    """fixed + u'v into eta."""
    for j in range(n):
        eta[j] = fixed[j]
    for a in range(len(u)):
        row, by = v[a], u[a]
        for j in range(n):
            eta[j] += row[j] * by


@compiled
def factor_curvature(weight: np.ndarray, v: np.ndarray, n: int, chol: np.ndarray, scratch: np.ndarray) -> None:
    """The lower Cholesky factor of H = I + Σ w vv' into chol."""
    q = len(chol)
    for a in range(q):
        row = v[a]
        for j in range(n):
            scratch[j] = weight[j] * row[j]
        for b in range(a + 1):
            total = dot(scratch, v[b], n)
            if a == b:
                total += 1.0
            for c in range(b):
                total -= chol[a, c] * chol[b, c]
            chol[a, b] = np.sqrt(total) if a == b else total / chol[b, b]


@compiled
def solve_with(chol: np.ndarray, vector: np.ndarray, out: np.ndarray) -> None:
    """(chol chol')⁻¹ vector into `out`."""
    q = len(vector)
    for a in range(q):
        total = vector[a]
        for c in range(a):
            total -= chol[a, c] * out[c]
        out[a] = total / chol[a, a]
    for a in range(q - 1, -1, -1):
        total = out[a]
        for c in range(a + 1, q):
            total -= chol[c, a] * out[c]
        out[a] = total / chol[a, a]


@compiled
def find_mode(
    family: int,
    y: np.ndarray,
    size: np.ndarray,
    extra: np.ndarray,
    n: int,
    fixed: np.ndarray,
    v: np.ndarray,
    u: np.ndarray,
    chol: np.ndarray,
    eta: np.ndarray,
    rows: np.ndarray,
    scratch: np.ndarray,
    small: np.ndarray,
) -> bool:
    """Newton's method with halving from u to the mode of Σℓ(fixed + u'v) − u'u/2, in place; False where it fails.

    small (3, q) and the other buffers are overwritten; `chol` is left from the step before the last one.
    """
    score, step, trial = small[0], small[1], small[2]
    trial[:] = u
    value = _climb(family, y, size, extra, n, fixed, v, trial, chol, eta, rows, scratch, score)
    if not np.isfinite(value):
        trial[:] = 0.0
        value = _climb(family, y, size, extra, n, fixed, v, trial, chol, eta, rows, scratch, score)
        if not np.isfinite(value):
            return False
    u[:] = trial
    for _ in range(MOST_STEPS):
        solve_with(chol, score, step)
        decrement = 0.0
        for a in range(len(u)):
            decrement += step[a] * score[a]
        share = 1.0
        while True:
            for a in range(len(u)):
                trial[a] = u[a] + share * step[a]
            if decrement < SETTLED:
                u[:] = trial
                return True
            reached = _climb(family, y, size, extra, n, fixed, v, trial, chol, eta, rows, scratch, score)
            if reached > value or (decrement < CLOSE + ROUNDING * abs(value) and np.isfinite(reached)):
                break
            share *= 0.5
            if share < 1e-15:
                return False
        u[:] = trial
        value = reached
    return False


@compiled
def _climb(
    family: int,
    y: np.ndarray,
    size: np.ndarray,
    extra: np.ndarray,
    n: int,
    fixed: np.ndarray,
    v: np.ndarray,
    u: np.ndarray,
    chol: np.ndarray,
    eta: np.ndarray,
    rows: np.ndarray,
    scratch: np.ndarray,
    score: np.ndarray,
) -> float:
    """The log density at u; its slope into score, its curvature's factor into chol."""
    add_random(fixed, v, u, n, eta)
    slopes_of_rows(family, y, size, extra, n, eta, rows, scratch)
    total = total_of(rows[0], n)
    for a in range(len(u)):
        total -= 0.5 * u[a] * u[a]
        score[a] = dot(v[a], rows[1], n) - u[a]
    factor_curvature(rows[2], v, n, chol, scratch[0])
    return total
