"""Wald intervals of SDs (on the log scale) and correlations (on Fisher's z), as nlme's `intervals` (Pinheiro & Bates, 2000)."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from analysis.inference.optimum import joint_hessian, optimum
from analysis.intervals.parameters import Parameter
from analysis.linear import LinearFit
from analysis.serial_fit import SerialFit, covariance, phi_wald

STEP = 1e-6
"""Relative step of the numerical slopes of SDs and correlations in θ; they are smooth and of order one."""


def spread_intervals(fit: LinearFit, wanted: list[Parameter], level: float) -> np.ndarray:
    """(parameters, 2) lower and upper limits of `sd`, `cor`, `sigma`, `phi`; NaN in a singular fit, where Wald has no meaning.

    The covariance is twice the inverse Hessian of the deviance in (θ, log σ), and φ, the fixed effects profiled out.
    """
    if fit.singular or not fit.converged:
        return np.full((len(wanted), 2), np.nan)
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
        half = float(ndtri(0.5 + 0.5 * level) * np.sqrt(slope @ spread @ slope))
        limits = _free(fit, parameter, point) + np.array([-half, half])
        out[row] = np.tanh(limits) if parameter.kind == "cor" else np.exp(limits)
    return out


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
