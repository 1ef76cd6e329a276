"""One bounded minimiser behind one function, with the proof of its result.

L-BFGS-B finds the neighbourhood; Newton steps, whose Hessian differentiates the analytic gradient, finish to rounding.
A result counts as converged by proof: a small projected gradient, a small Newton decrement, no direction of
negative curvature, and the right sign of the gradient at each active bound (KKT). The Hessian also catches the trap
of METHODS §2.13: with a zero column in Λ the gradient is exactly zero, and only the curvature tells whether to leave.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from analysis.covariance import Structure, canonical

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
Hessian = Callable[[np.ndarray], np.ndarray]

STEP = 1e-4
"""Step of the central difference of the gradient, in units of max(1, |x|); truncation and rounding are near 1e-8."""
ROUNDS = 60
"""Newton steps and escapes before giving up; a sound problem needs two to five."""
FLAT = 1e-9
"""Curvatures below this share of the largest count as flat."""
FLATTEST = 1e-4
"""Least curvature that BFGS begins with, as a share of the largest."""
REST = 1e-14
"""A Newton step this small, as a share of the largest coordinate, is rounding."""
BENT = 1e-7
"""A curvature more negative than this leaves a boundary fit in doubt."""
NUDGE = 1e-2
"""Added above the diagonal of a factor, so that its empty columns have somewhere to go."""
NEAR = 0.1
"""A diagonal element below this share of its row may belong at zero."""
PROBE = 1e-3
"""Size of w when slopes off the boundary are measured: ε² is 1e-6 of the residual variance."""
CAP = 1.0
"""Longest Newton step, in units of the largest coordinate."""
TURNS = 10
"""Attempts to leave the boundary before the fit is taken as it is."""
HELD = 1e-6
"""A bound holds a coordinate where the gradient pushes against it by more than this; below, only curvature can tell."""

GRADIENT = 1e-6
"""Largest projected gradient of a converged fit, times max(1, deviance per row) (METHODS §2.13)."""
DECREMENT = 1e-8
"""Largest Newton decrement of a converged fit."""
NOTHING_LEFT = 1e-10
"""A decrement so small proves the optimum whatever the gradient's scale: the deviance has 5e-11 left to fall."""
FALLING = 1e-5
"""A curvature may be negative by this share of the largest: at a zero column its promise is below 1e-7 of deviance."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a minimisation ended, and how well.

    x, gradient : (m,);  hessian : (m, m), from central differences of the gradient
    free : (m,) bool, False where a bound is active and the gradient pushes against it
    projected_gradient : largest |gradient| over the free coordinates
    decrement : g'H⁻¹g over the free coordinates, twice the fall that a Newton step would still promise; inf where the
        objective falls along a direction without curvature
    curvatures : eigenvalues of the free Hessian, ascending
    trace : the objective after each round
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    free: np.ndarray
    projected_gradient: float
    decrement: float
    curvatures: np.ndarray
    evaluations: int
    trace: tuple[float, ...]

    def is_proven(self, n_obs: int) -> bool:
        """Is this a local minimum of a deviance of n_obs rows, by gradient, Newton decrement and curvature (§2.13)?"""
        rising = not len(self.curvatures) or self.curvatures[0] > -FALLING * max(1.0, self.curvatures[-1])
        flat = self.projected_gradient <= GRADIENT * max(1.0, abs(self.value) / n_obs) or self.decrement <= NOTHING_LEFT
        return bool(np.isfinite(self.value) and flat and self.decrement <= DECREMENT and rising)


def minimise(
    objective: Objective,
    start: np.ndarray,
    lower: np.ndarray,
    second: Hessian | None = None,
    enough: float = 1e-20,
) -> Minimum:
    """Minimise from `start` (m,) above the bounds `lower` (m,), −inf where there is none.

    `objective` returns value and gradient, may be called a little below a bound, and returns inf where undefined.
    `second` is its Hessian where there is a formula; then Newton steps serve from the start. A Newton decrement below `enough`
    ends the search; 0 means that only rounding does.
    """
    counter = _Counted(objective)
    trace: list[float] = []

    def settle(x: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
        x = x if second else descend(counter, x, lower)
        value, gradient = counter(x)
        return x, value, gradient, second(x) if second else differentiate(counter, x)

    x, value, gradient, hessian = settle(np.maximum(start, lower))
    for _ in range(ROUNDS):
        trace.append(value)
        step, curvatures, axes = _feasible_step(x, gradient, hessian, lower)
        falling = bool(len(curvatures)) and curvatures[0] < -1e-7 * max(1.0, curvatures[-1])
        decrement = float(-gradient @ step)
        if falling and (second is None or decrement < DECREMENT):
            moved = _escape(counter, x, value, axes, lower)
            if moved is None:
                break
            x, value, gradient, hessian = settle(moved)
            continue
        done = np.abs(step).max(initial=0.0) <= REST * max(1.0, np.abs(x).max(initial=0.0))
        if done or decrement < enough:
            break
        better = _along(counter, x, value, gradient, _capped(step, x) if second else step, lower, decrement)
        if better is None:
            break
        x, value, gradient = better
        if (
            decrement < 1e-13 and second is None
        ):  # the step just taken squares so small an error; its Hessian still holds
            break
        hessian = second(x) if second else differentiate(counter, x)
    free = (x > lower) | (gradient <= HELD)
    step, curvatures, axes = _newton_step(gradient, hessian, free)
    flat = np.abs(curvatures) <= FLAT * np.abs(curvatures).max(initial=0.0)
    endless = bool((np.abs(axes[:, flat].T @ gradient) > GRADIENT).any())  # falling without curvature: no end in sight
    return Minimum(
        x=x,
        value=value,
        gradient=gradient,
        hessian=hessian,
        free=free,
        projected_gradient=float(np.abs(gradient[free]).max(initial=0.0)),
        decrement=np.inf if endless else float(-gradient @ step),
        curvatures=curvatures,
        evaluations=counter.calls,
        trace=tuple(trace),
    )


def minimise_factor(
    objective: Objective,
    start: np.ndarray,
    structure: Structure,
    before: int = 0,
    second: Hessian | None = None,
    score: Hessian | None = None,
    enough: float = 1e-20,
) -> Minimum:
    """`minimise` where the coordinates from `before` on are θ of `structure`, with the optimality of a covariance proven.

    On the boundary, where G = ΛΛ' lacks rank, a stationary θ need not be an optimum over all covariances: G + ε²ww' may
    be better for some w that θ can only reach by turning. The slopes along all such w form a symmetric matrix S per
    block (the score of METHODS §2.13); a negative eigenvalue shows the way off the boundary, none proves the optimum.
    `score` is that matrix (q, q) where there is a formula; otherwise it is measured.
    """
    lower = np.concatenate([np.full(before, -np.inf), structure.lower])
    found = minimise(objective, start, lower, second, enough)
    for _ in range(TURNS):
        theta = found.x[before:]
        if not structure.is_singular(theta):
            break
        upright = np.append(found.x[:before], canonical(structure, structure.lam(theta)))
        slopes = _measured_score(objective, upright, structure, before) if score is None else score(upright)
        better = _leave_boundary(objective, upright, structure, before, slopes)
        candidate = minimise(objective, upright if better is None else better, lower, second, enough)
        if candidate.value <= found.value + 1e-10 * max(1.0, abs(found.value)):
            found = replace(candidate, evaluations=found.evaluations + candidate.evaluations)
        if better is None:
            break
    if score is None or (found.decrement <= NOTHING_LEFT and found.curvatures.min(initial=0.0) > -BENT):
        return found
    points = _by_full_factor(objective, found.x, structure, before, score)
    ends = [minimise(objective, point, lower, second, enough) for point in points]
    best = min(ends, key=lambda end: (end.decrement > NOTHING_LEFT, end.value))
    if best.value > found.value + 1e-10 * max(1.0, abs(found.value)):
        return found
    return replace(best, evaluations=found.evaluations + sum(end.evaluations for end in ends))


def _by_full_factor(
    objective: Objective, x: np.ndarray, structure: Structure, before: int, score: Hessian
) -> list[np.ndarray]:
    """Where a descent over full square factors F ends, G = FF' (the slope is 2SF), and the points of lower rank near it.

    F has no bounds, and no column that must be emptied before others can turn: where the best G lacks rank, θ creeps for
    hundreds of Newton steps towards a corner that F walks through.
    """
    together = structure.same_block()
    lam = structure.lam(x[before:])

    def at(point: np.ndarray) -> tuple[float, np.ndarray]:
        here = np.zeros_like(lam)
        here[together] = point
        theta = np.append(x[:before], canonical(structure, here))
        return objective(theta)[0], (2.0 * score(theta) @ here)[together]

    start = (lam + np.triu(np.full_like(lam, NUDGE)))[together]
    factor = np.zeros_like(lam)
    factor[together] = minimize(
        at,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "maxfun": 2000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20},
    ).x
    out = [canonical(structure, factor)]
    flat = structure.lam(out[0])
    for j in np.argsort(np.diag(flat)):
        if flat[j, j] < NEAR * max(1.0, float(np.abs(flat[j]).max())):
            flat[j, j] = 0.0
            out.append(canonical(structure, flat))
    return [np.append(x[:before], theta) for theta in out]


def differentiate(objective: Objective, x: np.ndarray) -> np.ndarray:
    """The Hessian (m, m) at x by central differences of the gradient, made symmetric."""
    m = len(x)
    out = np.empty((m, m))
    for j in range(m):
        step = STEP * max(1.0, abs(x[j]))
        above, below = x.copy(), x.copy()
        above[j] += step
        below[j] -= step
        out[j] = (objective(above)[1] - objective(below)[1]) / (above[j] - below[j])
    return 0.5 * (out + out.T)


class Updated:
    """A Hessian by BFGS, as `minimise` asks for it: at each point that it moves to."""

    def __init__(self, objective: Objective, matrix: np.ndarray) -> None:
        self.objective = objective
        self.matrix = matrix
        self.last: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, point: np.ndarray) -> np.ndarray:
        gradient = self.objective(point)[1]
        if self.last is not None:
            step, change = point - self.last[0], gradient - self.last[1]
            along = self.matrix @ step
            rise, bend = float(step @ change), float(step @ along)
            if rise > 1e-8 * bend > 0.0:
                self.matrix = self.matrix + np.outer(change, change) / rise - np.outer(along, along) / bend
        self.last = point, gradient
        return self.matrix


def rising(hessian: np.ndarray) -> np.ndarray:
    """The Hessian with every curvature positive, and none flatter than a small share of the largest: where BFGS may begin."""
    values, axes = np.linalg.eigh(0.5 * (hessian + hessian.T))
    values = np.maximum(np.abs(values), FLATTEST * np.abs(values).max(initial=1e-8))
    return np.asarray((axes * values) @ axes.T)


class _Counted:
    """The objective with a count of its calls."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.calls = 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        return self.objective(x)


