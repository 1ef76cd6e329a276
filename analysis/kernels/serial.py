"""Rows in time → sums by person and gap, from which the moments of whitened rows follow at any correlation (METHODS §2.11).

With r the correlation of neighbouring residuals and t = (1 − r)/(1 + r), the whitened neighbours u₁ − r u₀, over √(1 − r²), have the
cross-products ½(u₁u₁' − u₀u₀') + ¼(t ss' + dd'/t), s = u₁ + u₀, d = u₁ − u₀. The first part telescopes along a series, so that

    W'R⁻¹W = ½ Σ_series (first first' + last last') + ¼ Σ_gaps (t S + D/t),

a sum of squares alone: nothing cancels, however near r is to −1 or 1.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled


@compiled
def count_bins(code: np.ndarray, starts: np.ndarray, gaps: int) -> np.ndarray:
    """Where each person's bins start (persons + 1,): a bin is a person's pairs of neighbours with one gap.

    code (n,) numbers the gap to the row before, −1 where a series begins; rows starts[i]:starts[i + 1] are a person's.
    """
    persons = len(starts) - 1
    seen = np.full(gaps, -1, dtype=np.int64)
    out = np.zeros(persons + 1, dtype=np.int64)
    for i in range(persons):
        out[i + 1] = out[i]
        for t in range(starts[i], starts[i + 1]):
            if code[t] >= 0 and seen[code[t]] != i:
                seen[code[t]] = i
                out[i + 1] += 1
    return out


@compiled
def add_pairs(
    rows: np.ndarray,
    code: np.ndarray,
    starts: np.ndarray,
    bin_starts: np.ndarray,
    q: int,
    bin_gap: np.ndarray,
    own: np.ndarray,
    own_ends: np.ndarray,
    total: np.ndarray,
    total_ends: np.ndarray,
) -> None:
    """Sums of products of rows (n, q + d) = [Z W], written into arrays of zeros; rows stand series by series, in time.

    bin_gap (bins,) the gap's number; own (bins, 2, k) the sums S and D of Z'Z (lower triangle) and Z'W of the bin;
    own_ends (persons, k) those of the series' first and last rows; total (2, gaps, c), total_ends (c,) of W'W over everyone.
    """
    n, width = rows.shape
    gaps = total.shape[1]
    seen, place = np.full(gaps, -1, dtype=np.int64), np.zeros(gaps, dtype=np.int64)
    both = np.empty((2, width))
    for i in range(len(starts) - 1):
        bins = bin_starts[i]
        for t in range(starts[i], starts[i + 1]):
            g = code[t]
            if g < 0:
                both[0] = rows[t]
                _add(both[0], q, own_ends[i], total_ends)
            else:
                if seen[g] != i:
                    seen[g], place[g] = i, bins
                    bin_gap[bins] = g
                    bins += 1
                for a in range(width):
                    both[0, a] = rows[t, a] + rows[t - 1, a]
                    both[1, a] = rows[t, a] - rows[t - 1, a]
                _add(both[0], q, own[place[g], 0], total[0, g])
                _add(both[1], q, own[place[g], 1], total[1, g])
            if t + 1 == n or code[t + 1] < 0:
                both[0] = rows[t]
                _add(both[0], q, own_ends[i], total_ends)


@compiled
def _add(row: np.ndarray, q: int, own: np.ndarray, total: np.ndarray) -> None:
    """Products of one row [z w] onto its person's sums and onto everyone's."""
    k = 0
    for a in range(q):
        for b in range(a + 1):
            own[k] += row[a] * row[b]
            k += 1
    for a in range(q):
        for b in range(q, len(row)):
            own[k] += row[a] * row[b]
            k += 1
    k = 0
    for a in range(q, len(row)):
        for b in range(q, a + 1):
            total[k] += row[a] * row[b]
            k += 1


@compiled
def weigh(
    bin_starts: np.ndarray,
    bin_gap: np.ndarray,
    own: np.ndarray,
    own_ends: np.ndarray,
    ends: float,
    up: np.ndarray,
    down: np.ndarray,
    zz: np.ndarray,
    zw: np.ndarray,
) -> None:
    """½ ends (first and last rows) + ¼ Σ (up S + down D) of each person, into zz (persons, q, q) and zw (persons, q, d)."""
    persons, q, d = zw.shape
    sums = np.empty(own.shape[2])
    for i in range(persons):
        for k in range(len(sums)):
            sums[k] = 0.5 * ends * own_ends[i, k]
        for j in range(bin_starts[i], bin_starts[i + 1]):
            one, other = 0.25 * up[bin_gap[j]], 0.25 * down[bin_gap[j]]
            for k in range(len(sums)):
                sums[k] += one * own[j, 0, k] + other * own[j, 1, k]
        k = 0
        for a in range(q):
            for b in range(a + 1):
                zz[i, a, b] = zz[i, b, a] = sums[k]
                k += 1
        for a in range(q):
            for b in range(d):
                zw[i, a, b] = sums[k]
                k += 1


@compiled
def along(
    zz: np.ndarray, zw: np.ndarray, zz_slope: np.ndarray, zw_slope: np.ndarray, lam: np.ndarray, weight: np.ndarray
) -> float:
    """How the persons' part of the linear criterion changes with the moments, in the direction zz_slope, zw_slope.

    With M = Λ(Λ'AΛ + I)⁻¹Λ', E = MW and K = weight (d, d): Σ tr[(M + EKE')A'] − 2 tr(KE'W'), A' and W' the slopes.
    """
    persons, q, d = zw.shape
    chol, half, m = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    e, turned = np.empty((q, d)), np.empty((q, d))
    out = 0.0
    for i in range(persons):
        for a in range(q):
            for b in range(q):
                total = 0.0
                for c in range(b, q):
                    total += zz[i, a, c] * lam[c, b]
                half[a, b] = total  # AΛ
        for a in range(q):
            for b in range(a + 1):
                total = 1.0 if a == b else 0.0
                for c in range(a, q):
                    total += lam[c, a] * half[c, b]
                for c in range(b):
                    total -= chol[a, c] * chol[b, c]
                chol[a, b] = np.sqrt(total) if a == b else total / chol[b, b]
        for b in range(q):
            for a in range(q):
                total = lam[b, a]
                for c in range(a):
                    total -= chol[a, c] * half[c, b]
                half[a, b] = total / chol[a, a]  # L⁻¹Λ', whose square is M
        for a in range(q):
            for b in range(q):
                total = 0.0
                for c in range(q):
                    total += half[c, a] * half[c, b]
                m[a, b] = total
        for a in range(q):
            for j in range(d):
                total = 0.0
                for b in range(q):
                    total += m[a, b] * zw[i, b, j]
                e[a, j] = total
        for a in range(q):
            for j in range(d):
                total = 0.0
                for k in range(d):
                    total += e[a, k] * weight[k, j]
                turned[a, j] = total
                out -= 2.0 * total * zw_slope[i, a, j]
        for a in range(q):
            for b in range(q):
                total = m[a, b]
                for j in range(d):
                    total += turned[a, j] * e[b, j]
                out += total * zz_slope[i, a, b]
    return out


@compiled
def colour(noise: np.ndarray, r: np.ndarray) -> None:
    """Independent standard noise (n,) → a series with correlation r (n,) to the row before, 0 where one begins; in place."""
    for t in range(1, len(noise)):
        noise[t] = r[t] * noise[t - 1] + np.sqrt(1.0 - r[t] * r[t]) * noise[t]
