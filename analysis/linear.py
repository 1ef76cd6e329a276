"""Linear mixed models by profiled REML or ML (Bates et al., 2015, eqs. 30–42), with exact gradient and Hessian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from analysis.covariance import canonical
from analysis.errors import DesignError, SpecError
from analysis.kernels.compiled import each
from analysis.kernels.gaussian import LANES, criterion, curvature, first_sums, second_sums
from analysis.moments import Inner, Moments, Sample
from analysis.optimize import Minimum, minimise, minimise_factor

STARTS = (0.3, 1.5)
"""Relative SDs of all random effects to start from where the one-step estimate is worse."""
MANY = 4
"""A start is made of a sample where persons are so many times more."""
FEW, FAR = 200, 6.0
"""A fit at the boundary is begun anew from every start, and from FAR, up to FEW persons: small data may have more optima."""
PART = 32
"""Blocks of persons that one core sums at a time; fixed, so that the sums do not depend on the number of cores."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The criterion at one θ, everything else profiled out; inner scale.

    deviance : −2 log-likelihood (restricted for REML), gradient (m,) with respect to θ
    beta : (p,);  rss : the penalised residual sum of squares;  inverse : (p, p) (X'V⁻¹X)⁻¹ with V relative to σ²
    score : (q, q) the gradient with respect to ΛΛ'
    spread : (q, q, p + 1, p + 1) ΣW̃_a W̃_b', W̃ = Z'V⁻¹[X y], symmetric in both pairs
    weight : (p + 1, p + 1) the weight of W̃W̃' in the score
    """

    deviance: float
    gradient: np.ndarray
    beta: np.ndarray
    rss: float
    inverse: np.ndarray
    score: np.ndarray
    spread: np.ndarray
    weight: np.ndarray


class Criterion:
    """The profiled deviance of a model's moments as a function of θ (m,), with gradient and Hessian.

    It keeps what it last computed, since the Hessian is asked for where the gradient has just been.
    """

    def __init__(self, moments: Moments, reml: bool) -> None:
        self.moments = moments
        self.reml = reml
        self.free = degrees(moments, reml)
        persons, q, d = moments.zw.shape
        blocks = -(-persons // LANES)
        self._parts = [(first, min(first + PART, blocks)) for first in range(0, blocks, PART)]
        self._left = np.empty((blocks, q, q, LANES)), np.empty((blocks, q, d, LANES))
        self._at: tuple[bytes, Profile] | None = None

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        at = self.at(theta)
        return at.deviance, at.gradient

    def at(self, theta: np.ndarray) -> Profile:
        """The criterion at θ; deviance +inf and a gradient of NaN where it is undefined."""
        key = theta.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = key, self._evaluate(theta)
        return self._at[1]

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """(m, m), exact."""
        at = self.at(theta)
        if not np.isfinite(at.deviance):
            return np.full((len(theta), len(theta)), np.nan)
        return self._curvature(theta, at, at.score, at.weight, self.free / at.rss, self.free / at.rss**2)

    def at_sigma(self, theta: np.ndarray, log_sigma: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient (m + 1,) and Hessian (m + 1, m + 1) in (θ, log σ), with the fixed effects alone profiled out."""
        at, m = self.at(theta), len(theta)
        if not np.isfinite(at.deviance):
            return np.inf, np.full(m + 1, np.nan), np.full((m + 1, m + 1), np.nan)
        s, precision = self.moments.structure, np.exp(-2.0 * log_sigma)
        residual = np.append(-at.beta, 1.0)
        squares = np.ascontiguousarray(np.einsum("abjk,j,k->ab", at.spread, residual, residual))
        surplus = precision - self.free / at.rss  # the weight of the residual at this σ, less that at the best σ
        score = at.score - surplus * squares
        slope = -2.0 * (squares @ s.lam(theta))[s.rows, s.columns]  # of the residual sum of squares
        gradient = np.append(
            2.0 * (score @ s.lam(theta))[s.rows, s.columns], 2.0 * self.free - 2.0 * at.rss * precision
        )
        hessian = np.empty((m + 1, m + 1))
        weight = at.weight + surplus * np.outer(residual, residual)
        hessian[:m, :m] = self._curvature(theta, at, score, weight, precision, 0.0)
        hessian[m, :m] = hessian[:m, m] = -2.0 * slope * precision
        hessian[m, m] = 4.0 * at.rss * precision
        moved = self.free * (2.0 * log_sigma - np.log(at.rss / self.free) - 1.0) + at.rss * precision
        return at.deviance + moved, gradient, hessian

    def _curvature(
        self, theta: np.ndarray, at: Profile, score: np.ndarray, weight: np.ndarray, slope: float, bend: float
    ) -> np.ndarray:
        s, second = self.moments.structure, self._second(weight)
        return curvature(
            second, at.spread, score, at.inverse, at.beta, slope, bend, self.reml, s.lam(theta), s.rows, s.columns
        )

    def one_step(self) -> np.ndarray | None:
        """θ after one step of Fisher scoring from no random effects at all (MIVQUE0); None if it is not to be had."""
        s = self.moments.structure
        at = self.at(np.zeros(len(s.rows)))
        if not np.isfinite(at.deviance):
            return None
        information = -self._second(np.zeros_like(at.weight))
        units = np.zeros((len(s.rows), s.size, s.size))
        for t, (a, b) in enumerate(zip(s.rows, s.columns, strict=True)):
            units[t, a, b] = units[t, b, a] = 1.0
        fisher = np.einsum("abce,sbc,tea->st", information, units, units)
        step = -np.linalg.lstsq(fisher, np.einsum("ab,sab->s", at.score, units), rcond=None)[0]
        values, vectors = np.linalg.eigh(np.einsum("s,sab->ab", step, units))
        if not values[-1] > 0.0:
            return None
        return canonical(s, vectors * np.sqrt(np.maximum(values, 1e-2 * values[-1])))

    def _evaluate(self, theta: np.ndarray) -> Profile:
        m = self.moments
        lam = m.structure.lam(theta)
        q, d = m.zw.shape[1:]
        absorbed, own = np.empty((len(self._parts), d, d)), np.empty((len(self._parts), q, q))
        spread = np.empty((len(self._parts), q, q, d, d))

        def part(i: int) -> float:
            return first_sums(m.zz, m.zw, lam, *self._parts[i], *self._left, absorbed[i], own[i], spread[i])

        logs = sum(each(part, len(self._parts)))
        with np.errstate(invalid="ignore"):  # far out, sums may overflow; the criterion is undefined there
            whole = absorbed.sum(axis=0), own.sum(axis=0), spread.sum(axis=0)
        inverse, score = np.empty((d - 1, d - 1)), np.empty((q, q))
        weight, beta = np.empty((d, d)), np.empty(d - 1)
        deviance, rss = criterion(m.ww, logs, *whole, self.free, self.reml, inverse, score, weight, beta)
        gradient = 2.0 * (score @ lam)[m.structure.rows, m.structure.columns]
        if not np.isfinite(deviance):
            deviance, gradient = np.inf, np.full(len(theta), np.nan)
        return Profile(deviance, gradient, beta, rss, inverse, score, whole[2], weight)

    def _second(self, weight: np.ndarray) -> np.ndarray:
        q = self.moments.structure.size
        out = np.empty((len(self._parts), q, q, q, q))
        each(lambda i: second_sums(*self._left, weight, *self._parts[i], out[i]), len(self._parts))
        return np.asarray(out.sum(axis=0))


class Optimum(Protocol):
    """What estimates are made of, whatever the number of factors: rss, beta (p,), inverse (p, p) and deviance at the optimum."""

    @property
    def deviance(self) -> float: ...
    @property
    def rss(self) -> float: ...
    @property
    def beta(self) -> np.ndarray: ...
    @property
    def inverse(self) -> np.ndarray: ...


@dataclass(frozen=True)
class LinearFit:
    """A fitted linear mixed model, on the scale of the data.

    beta (p,), vcov (p, p): fixed effects;  g (q, q): covariance of the random effects, factor by factor
    theta (m,), lam (q, q): the optimum on the inner scale;  profile: the criterion there
    """

    moments: Inner
    reml: bool
    theta: np.ndarray
    lam: np.ndarray
    minimum: Minimum
    beta: np.ndarray
    vcov: np.ndarray
    g: np.ndarray
    sigma: float
    log_likelihood: float
    converged: bool
    singular: bool
    profile: Optimum

    @property
    def degrees(self) -> int:
        """n − p for REML, n for ML."""
        return degrees(self.moments, self.reml)

    @property
    def hessian(self) -> np.ndarray:
        """(m, m) of the deviance in θ at the optimum."""
        return self.minimum.hessian


@dataclass(frozen=True)
class LmmFit(LinearFit):
    """A fit with one grouping factor."""

    moments: Moments
    profile: Profile


def degrees(moments: Inner, reml: bool) -> int:
    return moments.n_obs - (moments.n_fixed if reml else 0)


def fit_lmm(moments: Moments, reml: bool = True, start: LmmFit | None = None) -> LmmFit:
    """Fit one grouping factor by REML or ML, from the estimates of `start` where a fit of the same terms is given.

    A fit that did not converge is returned with `converged` False. Raises DesignError where there are too few rows or the
    fixed effects predict the outcome exactly.
    """
    refuse_impossible(moments, moments.ww, [("groups", *moments.zw.shape[:2])])
    criterion_of = Criterion(moments, reml)
    found = fit_at(criterion_of, _minimum(criterion_of, best_start(criterion_of, start)))
    if start is None and found.singular and len(found.theta) > 1 and len(moments.zz) <= FEW:
        for size in (*STARTS, FAR):
            other = fit_at(criterion_of, _minimum(criterion_of, np.where(moments.structure.diagonal, size, 0.0)))
            better = other.log_likelihood - found.log_likelihood > 1e-6
            found = other if better and other.converged >= found.converged else found
    return found


def _minimum(criterion_of: Criterion, theta: np.ndarray) -> Minimum:
    return minimise_factor(
        criterion_of,
        theta,
        criterion_of.moments.structure,
        second=criterion_of.hessian,
        score=lambda theta: criterion_of.at(theta).score,
        enough=0.0,
    )


def fit_at(criterion_of: Criterion, minimum: Minimum) -> LmmFit:
    """The fit that belongs to an optimum."""
    best = criterion_of.at(minimum.x)
    return LmmFit(**estimates(criterion_of.moments, criterion_of.reml, minimum, best), profile=best)


def estimates(moments: Inner, reml: bool, minimum: Minimum, best: Optimum) -> dict[str, Any]:
    """The fields of a `LinearFit`, on the scale of the data."""
    structure, free, theta = moments.structure, degrees(moments, reml), minimum.x
    sigma = float(np.sqrt(best.rss / free)) * moments.scale_y
    factor = moments.random_map @ structure.lam(theta)
    deviance = best.deviance + 2.0 * free * np.log(moments.scale_y) - (2.0 * moments.log_det if reml else 0.0)
    return {
        "moments": moments,
        "reml": reml,
        "theta": theta,
        "lam": structure.lam(theta),
        "minimum": minimum,
        "beta": moments.beta(best.beta),
        "vcov": sigma**2 * moments.fixed_map @ best.inverse @ moments.fixed_map.T,
        "g": sigma**2 * factor @ factor.T,
        "sigma": sigma,
        "log_likelihood": float(-0.5 * deviance),
        "converged": minimum.is_proven(moments.n_obs),
        "singular": structure.is_singular(theta),
    }


def best_start(criterion_of: Criterion, earlier: LmmFit | None) -> np.ndarray:
    """θ to begin at: that of an earlier fit, of a sample of persons, or the best of a few guesses."""
    structure = criterion_of.moments.structure
    if earlier is not None:
        if earlier.moments.structure.blocks != structure.blocks:
            raise SpecError("start= is a fit with other random terms; give a fit of the same formula.")
        inner = np.linalg.solve(criterion_of.moments.random_map, earlier.moments.random_map @ earlier.lam)
        return canonical(structure, inner)
    sample = criterion_of.moments.sample
    if sample is not None and sample.every >= MANY:  # then each step costs a fraction of one over all
        few = Criterion(_sampled(criterion_of.moments, sample), criterion_of.reml)
        found = minimise(few, best_start(few, None), structure.lower, few.hessian, enough=1e-6).x
        if np.isfinite(criterion_of(found)[0]):
            return found
    starts = [np.where(structure.diagonal, size, 0.0) for size in STARTS]
    step = criterion_of.one_step()
    starts += [step] if step is not None else []
    return min(starts, key=lambda theta: criterion_of(theta)[0])


def _sampled(moments: Moments, sample: Sample) -> Moments:
    zz, zw = moments.zz[:: sample.every].copy(), moments.zw[:: sample.every].copy()
    return replace(moments, zz=zz, zw=zw, ww=sample.ww, n_obs=sample.n_obs, sample=None)


def refuse_impossible(moments: Inner, ww: np.ndarray, groups: Sequence[tuple[str, int, int]]) -> None:
    """Too few rows, or an outcome without residual variance, which has no finite optimum.

    ww (p + 1, p + 1): cross-products of [X y];  groups: the words for the levels, how many, and random effects of each
    """
    p = moments.n_fixed
    if moments.n_obs <= p:
        raise DesignError(f"{moments.n_obs} rows are too few for {p} fixed effects.")
    for what, levels, q in groups:
        if moments.n_obs <= levels * q:
            raise DesignError(
                f"{moments.n_obs} rows for {levels} {what} with {q} random effects each: the random effects and the "
                "residual cannot be told apart; more rows per group or fewer random terms are needed."
            )
    explained = ww[:p, p] @ np.linalg.solve(ww[:p, :p], ww[:p, p])
    if ww[p, p] - explained <= 1e-13 * ww[p, p]:
        raise DesignError("the fixed effects predict the outcome exactly; there is nothing left to model.")
