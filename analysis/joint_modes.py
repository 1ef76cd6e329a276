"""Generalised models with several grouping factors by Laplace: all modes at once, by Newton steps on the block elimination.

As `marginal.Marginal`, whose notation this keeps: the score follows the modes as the parameters move, so that fixed effects, the
families' own parameters and variances are optimised jointly (Bates et al., 2015, for the modes; Skaug & Fournier, 2006,
for the score).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.blocks import Factorised, by_factor, factorise, joined, log_det_slope, scaled
from analysis.elimination import Plan
from analysis.kernels.compiled import on_one_blas_thread
from analysis.kernels.elimination import cross_products
from analysis.kernels.levels import add_from_levels, leverages, sum_over_levels
from analysis.kernels.rows import expand_rows, slopes_of_rows
from analysis.marginal import At, natural, natural_slope
from analysis.responses import Responses

MOST_STEPS, HALVINGS = 100, 40
SETTLED = 1e-13
"""Newton's decrement before the last step to the modes; the error left after that step is of its square."""


@dataclass(frozen=True)
class Modes:
    """Where the joint density is highest: u of the eliminated and of the kept columns, H = Λ'Z'WZΛ + I there, and the rows.

    eta (n,);  rows (12, n) as `expand_rows` gives them;  density : Σℓ − u'u/2
    blocks, kept : Z'WZ at the places of the plan
    """

    u: np.ndarray
    tail: np.ndarray
    eta: np.ndarray
    rows: np.ndarray
    density: float
    blocks: np.ndarray
    kept: np.ndarray
    factorised: Factorised


