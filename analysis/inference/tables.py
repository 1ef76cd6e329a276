"""Tests and intervals of fixed effects from their estimates, covariance and degrees of freedom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from analysis.errors import SpecError


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

    df (r,) may be infinite: then the normal distribution serves. Where it is NaN, all but the estimate is NaN.
    """
    value = contrasts @ estimates.beta
    variance = np.einsum("rp,pk,rk->r", contrasts, estimates.vcov, contrasts)
    se = np.sqrt(np.where(np.isnan(df), np.nan, variance))
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
    if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    upper = 0.5 + 0.5 * level
    return np.asarray(np.where(np.isinf(df), ndtri(upper), stdtrit(np.where(np.isinf(df), 1.0, df), upper)))


def read_contrast(weights: dict[str, float], names: Sequence[str]) -> np.ndarray:
    """(1, p) from {term: weight}. Raises SpecError for an unknown term or a weight that is no finite number."""
    if not isinstance(weights, Mapping):
        raise SpecError(f"a contrast is a dict of terms and weights, as in {{{names[-1]!r}: 1}}, not {weights!r}.")
    out = np.zeros((1, len(names)))
    for term, weight in weights.items():
        if term not in names:
            raise SpecError(f"the model has no fixed effect {term!r}; it has {', '.join(names)}.")
        if not isinstance(weight, Real) or not np.isfinite(weight):
            raise SpecError(f"the weight of {term!r} must be a finite number, not {weight!r}.")
        out[0, list(names).index(term)] = weight
    if not out.any():
        raise SpecError("a contrast needs at least one weight that is not zero.")
    return out
