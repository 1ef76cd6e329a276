"""AR1 or CAR1 residuals beside several grouping factors: rows whitened at φ, eliminated by blocks; φ and θ jointly.

A whitened row is made of a row and the one before in its series, so that both must stand at the same level of every factor: series
lie within the innermost levels, as prompts within a person's day. No sums by gap serve here: each φ takes a pass over the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.blocks import BlockCriterion, log_det_slope, scaled, times
from analysis.centering import label
from analysis.design import Design
from analysis.errors import SpecError
from analysis.factor_moments import FactorMoments, InnerRows, factor_moments, inner_rows, moments_of
from analysis.factored import FactorFit, factor_fit_at, fit_factors, near_optimum
from analysis.kernels.elimination import RowPlaces
from analysis.linear import STARTS
from analysis.optimize import Minimum, differentiate, minimise_factor
from analysis.serial import AR1, Residual, Series, series_of
from analysis.serial_bins import phi_of, weights_at, whiten, zeta_of

DECAYS = (0.01, 0.05, 0.15, 0.4, 1.0, 2.5)
"""−log of the correlation over the median gap where a search for φ looks."""
ENOUGH = 1e-10
"""Newton decrement of the joint optimum."""


@dataclass(frozen=True)
class FactorSerialFit(FactorFit):
    """A fit whose moments are those of rows whitened at φ; `minimum` is that of θ, with the joint proof's figures.

    zeta : φ on its unbounded scale;  joint : the optimum over (ζ, θ);  independent : the deviance at φ = 0
    """

    residual: Residual
    zeta: float
    phi: float
    joint: Minimum
    independent: float


class JointRows:
    """The deviance in (ζ, θ) from rows that stand series by series and in time; everything else is profiled out."""

    def __init__(self, rows: InnerRows, base: FactorMoments, series: Series, reml: bool) -> None:
        self.rows = rows
        self.series = series
        self.reml = reml
        self.base = base
        self._there: tuple[float, BlockCriterion] | None = None
        self._at: tuple[bytes, float, np.ndarray] | None = None

    def criterion(self, zeta: float) -> BlockCriterion:
        if self._there is None or self._there[0] != zeta:
            phi, q = phi_of(self.series.residual, zeta), self.rows.z.shape[1]
            white = whiten(np.hstack([self.rows.z, self.rows.w]), self.series.steps, phi)
            self._there = (
                zeta,
                BlockCriterion(moments_of(self.base, self.base.plan, white[:, :q], white[:, q:]), self.reml),
            )
        return self._there[1]

    def log_det(self, zeta: float) -> float:
        return weights_at(self.series, zeta).log_det

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        key = point.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = key, *self._evaluate(point)
        return self._at[1:]

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """(1 + m, 1 + m) by central differences of the exact gradient."""
        return differentiate(self._evaluate, point)

    def _evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        zeta, weights = float(point[0]), weights_at(self.series, float(point[0]))
        undefined = np.inf, np.full(len(point), np.nan)
        if not np.isfinite(weights.log_det) or not np.isfinite(weights.down).all():
            return undefined
        at = self.criterion(zeta).at(point[1:])
        if not np.isfinite(at.deviance):
            return undefined
        slope = self._slope(zeta, point[1:]) + weights.log_det_slope
        return at.deviance + weights.log_det, np.append(slope, at.gradient)

    def _slope(self, zeta: float, theta: np.ndarray) -> float:
        """The criterion's slope in ζ: its derivative by the cross-products K, times theirs.

        With K + dK instead of K: tr(H⁻¹ Λ'dKΛ) of log|H|, the fixed effects' part with REML, and v'dKv of the residual sum of
        squares, v = (−b, −β, 1).
        """
        criterion, plan = self.criterion(zeta), self.base.plan
        at = criterion.at(theta)
        assert at.factorised is not None
        change, lam, kept, p = self._change(zeta), self.base.structure.lam(theta), plan.kept, self.base.n_fixed
        b, b_tail = scaled(plan, lam, at.u, np.append(at.u_kept, at.beta))
        vector, tail = -b, np.append(-b_tail, 1.0)
        product, product_tail = times(plan, change.blocks, change.kept, vector, tail)
        slope = criterion.free / at.rss * float(vector @ product + tail @ product_tail)
        alone = log_det_slope(plan, lam, change.blocks, change.kept, *at.factorised.inverse(0))
        if not self.reml:
            return slope + float(np.sum(lam * alone))
        inverse, inner = at.factorised.inverse(p)
        with_fixed = log_det_slope(plan, lam, change.blocks, change.kept, inverse, inner)
        without = with_fixed - self._meeting(change, inverse, inner)
        fixed = slice(kept, kept + p)
        own = float(np.sum(inner[fixed, fixed] * change.kept[fixed, fixed]))
        return slope + float(np.sum(lam * (2.0 * with_fixed - without))) + own

    def _meeting(self, change: FactorMoments, inverse: np.ndarray, inner: np.ndarray) -> np.ndarray:
        """The part of `log_det_slope` where random columns meet the fixed ones, (terms, terms)."""
        nothing = np.zeros_like(self.base.structure.lam(np.zeros(len(self.base.structure.rows))))
        return log_det_slope(self.base.plan, nothing, change.blocks, change.kept, inverse, inner)

    def _change(self, zeta: float) -> FactorMoments:
        """dK/dζ, from W'Ẇ + Ẇ'W = ½[(W + Ẇ)'(W + Ẇ) − (W − Ẇ)'(W − Ẇ)]."""
        steps, phi = self.series.steps, phi_of(self.series.residual, zeta)
        inside = steps > 0.0
        gap = np.where(inside, steps, 1.0)
        r = np.where(inside, np.power(phi, gap), 0.0)
        if isinstance(self.series.residual, AR1):
            turn = np.where(inside, gap * np.power(phi, gap - 1.0), 0.0) / np.cosh(zeta) ** 2
        else:
            turn = np.where(inside, gap * np.exp(-zeta), 0.0) * r
        rows, q = np.hstack([self.rows.z, self.rows.w]), self.rows.z.shape[1]
        before = np.vstack([rows[:1], rows[:-1]])
        left = np.sqrt(1.0 - r * r)
        white = (rows - r[:, None] * before) / left[:, None]
        moved = turn[:, None] * (-before / left[:, None] + (r / left**2)[:, None] * white)
        above, below = (
            moments_of(self.base, self.base.plan, w[:, :q], w[:, q:]) for w in (white + moved, white - moved)
        )
        return replace(self.base, blocks=0.5 * (above.blocks - below.blocks), kept=0.5 * (above.kept - below.kept))


def fit_serial_factors(design: Design, residual: Residual, reml: bool = True) -> FactorSerialFit:
    """Fit by REML or ML from the dips of a coarse search along φ. Raises SpecError where a series spans levels of a factor."""
    series = series_of(residual, design)
    rows = inner_rows(design)
    order = series.order
    for factor in design.factors:
        codes = factor.codes[order]
        across = np.flatnonzero((series.steps > 0.0) & (codes != np.r_[codes[:1], codes[:-1]]))
        if len(across):
            one, other = (label(factor.levels[codes[row]]) for row in (across[0] - 1, across[0]))
            raise SpecError(
                f"residual={residual}: a series spans the levels {one} and {other} of {factor.name!r}; with several grouping "
                f"factors it must lie within one level of each, as with within={factor.name!r}."
            )
    base = fit_factors(factor_moments(design), reml)
    places = base.moments.plan.rows
    moved = RowPlaces(*(np.ascontiguousarray(part[..., order]) for part in places))
    moments = replace(base.moments, plan=replace(base.moments.plan, rows=moved))
    joint = JointRows(InnerRows(rows.z[order], rows.w[order], rows.inner), moments, series, reml)
    middle = float(series.gaps[np.searchsorted(np.cumsum(series.counts), 0.5 * series.counts.sum())])
    starts = _dips(joint, [zeta_of(residual, decay / middle) for decay in DECAYS], base.theta)
    ends = [
        minimise_factor(joint, start, moments.structure, before=1, second=joint.hessian, enough=ENOUGH)
        for start in starts
    ]
    best = min(ends, key=lambda end: end.value)
    zeta = float(best.x[0])
    inner = replace(best, x=best.x[1:], gradient=best.gradient[1:], hessian=best.hessian[1:, 1:], free=best.free[1:])
    fit = factor_fit_at(joint.criterion(zeta), inner)
    known = {name: getattr(fit, name) for name in fit.__dataclass_fields__}
    known["log_likelihood"] -= 0.5 * joint.log_det(zeta)
    return FactorSerialFit(
        **known,
        residual=residual,
        zeta=zeta,
        phi=phi_of(residual, zeta),
        joint=best,
        independent=-2.0 * base.log_likelihood,
    )


def _dips(joint: JointRows, grid: list[float], theta: np.ndarray) -> list[np.ndarray]:
    """The dips (ζ, θ) of the deviance over the grid, θ found loosely at each; AR1 looks at negative φ as well."""
    whole = sorted({*grid, *(-zeta for zeta in grid)}) if isinstance(joint.series.residual, AR1) else sorted(grid)
    diagonal = joint.base.structure.diagonal
    theta = np.where(diagonal, np.maximum(theta, 0.5 * STARTS[0]), theta)
    points, values = [], []
    for zeta in whole:
        criterion = joint.criterion(zeta)
        near = near_optimum(criterion, theta)
        points.append(np.append(zeta, near))
        values.append(criterion(near)[0] + joint.log_det(zeta))
    around = [np.inf, *values, np.inf]
    return [points[k] for k, value in enumerate(values) if value <= around[k] and value < around[k + 2]]
