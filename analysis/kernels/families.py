"""What one row adds to the log-likelihood as a function of its linear predictor η, and its derivatives, family by family.

Every family is log-concave in η. Constants that no parameter touches are left out. `extra` (parameters ψ beside η): nothing
for binomial and Poisson; (log κ,) for the negative binomial with variance μ + μ²/κ; the thresholds τ (J − 1,), ascending, for
ordinal outcomes with P(y ≤ j) = F(τ_j − η). y: a proportion of `size` trials, a count, or a category's number 0 … J − 1;
`size` counts for binomial rows only. Tails are exact: no difference of nearly equal numbers stands where it would matter.
"""

from __future__ import annotations

import math

import numpy as np

from analysis.kernels.compiled import compiled

BINOMIAL_LOGIT = 0
BINOMIAL_PROBIT = 1
BINOMIAL_CLOGLOG = 2
POISSON = 3
NEGATIVE_BINOMIAL = 4
ORDINAL_LOGIT = 5
ORDINAL_PROBIT = 6

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
ROOT_HALF = math.sqrt(0.5)
FAR = 5.0
"""From here on the normal distribution's tail is a continued fraction."""
TERMS = 40
"""Its depth: beyond t = 5 the last term is below rounding."""
LARGEST = 500.0
"""Means e^η are cut here: a search that comes so far is lost, and infinities would hide from where."""
OUT_OF_REACH = 1e8
"""An interval that starts below minus this starts at −∞."""
NARROW = 1.0
"""A normal interval narrower than this, divided by 1 + |its middle|, is a series in its width."""
ORDERS = 18
"""Orders of that series; the first one left out is below rounding."""
MANY = 10.0
"""Stirling's series serves from here on, with an error below rounding."""


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
def log_normal(eta: float) -> float:
    """log Φ(η)."""
    if eta > -FAR:
        if eta > FAR:
            return math.log1p(-0.5 * math.erfc(eta * ROOT_HALF))
        return math.log(0.5 * math.erfc(-eta * ROOT_HALF))
    tail = 0.0
    for k in range(TERMS, 0, -1):
        tail = k / (tail - eta)
    return -0.5 * eta * eta - HALF_LOG_2PI - math.log(tail - eta)


@compiled
def normal_slopes(eta: float) -> tuple[float, float, float]:
    """The first three derivatives of log Φ(η): λ = φ/Φ, −λδ with δ = η + λ, and λ(δ² + λδ − 1).

    In the left tail δ = K₁ and δ² + λδ − 1 = K₁K₁K₂(K₃ − K₂) by the continued fraction λ = −η + K₁, K_k = k/(−η + K_{k+1}).
    """
    if eta > -FAR:
        mills = math.exp(-0.5 * eta * eta - HALF_LOG_2PI) / (0.5 * math.erfc(-eta * ROOT_HALF))
        delta = eta + mills
        return mills, -mills * delta, mills * (delta * (delta + mills) - 1.0)
    third = 0.0
    for k in range(TERMS, 2, -1):
        third = k / (third - eta)
    second = 2.0 / (third - eta)
    first = 1.0 / (second - eta)
    mills = first - eta
    return mills, -mills * first, mills * first * first * second * (third - second)


@compiled
def log_less_one(w: float, eta: float) -> float:
    """log(1 − e^−w) for w = e^η: the log-probability of an event under the complementary log-log link."""
    return eta - 0.5 * w if w < 1e-8 else math.log(-math.expm1(-w))


@compiled
def event_slopes(w: float) -> tuple[float, float, float]:
    """The first three derivatives of log(1 − e^−w) in η = log w: r = w/(e^w − 1), rs and r(s² − w − rs), s = 1 − w − r."""
    if w > 700.0:
        return 0.0, 0.0, 0.0
    r = w / math.expm1(w) if w > 0.0 else 1.0
    if w < 0.1:
        square = w * w
        s = -0.5 * w - square * (1.0 / 12.0 - square * (1.0 / 720.0 - square / 30240.0))
    else:
        s = 1.0 - w - r
    return r, r * s, r * (s * s - w - r * s)


