"""The stacked model of 1-1-1 mediation (Bauer, Preacher & Gil, 2006, eqs. 5–9), within persons, by exact REML.

M and Y stand under each other as one outcome. Each equation's person means are taken out for good: n_i centred rows carry
n_i − 1 orthonormal contrasts with the same cross-products, which is what the likelihood counts, so that no assumption about
persons' levels is left in it. A model has one residual variance; the rows of M, all columns included, are multiplied by w, and
w = σ_Y/σ_M makes both equal. The likelihood of the data is that of the multiplied rows plus n_M log w, maximised over w.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from analysis.design import Column
from analysis.errors import DesignError
from analysis.linear import Criterion, LmmFit, fit_lmm
from analysis.moments import Moments, gaussian_moments
from analysis.state import state_of_moments

REACH, CLOSE = 1.5, 1e-9
"""log w is sought so far about the ratio of the pooled residuals, and to this."""
STEP = 1e-3
"""Step of the numerical Hessian, in units of an SD of slopes or of a logarithm: its error is a millionth."""
PATHS = 3
"""The random slopes: a, b and c'."""


@dataclass(frozen=True)
class Equation:
    """One outcome's rows within persons.

    scatter : (persons, k, k) of predictors and outcome (last) about the person's own means;  n : (persons,) contrasts, rows − 1
    paths : how many of the predictors, the first ones, have random slopes
    """

    scatter: np.ndarray
    n: np.ndarray
    paths: int

    @cached_property
    def residual(self) -> float:
        """SD left by pooled least squares."""
        whole = self.scatter.sum(axis=0)
        left = whole[-1, -1] - whole[-1, :-1] @ np.linalg.lstsq(whole[:-1, :-1], whole[:-1, -1], rcond=None)[0]
        return float(np.sqrt(max(left, 0.0) / self.n.sum()))


@dataclass(frozen=True)
class Stacked:
    """The equations of M (predictors x and what is held) and of Y (m, x and what is held)."""

    mediator: Equation
    outcome: Equation
    names: tuple[str, ...]

    def moments(self, w: float) -> Moments:
        """Cross-products of the stacked rows with those of M multiplied by w; columns a, b, c', then what is held."""
        one, other = self.mediator, self.outcome
        extra = (one.scatter.shape[1] - 2, other.scatter.shape[1] - 3)
        size = PATHS + sum(extra) + 1
        here = np.array([0, *range(PATHS, PATHS + extra[0]), size - 1])
        there = np.array([1, 2, *range(PATHS + extra[0], size - 1), size - 1])
        scatter = np.zeros((len(one.n), size, size))
        scatter[:, here[:, None], here] += w**2 * one.scatter
        scatter[:, there[:, None], there] += other.scatter
        n = one.n + other.n
        kept = n > 0
        columns = tuple(Column(name, "raw", place) for place, name in enumerate(self.names))
        state = state_of_moments(
            (*self.names, "stacked outcome"),
            pd.RangeIndex(int(kept.sum())),
            n[kept],
            np.zeros((int(kept.sum()), size)),
            scatter[kept],
        )
        return gaussian_moments(state, columns, columns[:PATHS], (PATHS,), "stacked outcome")

    @property
    def counted(self) -> int:
        """Contrasts of M."""
        return int(self.mediator.n.sum())


@dataclass(frozen=True)
class Paths:
    """The fitted stacked model on the scale of the data.

    beta (3,), vcov (3, 3) : a, b, c';  g (3, 3) : covariance of persons' own;  sigma_m, sigma_y : residual SDs
    covariance_se : of g[a, b], from the joint Hessian of all variance parameters, w included; NaN without one to trust
    """

    beta: np.ndarray
    vcov: np.ndarray
    g: np.ndarray
    sigma_m: float
    sigma_y: float
    log_likelihood: float
    covariance_se: float
    converged: bool
    singular: bool