class JointModes:
    """The marginal deviance as a function of (β*, φ, θ). It keeps the modes, from where the next search starts."""

    def __init__(self, data: Responses, plan: Plan) -> None:
        self.data = data
        self.plan = plan
        self.z = np.ascontiguousarray(data.z.T)
        self.own_z = [np.ascontiguousarray(self.z[:, factor.terms]) for factor in plan.factors]
        self.u, self.tail = np.zeros(plan.nodes_columns), np.zeros(plan.kept)
        self._last: tuple[np.ndarray, At, Modes] | None = None

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        at = self.at(point)
        return at.value, at.gradient

    @on_one_blas_thread
    def at(self, point: np.ndarray) -> At:
        if self._last is None or not np.array_equal(point, self._last[0]):
            found = self._search(*self._split(point))
            if found is None:
                self.u[:], self.tail[:] = 0.0, 0.0
                return At(np.inf, np.full(len(point), np.nan), np.empty((0, len(point))))
            self.u, self.tail = found.u.copy(), found.tail.copy()
            self._last = point.copy(), self._scored(point, found), found
        return self._last[1]

    def modes(self, point: np.ndarray) -> Modes:
        """The modes at a point that has some."""
        self.at(point)
        assert self._last is not None
        return self._last[2]

    def cross(self, point: np.ndarray) -> list[np.ndarray]:
        """(levels, terms, p + r) of each factor: minus the change of the slope in u with (β*, ψ*) at the modes."""
        found, (_, psi, lam) = self.modes(point), self._split(point)
        columns = [*(found.rows[2] * column for column in self.data.x)]
        columns += [-self._of_extra(found.rows, k, 2) for k in range(len(psi))]
        sums = [self._sums(values) for values in columns]
        return [
            np.stack([mine[f] @ lam[factor.terms, factor.terms] for mine in sums], axis=2)
            for f, factor in enumerate(self.plan.factors)
        ]

    def _split(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        data, p, r = self.data, self.data.n_fixed, self.data.n_extra
        return point[:p].copy(), natural(data.family, point[p : p + r]), data.structure.lam(point[p + r :])

    def _search(self, beta: np.ndarray, psi: np.ndarray, lam: np.ndarray) -> Modes | None:
        """Newton's method with halving; the joint density is log-concave, so there is one mode."""
        data, n = self.data, len(self.data.y)
        fixed = data.offset + beta @ data.x
        rows, scratch = np.empty((12, n)), np.empty((2, max(n, 12)))
        common = (data.family, data.y, data.size, psi, n)

        def density(u: np.ndarray, tail: np.ndarray) -> tuple[float, np.ndarray]:
            eta = fixed + self._random(lam, u, tail)
            slopes_of_rows(*common, eta, rows, scratch)
            return float(rows[0].sum() - 0.5 * (u @ u + tail @ tail)), eta

        u, tail = self.u.copy(), self.tail.copy()
        value, eta = density(u, tail)
        if not np.isfinite(value):
            u, tail = np.zeros_like(u), np.zeros_like(tail)
            value, eta = density(u, tail)
        for _ in range(MOST_STEPS):
            right, right_tail = scaled(self.plan, lam, *joined(self.plan, self._sums(rows[1])), transpose=True)
            slope, slope_tail = right - u, right_tail - tail
            made = self._curvature(lam, rows[2])
            if made is None:
                return None
            step, step_tail = made[2].solve(slope, slope_tail)
            decrement = float(step @ slope + step_tail @ slope_tail)
            if not np.isfinite(decrement):
                return None
            share = 1.0
            for _ in range(HALVINGS):
                there, eta = density(u + share * step, tail + share * step_tail)
                if there > value or decrement < 1e-8:
                    break
                share *= 0.5
            u, tail, value = u + share * step, tail + share * step_tail, there
            if decrement < SETTLED:
                break
        else:
            return None
        expand_rows(*common, eta, rows, scratch)
        made = self._curvature(lam, rows[2])
        if made is None or not np.isfinite(rows[0]).all():
            return None
        complete = float(rows[0].sum() - 0.5 * (u @ u + tail @ tail))
        return Modes(u, tail, eta, rows, complete, *made)

    def _scored(self, point: np.ndarray, found: Modes) -> At:
        """The deviance and its gradient; the names are those of `kernels.laplace.laplace`."""
        data, plan, lam = self.data, self.plan, self._split(point)[2]
        p, r, rows = data.n_fixed, data.n_extra, found.rows
        inverse, tail = found.factorised.inverse(0)
        leverage = np.empty(len(data.y))
        leverages(plan.layout, plan.rows, self.z @ lam, inverse, tail, leverage)
        change = -leverage * rows[3]
        along = scaled(plan, lam, *joined(plan, self._sums(change)), transpose=True)
        shift, shift_tail = found.factorised.solve(*along)
        moved = self._random(lam, shift, shift_tail)
        change -= 2.0 * rows[1] + rows[2] * moved
        of_psi = np.array(
            [
                (moved * self._of_extra(rows, k, 2)).sum()
                - 2.0 * self._of_extra(rows, k, 1).sum()
                - (leverage * self._of_extra(rows, k, 3)).sum()
                for k in range(r)
            ]
        )
        slope = 2.0 * log_det_slope(plan, lam, found.blocks, found.kept, inverse, tail)
        levels = zip(
            plan.factors,
            self._sums(change),
            by_factor(plan, found.u, found.tail),
            self._sums(rows[1]),
            by_factor(plan, shift, shift_tail),
            strict=True,
        )
        for factor, changed, u, pulled, shifted in levels:
            slope[factor.terms, factor.terms] += np.einsum("la,lb->ab", changed, u)
            slope[factor.terms, factor.terms] += np.einsum("la,lb->ab", pulled, shifted)
        gradient = np.concatenate(
            [
                data.x @ change,
                of_psi @ natural_slope(data.family, point[p : p + r]),
                slope[data.structure.rows, data.structure.columns],
            ]
        )
        value = -2.0 * found.density + found.factorised.log_det(0)
        return At(value, gradient, np.empty((0, len(point))))

    def _curvature(self, lam: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, Factorised] | None:
        """Z'WZ by blocks, and H."""
        plan = self.plan
        blocks, kept = np.zeros(int(plan.layout.ptr[-1])), np.zeros((plan.kept, plan.kept))
        cross_products(plan.layout, plan.rows, self.z, self.z[:, :0], weight, blocks, kept)
        kept = np.tril(kept) + np.tril(kept, -1).T
        factorised = factorise(plan, lam, blocks, kept)
        return None if factorised is None else (blocks, kept, factorised)

    def _random(self, lam: np.ndarray, u: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """ZΛu of every row."""
        out = np.zeros(len(self.data.y))
        for factor, z, own in zip(self.plan.factors, self.own_z, by_factor(self.plan, u, tail), strict=True):
            add_from_levels(z, factor.codes, own @ lam[factor.terms, factor.terms].T, out)
        return out

    def _sums(self, values: np.ndarray) -> list[np.ndarray]:
        """Z'values by factor and level."""
        out = []
        for factor, z in zip(self.plan.factors, self.own_z, strict=True):
            own = np.zeros((len(factor.levels), factor.size))
            sum_over_levels(z, factor.codes, values, own)
            out.append(own)
        return out

    def _of_extra(self, rows: np.ndarray, k: int, which: int) -> np.ndarray:
        """(n,) what `expand` says of ψ_k: which = 1 the slope, 2 the change of the slope in η, 3 of the curvature."""
        return np.where(rows[4] == k, rows[4 + which], 0.0) + np.where(rows[8] == k, rows[8 + which], 0.0)
