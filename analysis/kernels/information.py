"""Sums of the linear model behind standard errors and degrees of freedom (METHODS §2.13).

With W = V/σ² of a person, M = Λ(Λ'AΛ + I)⁻¹Λ', A = Z'Z:  S = Z'W⁻¹Z = A − AMA  and  T = Z'W⁻¹[X y] = (I − AM)Z'[X y].
A covariance element r of the random effects stands at (rows[r], columns[r]); E_r is its derivative of their covariance, a
symmetric matrix of zeros with one or two ones. One person at a time: memory does not grow with the persons.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled


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
def left_over(
    zz: np.ndarray,
    zw: np.ndarray,
    lam: np.ndarray,
    chol: np.ndarray,
    scratch: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    s: np.ndarray,
    t: np.ndarray,
) -> None:
    """One person's S into s (q, q) and T into t (q, d); chol, scratch, u, v are places to work in."""
    q, d = zw.shape
    factor(zz, lam, chol, scratch)
    solve_into(chol, lam, zw, u)
    solve_into(chol, lam, zz, v)
    for a in range(q):
        for b in range(q):
            total = zz[a, b]
            for c in range(q):
                total -= v[c, a] * v[c, b]
            s[a, b] = total
        for j in range(d):
            total = zw[a, j]
            for c in range(q):
                total -= v[c, a] * u[c, j]
            t[a, j] = total


@compiled
def trace_sums(
    zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, phi: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Σ tr(S E_r S E_s) − 2 tr(E_r S E_s H), (m, m), with H = TΦT' over the p fixed effects; phi is Φ (p, p)."""
    persons, q, d = zw.shape
    p, m = phi.shape[0], len(rows)
    chol = np.zeros((q, q))
    scratch = np.empty((q, q))
    u = np.empty((q, d))
    v = np.empty((q, q))
    s = np.empty((q, q))
    t = np.empty((q, d))
    h = np.empty((q, q))
    turned = np.empty(p)
    out = np.zeros((m, m))
    for i in range(persons):
        left_over(zz[i], zw[i], lam, chol, scratch, u, v, s, t)
        for a in range(q):
            for j in range(p):
                total = 0.0
                for k in range(p):
                    total += phi[j, k] * t[a, k]
                turned[j] = total
            for b in range(a + 1):
                total = 0.0
                for j in range(p):
                    total += turned[j] * t[b, j]
                h[a, b] = total
                h[b, a] = total
        for r in range(m):
            a, b = rows[r], columns[r]
            for x in range(r + 1):
                c, e = rows[x], columns[x]
                total = 2.0 * (s[a, c] * s[b, e] + s[a, e] * s[b, c])
                total -= 2.0 * (s[b, c] * h[a, e] + s[b, e] * h[a, c] + s[a, c] * h[b, e] + s[a, e] * h[b, c])
                if a == b:
                    total *= 0.5
                if c == e:
                    total *= 0.5
                out[r, x] += total
    for r in range(m):
        for x in range(r):
            out[x, r] = out[r, x]
    return out


@compiled
def excess_sums(
    zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, weight: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Σ T'(Σ_rs weight_rs E_r S E_s)T, (d, d); weight (m, m) symmetric."""
    persons, q, d = zw.shape
    m = len(rows)
    chol = np.zeros((q, q))
    scratch = np.empty((q, q))
    u = np.empty((q, d))
    v = np.empty((q, q))
    s = np.empty((q, q))
    t = np.empty((q, d))
    inner = np.empty((q, q))
    row = np.empty(d)
    out = np.zeros((d, d))
    for i in range(persons):
        left_over(zz[i], zw[i], lam, chol, scratch, u, v, s, t)
        inner[:] = 0.0
        for r in range(m):
            a, b = rows[r], columns[r]
            for x in range(m):
                c, e = rows[x], columns[x]
                size = weight[r, x]
                if a == b:
                    size *= 0.5
                if c == e:
                    size *= 0.5
                inner[a, e] += size * s[b, c]
                inner[a, c] += size * s[b, e]
                inner[b, e] += size * s[a, c]
                inner[b, c] += size * s[a, e]
        for a in range(q):
            for k in range(d):
                total = 0.0
                for b in range(q):
                    total += inner[a, b] * t[b, k]
                row[k] = total
            for j in range(d):
                for k in range(d):
                    out[j, k] += t[a, j] * row[k]
    return out
