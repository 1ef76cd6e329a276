"""Generalised mixed models by Laplace or adaptive quadrature (Pinheiro & Bates, 1995).

Fixed effects, the families' own parameters and θ are optimised jointly; standard errors come from the joint Hessian of the
exact score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit, ndtri

from analysis.blocks import Factorised, by_factor, joined, level_covariances
from analysis.elimination import Plan, make_plan
from analysis.errors import SpecError
from analysis.factors import Factor
from analysis.joint_modes import JointModes
from analysis.kernels import families
from analysis.marginal import Marginal, natural, natural_slope, unbounded
from analysis.optimize import Minimum, Objective, Updated, descend, differentiate, minimise, minimise_factor
from analysis.responses import Responses
from analysis.scoring import approach
from analysis.separation import runs_away

SAME = 1e-7
"""A Hessian by differences is as good for a point so near: its own error is as large."""
TINY = 1e-4
"""A variance parameter that ends below this starts its last search at zero."""
NEAR = 1e-10
"""A Newton decrement that is left to the last search."""
LOGISTIC = (families.BINOMIAL_LOGIT, families.ORDINAL_LOGIT)
MOST_POINTS = 100
"""Quadrature points; beyond some thirty nothing changes."""
LARGE_SIZE = 1e4
"""A negative binomial's κ beyond this is compared with the Poisson model, its limit."""
WIDEST = 16.0
"""Persons that differ by more than so many SDs of the answer's own distribution answer all alike: the estimate has no end."""


@dataclass(frozen=True, slots=True)
class LevelModes:
    """A factor's levels on the inner scale: u (levels, q), H⁻¹ (levels, q, q) with H = Λ'Z'WZΛ + I, and du/d(β*, ψ*) (levels, q, p + r)."""

    u: np.ndarray
    inverse: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True, slots=True)
class Known:
    """Where to begin: a point (β*, φ, θ), about the deviance's Hessian there, and the plan of several factors."""

    point: np.ndarray
    curvature: np.ndarray
    plan: Plan | None

    def without(self, k: int) -> Known:
        """The same with one coordinate less."""
        return Known(np.delete(self.point, k), np.delete(np.delete(self.curvature, k, 0), k, 1), self.plan)


@dataclass(frozen=True)
class GlmmFit:
    """A fitted generalised mixed model, on the scale of the data.

    beta (p,), extra (r,): fixed effects and the family's own parameters (log κ, inf for the Poisson limit; thresholds)
    joint : (p + r, p + r) their covariance;  g (q, q) as in `LinearFit`
    theta (m,), lam (q, q) on the inner scale;  levels : what there is of each factor's levels, in the design's order
    inner : (β*, ψ*, θ) at the optimum;  inner_covariance (its length squared) from the joint Hessian, zero where a bound holds
    factorised : H of all levels where there are several factors
    separated : True where an estimate runs away to infinity;  endless : True where the persons' spread does
    """

    data: Responses
    agq: int
    theta: np.ndarray
    lam: np.ndarray
    minimum: Minimum
    levels: tuple[LevelModes, ...]
    factorised: Factorised | None
    beta: np.ndarray
    extra: np.ndarray
    joint: np.ndarray
    inner: np.ndarray
    inner_covariance: np.ndarray
    g: np.ndarray
    log_likelihood: float
    converged: bool
    singular: bool
    separated: bool
    endless: bool

    @property
    def vcov(self) -> np.ndarray:
        """(p, p) the fixed effects' covariance."""
        return np.asarray(self.joint[: len(self.beta), : len(self.beta)])

    @property
    def plan(self) -> Plan | None:
        """How several grouping factors are eliminated."""
        return None if self.factorised is None else self.factorised.plan

    @property
    def without_size(self) -> bool:
        """Is this a negative binomial model at its limit, Poisson's?"""
        return self.data.n_extra < len(self.extra)


def deviance_of(data: Responses, agq: int, plan: Plan | None) -> Marginal | JointModes:
    """The marginal deviance as a function of (β*, φ, θ), with gradient; plan where there are several grouping factors."""
    return Marginal(data, agq) if plan is None else JointModes(data, plan)


def with_size_parameter(data: Responses) -> Responses:
    """The negative binomial model's rows from those of its Poisson limit."""
    p = data.n_fixed
    joint = np.eye(p + 1)
    joint[:p, :p] = data.joint_map
    return replace(data, family=families.NEGATIVE_BINOMIAL, n_extra=1, joint_map=joint)


