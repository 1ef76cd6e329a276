"""Linear mixed models with several grouping factors, nested and crossed in any combination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.blocks import BlockCriterion, BlockProfile, by_factor, level_covariances, times
from analysis.errors import DesignError
from analysis.factor_moments import FactorMoments
from analysis.linear import FAR, FEW, STARTS, LinearFit, estimates, refuse_impossible
from analysis.optimize import Minimum, minimise_factor

NEAR = 1e-12
"""A Newton decrement below this is an optimum: the deviance has less than this left to fall."""
CLOSE = 1e-5
"""From here one Newton step on the Hessian proper is enough."""
SMALLEST, LARGEST = 0.1, 3.0
"""Relative SDs to begin with lie between these."""
STEPS, HALVINGS = 20, 6
ROUNDING = 1e-12
"""Share of the deviance that may be rounding."""
SMALL = 1e-3
"""A relative SD below this is on its way to zero; bounded Newton steps take over."""


@dataclass(frozen=True)
class FactorFit(LinearFit):
    """A fit with several grouping factors."""

    moments: FactorMoments
    profile: BlockProfile

    @cached_property
    def hessian(self) -> np.ndarray:
        return BlockCriterion(self.moments, self.reml).exact_hessian(self.theta)


def fit_factors(moments: FactorMoments, reml: bool = True, start: np.ndarray | None = None) -> FactorFit:
    """Fit by REML or ML, from θ `start` where one is given.

    A fit that did not converge is returned with `converged` False. Raises DesignError where there are too few rows or the
    fixed effects predict the outcome exactly.
    """
    groups = [(f"levels of {f.name!r}", len(f.levels), f.size) for f in moments.plan.factors]
    refuse_impossible(moments, moments.ww, groups)
    criterion = BlockCriterion(moments, reml)
    structure = moments.structure
    rows, variances = moments.n_obs - moments.n_fixed, len(structure.rows) + 1
    if rows <= variances:
        raise DesignError(
            f"{moments.n_obs} rows less {moments.n_fixed} fixed effects cannot tell {variances} variances and covariances apart; "
            "more rows or fewer random terms are needed."
        )

    def fitted(theta: np.ndarray) -> FactorFit:
        near = near_optimum(criterion, theta)
        end = minimise_factor(criterion, near, structure, second=criterion.hessian, enough=NEAR)
        return factor_fit_at(criterion, end)

    if start is not None:
        return fitted(start)
    found, few = fitted(_from_sums(moments)), moments.plan.kept <= FEW
    if not found.converged or (found.singular and few and moments.plan.nodes_columns <= FEW):
        for size in (*STARTS, FAR):  # small data may have more optima than one
            other = fitted(np.where(structure.diagonal, size, 0.0))
            better = other.log_likelihood - found.log_likelihood > 1e-6
            found = other if other.converged and (better or not found.converged) else found
    return found


def _from_sums(moments: FactorMoments) -> np.ndarray:
    """θ to begin with: each term's variance by what its levels' sums of residuals exceed (Henderson, 1953, method 1, roughly).

    A level of a nested factor has the variance of the levels above in its sums as well: it is taken off, first term by first term.
    """
    plan, p = moments.plan, moments.n_fixed
    beta = np.linalg.solve(moments.ww[:p, :p], moments.ww[:p, p])
    tail = np.concatenate([np.zeros(plan.kept), -beta, [1.0]])
    left, left_tail = times(plan, moments.blocks, moments.kept, np.zeros(plan.nodes_columns), tail)
    total = float(left_tail[-1]) / moments.n_obs
    squares = level_covariances(plan, moments.blocks, moments.kept)
    variances = np.zeros(moments.structure.size)
    above = 0.0
    for place in reversed(range(len(plan.order))):
        factor = plan.factors[plan.order[place]]
        own = np.maximum(np.diagonal(squares[plan.order[place]], axis1=1, axis2=2), 1e-12)
        sums = by_factor(plan, left, left_tail)[plan.order[place]]
        size = own.sum(axis=0)
        found = ((sums**2 / own).sum(axis=0) - len(own) * total) / np.maximum(size - len(own), 0.1 * size)
        found[0] -= above if place < plan.eliminated else 0.0
        variances[factor.terms] = np.maximum(found, 0.0)
        above += variances[factor.terms.start] if place < plan.eliminated else 0.0
    residual = max(total - float(variances[[factor.terms.start for factor in plan.factors]].sum()), 0.1 * total)
    relative = np.clip(np.sqrt(variances / residual), SMALLEST, LARGEST)
    return np.where(moments.structure.diagonal, relative[moments.structure.rows], 0.0)


def factor_fit_at(criterion: BlockCriterion, minimum: Minimum) -> FactorFit:
    """The fit that belongs to an optimum."""
    best = criterion.at(minimum.x)
    return FactorFit(**estimates(criterion.moments, criterion.reml, minimum, best), profile=best)


def near_optimum(criterion: BlockCriterion, theta: np.ndarray) -> np.ndarray:
    """θ after scoring steps with the average information: near the optimum, or on the way to a boundary.

    Each costs little more than an evaluation; the exact Hessian, which the proof needs, costs 2m. A step takes no more than
    three quarters of a diagonal element, since the information knows nothing of bounds.
    """
    diagonal = criterion.moments.structure.diagonal
    for _ in range(STEPS):
        value, gradient = criterion(theta)
        if not np.isfinite(value) or theta[diagonal].min() < SMALL:
            break
        step = -np.linalg.lstsq(criterion.information(theta), gradient, rcond=None)[0]
        if -step @ gradient < CLOSE:
            break
        for halving in range(HALVINGS):
            candidate = theta + 0.5**halving * step
            candidate = np.where(diagonal, np.maximum(candidate, 0.25 * theta), candidate)
            there, slope = criterion(candidate)
            flatter = bool(np.abs(slope).max() < np.abs(gradient).max())
            if there < value or (flatter and there <= value + ROUNDING * abs(value)):
                theta = candidate
                break
        else:
            break
    return theta