@compiled
def rising(y: float, log_kappa: float) -> tuple[float, float]:
    """log Γ(y + κ) − log Γ(κ) − y log κ = Σ_{j<y} log(1 + j/κ), and its derivative in log κ; y a whole number."""
    kappa = math.exp(log_kappa)
    value, slope, j = 0.0, 0.0, 0.0
    while j < y and (kappa + j < MANY or y <= MANY):
        value += math.log1p(j / kappa)
        slope -= j / (kappa + j)
        j += 1.0
    rest = y - j
    if rest > 0.0:  # the rest by Stirling's series from κ + j on
        low, high = kappa + j, kappa + y
        grown = math.log1p(rest / low)
        value += rest * math.log1p(j / kappa) + (high - 0.5) * grown - rest
        value += stirling(high) - stirling(low)
        slope += kappa * (grown + digamma_rest(high) - digamma_rest(low)) - rest
    return value, slope


@compiled
def stirling(z: float) -> float:
    """log Γ(z) − (z − ½) log z + z − ½ log 2π, for z ≥ 10."""
    u = 1.0 / (z * z)
    return (1.0 / 12.0 - u * (1.0 / 360.0 - u * (1.0 / 1260.0 - u * (1.0 / 1680.0 - u / 1188.0)))) / z


@compiled
def digamma_rest(z: float) -> float:
    """ψ(z) − log z, for z ≥ 10."""
    u = 1.0 / (z * z)
    return -0.5 / z - u * (1.0 / 12.0 - u * (1.0 / 120.0 - u * (1.0 / 252.0 - u * (1.0 / 240.0 - u / 132.0))))


@compiled
def log1m_exp(x: float) -> float:
    """log(1 − e^−x), x > 0."""
    return math.log(-math.expm1(-x)) if x < 0.7 else math.log1p(-math.exp(-x))


@compiled
def log_interval_normal(high: float, low: float, width: float) -> float:
    """log[Φ(high) − Φ(low)], width their distance; the ends may be infinite."""
    if high + low > 0.0:  # in the left half nothing cancels
        high, low = -low, -high
    middle = 0.5 * (high + low)
    if width * (1.0 - middle) < NARROW:
        return -0.5 * middle * middle - HALF_LOG_2PI + math.log(width) + math.log(bulge(middle, width)[0])
    upper = log_normal(high)
    if low == -np.inf:
        return upper
    return upper + log1m_exp(upper - log_normal(low))


@compiled
def bulge(m: float, width: float) -> tuple[float, float, float, float]:
    """[Φ(m + w/2) − Φ(m − w/2)]/[w φ(m)] = Σ (w/2)^2k He_2k(m)/(2k + 1)! for a width w, and its derivatives in m to the third."""
    square = 0.25 * width * width
    value, first, second, third = 1.0, 0.0, 0.0, 0.0
    factor = 1.0
    before3, before2, before, now = 0.0, 0.0, 1.0, m  # Hermite polynomials of order n − 3 … n
    for n in range(2, ORDERS, 2):
        before3, before2, before, now = before2, before, now, m * now - (n - 1.0) * before
        factor *= square / (n * (n + 1.0))
        value += factor * now
        first += factor * n * before
        second += factor * n * (n - 1.0) * before2
        third += factor * n * (n - 1.0) * (n - 2.0) * before3
        before3, before2, before, now = before2, before, now, m * now - n * before
    return value, first, second, third


