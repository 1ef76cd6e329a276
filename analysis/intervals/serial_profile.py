"""Profiles of fits with serial residuals: φ held, or found anew for every value at which another parameter is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from analysis.intervals.held import Held
from analysis.linear import LmmFit
from analysis.optimize import minimise_factor
from analysis.serial import AR1
from analysis.serial_bins import weights_at, zeta_of
from analysis.serial_fit import Joint, SerialFit, covariance

FINE = 1e-4
"""ζ is found to this share of its standard error: the deviance is then within 1e-8 of its minimum."""
WIDE = 1.0
"""Standard error of ζ at most: where it is larger the curvature says little."""
ENOUGH = 1e-12


def serial_held(ml: SerialFit, plain: Callable[[LmmFit], Held]) -> Held:
    """The lowest deviance over ζ too, where `plain` holds a parameter of a fit whose moments are those at one ζ.

    A φ that the end of its range holds at 0 stays there.
    """
    if not np.isfinite(ml.zeta):
        return plain(ml)
    error = min(zeta_error(ml), WIDE)
    last = [ml.zeta]

    def held(value: float) -> float:
        def at(zeta: float) -> float:
            weights = weights_at(ml.bins.series, zeta)
            return plain(replace(ml, moments=ml.bins.moments(weights)))(value) + weights.log_det

        share = FINE * error / max(abs(last[0]), error)
        found = minimize_scalar(at, bracket=(last[0], last[0] + 0.3 * error), method="brent", tol=share)
        last[0] = float(found.x)
        return float(found.fun)

    return held


def phi_held(ml: SerialFit) -> Held:
    """The lowest deviance at a given ζ."""
    joint = Joint(ml.bins, ml.reml)
    start = [ml.theta]

    def held(zeta: float) -> float:
        criterion = joint.criterion(zeta)
        found = minimise_factor(
            criterion,
            start[0],
            ml.moments.structure,
            second=criterion.hessian,
            score=lambda theta: criterion.at(theta).score,
            enough=ENOUGH,
        )
        start[0] = found.x
        return found.value + joint.log_det(zeta)

    return held


def zeta_error(fit: SerialFit) -> float:
    """The standard error of ζ, from the curvature; 1 where that tells nothing."""
    if fit.singular or not np.isfinite(fit.zeta) or not fit.joint.hessian[0, 0] > 0.0:
        return 1.0
    variance = float(covariance(fit)[0, 0])
    return float(np.sqrt(variance)) if variance > 0.0 else 1.0


def zeta_ends(fit: SerialFit) -> tuple[float, float]:
    """Where φ is as good as at the ends of its range: −1 (AR1) or 0 (CAR1), and 1."""
    gaps = fit.bins.series.gaps
    high = zeta_of(fit.residual, 1e-10 / float(gaps[-1]))
    return (-high if isinstance(fit.residual, AR1) else zeta_of(fit.residual, 30.0 / float(gaps[0]))), high
