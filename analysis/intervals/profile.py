"""Profile-likelihood intervals (Bates et al., 2015, §5.1; lme4's `profile`), of ML fits.

For each parameter the deviance is minimised over all others with this one held at a value; the limits are where its signed root
ζ reaches ± the normal quantile.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from analysis.errors import SpecError
from analysis.factored import FactorFit, fit_factors
from analysis.generalised import GlmmFit
from analysis.intervals import held, held_factors, held_joint
from analysis.intervals.held import Held
from analysis.intervals.parameters import Parameter
from analysis.intervals.serial_profile import WIDE, phi_held, serial_held, zeta_ends, zeta_error
from analysis.intervals.wald import free_error
from analysis.linear import LinearFit, LmmFit, fit_lmm
from analysis.serial import AR1
from analysis.serial_bins import phi_of
from analysis.serial_factors import FactorSerialFit
from analysis.serial_fit import SerialFit, fit_serial

CLOSE = 1e-5
"""ζ at a limit is found to this; a limit is then within 1e-5 of a standard error."""
TRIES = 40
EDGE = 1.0 - 1e-7
"""A correlation beyond this is taken as ±1."""
LARGE = 20.0
"""A size κ with log κ beyond this is taken as infinite."""
BOUNDS = {
    "fixed": (-np.inf, np.inf),
    "threshold": (-np.inf, np.inf),
    "sd": (0.0, np.inf),
    "cor": (-EDGE, EDGE),
    "sigma": (0.0, np.inf),
}


def profile_intervals(fit: LinearFit | GlmmFit, wanted: list[Parameter], level: float) -> np.ndarray:
    """(parameters, 2) lower and upper limits; NaN where a parameter has no profile (a correlation with a term of no spread).

    A REML fit is refitted by ML first, as lme4 does. A limit that the data do not set is that of the parameter: 0 for an SD,
    ±1 for a correlation, infinity for a negative binomial's size. A generalised fit that did not converge has none; where
    its size is infinite, it stays so while other parameters are held.
    """
    target = float(ndtri(0.5 + 0.5 * level))
    if isinstance(fit, GlmmFit):
        return np.array([_of_generalised(fit, parameter, target) for parameter in wanted]).reshape(-1, 2)
    ml = _by_ml(fit) if fit.reml else fit
    return np.array([_limits(ml, parameter, target) for parameter in wanted])


def _of_generalised(fit: GlmmFit, parameter: Parameter, target: float) -> tuple[float, float]:
    best = parameter.of(fit)
    if np.isnan(best) or not fit.converged:
        return np.nan, np.nan
    if parameter.kind == "dispersion":
        return _of_size(fit, parameter, target)
    low, high = BOUNDS[parameter.kind]
    step = _step_of_generalised(fit, parameter, best, target)
    return _both(lambda: held_joint.held_at(fit, parameter), best, fit.minimum.value, step, (low, high), target)


def _of_size(fit: GlmmFit, parameter: Parameter, target: float) -> tuple[float, float]:
    """On the scale of log κ; of 1/κ where κ is infinite."""
    held_size = held_joint.held_at(fit, parameter)
    if np.isinf(fit.extra[0]):
        step = target / float(fit.data.y.mean() * np.sqrt(len(fit.data.y)))
        return 1.0 / _limit(held_size, 0.0, fit.minimum.value, step, np.inf, target), np.inf
    best, step = float(fit.extra[0]), target * free_error(fit, parameter)[1]
    low, high = _both(lambda: held_size, best, fit.minimum.value, step, (-LARGE, LARGE), target)
    return float(np.exp(low)), float(np.exp(high)) if high < LARGE else np.inf


def _by_ml(fit: LinearFit) -> LinearFit:
    if isinstance(fit, SerialFit):
        return fit_serial(fit.bins, reml=False)
    if isinstance(fit, LmmFit):
        return fit_lmm(fit.moments, reml=False, start=fit)
    if isinstance(fit, FactorSerialFit):
        raise SpecError(
            "profile intervals of serial residuals beside several grouping factors are not available; method='wald' is."
        )
    assert isinstance(fit, FactorFit)
    return fit_factors(fit.moments, reml=False, start=fit.theta)


def _held(ml: LinearFit, parameter: Parameter) -> Held:
    if isinstance(ml, SerialFit):
        return serial_held(ml, lambda here: held.held_at(here, parameter))
    if isinstance(ml, LmmFit):
        return held.held_at(ml, parameter)
    assert isinstance(ml, FactorFit)
    return held_factors.held_at(ml, parameter)


def _limits(ml: LinearFit, parameter: Parameter, target: float) -> tuple[float, float]:
    if parameter.kind == "phi":
        assert isinstance(ml, SerialFit)
        return _phi_limits(ml, target)
    best = parameter.of(ml)
    if np.isnan(best):
        return np.nan, np.nan
    step = _first_step(ml, parameter, best, target)
    return _both(lambda: _held(ml, parameter), best, ml.minimum.value, step, BOUNDS[parameter.kind], target)


def _both(
    held_at: Callable[[], Held],
    best: float,
    lowest: float,
    step: float,
    bounds: tuple[float, float],
    target: float,
) -> tuple[float, float]:
    """The limits on both sides, each by a search of its own from the estimate; ±1 beyond a correlation's edges."""
    limits = [
        _limit(held_at(), best, lowest, side * step, bound, target) for side, bound in zip((-1, 1), bounds, strict=True)
    ]
    if bounds == BOUNDS["cor"]:
        limits = [float(np.sign(limit)) if abs(limit) >= EDGE else limit for limit in limits]
    return limits[0], limits[1]


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


