"""The marginal likelihood of a logistic model, person by person: mode, curvature, quadrature, and the score.

The score is exact: it follows the mode as the parameters move (implicit differentiation), so that fixed effects and
variances can be optimised jointly. u are spherical random effects: b = Λu, u ~ N(0, I).
"""

from __future__ import annotations

import math

import numpy as np

from analysis.kernels.compiled import compiled

MOST_STEPS = 200
SETTLED = 1e-13
"""Newton's decrement before the last step to a mode; the error left after that step is of its square."""


@compiled
def log1p_exp(eta: float) -> float:
    """log(1 + e^η) without overflow."""
    if eta > 0.0:
        return eta + math.log1p(math.exp(-eta))
    return math.log1p(math.exp(eta))


@compiled
def probability(eta: float) -> float:
    """1/(1 + e^−η) without overflow."""
    if eta >= 0.0:
        return 1.0 / (1.0 + math.exp(-eta))
    grown = math.exp(eta)
    return grown / (1.0 + grown)


@compiled
def log_density(fixed: np.ndarray, v: np.ndarray, y: np.ndarray, size: np.ndarray, u: np.ndarray) -> float:
    """Σ size·[yη − log(1 + e^η)] − u'u/2 with η = fixed + v u: one person's joint log density, without constants."""
    total = 0.0
    for j in range(len(y)):
        eta = fixed[j]
        for a in range(len(u)):
            eta += v[j, a] * u[a]
        total += size[j] * (y[j] * eta - log1p_exp(eta))
    for a in range(len(u)):
        total -= 0.5 * u[a] * u[a]
    return total


@compiled
def factor_curvature(
    fixed: np.ndarray,
    v: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    u: np.ndarray,
    chol: np.ndarray,
    score: np.ndarray,
) -> None:
    """At u: the Cholesky factor of H = I + Σ W v v' into `chol`, and Σ v(residual) − u into `score`."""
    q = len(u)
    chol[:] = 0.0
    for a in range(q):
        chol[a, a] = 1.0
        score[a] = -u[a]
    for j in range(len(y)):
        eta = fixed[j]
        for a in range(q):
            eta += v[j, a] * u[a]
        mu = probability(eta)
        residual = size[j] * (y[j] - mu)
        weight = size[j] * mu * (1.0 - mu)
        for a in range(q):
            score[a] += v[j, a] * residual
            for b in range(a + 1):
                chol[a, b] += weight * v[j, a] * v[j, b]
    for a in range(q):
        for b in range(a + 1):
            total = chol[a, b]
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
    fixed: np.ndarray, v: np.ndarray, y: np.ndarray, size: np.ndarray, u: np.ndarray, chol: np.ndarray
) -> None:
    """Newton's method with halving for the mode of one person's u (log-concave: there is exactly one), in place."""
    q = len(u)
    score = np.empty(q)
    step = np.empty(q)
    trial = np.empty(q)
    value = log_density(fixed, v, y, size, u)
    for _ in range(MOST_STEPS):
        factor_curvature(fixed, v, y, size, u, chol, score)
        solve_with(chol, score, step)
        decrement = 0.0
        for a in range(q):
            decrement += step[a] * score[a]
        share = 1.0
        for _ in range(60):
            for a in range(q):
                trial[a] = u[a] + share * step[a]
            reached = log_density(fixed, v, y, size, trial)
            if decrement < 1e-8 or reached > value:
                break
            share *= 0.5
        u[:] = trial
        value = reached
        if decrement < SETTLED:
            break
    factor_curvature(fixed, v, y, size, u, chol, score)


