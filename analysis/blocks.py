"""The criterion of a linear model with several grouping factors, by block elimination, with its exact gradient.

H = Λ'Z'ZΛ + I. What log|H| adds to the gradient needs H⁻¹ only where levels meet in a row (Takahashi, Fagan & Chin, 1973).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, solve_triangular

from analysis.covariance import Structure
from analysis.elimination import Plan
from analysis.factor_moments import FactorMoments
from analysis.kernels.compiled import each, on_one_blas_thread
from analysis.kernels.elimination import (
    contract,
    contract_kept,
    dense_rows,
    eliminate,
    forward_rows,
    multiply,
    scale_kept,
    select_inverse,
    solve_back,
    solve_forward,
)
from analysis.optimize import differentiate

FEW = 60
"""Kept columns up to which the inverse is had without LAPACK's dpotri, whose threads then wait longer than they work."""
STEP = 1e-4
"""Of the differences that the Hessian is made of, in units of max(1, |θ|)."""
BATCH = 2048
"""Rows that are solved for together where columns are kept."""


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

    @on_one_blas_thread
    def inverse(self, dense: int) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of H, with the first `dense` dense columns: at the blocks' places (flat), and of what was kept."""
        size, plan = self.plan.kept + dense, self.plan
        tail = np.zeros((0, 0))
        if 0 < size <= FEW:
            half = lapack.dtrtri(self.root[:size, :size].T, lower=0)[0]
            tail = np.ascontiguousarray(half @ half.T)
        elif size:
            tail = lapack.dpotri(self.root[:size, :size].T, lower=0)[0].T
            mirror(tail)
        out = np.zeros_like(self.factor)
        each(lambda c: select_inverse(plan.layout, *plan.chunks[c], self.factor, tail, out), len(plan.chunks))
        return out, tail

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """L⁻¹Λ'Z'[X y]: (dense, columns) of the eliminated columns and (dense, T) of the kept ones."""
        layout = self.plan.layout
        out = np.empty((layout.dense, self.plan.nodes_columns))
        for k in range(layout.dense):
            dense_rows(layout, self.factor, k, out[k])
        return out, self.root[self.plan.kept :, : self.plan.kept]

    def spherical(self) -> tuple[np.ndarray, np.ndarray]:
        """H⁻¹Λ'Z'[X y]: (dense, columns) of the eliminated columns and (dense, T) of the kept ones."""
        layout, kept = self.plan.layout, self.plan.kept
        out, right = self.columns()
        tail = right
        if kept:
            tail = solve_triangular(self.root[:kept, :kept], right.T, trans="T", lower=True).T
        for u, own in zip(out, np.hstack([tail, np.zeros((layout.dense, layout.dense))]), strict=True):
            solve_back(layout, 0, len(layout.queue), self.factor, u, own, u)
        return out, tail

    def of_rows(self, level: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v'H⁻¹v (r,) and v'H⁻¹Λ'Z'[X y] (r, dense) of rows v (r, terms) that stand at the columns of their levels.

        level : (factors, r) numbers of the levels in the design's order of the factors, −1 where a row has none
        """
        layout, kept = self.plan.layout, self.plan.kept
        inside, outside = self.plan.order[: self.plan.eliminated], self.plan.order[self.plan.eliminated :]
        node = np.array([np.where(level[f] < 0, -1, layout.base[place] + level[f]) for place, f in enumerate(inside)])
        norm, cross = np.zeros(len(v)), np.zeros((len(v), layout.dense))
        starts = np.searchsorted(layout.t_factor, np.arange(self.plan.eliminated, len(layout.q)))
        for first in range(0, len(v), BATCH):
            rows = slice(first, first + BATCH)
            tail = np.zeros((len(v[rows]), kept))
            for start, f in zip(starts, outside, strict=True):
                factor = self.plan.factors[f]
                known = np.flatnonzero(level[f, rows] >= 0)
                columns = start + level[f, rows][known][:, None] * factor.size + np.arange(factor.size)
                tail[known[:, None], columns] = v[rows][known][:, factor.terms]
            here = np.ascontiguousarray(node[:, rows])
            forward_rows(layout, self.factor, here, v[rows], tail, norm[rows], cross[rows])
            if kept:
                solved = solve_triangular(self.root[:kept, :kept], tail.T, lower=True)
                norm[rows] += np.einsum("tr,tr->r", solved, solved)
                cross[rows] += (self.root[kept:, :kept] @ solved).T
        return norm, cross

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """u of the eliminated columns, and of the kept ones and β (T + p,), that leave the least squares."""
        size, plan = len(self.root) - 1, self.plan
        tail = solve_triangular(self.root[:size, :size], self.root[size, :size], trans="T", lower=True)
        u = np.empty(plan.nodes_columns)
        dense_rows(plan.layout, self.factor, plan.layout.dense - 1, u)
        each(lambda c: solve_back(plan.layout, *plan.chunks[c], self.factor, u, tail, u), len(plan.chunks))
        return u, tail

    def solve(self, right: np.ndarray, right_tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """H⁻¹ times a vector of the eliminated columns and one of the others (T + k,)."""
        u, tail = self.forward(right, right_tail)
        size = len(right_tail)
        tail = solve_triangular(self.root[:size, :size], tail, trans="T", lower=True)
        solve_back(self.plan.layout, 0, len(self.plan.layout.of), self.factor, u, tail, u)
        return u, tail

    def forward(self, right: np.ndarray, right_tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """L⁻¹ times a vector: of the eliminated columns, and of the kept ones and the first dense ones (T + p,). One core."""
        plan, out, tail, size = self.plan, right.copy(), right_tail.copy(), len(right_tail)
        solve_forward(plan.layout, 0, len(plan.layout.of), self.factor, out, tail)
        return out, solve_triangular(self.root[:size, :size], tail, lower=True)


def factorise(plan: Plan, lam: np.ndarray, blocks: np.ndarray, kept: np.ndarray) -> Factorised | None:
    """None where the matrix is not positive definite to rounding, or a number overflows."""
    factor, reduced = blocks.copy(), np.zeros_like(kept)
    shares = [reduced, *(np.zeros_like(kept) for _ in plan.chunks[1:])]
    scale_kept(plan.layout, lam, kept, reduced)
    logs = sum(each(lambda c: eliminate(plan.layout, *plan.chunks[c], lam, factor, shares[c]), len(plan.chunks)))
    if not np.isfinite(logs):
        return None
    for share in shares[1:]:
        reduced += share
    root, failed = np.empty((0, 0)), 0
    if len(reduced):
        root, failed = lapack.dpotrf(reduced.T, lower=0, clean=1, overwrite_a=1)
    return None if failed else Factorised(plan, lam, factor, root.T, logs)


def log_det_slope(
    plan: Plan, lam: np.ndarray, blocks: np.ndarray, kept: np.ndarray, inverse: np.ndarray, tail: np.ndarray
) -> np.ndarray:
    """(terms, terms) half the gradient of log|H| with respect to Λ; inverse, tail from `Factorised`."""
    shares = np.zeros((len(plan.chunks) + 1, *lam.shape))
    taken = len(tail) - plan.kept
    each(lambda c: contract(plan.layout, *plan.chunks[c], lam, blocks, inverse, taken, shares[c]), len(plan.chunks))
    contract_kept(plan.layout, lam, kept, tail, shares[-1])
    return np.asarray(shares.sum(axis=0))


def times(
    plan: Plan, blocks: np.ndarray, kept: np.ndarray, vector: np.ndarray, tail: np.ndarray, together: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """[Z X]'[Z X] times a vector of the eliminated columns (columns,) and of the others (T + dense,).

    together : by several cores; not where what calls it runs on several itself
    """
    out = np.empty_like(vector)
    chunks = plan.chunks if together else ((0, len(plan.layout.of)),)
    tails = np.zeros((len(chunks), len(tail)))
    each(lambda c: multiply(plan.layout, *chunks[c], blocks, vector, tail, out, tails[c]), len(chunks))
    return out, kept @ tail + tails.sum(axis=0)


def mirror(matrix: np.ndarray) -> None:
    """Copies the lower part of a matrix to the upper, in place, by blocks."""
    step = 256
    for start in range(0, len(matrix), step):
        stop = min(start + step, len(matrix))
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
        own = np.tril(matrix[start:stop, start:stop], -1)
        matrix[start:stop, start:stop] = np.tril(matrix[start:stop, start:stop]) + own.T


@dataclass(frozen=True, slots=True)
class BlockProfile:
    """The criterion at one θ, as `linear.Profile`, with the factor it comes from; inner scale.

    u : spherical random effects of the eliminated columns, and u_kept of the kept ones
    slope : (q, q) half the gradient with respect to Λ, all its elements;  pull : (q, q) the same of −rss
    """

    deviance: float
    gradient: np.ndarray
    beta: np.ndarray
    rss: float
    inverse: np.ndarray
    factorised: Factorised | None
    u: np.ndarray
    u_kept: np.ndarray
    slope: np.ndarray
    pull: np.ndarray


class BlockCriterion:
    """The profiled deviance as a function of θ (m,), with gradient."""

    def __init__(self, moments: FactorMoments, reml: bool) -> None:
        self.moments = moments
        self.reml = reml
        self.free = moments.n_obs - (moments.n_fixed if reml else 0)
        self._at: tuple[bytes, BlockProfile] | None = None
        self._near: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        at = self.at(theta)
        return at.deviance, at.gradient

    def at(self, theta: np.ndarray) -> BlockProfile:
        """The criterion at θ; deviance +inf and a gradient of NaN where it is undefined."""
        key = theta.tobytes()
        if self._at is None or self._at[0] != key:
            self._at = key, self._evaluate(theta)
        return self._at[1]

    def at_sigma(self, theta: np.ndarray, log_sigma: float) -> tuple[float, np.ndarray, float]:
        """Value, half the gradient in Λ (q, q) and slope in log σ, with the fixed effects alone profiled out."""
        at, precision = self.at(theta), np.exp(-2.0 * log_sigma)
        if not np.isfinite(at.deviance):
            return np.inf, at.slope, np.nan
        moved = self.free * (2.0 * log_sigma - np.log(at.rss / self.free) - 1.0) + at.rss * precision
        slope = at.slope - (precision - self.free / at.rss) * at.pull
        return at.deviance + moved, slope, 2.0 * (self.free - at.rss * precision)

    @on_one_blas_thread
    def _evaluate(self, theta: np.ndarray) -> BlockProfile:
        m, p = self.moments, self.moments.n_fixed
        lam = m.structure.lam(theta)
        done = factorise(m.plan, lam, m.blocks, m.kept)
        if done is None:
            return _undefined(m.structure, p)
        kept = m.plan.kept
        rss = float(done.root[-1, -1] ** 2)
        u, tail = done.solution()
        left, left_tail = self.leftovers(lam, u, tail)
        slope = log_det_slope(m.plan, lam, m.blocks, m.kept, *done.inverse(p if self.reml else 0))
        pull = outer_sums(m.plan, left, left_tail, u, tail)
        slope -= self.free / rss * pull
        deviance = done.log_det(p if self.reml else 0) + self.free * (1.0 + np.log(2.0 * np.pi * rss / self.free))
        gradient = 2.0 * slope[m.structure.rows, m.structure.columns]
        fixed_root = np.linalg.inv(done.root[kept : kept + p, kept : kept + p])
        if not np.isfinite(deviance):
            return _undefined(m.structure, p)
        return BlockProfile(
            deviance, gradient, tail[kept:], rss, fixed_root.T @ fixed_root, done, u, tail[:kept], slope, pull
        )

    def leftovers(self, lam: np.ndarray, u: np.ndarray, tail: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Z'(y − Xβ − ZΛu), of the eliminated and of the kept columns (and [X y]' of it); tail holds the kept u and β."""
        m = self.moments
        b, b_kept = scaled(m.plan, lam, u, tail)
        out, out_tail = times(m.plan, m.blocks, m.kept, b, np.append(b_kept, -1.0))
        return -out, -out_tail

    @on_one_blas_thread
    def information(self, theta: np.ndarray) -> np.ndarray:
        """(m, m) about the Hessian near the optimum: the average of observed and expected (Gilmour, Thompson & Cullis, 1995).

        Of V_k = Z(E_kΛ' + ΛE_k')Z' it needs y'PV_kPV_lPy, one product and one solution for each k. Never negative.
        """
        m, at = self.moments, self.at(theta)
        s = m.structure
        if at.factorised is None:
            return np.full((len(theta), len(theta)), np.nan)
        lam, plan, factorised = s.lam(theta), m.plan, at.factorised
        left, left_tail = self.leftovers(lam, at.u, np.append(at.u_kept, at.beta))
        own = by_factor(plan, left, left_tail)

        def column(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            change = np.zeros_like(lam)
            change[s.rows[k]] += lam[:, s.columns[k]]
            change[:, s.rows[k]] += lam[:, s.columns[k]]
            pairs = zip(plan.factors, own, strict=True)
            vector, tail = joined(plan, [mine @ change[factor.terms, factor.terms] for factor, mine in pairs])
            product, product_tail = times(
                plan, m.blocks, m.kept, vector, np.append(tail, np.zeros(m.n_fixed + 1)), False
            )
            right, right_tail = scaled(plan, lam, product, product_tail[:-1], transpose=True)
            solved, solved_tail = factorised.forward(right, right_tail)
            return (
                np.append(vector, tail),
                np.append(product, product_tail[: plan.kept]),
                np.append(solved, solved_tail),
            )

        firsts, turned, halves = map(np.array, zip(*each(column, len(theta)), strict=True))
        slopes = firsts @ np.append(left, left_tail[: plan.kept])
        both = firsts @ turned.T - halves @ halves.T
        share = self.free / at.rss
        return np.asarray(share * (both + both.T) / 2.0 - share / at.rss * np.outer(slopes, slopes))

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """(m, m) by one-sided differences of the gradient, good to about STEP; kept for points nearer than that."""
        near = self._near
        if near is None or np.abs(near[0] - theta).max() > STEP:
            slope, columns = self.at(theta).gradient, []
            for k in range(len(theta)):
                beside = theta.copy()
                beside[k] += STEP * max(1.0, abs(theta[k]))
                columns.append((self._evaluate(beside).gradient - slope) / (beside[k] - theta[k]))
            both = np.array(columns)
            near = self._near = theta.copy(), 0.5 * (both + both.T)
        return near[1]

    def exact_hessian(self, theta: np.ndarray) -> np.ndarray:
        """(m, m) by central differences, for inference."""

        def beside(point: np.ndarray) -> tuple[float, np.ndarray]:
            there = self._evaluate(point)  # what is remembered stays that of θ itself
            return there.deviance, there.gradient

        return differentiate(beside, theta)


def left_of_levels(moments: FactorMoments, done: Factorised) -> list[np.ndarray]:
    """T = Z'W⁻¹[X y], W = V/σ², as (levels, terms, p + 1) for each factor in the design's order."""
    plan, dense = moments.plan, moments.plan.layout.dense
    u, tail = done.spherical()
    columns = []
    for k, unit in enumerate(np.eye(dense)):
        b, b_tail = scaled(plan, done.lam, u[k], np.append(tail[k], -unit))
        out, out_tail = times(plan, moments.blocks, moments.kept, b, b_tail)
        columns.append(by_factor(plan, -out, -out_tail))
    return [np.stack(own, axis=-1) for own in zip(*columns, strict=True)]


def outer_sums(plan: Plan, a: np.ndarray, a_kept: np.ndarray, b: np.ndarray, b_kept: np.ndarray) -> np.ndarray:
    """Each factor's Σ a b' over its levels, as blocks of (terms, terms); vectors of all columns, eliminated and kept."""
    size = plan.factors[-1].terms.stop
    out = np.zeros((size, size))
    for factor, mine, other in zip(plan.factors, by_factor(plan, a, a_kept), by_factor(plan, b, b_kept), strict=True):
        out[factor.terms, factor.terms] = np.einsum("la,lb->ab", mine, other)  # not @: its threads wait for each other
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


def joined(plan: Plan, vectors: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The way back from `by_factor`: vectors of the eliminated and of the kept columns."""
    flat = [vectors[f].ravel() for f in plan.order]
    return np.concatenate(flat[: plan.eliminated]), np.concatenate([*flat[plan.eliminated :], np.empty(0)])


def scaled(
    plan: Plan, lam: np.ndarray, vector: np.ndarray, tail: np.ndarray, transpose: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Λ (or Λ') times a vector of all random columns; what follows the kept ones in `tail` stays as it is."""
    turn = lam if transpose else lam.T
    own = zip(plan.factors, by_factor(plan, vector, tail), strict=True)
    out, out_kept = joined(plan, [mine @ turn[factor.terms, factor.terms] for factor, mine in own])
    return out, np.append(out_kept, tail[plan.kept :])


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


def _undefined(structure: Structure, p: int) -> BlockProfile:
    nothing, unknown = np.empty(0), np.full((structure.size, structure.size), np.nan)
    gradient, beta = np.full(len(structure.rows), np.nan), np.full(p, np.nan)
    inverse = np.full((p, p), np.nan)
    return BlockProfile(np.inf, gradient, beta, np.nan, inverse, None, nothing, nothing, unknown, unknown)
