"""Satterthwaite's degrees of freedom, 2f²/(∇f'A∇f), of any variance f(θ, σ) that a linear fit estimates.

A = 2H⁻¹ with H the Hessian of the deviance in (θ, σ): exact in σ, and the fit's own in θ. Elements of θ that the boundary
holds stay fixed (Fai & Cornelius, 1996; lmerTest; METHODS §2.7).
"""

from __future__ import annotations

import numpy as np

from analysis.inference.optimum import Optimum, optimum
from analysis.linear import LmmFit


def satterthwaite(fit: LmmFit, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom (r,) of contrasts (r, p) of the fixed effects: f = ℓ'V(θ, σ)ℓ."""
    at = optimum(fit)
    return _degrees_of(fit, at, *_of_contrasts(fit, at, contrasts @ fit.moments.fixed_map))


def satterthwaite_new_group(fit: LmmFit, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Degrees of freedom (r,) of the variance of an outcome in a group never seen: f = x'Vx + z'Gz + σ².

    x (r, p), z (r, q) are rows of the design as written.
    """
    at, m = optimum(fit), fit.moments
    f, slope = _of_contrasts(fit, at, x @ m.fixed_map)
    inner = z @ m.random_map
    spread = inner @ fit.lam
    variance = fit.profile.rss / fit.degrees
    f = f + variance * ((spread**2).sum(axis=1) + 1.0)
    slope = slope + 2.0 * variance * inner[:, m.structure.rows] * spread[:, m.structure.columns]
    return _degrees_of(fit, at, f, slope)


def _of_contrasts(fit: LmmFit, at: Optimum, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (r,) of contrasts (r, p) on the inner scale, and their slopes (r, m) in θ."""
    p = fit.moments.n_fixed
    variance = fit.profile.rss / fit.degrees
    direction = inner @ at.phi
    weighted = np.einsum("rj,abjk,rk->rab", direction, at.spread[:, :, :p, :p], direction, optimize=True)
    f = variance * np.einsum("rp,rp->r", direction, inner)
    return f, variance * _along_theta(fit, weighted)


def _along_theta(fit: LmmFit, score: np.ndarray) -> np.ndarray:
    """(…, m) slopes in θ from those in ΛΛ' (…, q, q), symmetric."""
    s = fit.moments.structure
    return np.asarray(2.0 * (score @ fit.lam)[..., s.rows, s.columns])


def _degrees_of(fit: LmmFit, at: Optimum, f: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(r,) from variances f (r,), quadratic in σ, and their slopes (r, m) in θ."""
    free = np.append(fit.minimum.free, True)
    inverse = _positive_inverse(_joint_hessian(fit, at)[np.ix_(free, free)])
    sigma = np.sqrt(fit.profile.rss / fit.degrees)
    gradient = np.column_stack([slope, 2.0 * f / sigma])[:, free]
    return np.asarray(f**2 / np.einsum("rv,vw,rw->r", gradient, inverse, gradient))


def _joint_hessian(fit: LmmFit, at: Optimum) -> np.ndarray:
    """(m + 1, m + 1) Hessian of the deviance in (θ, σ) at the optimum, from that of the profiled deviance in θ.

    d(θ, σ) = L(θ) + ν log(2πσ²) + r²(θ)/σ², so  H_θθ = H_profile + r²'r²''ᵀ/(νσ⁴),  H_θσ = −2r²'/σ³,  H_σσ = 4ν/σ².
    """
    free = fit.degrees
    residual = np.append(-fit.profile.beta, 1.0)
    slope = -_along_theta(fit, at.spread @ residual @ residual)
    variance = fit.profile.rss / free
    size = len(slope)
    out = np.empty((size + 1, size + 1))
    out[:size, :size] = fit.minimum.hessian + np.outer(slope, slope) / (free * variance**2)
    out[:size, size] = out[size, :size] = -2.0 * slope / variance**1.5
    out[size, size] = 4.0 * free / variance
    return out


def _positive_inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse over the directions of positive curvature, as lmerTest takes it."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-8 * values.max(initial=0.0)
    return np.asarray((vectors[:, keep] / values[keep]) @ vectors[:, keep].T)
