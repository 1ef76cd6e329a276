"""Wald intervals of SDs and a negative binomial's size (on the log scale) and correlations (on Fisher's z).

As nlme's `intervals` (Pinheiro & Bates, 2000).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from analysis.generalised import GlmmFit
from analysis.inference.optimum import joint_hessian, optimum
from analysis.intervals.parameters import Parameter
from analysis.linear import LinearFit
from analysis.serial_fit import SerialFit, covariance, phi_wald

STEP = 1e-6
"""Relative step of the numerical slopes of SDs and correlations in θ; they are smooth and of order one."""


def spread_intervals(fit: LinearFit | GlmmFit, wanted: list[Parameter], level: float) -> np.ndarray:
    """(parameters, 2) lower and upper limits of all but effects and thresholds; NaN in a singular fit, where Wald has no meaning.

    The covariance of a linear fit is twice the inverse Hessian of the deviance in (θ, log σ), and φ, the fixed effects
    profiled out; of a generalised fit that of all parameters together. A size of infinity has no interval.
    """
    if fit.singular or not fit.converged:
        return np.full((len(wanted), 2), np.nan)
    half = float(ndtri(0.5 + 0.5 * level))
    if isinstance(fit, GlmmFit):
        return np.array([_generalised(fit, parameter, half) for parameter in wanted]).reshape(-1, 2)
    point = np.append(fit.theta, np.log(fit.sigma / fit.moments.scale_y))
    spread = _covariance(fit, point)
    out = np.empty((len(wanted), 2))
    for row, parameter in enumerate(wanted):
        if parameter.kind == "phi":
            assert isinstance(fit, SerialFit)
            out[row] = phi_wald(fit, level)
            continue
        slope = np.empty(len(point))
        for k, unit in enumerate(np.eye(len(point))):
            step = STEP * max(1.0, abs(point[k]))
            slope[k] = (_free(fit, parameter, point + step * unit) - _free(fit, parameter, point - step * unit)) / (
                2 * step
            )
        limits = _free(fit, parameter, point) + half * np.sqrt(slope @ spread @ slope) * np.array([-1.0, 1.0])
        out[row] = np.tanh(limits) if parameter.kind == "cor" else np.exp(limits)
    return out


def _generalised(fit: GlmmFit, parameter: Parameter, half: float) -> np.ndarray:
    """(2,) limits, half standard errors away on the scale of `free_error`."""
    at, error = free_error(fit, parameter)
    limits = at + half * error * np.array([-1.0, 1.0])
    return np.tanh(limits) if parameter.kind == "cor" else np.exp(limits)


def free_error(fit: GlmmFit, parameter: Parameter) -> tuple[float, float]:
    """A parameter on its unbounded scale, and its standard error there; NaN where it has none."""
    p = len(fit.beta)
    if parameter.kind in ("fixed", "threshold"):
        place = parameter.i + (p if parameter.kind == "threshold" else 0)
        return parameter.of(fit), float(np.sqrt(fit.joint[place, place]))
    if parameter.kind == "dispersion":
        known = np.isfinite(fit.extra[0])
        return float(fit.extra[0]), float(np.sqrt(fit.joint[p, p])) if known else np.nan
    structure, theta = fit.data.structure, fit.theta

    def at(theta: np.ndarray) -> float:
        factor = fit.data.random_map @ structure.lam(theta)
        value = parameter.value(fit.beta, factor @ factor.T, np.nan)
        return float(np.arctanh(value) if parameter.kind == "cor" else np.log(value))

    slope = np.array(
        [(at(theta + STEP * unit) - at(theta - STEP * unit)) / (2.0 * STEP) for unit in np.eye(len(theta))]
    )
    first = len(fit.inner) - len(theta)
    return at(theta), float(np.sqrt(slope @ fit.inner_covariance[first:, first:] @ slope))


def _covariance(fit: LinearFit, point: np.ndarray) -> np.ndarray:
    """(m + 1, m + 1) of (θ, log σ); φ is as uncertain as it is."""
    if isinstance(fit, SerialFit):
        return covariance(fit)[1:, 1:]
    hessian = joint_hessian(fit, optimum(fit))  # in (θ, σ), where the slope in σ is zero
    units = np.append(np.ones(len(fit.theta)), np.exp(point[-1]))
    return np.asarray(2.0 * np.linalg.inv(units[:, None] * hessian * units))


def _free(fit: LinearFit, parameter: Parameter, point: np.ndarray) -> float:
    """The parameter on its unbounded scale, at (θ, log σ)."""
    m = fit.moments
    sigma = float(np.exp(point[-1])) * m.scale_y
    factor = sigma * m.random_map @ m.structure.lam(point[:-1])
    value = parameter.value(fit.beta, factor @ factor.T, sigma)
    return float(np.arctanh(value) if parameter.kind == "cor" else np.log(value))
