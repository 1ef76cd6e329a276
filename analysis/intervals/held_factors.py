"""The lowest ML deviance of a model of several grouping factors with one parameter held; Newton steps by differences.

As in `held`, the held parameter becomes a coordinate. The deviance depends on Λ through ΛΛ' alone, so it may be had at any
square factor F = ΛQ', Q orthogonal, with the gradient (∂/∂Λ)Q': terms change their order and their scale without the
cross-products being touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.blocks import BlockCriterion
from analysis.covariance import SINGULAR, canonical
from analysis.factored import FactorFit
from analysis.intervals.held import ENOUGH, Held
from analysis.intervals.parameters import Parameter, place_of
from analysis.optimize import Objective, differentiate, minimise

NEAR = 0.05
"""A Hessian serves for points within this share of the coordinates that it was taken at."""
LIFTED = 0.3


def held_at(ml: FactorFit, parameter: Parameter) -> Held:
    if parameter.kind == "fixed":
        return _fixed_held(ml, parameter.i)
    if parameter.kind == "sigma":
        return _sigma_held(ml)
    return _sd_held(ml, parameter.i) if parameter.kind == "sd" else _correlation_held(ml, parameter.i, parameter.j)


def _fixed_held(ml: FactorFit, term: int) -> Held:
    """y − value · x_term on the other columns; a column of its own that meets nothing keeps the place of the one taken out."""
    m = ml.moments
    p = m.n_fixed
    weights = m.scale_y * m.fixed_map[term]
    lead = int(np.argmax(np.abs(weights)))
    shift = m.shift_y if m.intercept == term else 0.0
    lowest = _Lowest(ml.theta, m.structure.lower)

    def held(value: float) -> float:
        turn = np.eye(p + 1)
        turn[lead, :p] = -weights / weights[lead]
        turn[lead, p] = -(value - shift) / weights[lead]
        turn[:, lead] = 0.0
        ww = turn.T @ m.ww @ turn
        ww[lead, lead] = 1.0
        return lowest(BlockCriterion(m.with_dense(m.zw @ turn, ww), reml=False))

    return held


def _sigma_held(ml: FactorFit) -> Held:
    criterion, s = BlockCriterion(ml.moments, reml=False), ml.moments.structure
    lowest = _Lowest(ml.theta, s.lower)

    def held(value: float) -> float:
        log_sigma = float(np.log(value / ml.moments.scale_y))

        def at(theta: np.ndarray) -> tuple[float, np.ndarray]:
            deviance, slope, _ = criterion.at_sigma(theta, log_sigma)
            return deviance, 2.0 * slope[s.rows, s.columns]

        return lowest(at)

    return held


def _sd_held(ml: FactorFit, term: int) -> Held:
    """(θ without θ₁₁, log σ), with θ₁₁ = sd/σ of the term put first."""
    arranged = _Arranged.of(ml, [term])
    structure = ml.moments.structure
    t = place_of(structure, arranged.first, arranged.first)
    others = np.delete(np.arange(len(structure.rows)), t)
    start = np.append(arranged.theta[others], np.log(ml.sigma / ml.moments.scale_y))
    lowest = _Lowest(start, np.append(structure.lower[others], -np.inf))

    def held(value: float) -> float:
        def at(point: np.ndarray) -> tuple[float, np.ndarray]:
            theta = np.insert(point[:-1], t, value / (arranged.unit[0] * np.exp(point[-1])))
            deviance, gradient, along_sigma = arranged.at(theta, point[-1])
            return deviance, np.append(gradient[others], along_sigma - gradient[t] * theta[t])

        return lowest(at)

    return held


def _correlation_held(ml: FactorFit, one: int, other: int) -> Held:
    """θ₂₁ = ρc, θ₂₂ = √(1 − ρ²)c of the two terms put first: linear in θ at a given ρ.

    Where one of the two has no spread the deviance is the same at every ρ: it never rises above that.
    """
    ceiling = min(_sd_held(ml, one)(0.0), _sd_held(ml, other)(0.0))
    arranged = _Arranged.of(ml, [one, other])
    structure = ml.moments.structure
    across = place_of(structure, arranged.first + 1, arranged.first)
    down = place_of(structure, arranged.first + 1, arranged.first + 1)
    others = np.delete(np.arange(len(structure.rows)), [across, down])
    start = np.append(arranged.theta[others], np.hypot(arranged.theta[across], arranged.theta[down]))
    lowest = _Lowest(start, np.append(structure.lower[others], 0.0))

    def held(value: float) -> float:
        turn = np.zeros((len(structure.rows), len(others) + 1))
        turn[others, range(len(others))] = 1.0
        turn[across, -1], turn[down, -1] = value, np.sqrt(1.0 - value**2)

        def at(point: np.ndarray) -> tuple[float, np.ndarray]:
            deviance, gradient, _ = arranged.at(turn @ point, None)
            return deviance, turn.T @ gradient

        return min(lowest(at), ceiling)

    return held


@dataclass(frozen=True, slots=True)
class _Arranged:
    """A model with some random terms put first in their block, as written: not centred, each scaled to unit mean square.

    first : where the block begins;  theta : the fit's θ there;  unit : SDs of these terms per unit of σ·θ₁₁ (inner σ)
    back : (q, q) from factors of the arranged terms to those of the inner ones
    """

    criterion: BlockCriterion
    first: int
    theta: np.ndarray
    unit: np.ndarray
    back: np.ndarray

    @classmethod
    def of(cls, ml: FactorFit, terms: list[int]) -> _Arranged:
        m, s = ml.moments, ml.moments.structure
        inner = np.linalg.inv(m.random_map)
        size = np.sqrt(
            np.einsum("ab,ab->b", inner, inner)
        )  # of a written column, its inner ones having unit mean square
        block = next(block for block in s.slices() if block.start <= terms[0] < block.stop)
        order = list(range(block.start)) + terms
        order += [k for k in range(block.start, s.size) if k not in terms]
        theta = canonical(s, (size[:, None] * (m.random_map @ ml.lam))[order])
        back = (inner / size)[:, order]
        return cls(BlockCriterion(m, reml=False), block.start, theta, m.scale_y / size[terms], back)

    def at(self, theta: np.ndarray, log_sigma: float | None) -> tuple[float, np.ndarray, float]:
        """Value, gradient (m,) in the arranged θ, and slope in log σ, which is profiled out where it is None."""
        s = self.criterion.moments.structure
        factor = self.back @ s.lam(theta)
        lam, turn = np.zeros_like(factor), np.zeros_like(factor)
        for block in s.slices():
            turn[block, block], upper = np.linalg.qr(factor[block, block].T)
            lam[block, block] = upper.T
        inner = s.theta(lam)
        if log_sigma is None:
            found = self.criterion.at(inner)
            value, slope, along = found.deviance, found.slope, 0.0
        else:
            value, slope, along = self.criterion.at_sigma(inner, log_sigma)
        gradient = 2.0 * self.back.T @ (slope @ turn.T)
        return value, gradient[s.rows, s.columns], along


class _Lowest:
    """The minimum of one objective after another, each from where the last one was found, with its Hessian while it serves.

    Where that lies on the boundary, which may hold more than one, also from the first start and from spreads all above LIFTED.
    """

    def __init__(self, start: np.ndarray, lower: np.ndarray) -> None:
        self.first = start
        self.start = start
        self.lower = lower
        self._bent: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, objective: Objective) -> float:
        found = minimise(objective, self.start, self.lower, self._second(objective), ENOUGH)
        if (found.x <= self.lower + SINGULAR).any():
            for start in (self.first, np.where(np.isfinite(self.lower), np.maximum(found.x, LIFTED), found.x)):
                self._bent = None
                other = minimise(objective, start, self.lower, self._second(objective), ENOUGH)
                found = other if other.value < found.value else found
        self.start = found.x
        return found.value

    def _second(self, objective: Objective) -> Callable[[np.ndarray], np.ndarray]:
        def at(point: np.ndarray) -> np.ndarray:
            if self._bent is None or np.abs(point - self._bent[0]).max() > NEAR * np.abs(point).max():
                self._bent = point, differentiate(objective, point)
            return self._bent[1]

        return at