@compiled
def interval_normal(high: float, low: float, width: float, out: np.ndarray) -> None:
    """log[Φ(τ_high − η) − Φ(τ_low − η)] as `expand` gives it, indices left out: high and low are
    τ − η, perhaps infinite, width their distance."""
    if high + low > 0.0:  # mirrored: odd derivatives change their sign, and the ends their places
        interval_normal_left(-low, -high, width, out)
        for k in (1, 3, 5, 7, 9, 11):
            out[k] = -out[k]
        for k in (5, 6, 7):
            out[k], out[k + 4] = out[k + 4], out[k]
    else:
        interval_normal_left(high, low, width, out)


@compiled
def interval_normal_left(high: float, low: float, width: float, out: np.ndarray) -> None:
    """`interval_normal` where the middle is not above zero."""
    middle = 0.5 * (high + low)
    if width * (1.0 - middle) < NARROW:
        s, s1, s2, s3 = bulge(middle, width)
        tilt = s1 / s
        bend = s2 / s - tilt * tilt
        out[0] = -0.5 * middle * middle - HALF_LOG_2PI + math.log(width) + math.log(s)
        out[1] = middle - tilt
        out[2] = bend - 1.0
        out[3] = 3.0 * tilt * s2 / s - s3 / s - 2.0 * tilt**3
        high_density = math.exp(-0.5 * high * high - HALF_LOG_2PI - out[0])
        low_density = math.exp(-0.5 * low * low - HALF_LOG_2PI - out[0])
        high_gap, low_gap = 0.5 * width + tilt, -0.5 * width + tilt  # τ − η − ∂ℓ/∂η
        high_third, low_third = high_gap * high_gap - bend, low_gap * low_gap - bend
    else:  # log Φ(high) + log(1 − ρ), ρ = Φ(low)/Φ(high)
        upper = log_normal(high)
        first, second, third = normal_slopes(high)
        tilt, bend, twist = 0.0, 0.0, 0.0  # what log(1 − ρ) adds to the derivatives in η
        low_density, low_gap = 0.0, 0.0
        rest, share = 0.0, 0.0
        if low > -OUT_OF_REACH:
            u = log_normal(low) - upper
            rest, share = log1m_exp(-u), math.exp(u)
            own, own_second, own_third = normal_slopes(low)
            u1, u2, u3 = first - own, own_second - second, third - own_third
            g1 = -share / (1.0 - share)
            g2 = g1 / (1.0 - share)
            g3 = g2 * (1.0 + share) / (1.0 - share)
            tilt, bend = g1 * u1, g1 * u2 + g2 * u1 * u1
            twist = g1 * u3 + 3.0 * g2 * u1 * u2 + g3 * u1**3
            low_density = -g1 * own
            low_gap = low + first - tilt
        out[0] = upper + rest
        out[1], out[2], out[3] = tilt - first, second + bend, twist - third
        high_density = first / (1.0 - share)
        own_gap = high + first if first == 0.0 else -second / first
        high_gap = own_gap - tilt
        high_third = (third / first if first > 0.0 else high * high - 1.0) - 2.0 * own_gap * tilt + tilt * tilt - bend
        low_third = low_gap * low_gap - 1.0 - second - bend
    out[5], out[6], out[7] = high_density, high_density * high_gap, high_density * high_third
    out[9], out[10], out[11] = -low_density, -low_density * low_gap, -low_density * low_third


@compiled
def interval_logistic(high: float, low: float, width: float, out: np.ndarray) -> None:
    """As `interval_normal`: log[F(a) − F(b)] = log F(a) + log F(−b) + log(1 − e^−(a−b)), which separates in η."""
    above, below = probability(-high), probability(low)  # the chances of a category higher, and lower
    high_density, low_density = above * probability(high), below * probability(-low)
    high_bend, low_bend = high_density * (2.0 * above - 1.0), low_density * (1.0 - 2.0 * below)
    out[0] = 0.0
    spare = 0.0
    if high < np.inf:
        out[0] -= log1p_exp(-high)
    if low > -np.inf:
        out[0] -= log1p_exp(low)
    if width < np.inf:
        out[0] += log1m_exp(width)
        spare = 1.0 / math.expm1(width) if width < 700.0 else 0.0
    out[1] = below - above
    out[2] = -high_density - low_density
    out[3] = high_bend + low_bend
    out[5], out[6], out[7] = above + spare, high_density, -high_bend
    out[9], out[10], out[11] = -below - spare, low_density, -low_bend


