"""The lowest deviance of a generalised or ordinal model with one parameter held, by BFGS from the joint Hessian.

The held parameter becomes a coordinate: a fixed effect, a threshold or log κ by solving for one coordinate of (β*, φ, θ) that it
is linear in; an SD by putting its term first in its block, so that it is one element of θ; a correlation by putting
its two terms first. Signs of Λ's columns are free, so nothing else is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.covariance import canonical
from analysis.generalised import GlmmFit, deviance_of, with_size_parameter
from analysis.intervals.held import Held
from analysis.intervals.parameters import Parameter, place_of
from analysis.marginal import natural, natural_slope
from analysis.optimize import Objective, Updated, differentiate, minimise, rising
from analysis.responses import Responses

ENOUGH = 1e-9
"""A Newton decrement this small leaves ζ at a limit within 1e-9 of its value."""
SETTLED = 1e-6
"""A search that ends above this is made again with the Hessian itself."""
NUDGE = 0.05
"""Diagonal elements of Λ nearer to zero start here: at zero the slope vanishes whatever the other side is like."""
BEND = 1e-5
"""Step of the numerical slopes of one θ in another, both of order one."""

Chart = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]
"""The whole point (m,) and its slope (m, free), at the free coordinates and the held value."""


def held_at(fit: GlmmFit, parameter: Parameter) -> Held:
    """As a function of the parameter's value, of log κ for the dispersion; of 1/κ where κ is infinite."""
    data = fit.data
    if parameter.kind == "dispersion" and np.isinf(fit.extra[0]):
        return _size_held(fit)
    if parameter.kind in ("sd", "cor"):
        terms = [parameter.i] if parameter.kind == "sd" else [parameter.i, parameter.j]
        return _spread_held(fit, terms, parameter.of(fit))
    lead, rest = _linear_in(data, parameter)
    chart = _solved(lead, rest, len(fit.minimum.x))
    return _Lowest.of(fit, data, chart, parameter.of(fit), np.delete(fit.minimum.x, lead), fit.minimum.hessian)


def _linear_in(data: Responses, parameter: Parameter) -> tuple[int, Callable[[np.ndarray], tuple[float, np.ndarray]]]:
    """A coordinate that the parameter is linear in, and the parameter's value and slope (m,) at a point."""
    p, r, i = data.n_fixed, data.n_extra, parameter.i
    row = data.joint_map[i if parameter.kind == "fixed" else p + i]

    def at(point: np.ndarray) -> tuple[float, np.ndarray]:
        phi, slope = point[p : p + r], np.zeros(len(point))
        slope[:p] = row[:p]
        slope[p : p + r] = row[p:] @ natural_slope(data.family, phi)
        return float(row[:p] @ point[:p] + row[p:] @ natural(data.family, phi)), slope

    return (int(np.argmax(np.abs(row[:p]))) if parameter.kind == "fixed" else p), at


