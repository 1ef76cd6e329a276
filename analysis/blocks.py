"""The criterion of a linear model with several grouping factors, by block elimination, with its exact gradient.

H = Λ'Z'ZΛ + I. What log|H| adds to the gradient needs H⁻¹ only where levels meet in a row (Takahashi, Fagan & Chin, 1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, solve_triangular

from analysis.elimination import Plan
from analysis.factor_moments import FactorMoments
from analysis.kernels.elimination import (
    contract,
    dense_rows,
    eliminate,
    leftovers,
    scale_kept,
    select_inverse,
    solve_back,
)


@dataclass(frozen=True, slots=True)
class Factorised:
    """Cholesky factor of [ZΛ X y]'[ZΛ X y] + I: the eliminated part in `factor`, flat; the kept part in root, lower.

    logs : log|H| of the eliminated columns. root : (T + dense, T + dense)
    """

    plan: Plan
    lam: np.ndarray
    factor: np.ndarray
    root: np.ndarray
    logs: float

    def log_det(self, dense: int) -> float:
        """log determinant of H with the first `dense` dense columns."""
        return self.logs + 2.0 * float(np.log(np.diag(self.root)[: self.plan.kept + dense]).sum())

    def inverse(self, dense: int) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of H, with the first `dense` dense columns: at the blocks' places (flat), and of what was kept."""
        size = self.plan.kept + dense
        tail = np.empty((0, 0)) if size == 0 else lapack.dpotri(self.root[:size, :size].T, lower=0)[0]
        tail = np.triu(tail) + np.triu(tail, 1).T
        out = np.zeros_like(self.factor)
        select_inverse(self.plan.layout, self.factor, np.ascontiguousarray(tail), out)
        return out, tail

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """u of the eliminated columns, and of the kept ones and β (T + p,), that leave the least squares."""
        size = len(self.root) - 1
        tail = solve_triangular(self.root[:size, :size], self.root[size, :size], trans="T", lower=True)
        u = np.empty(self.plan.nodes_columns)
        dense_rows(self.plan.layout, self.factor, self.plan.layout.dense - 1, u)
        solve_back(self.plan.layout, self.factor, u, tail, u)
        return u, tail


def factorise(plan: Plan, lam: np.ndarray, blocks: np.ndarray, kept: np.ndarray) -> Factorised | None:
    """None where the matrix is not positive definite to rounding, or a number overflows."""
    factor, reduced = blocks.copy(), np.zeros_like(kept)
    scale_kept(plan.layout, lam, kept, reduced)
    logs = eliminate(plan.layout, lam, factor, reduced)
    if not np.isfinite(logs):
        return None
    root, failed = np.empty((0, 0)), 0
    if len(reduced):
        root, failed = lapack.dpotrf(reduced.T, lower=0, clean=1)
    return None if failed else Factorised(plan, lam, factor, root.T, logs)


@dataclass(frozen=True, slots=True)
class BlockProfile:
    """The criterion at one θ, as `linear.Profile`, with the factor it comes from; inner scale.

    u : spherical random effects of the eliminated columns, and u_kept of the kept ones
    """

    deviance: float
    gradient: np.ndarray
    beta: np.ndarray
    rss: float
    inverse: np.ndarray
    factorised: Factorised | None
    u: np.ndarray
    u_kept: np.ndarray


class BlockCriterion:
    """The profiled deviance as a function of θ (m,), with gradient."""

    def __init__(self, moments: FactorMoments, reml: bool) -> None:
        self.moments = moments
        self.reml = reml
        self.free = moments.n_obs - (moments.n_fixed if reml else 0)
        self._at: tuple[bytes, BlockProfile] | None = None

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        at = self.at(theta)
        return at.deviance, at.gradient

    def at(self, theta: np.ndarray) -> BlockProfile:
        """The criterion at θ; deviance +inf and a gradient of NaN where it is undefined."""
        key = theta.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = key, self._evaluate(theta)
        return self._at[1]

    def _evaluate(self, theta: np.ndarray) -> BlockProfile:
        m, p = self.moments, self.moments.n_fixed
        lam = m.structure.lam(theta)
        done = factorise(m.plan, lam, m.blocks, m.kept)
        if done is None:
            return _undefined(len(theta), p)
        kept, layout = m.plan.kept, m.plan.layout
        rss = float(done.root[-1, -1] ** 2)
        u, tail = done.solution()
        left, left_kept = np.empty_like(u), np.empty(kept)
        leftovers(layout, lam, m.blocks, m.kept, u, np.append(tail, -1.0), left, left_kept)
        slope = np.zeros_like(lam)
        inverse, inner = done.inverse(p if self.reml else 0)
        contract(layout, lam, m.blocks, m.kept, inverse, inner, slope)
        slope -= self.free / rss * outer_sums(m.plan, left, left_kept, u, tail)
        deviance = done.log_det(p if self.reml else 0) + self.free * (1.0 + np.log(2.0 * np.pi * rss / self.free))
        gradient = 2.0 * slope[m.structure.rows, m.structure.columns]
        fixed_root = np.linalg.inv(done.root[kept : kept + p, kept : kept + p])
        if not np.isfinite(deviance):
            return _undefined(len(theta), p)
        return BlockProfile(deviance, gradient, tail[kept:], rss, fixed_root.T @ fixed_root, done, u, tail[:kept])


def outer_sums(plan: Plan, a: np.ndarray, a_kept: np.ndarray, b: np.ndarray, b_kept: np.ndarray) -> np.ndarray:
    """Each factor's Σ a b' over its levels, as blocks of (terms, terms); vectors of all columns, eliminated and kept."""
    size = plan.factors[-1].terms.stop
    out = np.zeros((size, size))
    for factor, mine, other in zip(plan.factors, by_factor(plan, a, a_kept), by_factor(plan, b, b_kept), strict=True):
        out[factor.terms, factor.terms] = mine.T @ other
    return out


def by_factor(plan: Plan, eliminated: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """A vector of all columns as (levels, terms) for each factor, in the design's order."""
    out: list[np.ndarray] = [np.empty(0)] * len(plan.factors)
    start, start_kept = 0, 0
    for place, f in enumerate(plan.order):
        factor = plan.factors[f]
        count = len(factor.levels) * factor.size
        if place < plan.eliminated:
            out[f] = eliminated[start : start + count].reshape(-1, factor.size)
            start += count
        else:
            out[f] = kept[start_kept : start_kept + count].reshape(-1, factor.size)
            start_kept += count
    return out


def level_covariances(plan: Plan, inverse: np.ndarray, tail: np.ndarray) -> list[np.ndarray]:
    """(levels, terms, terms) the inverse where each level meets itself, for each factor in the design's order."""
    out: list[np.ndarray] = [np.empty(0)] * len(plan.factors)
    at, start = plan.layout, 0
    for place, f in enumerate(plan.order):
        factor = plan.factors[f]
        inside = np.arange(factor.size**2)
        if place < plan.eliminated:
            nodes = at.ptr[at.base[place] : at.base[place + 1]]
            out[f] = inverse[nodes[:, None] + inside].reshape(-1, factor.size, factor.size)
        else:
            first = start + factor.size * np.arange(len(factor.levels))
            places = first[:, None] + np.arange(factor.size)
            out[f] = tail[places[:, :, None], places[:, None, :]]
            start += len(factor.levels) * factor.size
    return out


def _undefined(size: int, p: int) -> BlockProfile:
    nothing = np.empty(0)
    return BlockProfile(
        np.inf, np.full(size, np.nan), np.full(p, np.nan), np.nan, np.full((p, p), np.nan), None, nothing, nothing
    )