def fit_glmm(
    data: Responses,
    agq: int = 1,
    several: Sequence[Factor] = (),
    known: Known | None = None,
) -> GlmmFit:
    """Fit by Laplace (agq=1) or with agq quadrature points per person, which needs a single factor and random effect.

    several : the grouping factors where there is more than one
    known : what a fit of the same rows with another outcome tells
    A fit that did not converge is returned with `converged` False and, without a Hessian to trust, NaN in `joint`.
    """
    if isinstance(agq, bool) or not isinstance(agq, (int, np.integer)) or not 1 <= agq <= MOST_POINTS:
        raise SpecError(f"agq={agq!r} must be a whole number of quadrature points, from 1 (Laplace) to {MOST_POINTS}.")
    q = data.structure.size
    if agq > 1 and (q > 1 or several):
        many = f"{len(several)} grouping factors" if several else f"{q}"
        raise SpecError(
            f"agq={agq} needs a single random effect per group, and the model has {many}; use agq=1 (Laplace)."
        )
    first = data.n_fixed + data.n_extra
    if several:
        return _fit_several(data, several, first, known)
    marginal = Marginal(data, int(agq))
    near = _upright(data, approach(marginal, start(data) if known is None else known.point), first)
    if data.family == families.NEGATIVE_BINOMIAL and near[first - 1] > np.log(LARGE_SIZE):
        limit = _without_overdispersion(data, int(agq), float(marginal.at(near).value))
        if limit is not None:
            return limit
    minimum = minimise_factor(marginal, near, data.structure, before=first, second=_Differentiated(marginal))
    marginal.at(minimum.x)
    curvature, cross, _ = marginal.curvatures(minimum.x)
    inverse = np.linalg.inv(curvature)
    return _finished(data, minimum, int(agq), (LevelModes(marginal.modes, inverse, -inverse @ cross),), None)


def _fit_several(data: Responses, several: Sequence[Factor], first: int, known: Known | None) -> GlmmFit:
    plan = make_plan(several, 0) if known is None or known.plan is None else known.plan
    marginal = JointModes(data, plan)
    if data.family == families.NEGATIVE_BINOMIAL:
        poisson = replace(data, family=families.POISSON, n_extra=0, joint_map=data.fixed_map)
        limit = fit_glmm(poisson, 1, several, None if known is None else known.without(data.n_fixed))
    if known is None:
        point = descend(marginal, start(data))
    else:
        nowhere = np.full(len(known.point), -np.inf)
        point = minimise(marginal, known.point, nowhere, Updated(marginal, known.curvature), NEAR).x
    near = _upright(data, point, first)
    minimum = minimise_factor(marginal, near, data.structure, before=first, second=_Differentiated(marginal))
    if data.family == families.NEGATIVE_BINOMIAL and not minimum.value < limit.minimum.value - 1e-6:
        return replace(limit, extra=np.array([np.inf]))
    found = marginal.modes(minimum.x)
    inverses = level_covariances(plan, *found.factorised.inverse(0))
    cross = marginal.cross(minimum.x)
    shifts = [np.empty_like(own) for own in cross]
    for k in range(first):
        solved = found.factorised.solve(*joined(plan, [own[:, :, k] for own in cross]))
        for shift, own in zip(shifts, by_factor(plan, *solved), strict=True):
            shift[:, :, k] = -own
    levels = map(LevelModes, by_factor(plan, found.u, found.tail), inverses, shifts)
    return _finished(data, minimum, 1, tuple(levels), found.factorised)


class _Differentiated:
    """The deviance's Hessian by differences of its gradient; the last steps to an optimum share one."""

    def __init__(self, marginal: Objective) -> None:
        self.marginal = marginal
        self.point: np.ndarray | None = None
        self.hessian = np.empty(0)

    def __call__(self, point: np.ndarray) -> np.ndarray:
        if self.point is None or np.abs(point - self.point).max() > SAME:
            self.point, self.hessian = point.copy(), differentiate(self.marginal, point)
        return self.hessian


