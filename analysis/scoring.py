"""From a first guess to the neighbourhood of a generalised model's optimum, in as few evaluations as can be.

Newton steps bring the fixed effects, EM steps the persons' spread to their sizes; then everything moves together by BFGS, which starts from a curvature that
costs nothing: the penalised likelihood's in the fixed effects, that of the persons' scores in the rest. What is left to
prove (bounds, the true Hessian) is `optimize`'s.
"""

from __future__ import annotations

import numpy as np

from analysis.covariance import canonical
from analysis.marginal import At, Marginal

ROUNDS = 100
CLOSE = 1e-12
"""A promised fall so small is left to Newton steps on the true Hessian."""
FIRST = 2
"""Steps for the fixed effects and the persons' spread apart, before all parameters move together."""
LONGEST = 2.0
"""Longest step in any coordinate; all are of unit scale."""


def approach(marginal: Marginal, start: np.ndarray) -> np.ndarray:
    """A point (m,) close to the deviance's minimum, from `start`."""
    x, here = start, marginal.at(start)
    for _ in range(FIRST):
        if np.isfinite(here.value):
            candidate = _first_step(marginal, x, here)
            there = marginal.at(candidate)
            if there.value < here.value:
                x, here = candidate, there
    if not np.isfinite(here.value):
        return x
    curvature = _curvature(marginal, x, here)
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
        curvature = _updated(curvature, share * step, change)
    return x


def _first_step(marginal: Marginal, x: np.ndarray, at: At) -> np.ndarray:
    """Newton's step for β in the penalised likelihood, and an EM step for Λ, which many rows a person make a long one."""
    data, modes = marginal.data, marginal.modes
    p, first = data.n_fixed, data.n_fixed + data.n_extra
    lam = data.structure.lam(x[first:])
    curvature, _, information = marginal.curvatures(x)
    expected = np.linalg.inv(curvature) + modes[:, :, None] * modes[:, None, :]
    factor = lam @ np.linalg.cholesky(expected.mean(axis=0))
    step = np.linalg.lstsq(-2.0 * information, at.gradient[:p], rcond=1e-10)[0]
    step *= min(1.0, LONGEST / np.abs(step).max(initial=LONGEST))
    return np.concatenate([x[:p] + step, x[p:first], canonical(data.structure, factor)])


def _curvature(marginal: Marginal, x: np.ndarray, at: At) -> np.ndarray:
    """(m, m), with something added where few persons leave a direction without curvature."""
    p = marginal.data.n_fixed
    out = at.information
    out[:p] = 0.0
    out[:, :p] = 0.0
    out[:p, :p] = 2.0 * marginal.curvatures(x)[2]
    few = 1e-2 if len(at.scores) < 5 * len(out) else 1e-6
    return np.asarray(out + few * np.diag(np.diag(out) + 1e-3 * np.trace(out)))


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
