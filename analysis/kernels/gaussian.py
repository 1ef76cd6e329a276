"""Sums of the linear model over persons: the profiled criterion, its score and its curvature (METHODS §2.13).

Persons go through in blocks of `LANES`: the innermost loop runs over persons, each in a lane of its own, so that the
processor works on several at once. Blocks can be summed apart; the lanes of a last block without persons hold zeros.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled

LANES = 64


@compiled
def add_scaled(out: np.ndarray, x: np.ndarray, by: float) -> None:
    for i in range(LANES):
        out[i] += x[i] * by


@compiled
def add_product(out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for i in range(LANES):
        out[i] += x[i] * y[i]


@compiled
def take_product(out: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    for i in range(LANES):
        out[i] -= x[i] * y[i]


@compiled
def multiply(out: np.ndarray, by: np.ndarray) -> None:
    for i in range(LANES):
        out[i] *= by[i]


@compiled
def factor(
    a_: np.ndarray, lam: np.ndarray, scratch: np.ndarray, chol: np.ndarray, inverse: np.ndarray, product: np.ndarray
) -> None:
    """Cholesky factor of Λ'AΛ + I into chol (q, q, lanes; lower), 1/diagonal into inverse, ∏ diagonal onto product."""
    q = lam.shape[0]
    for a in range(q):
        for b in range(q):
            scratch[a, b] = 0.0
            for c in range(b, q):
                add_scaled(scratch[a, b], a_[a, c], lam[c, b])
    for a in range(q):
        for b in range(a + 1):
            row = chol[a, b]
            row[:] = 1.0 if a == b else 0.0
            for c in range(a, q):
                add_scaled(row, scratch[c, b], lam[c, a])
            for c in range(b):
                take_product(row, chol[a, c], chol[b, c])
            if a == b:
                one = inverse[a]
                for i in range(LANES):
                    row[i] = np.sqrt(row[i])
                    product[i] *= row[i]
                    one[i] = 1.0 / row[i]
            else:
                multiply(row, inverse[b])


@compiled
def solve_into(chol: np.ndarray, inverse: np.ndarray, lam: np.ndarray, block: np.ndarray, out: np.ndarray) -> None:
    """chol⁻¹ Λ' block into out; block and out (q, columns, lanes)."""
    q, columns = block.shape[:2]
    for a in range(q):
        for j in range(columns):
            row = out[a, j]
            row[:] = 0.0
            for c in range(a, q):
                add_scaled(row, block[c, j], lam[c, a])
            for c in range(a):
                take_product(row, chol[a, c], out[c, j])
            multiply(row, inverse[a])


