"""Sums of the linear model over rows: each person's n, sums and products about a base of their own (METHODS §2.15).

The base is the person's first row, so that no offset costs digits: Σd² is at most n times the scatter. Sums and products of
whole numbers are exact, in any order, as long as they stay below 2⁵³.
"""

from __future__ import annotations

import numpy as np

from analysis.kernels.compiled import compiled


@compiled
def add_rows(
    columns: np.ndarray,
    slots: np.ndarray,
    starts: np.ndarray,
    n: np.ndarray,
    base: np.ndarray,
    sums: np.ndarray,
    products: np.ndarray,
) -> None:
    """Add rows to the persons' sums; a person without rows takes their first row as base.

    columns (k, rows); rows starts[s]:starts[s + 1] belong to the person in slots[s], one stretch a person.
    n (persons,), base and sums (persons, k), products (persons, k, k) are changed in place.
    """
    k = columns.shape[0]
    for s in range(len(slots)):
        i, first, last = slots[s], starts[s], starts[s + 1]
        if n[i] == 0:
            for a in range(k):
                base[i, a] = columns[a, first]
        n[i] += last - first
        for a in range(k):
            one, zero_a = columns[a], base[i, a]
            total = 0.0
            for t in range(first, last):
                total += one[t] - zero_a
            sums[i, a] += total
            for b in range(a + 1):
                other, zero_b = columns[b], base[i, b]
                p0, p1, p2, p3 = 0.0, 0.0, 0.0, 0.0  # four chains, so that additions need not wait for each other
                t = first
                while t + 3 < last:
                    p0 += (one[t] - zero_a) * (other[t] - zero_b)
                    p1 += (one[t + 1] - zero_a) * (other[t + 1] - zero_b)
                    p2 += (one[t + 2] - zero_a) * (other[t + 2] - zero_b)
                    p3 += (one[t + 3] - zero_a) * (other[t + 3] - zero_b)
                    t += 4
                while t < last:
                    p0 += (one[t] - zero_a) * (other[t] - zero_b)
                    t += 1
                products[i, a, b] += (p0 + p1) + (p2 + p3)
                products[i, b, a] = products[i, a, b]


@compiled
def merge(
    slots: np.ndarray,
    sign: int,
    other_n: np.ndarray,
    other_base: np.ndarray,
    other_sums: np.ndarray,
    other_products: np.ndarray,
    n: np.ndarray,
    base: np.ndarray,
    sums: np.ndarray,
    products: np.ndarray,
) -> None:
    """Add (sign 1) or take away (−1) other persons' sums, moved to the base of the person in slots[j]; in place."""
    k = base.shape[1]
    shift = np.empty(k)
    for j in range(len(slots)):
        i, m = slots[j], other_n[j]
        if n[i] == 0:
            base[i] = other_base[j]
        for a in range(k):
            shift[a] = other_base[j, a] - base[i, a]
        for a in range(k):
            for b in range(a + 1):
                moved = other_products[j, a, b] + other_sums[j, a] * shift[b] + shift[a] * other_sums[j, b]
                products[i, a, b] += sign * (moved + m * shift[a] * shift[b])
                products[i, b, a] = products[i, a, b]
        for a in range(k):
            sums[i, a] += sign * (other_sums[j, a] + m * shift[a])
        n[i] += sign * m


@compiled
def centred(
    n: np.ndarray, base: np.ndarray, sums: np.ndarray, products: np.ndarray, anchor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means − anchor (persons, k) and scatter about the person's own means (persons, k, k)."""
    persons, k = base.shape
    mean = np.empty((persons, k))
    scatter = np.empty((persons, k, k))
    for i in range(persons):
        m = float(n[i])
        for a in range(k):
            mean[i, a] = (base[i, a] - anchor[a]) + sums[i, a] / m
            for b in range(a + 1):
                value = (m * products[i, a, b] - sums[i, a] * sums[i, b]) / m
                scatter[i, a, b] = value
                scatter[i, b, a] = value
            if scatter[i, a, a] < 0.0:
                scatter[i, a, a] = 0.0
    return mean, scatter


@compiled
def cross_products(
    n: np.ndarray, alpha: np.ndarray, source: np.ndarray, scatter: np.ndarray, scale: np.ndarray, q: int, every: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Z'Z (persons, q, q), Z'W (persons, q, d) and ΣW'W (2, d, d; over all and over every so-manieth person) of columns α + (raw deviation of `source`), divided by scale.

    D'D = n αα' + S'MS: nothing is subtracted, nothing cancels (METHODS §2.14). alpha (persons, q + d); source (q + d,), −1
    for a column that is constant in each person.
    """
    persons, columns = alpha.shape
    d = columns - q
    zz = np.empty((persons, q, q))
    zw = np.empty((persons, q, d))
    ww = np.zeros((2, d, d))
    for i in range(persons):
        m = float(n[i])
        taken = i % every == 0
        for a in range(columns):
            for b in range(a + 1):
                value = m * alpha[i, a] * alpha[i, b]
                if source[a] >= 0 and source[b] >= 0:
                    value += scatter[i, source[a], source[b]]
                value /= scale[a] * scale[b]
                if a < q:
                    zz[i, a, b] = value
                    zz[i, b, a] = value
                elif b < q:
                    zw[i, b, a - q] = value
                else:
                    ww[0, a - q, b - q] += value
                    if taken:
                        ww[1, a - q, b - q] += value
    for a in range(d):
        for b in range(a):
            ww[:, b, a] = ww[:, a, b]
    return zz, zw, ww
