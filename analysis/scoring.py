"""From a first guess to the neighbourhood of a generalised model's optimum, in as few evaluations as can be.

The persons' scores give a curvature for nothing; Newton's method on it comes close, and BFGS, starting from it, closer.
What is left to prove (bounds, the true Hessian) is `optimize`'s.
"""

from __future__ import annotations

import numpy as np

from analysis.marginal import At, Marginal

ROUNDS = 100
FAR = 1.0
"""While a Newton step promises more than this, the scores' own spread is the better curvature."""
CLOSE = 1e-13
"""A promise so small is rounding."""
LONGEST = 2.0
"""Longest step in any coordinate; all are of unit scale."""


def approach(marginal: Marginal, start: np.ndarray) -> np.ndarray:
    """A point (m,) close to the deviance's minimum, from `start`."""
    x, here = start, marginal.at(start)
    if not np.isfinite(here.value):
        return start
    curvature = _steady(here)
    for _ in range(ROUNDS):
        step = -np.linalg.solve(curvature, here.gradient)
        promise = float(-step @ here.gradient)
        if promise < CLOSE:
            break
        step *= min(1.0, LONGEST / np.abs(step).max())
        moved = _along(marginal, x, here, step)
        if moved is None:
            break
        share, there = moved
        change = there.gradient - here.gradient
        x, here = x + share * step, there
        curvature = _steady(here) if promise > FAR else _updated(curvature, share * step, change)
    return x


def _steady(at: At) -> np.ndarray:
    """The scores' curvature, with something added where few persons leave it without a direction."""
    information = at.information
    ridge = 1e-2 if len(at.scores) < 5 * len(information) else 1e-6
    return np.asarray(information + ridge * np.diag(np.diag(information) + 1e-3 * np.trace(information)))


def _along(marginal: Marginal, x: np.ndarray, here: At, step: np.ndarray) -> tuple[float, At] | None:
    """The first share of the step, halved as needed, that lowers the deviance enough; None where rounding decides."""
    slope = float(step @ here.gradient)
    share = 1.0
    while share > 1e-6:
        there = marginal.at(x + share * step)
        if there.value <= here.value + 1e-4 * share * slope:
            return share, there
        if -slope * share < 1e-9 * max(1.0, abs(here.value)) and there.value <= here.value + 1e-12 * abs(here.value):
            return share, there  # below what the value can tell: the gradient still can
        share *= 0.5
    return None


def _updated(curvature: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The BFGS update, left out where the slope did not rise along the step."""
    rise = float(step @ change)
    along = curvature @ step
    if rise <= 1e-8 * float(step @ along):
        return curvature
    return np.asarray(curvature + np.outer(change, change) / rise - np.outer(along, along) / float(step @ along))
