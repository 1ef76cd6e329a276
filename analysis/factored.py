"""Linear mixed models with several grouping factors, nested and crossed in any combination."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.blocks import BlockCriterion, BlockProfile
from analysis.factor_moments import FactorMoments
from analysis.linear import STARTS, LinearFit, estimates, refuse_impossible
from analysis.optimize import Minimum, minimise, minimise_factor

NEAR = 1e-12
"""A Newton decrement below this is an optimum: the deviance has less than this left to fall."""


@dataclass(frozen=True)
class FactorFit(LinearFit):
    """A fit with several grouping factors; profile: the criterion at the optimum."""

    moments: FactorMoments
    profile: BlockProfile


def fit_factors(moments: FactorMoments, reml: bool = True, start: np.ndarray | None = None) -> FactorFit:
    """Fit by REML or ML, from θ `start` where one is given.

    A fit that did not converge is returned with `converged` False. Raises DesignError where there are too few rows or the
    fixed effects predict the outcome exactly.
    """
    groups = [(f"levels of {f.name!r}", len(f.levels), f.size) for f in moments.plan.factors]
    refuse_impossible(moments, moments.ww, groups)
    criterion = BlockCriterion(moments, reml)
    structure = moments.structure
    starts = [np.where(structure.diagonal, size, 0.0) for size in STARTS] if start is None else [start]
    theta = min(starts, key=lambda theta: criterion(theta)[0])
    near = minimise(criterion, theta, structure.lower, criterion.information, enough=NEAR)
    return factor_fit_at(
        criterion, minimise_factor(criterion, near.x, structure, second=criterion.hessian, enough=NEAR)
    )


def factor_fit_at(criterion: BlockCriterion, minimum: Minimum) -> FactorFit:
    """The fit that belongs to an optimum."""
    best = criterion.at(minimum.x)
    return FactorFit(**estimates(criterion.moments, criterion.reml, minimum, best), profile=best)