def fit_paths(stacked: Stacked) -> Paths:
    """Fit by REML over w, the slopes' covariance and the residual variances. Raises DesignError for impossible data."""
    ends = stacked.mediator.residual, stacked.outcome.residual
    if not min(ends) > 0.0:
        raise DesignError(
            "the predictors leave nothing of the mediator or of the outcome; there is no path to estimate."
        )
    middle = float(np.log(ends[1] / ends[0]))
    last: LmmFit | None = None

    def loss(log_w: float) -> float:
        nonlocal last
        last = fit_lmm(stacked.moments(float(np.exp(log_w))), start=last)
        return -last.log_likelihood - stacked.counted * log_w

    found = minimize_scalar(loss, bounds=(middle - REACH, middle + REACH), method="bounded", options={"xatol": CLOSE})
    log_w = float(found.x)
    fit = fit_lmm(stacked.moments(float(np.exp(log_w))), start=last)
    inside = abs(log_w - middle) < REACH - 1e-3
    return Paths(
        beta=fit.beta[:PATHS],
        vcov=fit.vcov[:PATHS, :PATHS],
        g=fit.g,
        sigma_m=fit.sigma / float(np.exp(log_w)),
        sigma_y=fit.sigma,
        log_likelihood=fit.log_likelihood + stacked.counted * log_w,
        covariance_se=_covariance_se(stacked, fit, log_w),
        converged=fit.converged and inside and bool(found.success),
        singular=fit.singular,
    )


def deviance(stacked: Stacked, factor: np.ndarray, log_sigma: float, log_w: float) -> float:
    """−2 restricted log-likelihood at a lower-triangular factor (3, 3) of the slopes' covariance, log σ_Y and log w."""
    moments = stacked.moments(float(np.exp(log_w)))
    s, criterion = moments.structure, Criterion(moments, reml=True)
    inner = np.linalg.solve(moments.random_map, factor) / np.exp(log_sigma)  # the map is diagonal: triangles stay
    value = criterion.at_sigma(inner[s.rows, s.columns], log_sigma - float(np.log(moments.scale_y)))[0]
    scale = 2.0 * criterion.free * np.log(moments.scale_y) - 2.0 * moments.log_det
    return float(value + scale - 2.0 * stacked.counted * log_w)


def _covariance_se(stacked: Stacked, fit: LmmFit, log_w: float) -> float:
    """Wald's standard error of the covariance of a and b; elements at their bound are held there."""
    s = fit.moments.structure
    factor = fit.sigma * fit.moments.random_map @ fit.lam
    elements = factor[s.rows, s.columns]
    free = np.append(np.flatnonzero(fit.minimum.free), [len(elements), len(elements) + 1])
    point = np.append(elements, [np.log(fit.sigma), log_w])
    size = np.append(np.full(len(elements), max(float(np.abs(elements).max()), 1e-8 * fit.sigma)), [1.0, 1.0])

    def at(values: np.ndarray) -> float:
        full = point.copy()
        full[free] = values
        return deviance(stacked, s.lam(full[:-2]), float(full[-2]), float(full[-1]))

    hessian = _hessian(at, point[free], STEP * size[free])
    curvatures = np.linalg.eigvalsh(hessian)
    if not curvatures[0] > 1e-10 * curvatures[-1]:
        return float("nan")
    slope = np.zeros(len(point))
    first, second = (int(np.flatnonzero((s.rows == row) & (s.columns == 0))[0]) for row in (0, 1))
    slope[first], slope[second] = elements[second], elements[first]  # the covariance is the product of these two
    return float(np.sqrt(slope[free] @ (2.0 * np.linalg.inv(hessian)) @ slope[free]))


def _hessian(at: Callable[[np.ndarray], float], point: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Central second differences."""
    k, middle = len(point), at(point)
    units = np.diag(steps)
    out = np.empty((k, k))
    for i in range(k):
        out[i, i] = (at(point + units[i]) - 2.0 * middle + at(point - units[i])) / steps[i] ** 2
        for j in range(i):
            corners = [
                one * other * at(point + one * units[i] + other * units[j]) for one in (1, -1) for other in (1, -1)
            ]
            out[i, j] = out[j, i] = sum(corners) / (4.0 * steps[i] * steps[j])
    return out
