"""The marginal likelihood by adaptive Gauss–Hermite quadrature, one random effect per person, with its exact score.

The nodes stand around the mode, in units of its curvature (Pinheiro & Bates, 1995), and move with the parameters; the score
counts that in.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.laplace import longest
from analysis.kernels.modes import add_random, find_mode, linear_parts
from analysis.kernels.rows import dot, expand_rows, first_of_rows, total_of


@compiled
def quadrature(
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
    nodes: np.ndarray,
    log_weights: np.ndarray,
    deviance: np.ndarray,
    scores: np.ndarray,
) -> None:
    """As `laplace.laplace` for one random effect per person.

    nodes, log_weights (k,): Hermite nodes and the logs of their weights times exp(node²); k = 1 is Laplace.
    """
    p, r, k = len(beta), len(extra), len(nodes)
    m = p + r + 1
    most = longest(starts, first, last)
    fixed, eta, w_v, third_vv = np.empty(most), np.empty(most), np.empty(most), np.empty(most)
    pulled = np.empty(most)
    v, rows, scratch = np.empty((1, most)), np.empty((12, most)), np.empty((2, most))
    slopes = np.empty((k, most))
    chol, small, at = np.zeros((1, 1)), np.empty((3, 1)), np.empty(1)
    logs, z_slope, own_extra = np.empty(k), np.empty(k), np.empty((k, r))
    d_mode, d_curvature = np.empty(m), np.empty(m)
    for i in range(first, last):
        start, n = starts[i], starts[i + 1] - starts[i]
        own_y, own_size, own_z = y[start : start + n], size[start : start + n], z[0, start : start + n]
        linear_parts(x, z, offset, start, n, beta, lam, fixed, v)
        if not find_mode(family, own_y, own_size, extra, n, fixed, v, u[i], chol, eta, rows, scratch, small):
            deviance[i] = np.inf
            scores[i] = np.nan
            continue
        mode, along = u[i, 0], v[0]
        add_random(fixed, v, u[i], n, eta)
        expand_rows(family, own_y, own_size, extra, n, eta, rows, scratch)
        for j in range(n):
            w_v[j] = rows[2, j] * along[j]
        for j in range(n):
            third_vv[j] = rows[3, j] * along[j] * along[j]
        curvature = 1.0 + dot(w_v, along, n)
        bend = dot(third_vv, along, n)
        # how the mode and the curvature there move with β, ψ and Λ
        d_mode[:] = 0.0
        d_curvature[:] = 0.0
        for c in range(p):
            column = x[c, start : start + n]
            d_mode[c] = -dot(w_v, column, n)
            d_curvature[c] = -dot(third_vv, column, n)
        if r > 0:
            for j in range(n):
                for e in (4, 8):
                    if rows[e, j] >= 0.0:
                        d_mode[p + int(rows[e, j])] += along[j] * rows[e + 2, j]
                        d_curvature[p + int(rows[e, j])] -= along[j] * along[j] * rows[e + 3, j]
        w_v_z = dot(w_v, own_z, n)
        d_mode[p + r] = dot(rows[1], own_z, n) - w_v_z * mode
        d_curvature[p + r] = 2.0 * w_v_z - dot(third_vv, own_z, n) * mode
        for c in range(m):
            d_mode[c] /= curvature
            d_curvature[c] -= bend * d_mode[c]
        # the nodes
        width = np.sqrt(2.0 / curvature)
        for a in range(k):
            at[0] = mode + width * nodes[a]
            add_random(fixed, v, at, n, eta)
            own = slopes[a]
            if r > 0:
                expand_rows(family, own_y, own_size, extra, n, eta, rows, scratch)
                own[:n] = rows[1, :n]
                own_extra[a] = 0.0
                for j in range(n):
                    for e in (4, 8):
                        if rows[e, j] >= 0.0:
                            own_extra[a, int(rows[e, j])] += rows[e + 1, j]
            else:
                first_of_rows(family, own_y, own_size, extra, n, eta, rows[0], own, rows, scratch)
            z_slope[a] = dot(own_z, own, n)
            logs[a] = log_weights[a] + total_of(rows[0], n) - 0.5 * at[0] * at[0]
        top = logs.max()
        mass = 0.0
        for a in range(k):
            mass += np.exp(logs[a] - top)
        deviance[i] = -2.0 * (top + np.log(mass) + np.log(width) - 0.5 * np.log(2.0 * np.pi))
        pulled[:n] = 0.0
        moved, stretched = 0.0, 0.0
        score = scores[i]
        score[:] = 0.0
        for a in range(k):
            share = np.exp(logs[a] - top) / mass
            place, own = mode + width * nodes[a], slopes[a]
            for j in range(n):
                pulled[j] += share * own[j]
            pull = lam[0, 0] * z_slope[a] - place
            moved += share * pull
            stretched += share * pull * nodes[a]
            score[p + r] -= 2.0 * share * place * z_slope[a]
            for c in range(r):
                score[p + c] -= 2.0 * share * own_extra[a, c]
        for c in range(p):
            score[c] = -2.0 * dot(x[c, start : start + n], pulled, n)
        for c in range(m):
            grown = d_curvature[c] / curvature
            score[c] += grown - 2.0 * (moved * d_mode[c] - 0.5 * width * stretched * grown)
