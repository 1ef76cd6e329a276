"""Profile-likelihood intervals (Bates et al., 2015, §5.1; lme4's `profile`), of ML fits, by exact Newton steps.

For each parameter the deviance is minimised over all others with this one held at a value; the limits are where its signed root
ζ reaches ± the normal quantile. The held parameter becomes a coordinate: a fixed effect by a change of the basis of X, an SD by
putting its term first in its block (θ₁₁ = sd/σ), a correlation by putting its two terms first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from analysis.covariance import Structure, canonical
from analysis.intervals.parameters import Parameter
from analysis.intervals.serial_profile import WIDE, phi_held, serial_held, zeta_ends, zeta_error
from analysis.linear import Criterion, LmmFit, fit_lmm
from analysis.moments import Moments
from analysis.optimize import minimise, minimise_factor
from analysis.serial import AR1
from analysis.serial_bins import phi_of
from analysis.serial_fit import SerialFit, fit_serial

CLOSE = 1e-5
"""ζ at a limit is found to this; a limit is then within 1e-5 of a standard error."""
ENOUGH = 1e-12
"""A Newton decrement this small leaves ζ² less than that from its minimum."""
TRIES = 40
EDGE = 1.0 - 1e-7
"""A correlation beyond this is taken as ±1."""

Held = Callable[[float], float]
"""The lowest deviance with the parameter held at a value."""
Expansion = tuple[float, np.ndarray, np.ndarray]
"""Value, gradient and Hessian at a point."""


def profile_intervals(fit: LmmFit, wanted: list[Parameter], level: float) -> np.ndarray:
    """(parameters, 2) lower and upper limits; NaN where a parameter has no profile (a correlation with a term of no spread).

    A REML fit is refitted by ML first, as lme4 does. A limit that the data do not set is that of the parameter: 0 for an SD,
    ±1 for a correlation.
    """
    ml = _by_ml(fit) if fit.reml else fit
    target = float(ndtri(0.5 + 0.5 * level))
    return np.array([_limits(ml, parameter, target) for parameter in wanted])


def _by_ml(fit: LmmFit) -> LmmFit:
    if isinstance(fit, SerialFit):
        return fit_serial(fit.bins, reml=False)
    return fit_lmm(fit.moments, reml=False, start=fit)


def _limits(ml: LmmFit, parameter: Parameter, target: float) -> tuple[float, float]:
    if parameter.kind == "phi":
        assert isinstance(ml, SerialFit)
        return _phi_limits(ml, target)
    best = parameter.of(ml)
    if np.isnan(best):
        return np.nan, np.nan
    low, high = {"fixed": (-np.inf, np.inf), "sd": (0.0, np.inf), "cor": (-EDGE, EDGE), "sigma": (0.0, np.inf)}[
        parameter.kind
    ]
    step = _first_step(ml, parameter, best, target)
    limits = [
        _limit(_held(ml, parameter), best, ml.minimum.value, side * step, bound, target)
        for side, bound in ((-1, low), (1, high))
    ]
    if parameter.kind == "cor":
        limits = [float(np.sign(limit)) if abs(limit) >= EDGE else limit for limit in limits]
    return limits[0], limits[1]


def _limit(held: Held, best: float, lowest: float, step: float, bound: float, target: float) -> float:
    """Where the root of the deviance's rise reaches the target, on one side; the bound where it does not before.

    Secant steps on the root, which is nearly linear, kept between what is known to lie on this side of the limit and beyond.
    """
    near, far = best, bound  # the root is below the target at `near`, above it at `far` or not yet known there
    beyond = False  # is it known?
    at, last, last_root = best + step, best, 0.0
    for _ in range(TRIES):
        if not min(near, far) < at < max(near, far):
            at = 0.5 * (near + far) if beyond else far
        root = float(np.sqrt(max(held(at) - lowest, 0.0)))
        if abs(root - target) < CLOSE:
            return at
        if root < target:
            if at == bound:
                return bound
            near = at
        else:
            far, beyond = at, True
        if beyond and abs(far - near) <= 1e-12 * max(abs(near), abs(far)):
            return 0.5 * (near + far)
        slope = (root - last_root) / (at - last)
        last, last_root = at, root
        if not slope * step > 0.0:  # no rise here
            at = 0.5 * (near + far) if beyond else at + 2.0 * step
        else:
            at += float(np.clip((target - root) / slope, -4.0 * abs(at - best), 4.0 * abs(at - best)))
    return np.nan


def _first_step(ml: LmmFit, parameter: Parameter, best: float, target: float) -> float:
    """About where the limit is, from the curvature where that is at hand."""
    if parameter.kind == "fixed":
        return target * float(np.sqrt(ml.vcov[parameter.i, parameter.i]))
    if parameter.kind == "sigma":
        return target * best / float(np.sqrt(2.0 * max(ml.moments.n_obs - len(ml.moments.zz) * len(ml.g), 2)))
    persons = len(ml.moments.zz)
    if parameter.kind == "cor":
        return 0.9 * float(min(target / np.sqrt(persons), 1.0)) * max(1.0 - best**2, 0.05)
    least = 0.05 * ml.sigma * float(np.sqrt(persons / ml.moments.n_obs))
    return target * max(best, least) / float(np.sqrt(2.0 * persons))


def _phi_limits(ml: SerialFit, target: float) -> tuple[float, float]:
    """On φ's unbounded scale; the end of φ's range where the data do not set a limit."""
    ends, step = zeta_ends(ml), target * min(zeta_error(ml), WIDE)
    limits = [
        _limit(phi_held(ml), max(ml.zeta, ends[0]), ml.minimum.value, side * step, end, target)
        for side, end in zip((-1, 1), ends, strict=True)
    ]
    low, high = (phi_of(ml.residual, limit) for limit in limits)
    lowest = -1.0 if isinstance(ml.residual, AR1) else 0.0
    return lowest if limits[0] <= ends[0] else low, 1.0 if limits[1] >= ends[1] else high


def _held(ml: LmmFit, parameter: Parameter) -> Held:
    if isinstance(ml, SerialFit):
        return serial_held(ml, lambda here: _held_at(here, parameter))
    return _held_at(ml, parameter)


def _held_at(ml: LmmFit, parameter: Parameter) -> Held:
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
    t = _place(structure, arranged.first, arranged.first)
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
    """θ₂₁ = ρc, θ₂₂ = √(1 − ρ²)c of the two terms put first: linear in θ at a given ρ."""
    arranged = _arrange(ml, [one, other])
    criterion, structure = Criterion(arranged.moments, reml=False), ml.moments.structure
    across = _place(structure, arranged.first + 1, arranged.first)
    down = _place(structure, arranged.first + 1, arranged.first + 1)
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

        return _lowest(at, start, np.append(structure.lower[others], 0.0))

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


def _place(structure: Structure, row: int, column: int) -> int:
    """Where an element of Λ stands in θ."""
    return int(np.flatnonzero((structure.rows == row) & (structure.columns == column))[0])


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