def _finished(
    data: Responses, minimum: Minimum, agq: int, levels: tuple[LevelModes, ...], factorised: Factorised | None
) -> GlmmFit:
    p, r = data.n_fixed, data.n_extra
    beta, phi, theta = minimum.x[:p], minimum.x[p : p + r], minimum.x[p + r :]
    psi, lam = natural(data.family, phi), data.structure.lam(theta)
    to_natural = np.eye(len(minimum.x))
    to_natural[p : p + r, p : p + r] = natural_slope(data.family, phi)
    covariance = to_natural @ _covariance(minimum) @ to_natural.T
    inner = np.concatenate([beta, psi, theta])
    written = data.joint_map @ inner[: p + r]
    factor = data.random_map @ lam
    proven = minimum.is_proven(len(data.y)) and bool(np.isfinite(covariance).all())
    separated = runs_away(data, inner[: p + r], certain=proven)
    own = np.pi / np.sqrt(3.0) if data.family in LOGISTIC else 1.0
    endless = bool((np.sqrt((lam**2).sum(axis=1)) > WIDEST * own).any())
    return GlmmFit(
        data=data,
        agq=agq,
        theta=theta,
        lam=lam,
        minimum=minimum,
        levels=levels,
        factorised=factorised,
        beta=written[:p],
        extra=written[p:],
        joint=data.joint_map @ covariance[: p + r, : p + r] @ data.joint_map.T,
        inner=inner,
        inner_covariance=covariance,
        g=factor @ factor.T,
        log_likelihood=data.constant - 0.5 * minimum.value,
        converged=proven and not separated and not endless,
        singular=data.structure.is_singular(theta),
        separated=separated,
        endless=endless,
    )


def _upright(data: Responses, point: np.ndarray, first: int) -> np.ndarray:
    """The same model with a Λ whose diagonal is not negative: a column's sign is free."""
    lam = data.structure.lam(point[first:])
    lam *= np.where(np.diag(lam) < 0.0, -1.0, 1.0)
    np.fill_diagonal(lam, np.where(np.diag(lam) < TINY, 0.0, np.diag(lam)))
    return np.append(point[:first], data.structure.theta(lam))


def _without_overdispersion(data: Responses, agq: int, value: float) -> GlmmFit | None:
    """The Poisson model's fit with κ = ∞, where the negative binomial is not better; None where it is."""
    poisson = replace(
        data,
        family=families.POISSON,
        n_extra=0,
        joint_map=data.fixed_map,
    )
    fit = fit_glmm(poisson, agq)
    if fit.minimum.value > value + 1e-6 * max(1.0, abs(value)) ** 0.5:
        return None
    return replace(fit, extra=np.array([np.inf]))


def start(data: Responses) -> np.ndarray:
    """A point (β*, φ, θ) to begin with: a model without predictors, and middling spreads."""
    level, psi = _null(data)
    constant = data.x.sum(axis=1) / len(data.y)  # the inner columns are orthonormal: their weights for a constant
    return np.concatenate([level * constant, unbounded(data.family, psi), np.where(data.structure.diagonal, 0.5, 0.0)])


def _null(data: Responses) -> tuple[float, np.ndarray]:
    """The linear predictor of a model without predictors, and its ψ (r,)."""
    none = np.empty(0)
    if data.family >= families.ORDINAL_LOGIT:
        counts = np.bincount(data.y.astype(int), minlength=data.n_extra + 1)
        below = np.cumsum(counts)[:-1] / counts.sum()
        return 0.0, logit(below) if data.family == families.ORDINAL_LOGIT else ndtri(below)
    mean = float((data.size * data.y).sum() / data.size.sum())
    shift = float(data.offset.mean())
    if data.family == families.BINOMIAL_LOGIT:
        return float(logit(mean)) - shift, none
    if data.family == families.BINOMIAL_PROBIT:
        return float(ndtri(mean)) - shift, none
    if data.family == families.BINOMIAL_CLOGLOG:
        return float(np.log(-np.log1p(-mean))) - shift, none
    top = data.offset.max()
    level = float(np.log(mean) - np.log(np.mean(np.exp(data.offset - top))) - top)
    if data.family == families.POISSON:
        return level, none
    spread = float(data.y.var()) - mean
    return level, np.array([np.log(np.clip(2.0 * mean**2 / max(spread, 1e-3 * mean), 0.1, 100.0))])


def _covariance(minimum: Minimum) -> np.ndarray:
    """2H⁻¹ over the free coordinates, H the joint Hessian of the deviance, zero elsewhere; NaN if H is not positive."""
    curvatures = minimum.curvatures
    out = np.zeros_like(minimum.hessian)
    if not len(curvatures) or not curvatures[0] > 1e-10 * curvatures[-1]:
        return np.full_like(out, np.nan)
    free = np.flatnonzero(minimum.free)
    out[np.ix_(free, free)] = 2.0 * np.linalg.inv(minimum.hessian[np.ix_(free, free)])
    return out
