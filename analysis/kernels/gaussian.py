"""Sums of the linear model: per-person moments, and the profiled criterion with its score (METHODS §2.13, §2.14)."""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled


@compiled
def person_moments(rows: np.ndarray, starts: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and scatter of each person's rows, without cancellation whatever the columns' offsets.

    rows (n, k), starts (persons + 1), anchor (k,) any value near the data. Returns mean − anchor (persons, k) and
    the scatter about the person's own mean (persons, k, k). Two passes about the person's first row (METHODS §2.15).
    """
    persons, k = len(starts) - 1, rows.shape[1]
    mean = np.zeros((persons, k))
    scatter = np.zeros((persons, k, k))
    shift = np.empty(k)
    deviation = np.empty(k)
    for i in range(persons):
        first, last = starts[i], starts[i + 1]
        n = last - first
        shift[:] = 0.0
        for t in range(first, last):
            for a in range(k):
                shift[a] += rows[t, a] - rows[first, a]
        for a in range(k):
            shift[a] /= n
            mean[i, a] = (rows[first, a] - anchor[a]) + shift[a]
        for t in range(first, last):
            for a in range(k):
                deviation[a] = (rows[t, a] - rows[first, a]) - shift[a]
            for a in range(k):
                for b in range(a + 1):
                    scatter[i, a, b] += deviation[a] * deviation[b]
        for a in range(k):
            for b in range(a):
                scatter[i, b, a] = scatter[i, a, b]
    return mean, scatter


@compiled
def factor(zz: np.ndarray, lam: np.ndarray, chol: np.ndarray, scratch: np.ndarray) -> float:
    """Cholesky factor of Λ'AΛ + I into `chol` (q, q; lower); returns the sum of the logs of its diagonal."""
    q = lam.shape[0]
    for a in range(q):
        for b in range(q):
            total = 0.0
            for c in range(b, q):
                total += zz[a, c] * lam[c, b]
            scratch[a, b] = total
    logs = 0.0
    for a in range(q):
        for b in range(a + 1):
            total = 1.0 if a == b else 0.0
            for c in range(a, q):
                total += lam[c, a] * scratch[c, b]
            for c in range(b):
                total -= chol[a, c] * chol[b, c]
            if a == b:
                chol[a, a] = np.sqrt(total)
                logs += np.log(chol[a, a])
            else:
                chol[a, b] = total / chol[b, b]
                chol[b, a] = 0.0
    return logs


@compiled
def solve_into(chol: np.ndarray, lam: np.ndarray, block: np.ndarray, out: np.ndarray) -> None:
    """chol⁻¹ Λ' block into `out` (q, columns)."""
    q, columns = block.shape
    for a in range(q):
        for j in range(columns):
            total = 0.0
            for c in range(a, q):
                total += lam[c, a] * block[c, j]
            for c in range(a):
                total -= chol[a, c] * out[c, j]
            out[a, j] = total / chol[a, a]


@compiled
def explained(zz: np.ndarray, zw: np.ndarray, lam: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ log|Chᵢ| and Σ Uᵢ'Uᵢ with ChᵢChᵢ' = Λ'AᵢΛ + I and Uᵢ = Chᵢ⁻¹Λ'Wᵢ.

    zz (persons, q, q) is Z'Z of each person, zw (persons, q, d) Z'W with W = [X y], lam (q, q) lower triangular.
    """
    persons, q, d = zw.shape
    chol = np.zeros((q, q))
    scratch = np.empty((q, q))
    u = np.empty((q, d))
    total = np.zeros((d, d))
    logs = 0.0
    for i in range(persons):
        logs += factor(zz[i], lam, chol, scratch)
        solve_into(chol, lam, zw[i], u)
        for a in range(q):
            for j in range(d):
                for k in range(j + 1):
                    total[j, k] += u[a, j] * u[a, k]
    for j in range(d):
        for k in range(j):
            total[k, j] = total[j, k]
    return logs, total


@compiled
def score_parts(zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ Ãᵢ and Σ W̃ᵢ K W̃ᵢ', each (q, q), with Ã = A − A M A, W̃ = (I − A M) W, M = Λ(Λ'AΛ + I)⁻¹Λ'.

    `weight` is K (d, d), symmetric: the sums that the gradient with respect to Λ is made of.
    """
    persons, q, d = zw.shape
    chol = np.zeros((q, q))
    scratch = np.empty((q, q))
    u = np.empty((q, d))
    v = np.empty((q, q))
    w = np.empty((q, d))
    own = np.zeros((q, q))
    weighted = np.zeros((q, q))
    for i in range(persons):
        factor(zz[i], lam, chol, scratch)
        solve_into(chol, lam, zw[i], u)
        solve_into(chol, lam, zz[i], v)
        for a in range(q):
            for b in range(a + 1):
                total = zz[i, a, b]
                for c in range(q):
                    total -= v[c, a] * v[c, b]
                own[a, b] += total
            for j in range(d):
                total = zw[i, a, j]
                for c in range(q):
                    total -= v[c, a] * u[c, j]
                w[a, j] = total
        for a in range(q):
            for j in range(d):
                total = 0.0
                for k in range(d):
                    total += weight[j, k] * w[a, k]
                for b in range(a + 1):
                    weighted[a, b] += total * w[b, j]
    for a in range(q):
        for b in range(a):
            own[b, a] = own[a, b]
            weighted[b, a] = weighted[a, b]
    return own, weighted
