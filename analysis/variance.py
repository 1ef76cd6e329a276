"""Shares of variance, from the persons' state: intraclass correlation and R² (METHODS §2.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.columns import column_covariances, column_means
from analysis.design import Column, Design
from analysis.state import PersonState

CENTRED = 1e-6
"""A column whose person means are all below this share of its SD is centred in each person, written to a file or not."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the variance of an outcome over n_obs rows, divisor n − 1 (Rights & Sterba, 2019).

    fixed_within, fixed_between : γ'Φ_wγ and γ'Φ_bγ, with the columns' pooled scatter in persons and that of their means
    slopes : tr(GΣ), Σ the covariance of the random terms' columns;  intercepts : m'Gm, m the means of these columns
    centred : has every random slope's column a mean of zero in every person?
    """

    n_obs: int
    fixed_within: float
    fixed_between: float
    slopes: float
    intercepts: float
    residual: float
    centred: bool

    @property
    def fixed(self) -> float:
        return self.fixed_within + self.fixed_between

    @property
    def total(self) -> float:
        return self.fixed + self.slopes + self.intercepts + self.residual


def variance_parts(
    state: PersonState,
    fixed: Sequence[Column],
    random: Sequence[Column],
    beta: np.ndarray,
    g: np.ndarray,
    residual: float,
) -> Parts:
    """From fixed effects (p,), a person's covariance (q, q) and the residual variance."""
    fixed_within, fixed_between = (float(beta @ part @ beta) for part in column_covariances(state, fixed))
    within, between = column_covariances(state, random)
    covariance = within + between
    means, anchor = column_means(state, random)
    overall = state.n @ means / state.n_obs + anchor
    is_slope = np.array([column.kind != "one" for column in random])
    largest = np.abs(means + anchor).max(axis=0)
    return Parts(
        n_obs=state.n_obs,
        fixed_within=fixed_within,
        fixed_between=fixed_between,
        slopes=float(np.trace(g @ covariance)),
        intercepts=float(overall @ g @ overall),
        residual=residual,
        centred=bool((largest <= CENTRED * np.sqrt(np.diag(covariance)))[is_slope].all()),
    )


def icc(design: Design, g: np.ndarray, residual: float) -> pd.Series:
    """Factor → its intercept variance over all factors' and the residual's; NaN for a factor without a random intercept."""
    ones: dict[str, float] = {}
    for factor in design.factors:
        places = [j for j in range(factor.terms.start, factor.terms.stop) if design.random[j].kind == "one"]
        ones[factor.name] = float(g[places[0], places[0]]) if places else np.nan
    variances = pd.Series(ones, name="icc", dtype=float)
    return variances / (variances.sum() + residual)


def nakagawa(parts: Parts) -> pd.Series:
    """`marginal` and `conditional` R² (Nakagawa & Schielzeth, 2013; Johnson, 2014), as performance::r2_nakagawa.

    var(Xβ) has divisor n − 1; the random part is the mean of z'Gz over rows, divisor n.
    """
    spread = parts.intercepts + parts.slopes * (parts.n_obs - 1) / parts.n_obs
    total = parts.fixed + spread + parts.residual
    return pd.Series({"marginal": parts.fixed / total, "conditional": (parts.fixed + spread) / total}, name="r2")


def rights_sterba(parts: Parts) -> pd.Series:
    """Shares of the outcome's variance (Rights & Sterba, 2019); r2mlm's letters in brackets.

    Of all variance: `total_fixed_within` (f1), `total_fixed_between` (f2), `total_slopes` (v: random slopes, about the
    persons' levels), `total_intercepts` (m: those levels), `total_fixed` (f), `total_fixed_slopes` (fv),
    `total_fixed_slopes_intercepts` (fvm). Of the variance within persons: `within_fixed` (f1), `within_slopes` (v),
    `within_fixed_slopes` (fv). Of that between persons: `between_fixed` (f2), `between_intercepts` (m).

    A column that is not centred in each person counts with its part within persons in f1 and with its means in f2. The
    shares within and between are NaN where a random slope's column has person means other than zero: such a slope moves
    the persons' levels too, so v belongs to neither.
    """
    within = parts.fixed_within + parts.slopes + parts.residual if parts.centred else np.nan
    between = parts.fixed_between + parts.intercepts if parts.centred else np.nan
    shares = {
        "total_fixed_within": (parts.fixed_within, parts.total),
        "total_fixed_between": (parts.fixed_between, parts.total),
        "total_slopes": (parts.slopes, parts.total),
        "total_intercepts": (parts.intercepts, parts.total),
        "total_fixed": (parts.fixed, parts.total),
        "total_fixed_slopes": (parts.fixed + parts.slopes, parts.total),
        "total_fixed_slopes_intercepts": (parts.fixed + parts.slopes + parts.intercepts, parts.total),
        "within_fixed": (parts.fixed_within, within),
        "within_slopes": (parts.slopes, within),
        "within_fixed_slopes": (parts.fixed_within + parts.slopes, within),
        "between_fixed": (parts.fixed_between, between),
        "between_intercepts": (parts.intercepts, between),
    }
    return pd.Series({name: part / whole if whole > 0 else np.nan for name, (part, whole) in shares.items()}, name="r2")
