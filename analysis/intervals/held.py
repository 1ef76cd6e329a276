"""The lowest ML deviance of a model of one grouping factor with one parameter held, by exact Newton steps.

The held parameter becomes a coordinate: a fixed effect by a change of the basis of X, an SD by putting its term first in its
block (θ₁₁ = sd/σ), a correlation by putting its two terms first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.covariance import canonical
from analysis.intervals.parameters import Parameter, place_of
from analysis.linear import Criterion, LmmFit
from analysis.moments import Moments
from analysis.optimize import minimise, minimise_factor

ENOUGH = 1e-12
"""A Newton decrement this small leaves ζ² less than that from its minimum."""

Held = Callable[[float], float]
"""The lowest deviance with the parameter held at a value."""
Expansion = tuple[float, np.ndarray, np.ndarray]
"""Value, gradient and Hessian at a point."""


def held_at(ml: LmmFit, parameter: Parameter) -> Held:
    if parameter.kind == "fixed":
        return _fixed_held(ml, parameter.i)
    if parameter.kind == "sigma":
        return _sigma_held(ml)
    return _sd_held(ml, parameter.i) if parameter.kind == "sd" else _correlation_held(ml, parameter.i, parameter.j)


def _fixed_held(ml: LmmFit, term: int) -> Held:
    """y − value · x_term on the other columns: the basis of X is turned so that the written coefficient is one coordinate."""
    m = ml.moments
    p = m.n_fixed
    weights = m.scale_y * m.fixed_map[term]
    lead = int(np.argmax(np.abs(weights)))
    shift = m.shift_y if m.intercept == term else 0.0
    others = [k for k in range(p) if k != lead]
    start = [ml.theta]

    def held(value: float) -> float:
        turn = np.zeros((p + 1, p))
        turn[others, range(p - 1)] = 1.0
        turn[lead, : p - 1] = -weights[others] / weights[lead]
        turn[lead, p - 1] = -(value - shift) / weights[lead]
        turn[p, p - 1] = 1.0
        moved = replace(
            m,
            zw=np.ascontiguousarray(m.zw @ turn),
            ww=turn.T @ m.ww @ turn,
            fixed_map=np.eye(p - 1),
            intercept=None,
            sample=None,
        )
        criterion = Criterion(moved, reml=False)
        found = minimise_factor(
            criterion,
            start[0],
            m.structure,
            second=criterion.hessian,
            score=lambda theta: criterion.at(theta).score,
            enough=ENOUGH,
        )
        start[0] = found.x
        return found.value

    return held


def _sigma_held(ml: LmmFit) -> Held:
    criterion, structure = Criterion(ml.moments, reml=False), ml.moments.structure
    start = [ml.theta]

    def held(value: float) -> float:
        if value <= 0.0:
            return np.inf
        log_sigma = float(np.log(value / ml.moments.scale_y))

        def at(theta: np.ndarray) -> Expansion:
            deviance, gradient, hessian = criterion.at_sigma(theta, log_sigma)
            return deviance, gradient[:-1], hessian[:-1, :-1]

        return _lowest(at, start, structure.lower)

    return held


def _sd_held(ml: LmmFit, term: int) -> Held:
    """(θ without θ₁₁, log σ), with θ₁₁ = sd/σ of the term put first."""
    arranged = _arrange(ml, [term])
    criterion, structure = Criterion(arranged.moments, reml=False), ml.moments.structure
    t = place_of(structure, arranged.first, arranged.first)
    others = np.delete(np.arange(len(structure.rows)), t)
    start = [np.append(arranged.theta[others], np.log(ml.sigma / ml.moments.scale_y))]

    def held(value: float) -> float:
        def at(point: np.ndarray) -> Expansion:
            theta = np.insert(point[:-1], t, value / (arranged.unit[0] * np.exp(point[-1])))
            deviance, gradient, hessian = criterion.at_sigma(theta, point[-1])
            turn = np.zeros((len(theta) + 1, len(point)))
            turn[others, range(len(others))] = 1.0
            turn[t, -1] = -theta[t]
            turn[-1, -1] = 1.0
            bent = turn.T @ hessian @ turn
            bent[-1, -1] += gradient[t] * theta[t]
            return deviance, turn.T @ gradient, bent

        return _lowest(at, start, np.append(structure.lower[others], -np.inf))

    return held


def _correlation_held(ml: LmmFit, one: int, other: int) -> Held:
    """θ₂₁ = ρc, θ₂₂ = √(1 − ρ²)c of the two terms put first: linear in θ at a given ρ.

    Where one of the two has no spread the deviance is the same at every ρ: it never rises above that.
    """
    ceiling = min(_sd_held(ml, one)(0.0), _sd_held(ml, other)(0.0))
    arranged = _arrange(ml, [one, other])
    criterion, structure = Criterion(arranged.moments, reml=False), ml.moments.structure
    across = place_of(structure, arranged.first + 1, arranged.first)
    down = place_of(structure, arranged.first + 1, arranged.first + 1)
    others = np.delete(np.arange(len(structure.rows)), [across, down])
    start = [np.append(arranged.theta[others], np.hypot(arranged.theta[across], arranged.theta[down]))]

    def held(value: float) -> float:
        turn = np.zeros((len(structure.rows), len(others) + 1))
        turn[others, range(len(others))] = 1.0
        turn[across, -1], turn[down, -1] = value, np.sqrt(1.0 - value**2)

        def at(point: np.ndarray) -> Expansion:
            theta = turn @ point
            deviance, gradient = criterion(theta)
            return deviance, turn.T @ gradient, turn.T @ criterion.hessian(theta) @ turn

        return min(_lowest(at, start, np.append(structure.lower[others], 0.0)), ceiling)

    return held


@dataclass(frozen=True, slots=True)
class _Arranged:
    """A model with some random terms put first in their block, as written: not centred, each scaled to unit mean square.

    first : where the block begins;  theta : the fit's θ there;  unit : SDs of these terms per unit of σ·θ₁₁ (inner σ)
    """

    moments: Moments
    first: int
    theta: np.ndarray
    unit: np.ndarray


def _arrange(ml: LmmFit, terms: list[int]) -> _Arranged:
    m = ml.moments
    back = np.linalg.inv(m.random_map)
    zz = back.T @ m.zz @ back
    size = np.sqrt(np.einsum("iaa->a", zz) / m.n_obs)
    block = next(block for block in m.structure.slices() if block.start <= terms[0] < block.stop)
    order = list(range(block.start)) + terms
    order += [k for k in range(block.start, m.structure.size) if k not in terms]
    zz = (zz / np.outer(size, size))[:, order][:, :, order]
    zw = (back.T @ m.zw / size[:, None])[:, order]
    factor = (size[:, None] * (m.random_map @ ml.lam))[order]
    moved = replace(m, zz=np.ascontiguousarray(zz), zw=np.ascontiguousarray(zw), sample=None)
    return _Arranged(moved, block.start, canonical(m.structure, factor), m.scale_y / size[terms])


def _lowest(at: Callable[[np.ndarray], Expansion], start: list[np.ndarray], lower: np.ndarray) -> float:
    """The minimum from where the last one was found, which is remembered in `start`."""
    seen: dict[bytes, Expansion] = {}

    def once(point: np.ndarray) -> Expansion:
        key = point.tobytes()
        if key not in seen:
            seen.clear()
            seen[key] = at(point)
        return seen[key]

    found = minimise(lambda point: once(point)[:2], start[0], lower, lambda point: once(point)[2], ENOUGH)
    start[0] = found.x
    return found.value
