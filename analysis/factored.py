"""Linear mixed models with several grouping factors, nested and crossed in any combination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.blocks import BlockCriterion, BlockProfile
from analysis.factor_moments import FactorMoments
from analysis.linear import FAR, FEW, STARTS, LinearFit, estimates, refuse_impossible
from analysis.optimize import Minimum, minimise_factor

NEAR = 1e-12
"""A Newton decrement below this is an optimum: the deviance has less than this left to fall."""
CLOSE = 1e-5
"""From here one Newton step on the Hessian proper is enough."""
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

    def fitted(theta: np.ndarray) -> FactorFit:
        near = near_optimum(criterion, theta)
        end = minimise_factor(criterion, near, structure, second=criterion.hessian, enough=NEAR)
        return factor_fit_at(criterion, end)

    if start is not None:
        return fitted(start)
    found, few = fitted(np.where(structure.diagonal, STARTS[0], 0.0)), moments.plan.kept <= FEW
    if not found.converged or (found.singular and few and moments.plan.nodes_columns <= FEW):
        for size in (STARTS[1], FAR):  # small data may have more optima than one
            other = fitted(np.where(structure.diagonal, size, 0.0))
            better = other.log_likelihood - found.log_likelihood > 1e-6
            found = other if other.converged and (better or not found.converged) else found
    return found


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
