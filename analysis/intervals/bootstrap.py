"""Parametric bootstrap; of a linear model with one grouping factor from its moments: a replicate costs persons, not rows.

All that a fit reads of y are Z'y of each person, ΣX'y and Σy'y. Given X and Z these have a known joint distribution under the model:
Z'e ~ N(0, σ²Z'Z) per person; what X'e and e'e have beyond it is N(0, σ²C) in total, C = Σ(X'X − X'Z(Z'Z)⁻Z'X), and σ²χ².
So they are drawn themselves, exactly, instead of y (proof: Cochran's theorem on the spaces of Z, of X given Z, and the rest).
Of several factors, and of serial residuals, the rows themselves are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.blocks import BlockCriterion
from analysis.design import Design
from analysis.errors import SpecError
from analysis.factor_moments import FactorMoments, InnerRows, inner_rows
from analysis.factored import FactorFit, factor_fit_at
from analysis.generalised import GlmmFit
from analysis.intervals.parameters import Parameter
from analysis.intervals.redrawn import refits
from analysis.linear import Criterion, LinearFit, LmmFit, fit_at
from analysis.moments import Moments
from analysis.optimize import minimise, minimise_factor
from analysis.serial_factors import FactorSerialFit
from analysis.serial_fit import SerialFit, drawn, fit_serial

ENOUGH = 1e-10
"""A replicate is within 1e-5 of its own standard error then: far below the Monte-Carlo error."""
MOST = 1_000_000
RANK = 1e-12
"""Eigenvalues of Z'Z below this share of a person's largest are zero."""


def bootstrap_intervals(
    fit: LinearFit | GlmmFit, design: Design, wanted: list[Parameter], level: float, replicates: int, seed: int
) -> tuple[np.ndarray, int]:
    """Percentile limits (parameters, 2) over refits of data drawn from the fitted model, and how many replicates had a sound fit.

    As lme4's bootMer with type "parametric" and use.u = FALSE; REML fits are refitted by REML.
    """
    if not isinstance(replicates, int) or not 100 <= replicates <= MOST:
        raise SpecError(f"replicates={replicates!r} must be a whole number from 100 to {MOST:,}, as in 1000.")
    refit: Callable[[np.random.Generator], LinearFit | GlmmFit]
    refit = refits(fit) if isinstance(fit, GlmmFit) else _refits(fit, design)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(replicates):
        again = refit(rng)
        if again.converged:
            values.append([parameter.of(again) for parameter in wanted])
    if len(values) < 0.9 * replicates:
        return np.full((len(wanted), 2), np.nan), len(values)
    tails = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
    turned = np.array([parameter.kind == "dispersion" for parameter in wanted], dtype=bool)
    columns = np.array(values)
    columns[:, turned] = 1.0 / columns[:, turned]  # a size may be infinite
    limits = np.nanquantile(columns, tails, axis=0).T
    with np.errstate(divide="ignore"):
        limits[turned] = 1.0 / limits[turned, ::-1]
    return limits, len(values)


def _refits(fit: LinearFit, design: Design) -> Callable[[np.random.Generator], LinearFit]:
    """Draws an outcome and fits it, from the fit's own θ on."""
    if isinstance(fit, SerialFit):
        outcome, start = drawn(fit), np.append(fit.zeta, fit.theta) if np.isfinite(fit.zeta) else None
        return lambda rng: fit_serial(outcome(rng), fit.reml, start, ENOUGH)
    if isinstance(fit, LmmFit):
        draw = Draw.of(fit)
        return lambda rng: _refit(fit, draw.moments(rng))
    if isinstance(fit, FactorSerialFit):
        raise SpecError(
            "the bootstrap of serial residuals beside several grouping factors is not available; method='wald' is."
        )
    assert isinstance(fit, FactorFit)
    rows = RowDraw.of(fit, design)
    return lambda rng: _refit_factors(fit, rows.moments(rng))


def _refit(fit: LmmFit, moments: Moments) -> LmmFit:
    criterion = Criterion(moments, fit.reml)
    found = minimise_factor(
        criterion,
        fit.theta,
        moments.structure,
        second=criterion.hessian,
        score=lambda theta: criterion.at(theta).score,
        enough=ENOUGH,
    )
    return fit_at(criterion, found)


def _refit_factors(fit: FactorFit, moments: FactorMoments) -> FactorFit:
    criterion = BlockCriterion(moments, fit.reml)
    near = minimise(criterion, fit.theta, moments.structure.lower, criterion.information, enough=ENOUGH)
    found = minimise_factor(criterion, near.x, moments.structure, second=criterion.hessian, enough=ENOUGH)
    return factor_fit_at(criterion, found)


