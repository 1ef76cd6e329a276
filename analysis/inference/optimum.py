"""What degrees of freedom are made of: the fixed effects' covariance at the optimum, and how it changes with the random part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.blocks import left_of_levels
from analysis.factored import FactorFit
from analysis.linear import LinearFit, LmmFit


@dataclass(frozen=True, slots=True)
class Optimum:
    """A linear fit on the inner scale of its moments, in units of σ²: W = V/σ².

    phi : (p, p) (X'W⁻¹X)⁻¹
    spread : (q, q, p + 1, p + 1) Σ T_aj T_bk over the levels, T = Z'W⁻¹[X y]; zero between terms of different factors
    """

    phi: np.ndarray
    spread: np.ndarray


def optimum(fit: LinearFit) -> Optimum:
    if isinstance(fit, LmmFit):
        return Optimum(fit.profile.inverse, fit.profile.spread)
    assert isinstance(fit, FactorFit)
    return Optimum(fit.profile.inverse, _spread(fit))


def _spread(fit: FactorFit) -> np.ndarray:
    size, dense = fit.moments.structure.size, fit.moments.n_fixed + 1
    out = np.zeros((size, size, dense, dense))
    assert fit.profile.factorised is not None  # an optimum has a factor
    left_over = left_of_levels(fit.moments, fit.profile.factorised)
    for factor, left in zip(fit.moments.plan.factors, left_over, strict=True):
        out[factor.terms, factor.terms] = np.einsum("laj,lbk->abjk", left, left, optimize=True)
    return out


def joint_hessian(fit: LinearFit, at: Optimum) -> np.ndarray:
    """(m + 1, m + 1) Hessian of the deviance in (θ, σ) at the optimum, from that of the profiled deviance in θ.

    d(θ, σ) = L(θ) + ν log(2πσ²) + r²(θ)/σ², so  H_θθ = H_profile + r²'r²''ᵀ/(νσ⁴),  H_θσ = −2r²'/σ³,  H_σσ = 4ν/σ².
    """
    free = fit.degrees
    residual = np.append(-fit.profile.beta, 1.0)
    slope = -along_theta(fit, at.spread @ residual @ residual)
    variance = fit.profile.rss / free
    size = len(slope)
    out = np.empty((size + 1, size + 1))
    out[:size, :size] = fit.hessian + np.outer(slope, slope) / (free * variance**2)
    out[:size, size] = out[size, :size] = -2.0 * slope / variance**1.5
    out[size, size] = 4.0 * free / variance
    return out


def along_theta(fit: LinearFit, score: np.ndarray) -> np.ndarray:
    """(…, m) slopes in θ from those in ΛΛ' (…, q, q), symmetric."""
    s = fit.moments.structure
    return np.asarray(2.0 * (score @ fit.lam)[..., s.rows, s.columns])