def descend(objective: Objective, start: np.ndarray, lower: np.ndarray | None = None) -> np.ndarray:
    """L-BFGS-B to a modest tolerance: Newton steps are better at the end."""
    if not len(start):
        return start
    lower = np.full(len(start), -np.inf) if lower is None else lower
    bounds = [(None if np.isinf(low) else low, None) for low in lower]
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 500, "maxfun": 2000, "ftol": 1e-11, "gtol": 1e-5, "maxcor": 20},
    )
    return np.asarray(np.maximum(found.x, lower))


def _newton_step(
    gradient: np.ndarray, hessian: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The step −H⁻¹g over the free coordinates, the curvatures there, and their axes as columns (m, free)."""
    step = np.zeros_like(gradient)
    axes = np.zeros((len(gradient), int(free.sum())))
    if not free.any() or not np.isfinite(hessian).all():
        return step, np.empty(0), axes
    curvatures, vectors = np.linalg.eigh(hessian[np.ix_(free, free)])
    axes[free] = vectors
    size = np.abs(curvatures)
    usable = size > FLAT * size.max(initial=0.0)
    along = vectors.T @ gradient[free]
    step[free] = -vectors[:, usable] @ (along[usable] / size[usable])
    return step, curvatures, axes


def _feasible_step(
    x: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_newton_step`, without the coordinates that stand at their bound and would be pushed below it."""
    free = (x > lower) | (gradient <= HELD)
    while True:
        step, curvatures, axes = _newton_step(gradient, hessian, free)
        blocked = free & (x <= lower) & (step < 0.0)
        if not blocked.any():
            return step, curvatures, axes
        free &= ~blocked


def _escape(
    objective: Objective, x: np.ndarray, value: float, axes: np.ndarray, lower: np.ndarray
) -> np.ndarray | None:
    """A lower point along the direction of most negative curvature, or None where there is none."""
    for length in (0.3, 0.05, 0.01, 1e-3):
        for sign in (1.0, -1.0):
            candidate: np.ndarray = np.maximum(x + sign * length * axes[:, 0], lower)
            if objective(candidate)[0] < value - 1e-12 * max(1.0, abs(value)):
                return candidate
    return None


def _leave_boundary(
    objective: Objective, x: np.ndarray, structure: Structure, before: int, slopes: np.ndarray
) -> np.ndarray | None:
    """A lower point with ε²ww' added to one block of ΛΛ', along the steepest falling w; None where no w falls."""
    value = objective(x)[0]
    rounding = 1e-11 * max(1.0, abs(value))
    for block in structure.slices():
        steepness, axes = np.linalg.eigh(slopes[block, block])
        if PROBE**2 * steepness[0] < -rounding:
            for length in (30.0, 10.0, 3.0, 1.0, 0.3):
                candidate = _widened(x, structure, before, block, length * PROBE * axes[:, 0])
                if objective(candidate)[0] < value - rounding:
                    return candidate
    return None


def _widened(x: np.ndarray, structure: Structure, before: int, block: slice, w: np.ndarray) -> np.ndarray:
    """x with ww' added to one block of ΛΛ'."""
    direction = np.zeros(structure.size)
    direction[block] = w
    lam = structure.lam(x[before:])
    return np.append(x[:before], canonical(structure, np.column_stack([lam, direction])))


def _measured_score(objective: Objective, x: np.ndarray, structure: Structure, before: int) -> np.ndarray:
    """The slopes (q, q) of the objective as ww' is added to a block of ΛΛ', from differences."""
    value = objective(x)[0]
    out = np.zeros((structure.size, structure.size))
    for block in structure.slices():
        units = PROBE * np.eye(block.stop - block.start)

        def rise(w: np.ndarray, block: slice = block) -> float:
            return float(objective(_widened(x, structure, before, block, w))[0] - value) / PROBE**2

        for a, unit in enumerate(units):
            out[block.start + a, block.start + a] = rise(unit)
        for a, b in itertools.combinations(range(len(units)), 2):
            i, j = block.start + a, block.start + b
            out[i, j] = out[j, i] = 0.5 * (rise(units[a] + units[b]) - out[i, i] - out[j, j])
    return out


def _capped(step: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The step, shortened where it goes further than the quadratic it comes from can be trusted."""
    room = CAP * np.maximum(np.abs(x).max(initial=0.0), 0.2)
    longest = np.abs(step).max(initial=0.0)
    return step if longest <= room else step * (room / longest)


def _along(
    objective: Objective,
    x: np.ndarray,
    value: float,
    gradient: np.ndarray,
    step: np.ndarray,
    lower: np.ndarray,
    decrement: float,
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The first point along the step, halved as needed, that is lower (within rounding: flatter); None if none is."""
    rounding = 1e-13 * max(1.0, abs(value))
    room = np.divide(x - lower, -step, out=np.full_like(x, np.inf), where=step < 0.0)
    longest = min(
        1.0, float(room.min())
    )  # all coordinates stop where the first meets its bound: the step keeps its sense
    for halvings in range(30):
        length = longest * 0.5**halvings
        candidate: np.ndarray = np.where(room <= length, lower, x + length * step)
        new_value, new_gradient = objective(candidate)
        if new_value < value - rounding:
            return candidate, new_value, new_gradient
        flatter = np.abs(new_gradient[step != 0.0]).max() < np.abs(gradient[step != 0.0]).max()
        if new_value <= value + rounding and flatter:
            return candidate, new_value, new_gradient
        if decrement < 1e-10 and halvings > 3:
            break
    return None
