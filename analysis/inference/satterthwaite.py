"""Satterthwaite's degrees of freedom, 2f²/(∇f'A∇f), of any variance f(θ, σ) that a linear fit estimates.

A = 2H⁻¹ with H the Hessian of the deviance in (θ, σ): exact in σ, and the fit's own in θ. Elements of θ that the boundary
holds stay fixed (Fai & Cornelius, 1996; lmerTest; METHODS §2.7).
"""

from __future__ import annotations

import numpy as np

from analysis.inference.optimum import Optimum, along_theta, joint_hessian, optimum
from analysis.linear import LinearFit


def satterthwaite(fit: LinearFit, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom (r,) of contrasts (r, p) of the fixed effects: f = ℓ'V(θ, σ)ℓ."""
    at = optimum(fit)
    return _degrees_of(fit, at, *_of_contrasts(fit, at, contrasts @ fit.moments.fixed_map))


def satterthwaite_new_group(fit: LinearFit, x: np.ndarray, z: np.ndarray) -> np.ndarray:
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


def _of_contrasts(fit: LinearFit, at: Optimum, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (r,) of contrasts (r, p) on the inner scale, and their slopes (r, m) in θ."""
    p = fit.moments.n_fixed
    variance = fit.profile.rss / fit.degrees
    direction = inner @ at.phi
    weighted = np.einsum("rj,abjk,rk->rab", direction, at.spread[:, :, :p, :p], direction, optimize=True)
    f = variance * np.einsum("rp,rp->r", direction, inner)
    return f, variance * along_theta(fit, weighted)


def _degrees_of(fit: LinearFit, at: Optimum, f: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(r,) from variances f (r,), quadratic in σ, and their slopes (r, m) in θ."""
    free = np.append(fit.minimum.free, True)
    inverse = _positive_inverse(joint_hessian(fit, at)[np.ix_(free, free)])
    sigma = np.sqrt(fit.profile.rss / fit.degrees)
    gradient = np.column_stack([slope, 2.0 * f / sigma])[:, free]
    return np.asarray(f**2 / np.einsum("rv,vw,rw->r", gradient, inverse, gradient))


def _positive_inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse over the directions of positive curvature, as lmerTest takes it."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-8 * values.max(initial=0.0)
    return np.asarray((vectors[:, keep] / values[keep]) @ vectors[:, keep].T)