def _solved(lead: int, of: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> Chart:
    others = np.delete(np.arange(size), lead)

    def chart(free: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
        point, turn = np.zeros(size), np.zeros((size, size - 1))
        point[others] = free
        without, slope = of(point)
        point[lead] = (value - without) / slope[lead]
        turn[others, range(size - 1)] = 1.0
        turn[lead] = -slope[others] / slope[lead]
        return point, turn

    return chart


def _size_held(fit: GlmmFit) -> Held:
    """The negative binomial about its Poisson limit."""
    data, p = with_size_parameter(fit.data), fit.data.n_fixed
    size = len(fit.minimum.x) + 1

    def chart(free: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
        return np.insert(free, p, -np.log(value)), np.delete(np.eye(size), p, axis=1)

    hessian = np.insert(np.insert(fit.minimum.hessian, p, 0.0, axis=0), p, 0.0, axis=1)
    return _Lowest.of(fit, data, chart, 1.0, fit.minimum.x, hessian)


def _spread_held(fit: GlmmFit, terms: list[int], best: float) -> Held:
    """θ₁₁ = sd of the term put first; θ₂₁ = ρc, θ₂₂ = √(1 − ρ²)c of the two terms put first."""
    data, theta, unit, bend = _arranged(fit, terms)
    first = data.n_fixed + data.n_extra
    start = np.append(fit.minimum.x[:first], theta)
    size, structure = len(start), data.structure
    block = next(block for block in structure.slices() if block.start <= terms[0] < block.stop)
    top = first + place_of(structure, block.start, block.start)
    if bend is None:
        hessian = differentiate(deviance_of(data, fit.agq, fit.plan), start)
    else:
        turn = np.eye(size)
        turn[first:, first:] = bend
        hessian = turn.T @ fit.minimum.hessian @ turn
    if len(terms) == 1:
        row = unit * np.eye(size)[top]
        chart = _solved(top, lambda point: (float(row @ point), row), size)
        return _Lowest.of(fit, data, chart, best, np.delete(start, top), hessian)
    across = first + place_of(structure, block.start + 1, block.start)
    down = first + place_of(structure, block.start + 1, block.start + 1)
    others = np.delete(np.arange(size), [across, down])

    def chart_of_two(free: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
        turn = np.zeros((size, size - 1))
        turn[others, range(size - 2)] = 1.0
        turn[across, -1], turn[down, -1] = value, np.sqrt(1.0 - value**2)
        return turn @ free, turn

    free = np.append(start[others], np.hypot(start[across], start[down]))
    return _Lowest.of(fit, data, chart_of_two, best, free, hessian)


def _arranged(fit: GlmmFit, terms: list[int]) -> tuple[Responses, np.ndarray, float, np.ndarray | None]:
    """The rows with some random terms put first in their block, as written: not centred, each scaled to unit mean square.

    Returned with the fit's θ there, the SD of the first of these terms for θ₁₁ = 1, and (m, m) the slope of the fit's
    own θ in this one, None where the fit is singular.
    """
    data, structure = fit.data, fit.data.structure
    z = np.linalg.solve(data.random_map.T, data.z)
    size = np.sqrt(np.mean(z**2, axis=1))
    block = next(block for block in structure.slices() if block.start <= terms[0] < block.stop)
    order = list(range(block.start)) + terms
    order += [k for k in range(block.start, structure.size) if k not in terms]
    theta = canonical(structure, (size[:, None] * (data.random_map @ fit.lam))[order])
    moved = replace(data, z=np.ascontiguousarray((z / size[:, None])[order]), random_map=np.diag(1.0 / size)[:, order])
    bend = None
    if not fit.singular:
        back = np.linalg.inv(data.random_map) @ moved.random_map
        ends = [
            [canonical(structure, back @ structure.lam(theta + side * BEND * unit)) for side in (1.0, -1.0)]
            for unit in np.eye(len(theta))
        ]
        bend = np.array([(above - below) / (2.0 * BEND) for above, below in ends]).T
    return moved, theta, float(1.0 / size[terms[0]]), bend


@dataclass
class _Lowest:
    """The minimum at one value after another: each begins on the line through the last two, with the curvature so far."""

    objective: Objective
    chart: Chart
    diagonal: np.ndarray
    last: np.ndarray
    curvature: np.ndarray
    value: float = np.nan
    slope: np.ndarray | None = None

    @classmethod
    def of(
        cls, fit: GlmmFit, data: Responses, chart: Chart, best: float, free: np.ndarray, hessian: np.ndarray
    ) -> _Lowest:
        """The fit's own point: its value of the parameter, its free coordinates, and the Hessian (m, m) there."""
        first = data.n_fixed + data.n_extra
        diagonal = np.append(np.zeros(first, dtype=bool), data.structure.diagonal)
        turn = chart(free, best)[1]
        turned = turn.T @ hessian @ turn
        own = (turn[diagonal] != 0.0).any(axis=0)
        return cls(deviance_of(data, fit.agq, fit.plan), chart, own, free, rising(turned))

    def __call__(self, value: float) -> float:
        def at(free: np.ndarray) -> tuple[float, np.ndarray]:
            point, turn = self.chart(free, value)
            deviance, gradient = self.objective(point)
            return deviance, turn.T @ gradient

        guess = self.last if self.slope is None else self.last + (value - self.value) * self.slope
        if not np.isfinite(at(guess)[0]):
            guess = self.last
        guess = np.where(self.diagonal & (np.abs(guess) < NUDGE), NUDGE, guess)
        bent = Updated(at, self.curvature)
        nowhere = np.full(len(guess), -np.inf)
        found = minimise(at, guess, nowhere, bent, ENOUGH)
        if not found.decrement < SETTLED:
            found = minimise(at, found.x, nowhere, None, ENOUGH)
        if np.isfinite(found.value):
            if np.isfinite(self.value) and value != self.value:
                self.slope = (found.x - self.last) / (value - self.value)
            self.last, self.value, self.curvature = found.x, value, bent.matrix
        return found.value