@compiled
def ordinal_logit_slopes(y: float, eta: float, extra: np.ndarray) -> tuple[float, float, float]:
    """What moves with η: log F(τ_y − η) + log F(η − τ_{y−1}), and its first two derivatives."""
    high, low, _ = category_ends(y, eta, extra)
    value, first, second = 0.0, 0.0, 0.0
    if high < np.inf:
        above = probability(-high)
        value -= log1p_exp(-high)
        first -= above
        second -= above * probability(high)
    if low > -np.inf:
        below = probability(low)
        value -= log1p_exp(low)
        first += below
        second -= below * probability(-low)
    return value, first, second


@compiled
def category_ends(y: float, eta: float, extra: np.ndarray) -> tuple[float, float, float]:
    """τ_y − η, τ_{y−1} − η and their distance, infinite at the ends of the scale."""
    j = int(y)
    high = extra[j] - eta if j < len(extra) else np.inf
    low = extra[j - 1] - eta if j > 0 else -np.inf
    return high, low, extra[j] - extra[j - 1] if 0 < j < len(extra) else np.inf


@compiled
def log_likelihood(family: int, y: float, size: float, eta: float, extra: np.ndarray) -> float:
    """One row's log-likelihood, without constants that no parameter touches; −inf for thresholds out of order."""
    if family == BINOMIAL_LOGIT:
        return size * (y * eta - log1p_exp(eta))
    if family == BINOMIAL_PROBIT:
        total = 0.0
        if y > 0.0:
            total += size * y * log_normal(eta)
        if y < 1.0:
            total += size * (1.0 - y) * log_normal(-eta)
        return total
    if family == BINOMIAL_CLOGLOG:
        w = math.exp(min(eta, LARGEST))
        total = -size * (1.0 - y) * w
        if y > 0.0:
            total += size * y * log_less_one(w, eta)
        return total
    if family == POISSON:
        return y * eta - math.exp(min(eta, LARGEST))
    if family == NEGATIVE_BINOMIAL:
        return rising(y, extra[0])[0] + negative_binomial_slopes(y, eta, extra[0])[0]
    high, low, width = category_ends(y, eta, extra)
    if not width > 0.0:
        return -np.inf
    if family == ORDINAL_PROBIT:
        return log_interval_normal(high, low, width)
    total = 0.0
    if high < np.inf:
        total -= log1p_exp(-high)
    if low > -np.inf:
        total -= log1p_exp(low)
    return total + log1m_exp(width) if width < np.inf else total


@compiled
def slopes(family: int, y: float, size: float, eta: float, extra: np.ndarray) -> tuple[float, float, float]:
    """One row's log-likelihood and its first and second derivative in η."""
    if family == BINOMIAL_LOGIT:
        p, q = probability(eta), probability(-eta)
        return size * (y * eta - log1p_exp(eta)), size * (y * q - (1.0 - y) * p), -size * p * q
    if family == POISSON:
        mu = math.exp(min(eta, LARGEST))
        return y * eta - mu, y - mu, -mu
    if family == NEGATIVE_BINOMIAL:
        value, first, second = negative_binomial_slopes(y, eta, extra[0])
        return value + rising(y, extra[0])[0], first, second
    out = np.empty(12)
    expand(family, y, size, eta, extra, out)
    return out[0], out[1], out[2]