@compiled
def first_sums(
    zz: np.ndarray,
    zw: np.ndarray,
    lam: np.ndarray,
    first: int,
    last: int,
    left_zz: np.ndarray,
    left_zw: np.ndarray,
    absorbed: np.ndarray,
    own: np.ndarray,
    spread: np.ndarray,
) -> float:
    """What the criterion and its gradient are made of, over blocks first:last, at Λ = lam (q, q) lower triangular.

    zz (persons, q, q), zw (persons, q, d). With M = Λ(Λ'AΛ + I)⁻¹Λ': writes Ã = A − AMA into left_zz (blocks, q, q, lanes),
    W̃ = (I − AM)W into left_zw (blocks, q, d, lanes), ΣW'ZMZ'W into absorbed (d, d), ΣÃ into own (q, q), and
    ½Σ(W̃_aj W̃_bk + W̃_bj W̃_ak) into spread (q, q, d, d); of the last three only b ≤ a, k ≤ j.
    Returns ½ Σ log|Λ'AΛ + I|.
    """
    persons, q, d = zw.shape
    a_ = np.zeros((q, q, LANES))
    w_ = np.zeros((q, d, LANES))
    scratch, chol, v = np.empty((q, q, LANES)), np.empty((q, q, LANES)), np.empty((q, q, LANES))
    inverse, u, product = np.empty((q, LANES)), np.empty((q, d, LANES)), np.ones(LANES)
    sum_absorbed, sum_own, sum_spread = np.zeros((d, d, LANES)), np.zeros((q, q, LANES)), np.zeros((q, q, d, d, LANES))
    logs = 0.0
    for block in range(first, last):
        start = block * LANES
        filled = min(LANES, persons - start)
        if filled < LANES:
            a_[:, :, :] = 0.0
            w_[:, :, :] = 0.0
        for i in range(filled):
            for a in range(q):
                for b in range(q):
                    a_[a, b, i] = zz[start + i, a, b]
                for j in range(d):
                    w_[a, j, i] = zw[start + i, a, j]
        factor(a_, lam, scratch, chol, inverse, product)
        if product.max() > 1e100:
            for i in range(LANES):
                logs += np.log(product[i])
                product[i] = 1.0
        solve_into(chol, inverse, lam, w_, u)
        solve_into(chol, inverse, lam, a_, v)
        left_w, left_a = left_zw[block], left_zz[block]
        for a in range(q):
            for j in range(d):
                row = left_w[a, j]
                row[:] = w_[a, j]
                for c in range(q):
                    take_product(row, v[c, a], u[c, j])
                for k in range(j + 1):
                    add_product(sum_absorbed[j, k], u[a, j], u[a, k])
            for b in range(a + 1):
                row = left_a[a, b]
                row[:] = a_[a, b]
                for c in range(q):
                    take_product(row, v[c, a], v[c, b])
                left_a[b, a] = row
                add_scaled(sum_own[a, b], row, 1.0)
        for a in range(q):
            for b in range(a):
                for j in range(d):
                    for k in range(j + 1):
                        out, aj, bk, bj, ak = (
                            sum_spread[a, b, j, k],
                            left_w[a, j],
                            left_w[b, k],
                            left_w[b, j],
                            left_w[a, k],
                        )
                        for i in range(LANES):
                            out[i] += 0.5 * (aj[i] * bk[i] + bj[i] * ak[i])
            for j in range(d):
                for k in range(j + 1):
                    add_product(sum_spread[a, a, j, k], left_w[a, j], left_w[a, k])
    for i in range(LANES):
        logs += np.log(product[i])
    for j in range(d):
        for k in range(j + 1):
            absorbed[j, k] = sum_absorbed[j, k].sum()
    for a in range(q):
        for b in range(a + 1):
            own[a, b] = sum_own[a, b].sum()
            for j in range(d):
                for k in range(j + 1):
                    spread[a, b, j, k] = sum_spread[a, b, j, k].sum()
    return logs


@compiled
def second_sums(
    left_zz: np.ndarray, left_zw: np.ndarray, weight: np.ndarray, first: int, last: int, out: np.ndarray
) -> None:
    """Σ (2 W̃KW̃' − Ã)_ab Ã_ce into out (q, q, q, q), K = weight (d, d) symmetric, over blocks first:last."""
    q, d = left_zw.shape[1:3]
    inner, row = np.empty((q, q, LANES)), np.empty((d, LANES))
    sums = np.zeros((q, q, q, q, LANES))
    for block in range(first, last):
        w, left = left_zw[block], left_zz[block]
        for a in range(q):
            for j in range(d):
                row[j] = 0.0
                for k in range(d):
                    add_scaled(row[j], w[a, k], 2.0 * weight[j, k])
            for b in range(a + 1):
                total = inner[a, b]
                for i in range(LANES):
                    total[i] = -left[a, b, i]
                for j in range(d):
                    add_product(total, row[j], w[b, j])
                inner[b, a] = total
        for a in range(q):
            for b in range(a + 1):
                for c in range(q):
                    for e in range(c + 1):
                        add_product(sums[a, b, c, e], inner[a, b], left[c, e])
    for a in range(q):
        for b in range(q):
            for c in range(q):
                for e in range(q):
                    out[a, b, c, e] = sums[max(a, b), min(a, b), max(c, e), min(c, e)].sum()


