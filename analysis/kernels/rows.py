"""The row likelihoods of `families`, for all rows of a person at once: what the search for a mode and the score are made of.

The logistic model, the commonest by far, is written as short loops over rows without branches, several rows at a time in
the processor; the others go through `families.expand`. Both give the same numbers to rounding.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.kernels.compiled import compiled
from analysis.kernels.families import (
    BINOMIAL_LOGIT,
    NEGATIVE_BINOMIAL,
    ORDINAL_LOGIT,
    expand,
    negative_binomial_slopes,
    ordinal_logit_slopes,
)

LOG2_E = 1.0 / math.log(2.0)
LN2_HIGH = 0.6931471803691238
LN2_LOW = 1.9082149292705877e-10
"""log 2 in two parts, the first with zeros at its end: whole multiples of it are exact."""
SHIFT = 1.5 * 2.0**52
"""Added to a number it leaves the nearest whole one in the last bits."""
LOWEST = -708.0
"""e to this is the smallest normal number, nearly."""
LANES = 8
ROOT_TWO = math.sqrt(2.0)
HALF_LOG_2 = 0.5 * math.log(2.0)


@compiled
def dot(x: np.ndarray, y: np.ndarray, n: int) -> float:
    """Σ x y over the first n, in eight sums side by side."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        a += x[j] * y[j]
        b += x[j + 1] * y[j + 1]
        c += x[j + 2] * y[j + 2]
        d += x[j + 3] * y[j + 3]
        e += x[j + 4] * y[j + 4]
        f += x[j + 5] * y[j + 5]
        g += x[j + 6] * y[j + 6]
        h += x[j + 7] * y[j + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for j in range(whole, n):
        total += x[j] * y[j]
    return total


@compiled
def total_of(x: np.ndarray, n: int) -> float:
    """Σ x over the first n, in eight sums side by side."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        a += x[j]
        b += x[j + 1]
        c += x[j + 2]
        d += x[j + 3]
        e += x[j + 4]
        f += x[j + 5]
        g += x[j + 6]
        h += x[j + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for j in range(whole, n):
        total += x[j]
    return total


@compiled
def exp_of_minus_size(eta: np.ndarray, n: int, out: np.ndarray, scratch: np.ndarray) -> None:
    """e^−|η| into out: 2^k e^r with |r| ≤ ½ log 2 (Cody & Waite), to rounding."""
    bits = scratch.view(np.int64)
    for j in range(n):
        scratch[j] = max(-abs(eta[j]), LOWEST) * LOG2_E + SHIFT
    for j in range(n):
        bits[j] = (bits[j] << 52) + (1023 << 52)
    for j in range(n):
        x = max(-abs(eta[j]), LOWEST)
        k = (x * LOG2_E + SHIFT) - SHIFT
        r = (x - k * LN2_HIGH) - k * LN2_LOW
        r2 = r * r
        r4 = r2 * r2
        low = (1.0 + r) + r2 * (0.5 + r * (1.0 / 6.0))
        middle = (1.0 / 24.0 + r * (1.0 / 120.0)) + r2 * (1.0 / 720.0 + r * (1.0 / 5040.0))
        high = (1.0 / 40320.0 + r * (1.0 / 362880.0)) + r2 * (1.0 / 3628800.0 + r * (1.0 / 39916800.0))
        high += r4 * (1.0 / 479001600.0 + r * (1.0 / 6227020800.0))
        out[j] = (low + r4 * (middle + r4 * high)) * scratch[j]


@compiled
def logistic_value(y: np.ndarray, size: np.ndarray, eta: np.ndarray, n: int, e: np.ndarray, out: np.ndarray) -> None:
    """size·(yη − log(1 + e^η)) into out, e = e^−|η|; log(1 + e) = ½ log 2 + 2 artanh s, s = (1 + e − √2)/(1 + e + √2)."""
    for j in range(n):
        s = (e[j] + (1.0 - ROOT_TWO)) / (e[j] + (1.0 + ROOT_TWO))
        u = s * s
        u2 = u * u
        low = (1.0 + u * (1.0 / 3.0)) + u2 * (1.0 / 5.0 + u * (1.0 / 7.0))
        middle = (1.0 / 9.0 + u * (1.0 / 11.0)) + u2 * (1.0 / 13.0 + u * (1.0 / 15.0))
        high = (1.0 / 17.0 + u * (1.0 / 19.0)) + u2 * (1.0 / 21.0)
        out[j] = HALF_LOG_2 + 2.0 * s * (low + u2 * u2 * (middle + u2 * u2 * high))
    for j in range(n):
        out[j] = y[j] * eta[j] - max(eta[j], 0.0) - out[j]
    for j in range(n):
        out[j] *= size[j]


@compiled
def first_of_rows(
    family: int,
    y: np.ndarray,
    size: np.ndarray,
    extra: np.ndarray,
    n: int,
    eta: np.ndarray,
    value: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """ℓ and ∂ℓ/∂η of n rows whose family has no parameter of its own; rows (3, n) is overwritten."""
    if family != BINOMIAL_LOGIT:
        slopes_of_rows(family, y, size, extra, n, eta, rows, scratch)
        value[:n] = rows[0, :n]
        first[:n] = rows[1, :n]
        return
    e = scratch[0]
    exp_of_minus_size(eta, n, e, scratch[1])
    logistic_value(y, size, eta, n, e, value)
    for j in range(n):
        first[j] = (1.0 if eta[j] >= 0.0 else e[j]) / (1.0 + e[j])
    for j in range(n):
        first[j] = size[j] * (y[j] - first[j])


@compiled
def slopes_of_rows(
    family: int,
    y: np.ndarray,
    size: np.ndarray,
    extra: np.ndarray,
    n: int,
    eta: np.ndarray,
    rows: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """ℓ, ∂ℓ/∂η and −∂²ℓ/∂η² of n rows into rows[0:3]; for parameters of their own ℓ without what η does not move.

    scratch (2, at least max(n, 12))
    """
    value, first, weight = rows[0], rows[1], rows[2]
    if family == BINOMIAL_LOGIT:
        e = scratch[0]
        exp_of_minus_size(eta, n, e, scratch[1])
        logistic_value(y, size, eta, n, e, value)
        for j in range(n):
            larger = 1.0 / (1.0 + e[j])
            weight[j] = e[j] * larger * larger
            scratch[1, j] = larger if eta[j] >= 0.0 else e[j] * larger
        for j in range(n):
            first[j] = size[j] * (y[j] - scratch[1, j])
        for j in range(n):
            weight[j] *= size[j]
    elif family == NEGATIVE_BINOMIAL:
        for j in range(n):
            value[j], first[j], second = negative_binomial_slopes(y[j], eta[j], extra[0])
            weight[j] = -second
    elif family == ORDINAL_LOGIT:
        for j in range(n):
            value[j], first[j], second = ordinal_logit_slopes(y[j], eta[j], extra)
            weight[j] = -second
    else:
        out = scratch[0]
        for j in range(n):
            expand(family, y[j], size[j], eta[j], extra, out)
            value[j], first[j], weight[j] = out[0], out[1], -out[2]


@compiled
def expand_rows(
    family: int,
    y: np.ndarray,
    size: np.ndarray,
    extra: np.ndarray,
    n: int,
    eta: np.ndarray,
    rows: np.ndarray,
    scratch: np.ndarray,
) -> None:
    """Complete ℓ, ∂ℓ/∂η, −∂²ℓ/∂η², ∂³ℓ/∂η³ into rows[0:4]; where `extra` has parameters, out[4:12] of `expand` into rows[4:12]."""
    if family == BINOMIAL_LOGIT:
        slopes_of_rows(family, y, size, extra, n, eta, rows, scratch)
        larger, weight, third = scratch[1], rows[2], rows[3]
        for j in range(n):
            third[j] = weight[j] * (2.0 * larger[j] - 1.0)
        return
    out = scratch[0]
    for j in range(n):
        expand(family, y[j], size[j], eta[j], extra, out)
        rows[0, j], rows[1, j], rows[2, j], rows[3, j] = out[0], out[1], -out[2], out[3]
        if len(extra) > 0:
            for k in range(4, 12):
                rows[k, j] = out[k]
