"""Linear mixed models with AR1 or CAR1 residuals: φ and θ jointly by exact Newton steps (METHODS §2.11, §2.13).

At a given φ whitened rows follow an ordinary linear mixed model, so that all of `linear` holds for their moments; φ adds log|R|
to the deviance. The joint gradient is exact: the criterion's derivative by the moments times the moments' derivative by φ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.special import expit, ndtri

from analysis.kernels.serial import along, colour
from analysis.linear import FEW, Criterion, LmmFit, best_start, fit_at, fit_lmm, refuse_impossible
from analysis.optimize import Minimum, minimise, minimise_factor
from analysis.serial import AR1, Residual
from analysis.serial_bins import Bins, Weights, phi_of, weights_at, whiten, zeta_of
from analysis.serial_factors import FactorSerialFit

STEP = 1e-4
"""Step in ζ of the central difference of the exact gradient; truncation and rounding are near 1e-8."""
WEAK, STRONG = 3.0, 0.01
"""−log of the correlation over a short gap, and over a long one, that a search for φ begins and ends with."""
RATIO, FEWEST, MOST = 1.8, 10, 24
"""How far apart in −log φ the points of that search are, and how many."""
LOOSE = 1e-3
"""Newton decrement that is enough at such a point."""
SAMPLE = 256
"""Persons that the search is made of where there are many more; below it would be no faster."""
NOTHING = 1e-6
"""A deviance lower than that of independent residuals by less than this is none."""
FAINT = 1e-3
"""Correlation over the shortest gap at which the deviance must rise with φ for φ = 0 to be its estimate."""
EDGE = 1e-6
"""A correlation over the median gap nearer to 0, 1 or −1 than this has run to the end of its range."""


class Joint:
    """The deviance in (ζ, θ), φ on its unbounded scale ζ; everything else is profiled out."""

    def __init__(self, bins: Bins, reml: bool) -> None:
        self.bins = bins
        self.reml = reml
        self._weights: tuple[float, Weights, Criterion] | None = None
        self._at: tuple[bytes, float, np.ndarray] | None = None

    def criterion(self, zeta: float) -> Criterion:
        return self._there(zeta)[1]

    def log_det(self, zeta: float) -> float:
        return self._there(zeta)[0].log_det

    def _there(self, zeta: float) -> tuple[Weights, Criterion]:
        if self._weights is None or self._weights[0] != zeta:
            weights = weights_at(self.bins.series, zeta)
            self._weights = zeta, weights, Criterion(self.bins.moments(weights), self.reml)
        return self._weights[1:]

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        key = point.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = key, *self._evaluate(point)
        return self._at[1:]

    def _evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        undefined = np.inf, np.full(len(point), np.nan)
        weights, criterion = self._there(float(point[0]))
        if not np.isfinite(weights.down).all() or not np.isfinite(weights.log_det):
            return undefined
        at = criterion.at(point[1:])
        if not np.isfinite(at.deviance):
            return undefined
        m = criterion.moments
        zz, zw, ww = self.bins.slope(weights)
        slope = float(np.einsum("jk,jk->", at.weight, ww)) + weights.log_det_slope
        slope += along(m.zz, m.zw, zz, zw, m.structure.lam(point[1:]), at.weight)
        return at.deviance + weights.log_det, np.append(slope, at.gradient)

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """(1 + m, 1 + m): exact in θ, differences of the exact gradient in ζ."""
        out = np.full((len(point), len(point)), np.nan)
        if not np.isfinite(self(point)[0]):
            return out
        out[1:, 1:] = self.criterion(float(point[0])).hessian(point[1:])
        step = np.zeros_like(point)
        step[0] = STEP
        out[0] = (self._evaluate(point + step)[1] - self._evaluate(point - step)[1]) / (2.0 * STEP)
        out[1:, 0] = out[0, 1:]
        return out

    def score(self, point: np.ndarray) -> np.ndarray:
        return self.criterion(float(point[0])).at(point[1:]).score


@dataclass(frozen=True)
class SerialFit(LmmFit):
    """A linear fit whose moments are those of rows whitened at φ; `minimum` is that of θ, with the joint proof's figures.

    zeta : φ on its unbounded scale, −∞ for a φ of CAR1 held at 0;  joint : the optimum over (ζ, θ);  log_det : log|R|
    """

    bins: Bins
    zeta: float
    phi: float
    joint: Minimum
    log_det: float

    @property
    def residual(self) -> Residual:
        return self.bins.series.residual

    @property
    def rows(self) -> np.ndarray:
        """(n, q + p + 1) the whitened inner rows [Z X y], series by series and in time."""
        return whiten(self.bins.rows, self.bins.series.steps, self.phi)


def fit_serial(bins: Bins, reml: bool = True, start: np.ndarray | None = None, enough: float = 0.0) -> SerialFit:
    """Fit by REML or ML; from (ζ, θ) where `start` is given, otherwise from every dip of a coarse search along φ.

    The likelihood in φ may have several optima, a random intercept competing with φ near 1; the best is kept.
    """
    refuse_impossible(bins.base, bins.base.ww, [("groups", *bins.base.zw.shape[:2])])
    joint = Joint(bins, reml)
    starts = [start] if start is not None else _starts(bins, reml)
    ends = [_minimum(joint, point, enough) for point in starts]
    best = min(ends, key=lambda end: end.value)
    structure = bins.base.structure
    if start is None and structure.is_singular(best.x[1:]) and len(structure.rows) > 1 and len(bins.base.zz) <= FEW:
        for theta in _sizes(joint):
            other = _minimum(joint, np.append(best.x[0], theta), enough)
            best = other if other.value < best.value - 1e-6 else best
    if not isinstance(bins.series.residual, AR1):
        none = _independent(joint)
        best = none if best.value > none.value - NOTHING else best
    return serial_at(joint, best)


def _independent(joint: Joint) -> Minimum:
    """The optimum at the end φ = 0 of CAR1's range, ζ = −∞: one of the whole range only if the deviance rises from there.

    With gaps as short as you like the deviance goes there ever more slowly, and no search along ζ would arrive.
    """
    criterion = joint.criterion(-np.inf)
    start = best_start(criterion, None)
    found = minimise_factor(
        criterion,
        start,
        joint.bins.base.structure,
        second=criterion.hessian,
        score=lambda theta: criterion.at(theta).score,
        enough=0.0,
    )
    inside = zeta_of(joint.bins.series.residual, -np.log(FAINT) / float(joint.bins.series.gaps[0]))
    rises = joint(np.append(inside, found.x))[1][0] >= 0.0
    size = len(found.x)
    hessian = np.zeros((size + 1, size + 1))
    hessian[1:, 1:] = found.hessian
    return replace(
        found,
        x=np.append(-np.inf, found.x),
        gradient=np.append(0.0, found.gradient),
        hessian=hessian,
        free=np.append(False, found.free),
        decrement=found.decrement if rises else np.inf,
    )


def serial_at(joint: Joint, minimum: Minimum) -> SerialFit:
    """The fit that belongs to a joint optimum."""
    zeta = float(minimum.x[0])
    inner = replace(
        minimum, x=minimum.x[1:], gradient=minimum.gradient[1:], hessian=minimum.hessian[1:, 1:], free=minimum.free[1:]
    )
    base = fit_at(joint.criterion(zeta), inner)
    known = {field.name: getattr(base, field.name) for field in fields(base)}
    log_det = joint.log_det(zeta)
    known["log_likelihood"] = base.log_likelihood - 0.5 * log_det
    phi = phi_of(joint.bins.series.residual, zeta)
    return SerialFit(**known, bins=joint.bins, zeta=zeta, phi=phi, joint=minimum, log_det=log_det)


def _minimum(joint: Joint, point: np.ndarray, enough: float) -> Minimum:
    structure = joint.bins.base.structure
    return minimise_factor(joint, point, structure, before=1, second=joint.hessian, score=joint.score, enough=enough)


def _sizes(joint: Joint) -> list[np.ndarray]:
    diagonal = joint.bins.base.structure.diagonal
    return [np.where(diagonal, size, 0.0) for size in (0.3, 1.5, 6.0)]


def _starts(bins: Bins, reml: bool) -> list[np.ndarray]:
    """The dips (ζ, θ) of the deviance over a coarse grid of φ, θ found loosely at each; of a sample where persons are many."""
    every, lower = len(bins.base.zz) // SAMPLE, bins.base.structure.lower
    joint = Joint(bins if every < 2 else bins.sampled(every), reml)
    points: list[np.ndarray] = []
    values: list[float] = []
    for zeta in _grid(bins):
        criterion = joint.criterion(zeta)
        near = [best_start(criterion, None), *(point[1:] for point in points[-1:])]
        theta = min(near, key=lambda theta: criterion(theta)[0])
        found = minimise(criterion, theta, lower, criterion.hessian, enough=LOOSE)
        points.append(np.append(zeta, found.x))
        values.append(found.value + joint.log_det(zeta))
    around = [np.inf, *values, np.inf]
    dips = [k for k, value in enumerate(values) if value <= around[k] and value < around[k + 2]]
    return [points[k] for k in dips] or [points[int(np.argmin(values))]]


def _grid(bins: Bins) -> list[float]:
    """ζ from strong to weak correlation, then (AR1 with odd gaps) none and negative ones."""
    series = bins.series
    shares = np.cumsum(series.counts) / series.counts.sum()
    short, long = (float(series.gaps[np.searchsorted(shares, share)]) for share in (0.1, 0.9))
    count = int(np.clip(np.log(WEAK / short / (STRONG / long)) / np.log(RATIO) + 1.0, FEWEST, MOST))
    grid = [zeta_of(series.residual, decay) for decay in np.geomspace(STRONG / long, WEAK / short, count)]
    if isinstance(series.residual, AR1):
        odd = (series.gaps % 2.0 == 1.0).any()
        grid += [0.0, *(-zeta for zeta in reversed(grid))] if odd else [0.0]
    return grid


# ---------------------------------------------------------------------- what a serial fit answers


def independence(fit: SerialFit | FactorSerialFit) -> float:
    """Twice the log-likelihood that φ adds to independent residuals."""
    if isinstance(fit, FactorSerialFit):
        return max(2.0 * fit.log_likelihood + fit.independent, 0.0)
    return max(2.0 * (fit.log_likelihood - fit_lmm(fit.bins.base, fit.reml).log_likelihood), 0.0)


def covariance(fit: SerialFit) -> np.ndarray:
    """(m + 2, m + 2) covariance of (ζ, θ, log σ): twice the inverse Hessian of the deviance, the fixed effects profiled out."""
    joint = Joint(fit.bins, fit.reml)
    log_sigma = float(np.log(fit.sigma / fit.moments.scale_y))
    inner = Criterion(fit.moments, fit.reml).at_sigma(fit.theta, log_sigma)[2]
    if not np.isfinite(fit.zeta):  # held at its end
        return np.asarray(np.pad(2.0 * np.linalg.inv(inner), ((1, 0), (1, 0))))
    ends = [joint.criterion(fit.zeta + step).at_sigma(fit.theta, log_sigma)[1] for step in (STEP, -STEP)]
    across = (ends[0] - ends[1]) / (2.0 * STEP)
    hessian = np.empty((len(inner) + 1, len(inner) + 1))
    hessian[1:, 1:] = inner
    hessian[0, 1:] = hessian[1:, 0] = across
    hessian[0, 0] = fit.joint.hessian[0, 0] + across[-1] ** 2 / inner[-1, -1]  # the fit's own has σ profiled out
    return np.asarray(2.0 * np.linalg.inv(hessian))


def phi_wald(fit: SerialFit, level: float) -> tuple[float, float]:
    """Wald limits of φ on Fisher's z (AR1) or the logit (CAR1), as nlme's `intervals`; NaN where Wald has no meaning."""
    if fit.singular or not fit.converged or not np.isfinite(fit.zeta):
        return np.nan, np.nan
    half = float(ndtri(0.5 + 0.5 * level) * np.sqrt(covariance(fit)[0, 0]))
    if isinstance(fit.residual, AR1):
        return phi_of(fit.residual, fit.zeta - half), phi_of(fit.residual, fit.zeta + half)
    decay = np.exp(-fit.zeta)
    middle, half = -decay - np.log(-np.expm1(-decay)), half * decay / -np.expm1(-decay)  # logit φ, and d logit φ/dζ
    return float(expit(middle - half)), float(expit(middle + half))


def at_edge(fit: SerialFit) -> str | None:
    """Where φ has run to an end of its range: "nothing" (held at 0), "close" (all but 0 over the median gap), "everything" (±1)."""
    if not np.isfinite(fit.zeta):
        return "nothing"
    series = fit.bins.series
    middle = int(np.searchsorted(np.cumsum(series.counts), 0.5 * series.counts.sum()))
    t = float(weights_at(series, fit.zeta).up[middle])
    if min(t, 1.0 / t) < EDGE:
        return "everything"
    return "close" if not isinstance(fit.residual, AR1) and 1.0 - t < EDGE else None


def normalised(fit: SerialFit, residual: np.ndarray) -> np.ndarray:
    """(n,) residuals of the rows, series by series and in time, whitened and over σ: independent if the model holds."""
    return whiten(residual[:, None], fit.bins.series.steps, fit.phi)[:, 0] / fit.sigma


def drawn(fit: SerialFit) -> Callable[[np.random.Generator], Bins]:
    """What draws the bins of another outcome of the same rows from the fitted model, random effects and residuals anew."""
    m, series, rows = fit.moments, fit.bins.series, fit.bins.rows
    q, sigma = m.structure.size, fit.sigma / m.scale_y
    mean = rows[:, q:-1] @ fit.profile.beta
    steps = series.steps
    r = np.where(steps > 0.0, np.power(fit.phi, np.where(steps > 0.0, steps, 1.0)), 0.0)
    sizes = np.diff(series.starts)

    def draw(rng: np.random.Generator) -> Bins:
        own = rng.standard_normal((len(sizes), q)) @ fit.lam.T
        noise = rng.standard_normal(len(r))
        colour(noise, r)
        return fit.bins.with_outcome(
            mean + sigma * (np.einsum("nq,nq->n", rows[:, :q], np.repeat(own, sizes, axis=0)) + noise)
        )

    return draw