@compiled
def criterion(
    ww: np.ndarray,
    logs: float,
    absorbed: np.ndarray,
    own: np.ndarray,
    spread: np.ndarray,
    free: int,
    reml: bool,
    inverse: np.ndarray,
    score: np.ndarray,
    weight: np.ndarray,
    beta: np.ndarray,
) -> tuple[float, float]:
    """Deviance and penalised residual sum of squares from `first_sums`; (inf, NaN) where W'V⁻¹W is not positive definite.

    free is n − p for REML, n for ML. Completes `spread`; writes (X'V⁻¹X)⁻¹ into inverse (p, p), the score with respect to ΛΛ'
    into score (q, q), the weight K of the residual and, for REML, of the fixed effects into weight (d, d), and β̂ into beta (p,).
    """
    d = ww.shape[0]
    p, q = d - 1, own.shape[0]
    root = np.zeros((d, d))
    half = 0.0
    for j in range(d):
        for k in range(j + 1):
            total = ww[j, k] - absorbed[j, k]
            for c in range(k):
                total -= root[j, c] * root[k, c]
            if j == k:
                if not total > 0.0:
                    return np.inf, np.nan
                root[j, j] = np.sqrt(total)
                if j < p:
                    half += np.log(root[j, j])
            else:
                root[j, k] = total / root[k, k]
    rss = root[p, p] ** 2
    back = np.zeros((p, p))  # the inverse of the root, column by column
    for k in range(p):
        for j in range(k, p):
            total = 1.0 if j == k else 0.0
            for c in range(k, j):
                total -= root[j, c] * back[c, k]
            back[j, k] = total / root[j, j]
    for j in range(p):
        beta[j] = 0.0
        for k in range(p):
            total = 0.0
            for c in range(max(j, k), p):
                total += back[c, j] * back[c, k]
            inverse[j, k] = total
        for c in range(j, p):
            beta[j] += back[c, j] * root[p, c]
    for j in range(d):
        for k in range(d):
            one = 1.0 if j == p else -beta[j]
            other = 1.0 if k == p else -beta[k]
            weight[j, k] = one * other * free / rss
            if reml and j < p and k < p:
                weight[j, k] += inverse[j, k]
    for a in range(q):
        for b in range(a + 1):
            total = own[a, b]
            for j in range(d):
                for k in range(j + 1):
                    spread[a, b, k, j] = spread[a, b, j, k]
                    total -= weight[j, k] * spread[a, b, j, k] * (1.0 if j == k else 2.0)
            score[a, b] = total
            score[b, a] = total
            if b < a:
                spread[b, a] = spread[a, b]
    deviance = 2.0 * logs + free * (1.0 + np.log(2.0 * np.pi * rss / free))
    return deviance + (2.0 * half if reml else 0.0), rss


@compiled
def curvature(
    second: np.ndarray,
    spread: np.ndarray,
    score: np.ndarray,
    inverse: np.ndarray,
    beta: np.ndarray,
    slope: float,
    bend: float,
    reml: bool,
    lam: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """The Hessian (m, m) of the deviance in θ, exact, from `first_sums`, `criterion` and `second_sums`.

    With E = ∂(ΛΛ')/∂θ_s, F = ∂(ΛΛ')/∂θ_t, B̃ = Z'V⁻¹X, g = Z'V⁻¹(y − Xβ̂), C = (X'V⁻¹X)⁻¹:
    Σ tr[(2K̃ − Ã)EÃF] − tr(C ΣB̃'EB̃ C ΣB̃'FB̃) [REML] − 2 slope (ΣB̃'Eg)'C(ΣB̃'Fg) − bend Σg'Eg Σg'Fg + tr(S ∂²ΛΛ').
    slope and bend are the first and minus the second derivative by r²: ν/r² and ν/r⁴ with σ profiled out, 1/σ² and 0 at a given σ.
    """
    m, q, p = len(rows), lam.shape[0], len(beta)
    towards = np.zeros((m, q, q))
    fixed = np.zeros((m, p, p))
    turned = np.zeros((m, p, p))
    mixed = np.zeros((m, p))
    squared = np.zeros(m)
    residual = np.ones(p + 1)
    residual[:p] = -beta
    for t in range(m):
        for a in range(q):
            towards[t, rows[t], a] += lam[a, columns[t]]
            towards[t, a, rows[t]] += lam[a, columns[t]]
        for a in range(q):
            for b in range(q):
                e = towards[t, a, b]
                if e == 0.0:
                    continue
                for j in range(p + 1):
                    total = 0.0
                    for k in range(p + 1):
                        total += spread[a, b, j, k] * residual[k]
                        if j < p and k < p:
                            fixed[t, j, k] += e * spread[a, b, j, k]
                    if j < p:
                        mixed[t, j] += e * total
                    squared[t] += e * total * residual[j]
        for j in range(p):
            for k in range(p):
                for c in range(p):
                    turned[t, j, k] += inverse[j, c] * fixed[t, c, k]
    out = np.zeros((m, m))
    for s in range(m):
        for t in range(s + 1):
            total = 0.0
            for a in range(q):
                for b in range(q):
                    for c in range(q):
                        if towards[s, b, c] == 0.0:
                            continue
                        for e in range(q):
                            total += second[a, b, c, e] * towards[s, b, c] * towards[t, e, a]
            for j in range(p):
                for k in range(p):
                    if reml:
                        total -= turned[s, j, k] * turned[t, k, j]
                    total -= 2.0 * slope * mixed[s, j] * inverse[j, k] * mixed[t, k]
            total -= bend * squared[s] * squared[t]
            if columns[s] == columns[t]:
                total += 2.0 * score[rows[s], rows[t]]
            out[s, t] = total
            out[t, s] = total
    return out