@compiled
def laplace_deviance(
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    lam: np.ndarray,
    u: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:
    """−2 log-likelihood by Laplace, without the binomial constant, and its gradients in β (p,) and Λ (q, q).

    x (n, p), z (n, q), y proportions, size (n,) numbers of trials, offset (n,), lam lower triangular. `u` (persons, q)
    holds where to look for the modes and is overwritten with them.
    """
    p, q = len(beta), lam.shape[0]
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    fixed = np.empty(most)
    v = np.empty((most, q))
    chol = np.empty((q, q))
    inverse = np.empty((q, q))
    unit = np.empty(q)
    along = np.empty(q)
    shift = np.empty(q)
    crossed = np.empty((q, q))
    z_residual = np.empty(q)
    z_change = np.empty(q)
    grad_beta = np.zeros(p)
    grad_lam = np.zeros((q, q))
    deviance = 0.0
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        n = last - first
        for j in range(n):
            total = offset[first + j]
            for k in range(p):
                total += x[first + j, k] * beta[k]
            fixed[j] = total
            for a in range(q):
                total = 0.0
                for c in range(a, q):
                    total += lam[c, a] * z[first + j, c]
                v[j, a] = total
        own_y, own_size = y[first:last], size[first:last]
        find_mode(fixed[:n], v[:n], own_y, own_size, u[i], chol)
        deviance -= 2.0 * log_density(fixed[:n], v[:n], own_y, own_size, u[i])
        for a in range(q):
            deviance += 2.0 * np.log(chol[a, a])
            unit[:] = 0.0
            unit[a] = 1.0
            solve_with(chol, unit, inverse[a])
        # t = leverage times the third derivative: how log|H| changes with η
        along[:] = 0.0
        for j in range(n):
            eta = fixed[j]
            for a in range(q):
                eta += v[j, a] * u[i, a]
            mu = probability(eta)
            leverage = 0.0
            for a in range(q):
                for b in range(q):
                    leverage += v[j, a] * inverse[a, b] * v[j, b]
            t = leverage * own_size[j] * mu * (1.0 - mu) * (1.0 - 2.0 * mu)
            for a in range(q):
                along[a] += v[j, a] * t
        solve_with(chol, along, shift)
        crossed[:] = 0.0
        z_residual[:] = 0.0
        z_change[:] = 0.0
        for j in range(n):
            eta = fixed[j]
            moved = 0.0
            for a in range(q):
                eta += v[j, a] * u[i, a]
                moved += v[j, a] * shift[a]
            mu = probability(eta)
            residual = own_size[j] * (own_y[j] - mu)
            weight = own_size[j] * mu * (1.0 - mu)
            leverage = 0.0
            for a in range(q):
                for b in range(q):
                    leverage += v[j, a] * inverse[a, b] * v[j, b]
            change = -2.0 * residual + leverage * weight * (1.0 - 2.0 * mu) - weight * moved
            for k in range(p):
                grad_beta[k] += x[first + j, k] * change
            for a in range(q):
                z_residual[a] += z[first + j, a] * residual
                z_change[a] += z[first + j, a] * change
                for b in range(q):
                    crossed[a, b] += weight * z[first + j, a] * v[j, b]
        for a in range(q):
            for b in range(q):
                total = z_change[a] * u[i, b] + z_residual[a] * shift[b]
                for c in range(q):
                    total += 2.0 * crossed[a, c] * inverse[c, b]
                grad_lam[a, b] += total
    return deviance, grad_beta, grad_lam


@compiled
def quadrature_deviance(
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    lam: np.ndarray,
    u: np.ndarray,
    nodes: np.ndarray,
    log_weights: np.ndarray,
) -> tuple[float, np.ndarray, np.ndarray]:
    """As `laplace_deviance` for one random effect per person, by adaptive Gauss–Hermite quadrature.

    nodes, log_weights (k,): Hermite nodes and the logs of their weights times exp(node²); k = 1 is Laplace.
    """
    p, k = len(beta), len(nodes)
    scale = lam[0, 0]
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    fixed = np.empty(most)
    v = np.empty((most, 1))
    chol = np.empty((1, 1))
    at = np.empty(1)
    logs = np.empty(k)
    d_mode = np.empty(p + 1)
    d_curvature = np.empty(p + 1)
    gradient = np.zeros(p + 1)
    deviance = 0.0
    for i in range(len(starts) - 1):
        first, last = starts[i], starts[i + 1]
        n = last - first
        for j in range(n):
            total = offset[first + j]
            for c in range(p):
                total += x[first + j, c] * beta[c]
            fixed[j] = total
            v[j, 0] = scale * z[first + j, 0]
        own_y, own_size = y[first:last], size[first:last]
        find_mode(fixed[:n], v[:n], own_y, own_size, u[i], chol)
        mode, curvature = u[i, 0], chol[0, 0] ** 2
        d_mode[:] = 0.0
        for j in range(n):
            mu = probability(fixed[j] + v[j, 0] * mode)
            weight = own_size[j] * mu * (1.0 - mu)
            for c in range(p):
                d_mode[c] -= weight * v[j, 0] * x[first + j, c]
            d_mode[p] += z[first + j, 0] * (own_size[j] * (own_y[j] - mu) - weight * v[j, 0] * mode)
        d_mode /= curvature
        d_curvature[:] = 0.0
        for j in range(n):
            mu = probability(fixed[j] + v[j, 0] * mode)
            weight = own_size[j] * mu * (1.0 - mu)
            third = weight * (1.0 - 2.0 * mu) * v[j, 0] ** 2
            for c in range(p):
                d_curvature[c] += third * (x[first + j, c] + v[j, 0] * d_mode[c])
            d_curvature[p] += third * (z[first + j, 0] * mode + v[j, 0] * d_mode[p])
            d_curvature[p] += 2.0 * weight * z[first + j, 0] * v[j, 0]
        width = np.sqrt(2.0 / curvature)
        for m in range(k):
            at[0] = mode + width * nodes[m]
            logs[m] = log_weights[m] + log_density(fixed[:n], v[:n], own_y, own_size, at)
        top = logs.max()
        mass = np.exp(logs - top).sum()
        deviance -= 2.0 * (top + np.log(mass) + np.log(width) - 0.5 * np.log(2.0 * np.pi))
        for c in range(p + 1):
            gradient[c] += d_curvature[c] / curvature
        for m in range(k):
            share = np.exp(logs[m] - top) / mass
            at[0] = mode + width * nodes[m]
            pull = -at[0]
            for j in range(n):
                residual = own_size[j] * (own_y[j] - probability(fixed[j] + v[j, 0] * at[0]))
                pull += v[j, 0] * residual
                for c in range(p):
                    gradient[c] -= 2.0 * share * residual * x[first + j, c]
                gradient[p] -= 2.0 * share * residual * z[first + j, 0] * at[0]
            for c in range(p + 1):
                moved = d_mode[c] - 0.5 * width * nodes[m] * d_curvature[c] / curvature
                gradient[c] -= 2.0 * share * pull * moved
    grad_lam = np.empty((1, 1))
    grad_lam[0, 0] = gradient[p]
    return deviance, gradient[:p].copy(), grad_lam
