"""Standard errors, degrees of freedom, tests and intervals of fixed effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from analysis.errors import SpecError
from analysis.linear import LmmFit


@dataclass(frozen=True, slots=True)
class Estimates:
    """Fixed effects as inference needs them: names (p), estimates (p,), covariance (p, p)."""

    names: tuple[str, ...]
    beta: np.ndarray
    vcov: np.ndarray


def fixed_table(
    estimates: Estimates, contrasts: np.ndarray, labels: Sequence[str], df: np.ndarray, level: float = 0.95
) -> pd.DataFrame:
    """One row per contrast (rows of `contrasts`, (r, p)): estimate, se, df, statistic, p_value, lower, upper.

    df (r,) may be infinite: then the normal distribution serves.
    """
    value = contrasts @ estimates.beta
    se = np.sqrt(np.einsum("rp,pk,rk->r", contrasts, estimates.vcov, contrasts))
    statistic = np.divide(value, se, out=np.full_like(value, np.nan), where=se > 0)
    tail = np.where(np.isinf(df), ndtr(-np.abs(statistic)), stdtr(df, -np.abs(statistic)))
    half = critical_value(df, level) * se
    columns = {
        "estimate": value,
        "se": se,
        "df": df,
        "statistic": statistic,
        "p_value": 2.0 * tail,
        "lower": value - half,
        "upper": value + half,
    }
    return pd.DataFrame(columns, index=pd.Index(labels, name="term"))


def critical_value(df: np.ndarray, level: float) -> np.ndarray:
    """Two-sided quantile of Student's t (normal where df is infinite)."""
    if not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    upper = 0.5 + 0.5 * level
    return np.asarray(np.where(np.isinf(df), ndtri(upper), stdtrit(np.where(np.isinf(df), 1.0, df), upper)))


def read_contrast(weights: dict[str, float], names: Sequence[str]) -> np.ndarray:
    """(1, p) from {term: weight}. Raises SpecError for an unknown term."""
    out = np.zeros((1, len(names)))
    for term, weight in weights.items():
        if term not in names:
            raise SpecError(f"the model has no fixed effect {term!r}; it has {', '.join(names)}.")
        out[0, list(names).index(term)] = weight
    if not out.any():
        raise SpecError("a contrast needs at least one weight that is not zero.")
    return out


def satterthwaite(fit: LmmFit, contrasts: np.ndarray) -> np.ndarray:
    """Degrees of freedom (r,) of contrasts (r, p): 2f²/(∇f'A∇f), f = ℓ'V(θ, σ)ℓ (Fai & Cornelius, 1996; lmerTest).

    A = 2H⁻¹ with H the Hessian of the deviance in (θ, σ): exact in σ, ∇f analytic, θ's block from differences of the
    analytic gradient. Elements of θ that the boundary holds stay fixed.
    """
    m = fit.moments
    inner = contrasts @ m.fixed_map
    free = np.append(fit.minimum.free, True)
    inverse = _positive_inverse(_joint_hessian(fit)[np.ix_(free, free)])
    unscaled = fit.profile.inverse
    variance = fit.profile.rss / fit.degrees
    out = np.empty(len(inner))
    for r, row in enumerate(inner):
        direction = np.append(unscaled @ row, 0.0)
        weighted = np.einsum("abjk,j,k->ab", fit.profile.spread, direction, direction)
        slope = 2.0 * (weighted @ fit.lam)[m.structure.rows, m.structure.columns]
        f = variance * (row @ unscaled @ row)
        gradient = np.append(variance * slope, 2.0 * f / np.sqrt(variance))[free]
        out[r] = f**2 / (gradient @ inverse @ gradient)
    return out


def persons_minus_between(contrasts: np.ndarray, persons: int, between_terms: int) -> np.ndarray:
    """Degrees of freedom (r,) of a generalised model: persons minus terms that are constant in each person."""
    return np.full(len(contrasts), float(max(persons - between_terms, 1)))


def _joint_hessian(fit: LmmFit) -> np.ndarray:
    """(m + 1, m + 1) Hessian of the deviance in (θ, σ) at the optimum, from that of the profiled deviance in θ.

    d(θ, σ) = L(θ) + ν log(2πσ²) + r²(θ)/σ², so  H_θθ = H_profile + r²'r²''ᵀ/(νσ⁴),  H_θσ = −2r²'/σ³,  H_σσ = 4ν/σ².
    """
    m, free = fit.moments, fit.degrees
    residual = np.append(-fit.profile.beta, 1.0)
    weighted = np.einsum("abjk,j,k->ab", fit.profile.spread, residual, residual)
    slope = -2.0 * (weighted @ fit.lam)[m.structure.rows, m.structure.columns]
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