def _limit(lowest_at: Held, best: float, lowest: float, step: float, bound: float, target: float) -> float:
    """Where the root of the deviance's rise reaches the target, on one side; the bound where it does not before.

    Secant steps on the root, which is nearly linear, kept between what is known to lie on this side of the limit and beyond.
    """
    near, far = best, bound  # the root is below the target at `near`, above it at `far` or not yet known there
    beyond = False  # is it known?
    at, last, last_root = best + step, best, 0.0
    for _ in range(TRIES):
        if not min(near, far) < at < max(near, far):
            at = 0.5 * (near + far) if beyond else far
        root = float(np.sqrt(max(lowest_at(at) - lowest, 0.0)))
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


def _first_step(ml: LinearFit, parameter: Parameter, best: float, target: float) -> float:
    """About where the limit is, from the curvature where that is at hand."""
    if parameter.kind == "fixed":
        return target * float(np.sqrt(ml.vcov[parameter.i, parameter.i]))
    if parameter.kind == "sigma":
        effects = sum(_levels(ml))
        return target * best / float(np.sqrt(2.0 * max(ml.moments.n_obs - effects, 2)))
    levels = _levels(ml)[parameter.i]
    if parameter.kind == "cor":
        return 0.9 * float(min(target / np.sqrt(levels), 1.0)) * max(1.0 - best**2, 0.05)
    least = 0.05 * ml.sigma * float(np.sqrt(levels / ml.moments.n_obs))
    return target * max(best, least) / float(np.sqrt(2.0 * levels))


def _step_of_generalised(fit: GlmmFit, parameter: Parameter, best: float, target: float) -> float:
    """By the Wald interval; of about the size of the levels' own errors where there is none."""
    direct = parameter.kind in ("fixed", "threshold")
    error = np.nan if fit.singular and not direct else free_error(fit, parameter)[1]
    if direct:
        return target * error
    levels = [len(own.u) for own in fit.levels for _ in range(own.u.shape[1])][parameter.i]
    if parameter.kind == "cor":
        error = error if np.isfinite(error) else 1.0 / np.sqrt(levels)
        return float(min(target * error, 1.0)) * max(1.0 - best**2, 0.05)
    if error < 1.0:
        return target * best * error
    unit = float(np.sqrt(np.square(fit.data.random_map[parameter.i]).sum()))
    return target * max(best, 0.1 * unit) / float(np.sqrt(2.0 * levels))


def _levels(ml: LinearFit) -> list[int]:
    """Levels of the factor of each random term."""
    if isinstance(ml, LmmFit):
        return [len(ml.moments.zz)] * len(ml.g)
    assert isinstance(ml, FactorFit)
    return [len(factor.levels) for factor in ml.moments.plan.factors for _ in range(factor.size)]