@dataclass(frozen=True)
class RowDraw:
    """With several factors an outcome is drawn row by row; rows : the model's, on the inner scale."""

    fit: FactorFit
    rows: InnerRows

    @classmethod
    def of(cls, fit: FactorFit, design: Design) -> RowDraw:
        return cls(fit, inner_rows(design))

    def moments(self, rng: np.random.Generator) -> FactorMoments:
        """The moments of one drawn outcome Xβ + Zb + e."""
        m, p = self.fit.moments, self.fit.moments.n_fixed
        z, x, sigma = self.rows.z, self.rows.w[:, :p], self.fit.sigma / m.scale_y
        y = x @ self.fit.profile.beta + sigma * rng.standard_normal(len(x))
        for factor in m.plan.factors:
            own = (
                sigma
                * rng.standard_normal((len(factor.levels), factor.size))
                @ self.fit.lam[factor.terms, factor.terms].T
            )
            y += np.einsum("nt,nt->n", z[:, factor.terms], own[factor.codes])
        sums = []
        for f in m.plan.order:
            factor = m.plan.factors[f]
            own_z = z[:, factor.terms]
            sums.append(
                np.column_stack([np.bincount(factor.codes, own * y, len(factor.levels)) for own in own_z.T]).ravel()
            )
        zw, ww = m.zw, m.ww.copy()
        zw[:, p] = np.concatenate(sums)
        ww[:p, p] = ww[p, :p] = x.T @ y
        ww[p, p] = y @ y
        return m.with_dense(zw, ww)


@dataclass(frozen=True)
class Draw:
    """What does not change from one replicate to the next; inner scale, W = [X y].

    root : (persons, q, q) with root @ root' = Z'Z, columns without spread zero;  ranks : Σ rank Z'Z
    across : (persons, q, p) (Z'Z)⁻½ Z'X;  beyond : (p, p) root of C;  rest : degrees of freedom of what is left of e'e
    """

    fit: LmmFit
    root: np.ndarray
    filled: np.ndarray
    across: np.ndarray
    beyond: np.ndarray
    rest: int

    @classmethod
    def of(cls, fit: LmmFit) -> Draw:
        m, p = fit.moments, fit.moments.n_fixed
        values, vectors = np.linalg.eigh(m.zz)
        filled = values > RANK * values[:, -1:]
        sizes = np.sqrt(np.where(filled, values, 1.0))
        root = vectors * np.where(filled, sizes, 0.0)[:, None, :]
        across = np.where(filled, 1.0 / sizes, 0.0)[:, :, None] * (vectors.transpose(0, 2, 1) @ m.zw[:, :, :p])
        left = m.ww[:p, :p] - np.einsum("iqa,iqb->ab", across, across)
        own, axes = np.linalg.eigh(left)
        spread = own > 1e-10 * np.diag(m.ww)[:p].max()
        beyond = axes[:, spread] * np.sqrt(own[spread])
        return cls(fit, root, filled, across, beyond, m.n_obs - int(filled.sum()) - int(spread.sum()))

    def moments(self, rng: np.random.Generator) -> Moments:
        """The moments of one drawn outcome."""
        m, fit, p = self.fit.moments, self.fit, self.fit.moments.n_fixed
        beta, sigma = fit.profile.beta, fit.sigma / m.scale_y
        own = sigma * rng.standard_normal(self.root.shape[:2]) @ fit.lam.T  # random effects of the inner columns
        noise = sigma * np.where(self.filled, rng.standard_normal(self.filled.shape), 0.0)
        extra = sigma * rng.standard_normal(self.beyond.shape[1])
        z_noise = np.einsum("iab,ib->ia", self.root, noise)
        x_noise = np.einsum("iqa,iq->a", self.across, noise) + self.beyond @ extra
        noise_square = np.sum(noise**2) + np.sum(extra**2) + sigma**2 * rng.chisquare(self.rest)
        zx, xx = m.zw[:, :, :p], m.ww[:p, :p]
        x_own = np.einsum("iqa,iq->a", zx, own)
        z_own = np.einsum("iab,ib->ia", m.zz, own)
        zw, ww = m.zw.copy(), m.ww.copy()
        zw[:, :, p] = zx @ beta + z_own + z_noise
        ww[:p, p] = ww[p, :p] = xx @ beta + x_own + x_noise
        ww[p, p] = (
            beta @ xx @ beta + 2.0 * beta @ (x_own + x_noise) + np.sum(own * (z_own + 2.0 * z_noise)) + noise_square
        )
        return replace(m, zw=zw, ww=ww, sample=None)