@compiled
def expand(family: int, y: float, size: float, eta: float, extra: np.ndarray, out: np.ndarray) -> None:
    """One row's log-likelihood ℓ and what its Laplace approximation's score is made of, into out (12,).

    out[0:4]: ℓ and its first three derivatives in η. Then for up to two parameters ψ of `extra` that the row touches:
    out[4] its index (−1: none), out[5:8]: ∂ℓ/∂ψ, ∂²ℓ/∂η∂ψ, ∂³ℓ/∂η²∂ψ; out[8:12] the same.
    """
    out[4] = -1.0
    out[8] = -1.0
    if family == BINOMIAL_LOGIT:
        p, q = probability(eta), probability(-eta)
        weight = size * p * q
        out[0] = size * (y * eta - log1p_exp(eta))
        out[1], out[2], out[3] = size * (y * q - (1.0 - y) * p), -weight, -weight * (q - p)
    elif family == BINOMIAL_PROBIT:
        out[0], out[1], out[2], out[3] = 0.0, 0.0, 0.0, 0.0
        if y > 0.0:
            first, second, third = normal_slopes(eta)
            out[0] += size * y * log_normal(eta)
            out[1] += size * y * first
            out[2] += size * y * second
            out[3] += size * y * third
        if y < 1.0:
            first, second, third = normal_slopes(-eta)
            out[0] += size * (1.0 - y) * log_normal(-eta)
            out[1] -= size * (1.0 - y) * first
            out[2] += size * (1.0 - y) * second
            out[3] -= size * (1.0 - y) * third
    elif family == BINOMIAL_CLOGLOG:
        w = math.exp(min(eta, LARGEST))
        lost = size * (1.0 - y) * w
        out[0], out[1], out[2], out[3] = -lost, -lost, -lost, -lost
        if y > 0.0:
            first, second, third = event_slopes(w)
            out[0] += size * y * log_less_one(w, eta)
            out[1] += size * y * first
            out[2] += size * y * second
            out[3] += size * y * third
    elif family == POISSON:
        mu = math.exp(min(eta, LARGEST))
        out[0], out[1], out[2], out[3] = y * eta - mu, y - mu, -mu, -mu
    elif family == NEGATIVE_BINOMIAL:
        expand_negative_binomial(y, eta, extra[0], out)
    else:
        high, low, width = category_ends(y, eta, extra)
        if not width > 0.0:
            out[:] = 0.0
            out[0] = -np.inf
        elif family == ORDINAL_LOGIT:
            interval_logistic(high, low, width, out)
        else:
            interval_normal(high, low, width, out)
        out[4] = y if y < len(extra) else -1.0
        out[8] = y - 1.0


@compiled
def negative_binomial_slopes(y: float, eta: float, log_kappa: float) -> tuple[float, float, float]:
    """What moves with η: yη − (y + κ) log(1 + e^t), t = η − log κ, and its first two derivatives."""
    kappa, t = math.exp(log_kappa), eta - log_kappa
    p, q = probability(t), probability(-t)
    return y * eta - (y + kappa) * log1p_exp(t), y * q - kappa * p, -(y + kappa) * p * q


@compiled
def expand_negative_binomial(y: float, eta: float, log_kappa: float, out: np.ndarray) -> None:
    """With t = η − log κ, p = μ/(κ + μ):  ℓ = Σ_{j<y} log(1 + j/κ) + yη − (y + κ) log(1 + e^t)."""
    kappa, t = math.exp(log_kappa), eta - log_kappa
    p, q = probability(t), probability(-t)
    constant, slope = rising(y, log_kappa)
    out[0], out[1], out[2] = negative_binomial_slopes(y, eta, log_kappa)
    out[0] += constant
    out[3] = out[2] * (q - p)
    if t < -5.0:  # p − log(1 + e^t), which nearly cancel
        minus, power, short = -math.exp(t), -math.exp(t), 0.0
        for k in range(2, 10):
            power *= minus
            short -= power * (1.0 - 1.0 / k)
    else:
        short = p - log1p_exp(t)
    out[4] = 0.0
    out[5] = slope + kappa * short + y * p
    out[6] = p * out[1]
    out[7] = p * (q * out[1] + out[2])
