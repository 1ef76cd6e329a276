"""Two biases of observed person means, and what the estimates are without them.

A lagged outcome less its person's mean is biased by −(1 + φ)/(T − 1) and more (Nickell, 1981; METHODS §2.4). A person's
mean over n answers is their usual level plus sampling error, which draws a between effect towards the within effect
(Lüdtke et al., 2008; METHODS §2.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import stdtrit

from analysis.design import Column, Design
from analysis.errors import DesignError, SpecError
from analysis.linear import LmmFit, fit_lmm
from analysis.moments import gaussian_moments
from analysis.state import PersonState, state_of_moments

STEP = 0.25
"""Step of the derivatives by which the uncertainty of λ enters, in standard errors: far above a fit's own tolerance."""


# ---------------------------------------------------------------------- the lagged outcome


def nickell_bias(phi: float, transitions: int) -> float:
    """plim(φ̂ − φ) of a lag centred at the person's mean, over T = `transitions` consecutive pairs of each person.

    Nickell (1981, eq. 18), without covariates. Written with the weights w_j = 2(T − 1 − j)/(T(T − 1)) of the pairs j
    apart, the formula has no difference of near numbers: −(1 + φ)/2 · Σ w_j φ^j / Σ w_j (1 + φ + … + φ^j), and −3/(T + 1)
    at φ = 1. Raises SpecError unless −1 < φ ≤ 1 and T ≥ 2.
    """
    if not -1.0 < phi <= 1.0 or transitions < 2:
        raise SpecError(f"Nickell's bias needs −1 < φ ≤ 1 and 2 transitions or more, not φ={phi:g}, T={transitions}.")
    apart = np.arange(transitions - 1)
    weights = (transitions - 1.0 - apart) / (0.5 * transitions * (transitions - 1.0))
    powers = phi**apart
    return float(-0.5 * (1.0 + phi) * (weights @ powers) / (weights @ np.cumsum(powers)))


def nickell_corrected(estimate: float, transitions: int) -> float:
    """The φ whose biased limit φ + `nickell_bias` is the estimate; NaN where no stationary series gives that estimate.

    The analytic correction without its usual approximation: the bias is taken at φ itself, not at the estimate.
    """

    def miss(phi: float) -> float:
        return phi + nickell_bias(phi, transitions) - estimate

    low = np.nextafter(-1.0, 0.0)
    if not miss(low) < 0.0 <= miss(1.0):
        return float("nan")
    return float(brentq(miss, low, 1.0, xtol=1e-12))


def half_panel_jackknife(whole: float, first: float, second: float) -> float:
    """2φ̂ − (φ̂₁ + φ̂₂)/2 from estimates over all rows and over each person's two halves (Dhaene & Jochmans, 2015)."""
    return 2.0 * whole - 0.5 * (first + second)


# ---------------------------------------------------------------------- latent person means


@dataclass(frozen=True, slots=True)
class UsualLevels:
    """The random-intercept model of one predictor by REML, answers taken as independent given the person.

    mean : of persons' usual levels;  between, within : variances τ², σ²
    uncertainty : (3, 3) covariance of the estimates (mean, τ², σ²), from the expected REML information
    """

    mean: float
    between: float
    within: float
    uncertainty: np.ndarray


@dataclass(frozen=True, slots=True)
class LatentBetween:
    """Effects of a predictor whose person means are samples of usual levels.

    table : index `within(x)`, `between(x)`, `contextual`; columns `observed, observed_se, corrected, corrected_se,
        lower, upper`; the interval is the corrected one's, by t with the persons less the terms between them as df
    reliability, lowest : λ, the mean over persons and the lowest;  levels : the predictor's own model
    """

    predictor: str
    table: pd.DataFrame
    reliability: float
    lowest: float
    levels: UsualLevels


def reliability_of_mean(between: float, within: float, n: np.ndarray | float) -> np.ndarray:
    """λ = τ²/(τ² + σ²/n): how well a mean over n independent answers stands for the person's usual level."""
    return np.asarray(between / (between + within / np.asarray(n, dtype=float)))


def observed_between(within_effect: float, between_effect: float, reliability: float) -> float:
    """plim of the between effect of an observed mean: γ_w + λ(γ_b − γ_w), balanced, without covariates."""
    return within_effect + reliability * (between_effect - within_effect)


def corrected_between(within_effect: float, observed: float, reliability: float) -> float:
    """The between effect of usual levels, from that of observed means; the inverse of `observed_between`."""
    return within_effect + (observed - within_effect) / reliability


def usual_levels(state: PersonState, name: str) -> UsualLevels:
    """Fit the predictor's own model. Raises DesignError where it is constant, or constant in every person."""
    one = Column("Intercept", "one", -1)
    fit = fit_lmm(gaussian_moments(state.column(name), (one,), (one,), (1,), name))
    between, within = float(fit.g[0, 0]), fit.sigma**2
    uncertainty = np.zeros((3, 3))
    uncertainty[0, 0] = fit.vcov[0, 0]
    uncertainty[1:, 1:] = _variance_uncertainty(state.n, between, within)
    return UsualLevels(float(fit.beta[0]), between, within, uncertainty)


def latent_between(design: Design, state: PersonState, fit: LmmFit, name: str, level: float = 0.95) -> LatentBetween:
    """Correct the between and contextual effects of a predictor for the sampling error of its person means.

    Regression calibration: with EB_i = μ + λ_i(x̄_i − μ), the best guess of the usual level, the model is fitted with
    x − EB_i for within(x) and EB_i for between(x). The standard errors add what is not known of μ, τ² and σ² (delta;
    Murphy & Topel, 1985). For a reflective predictor only: where the realised mean is meant, the observed effect is the
    answer. λ takes answers as independent given the person: serially correlated ones make it too high. Other
    predictors are taken to say nothing of a person's usual level.

    Raises SpecError unless within(x) and between(x) are terms of the model and of no product or function, and
    DesignError where persons' means differ no more than by chance.
    """
    if not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    terms = _refuse_other_uses(design, name)
    levels = usual_levels(state, name)
    if levels.between <= 0.0:
        raise DesignError(
            f"the person means of {name!r} differ no more than by chance; there is no usual level to see."
        )
    at = np.array([levels.mean, levels.between, levels.within])
    weights = _contrasts(design.fixed_names, terms)
    refit = _calibrated(design, state, fit.reml, name, at)
    corrected = weights @ refit.beta
    slopes = np.zeros((3, 3))
    for k in range(3):
        step = np.zeros(3)
        step[k] = min(STEP * np.sqrt(levels.uncertainty[k, k]), at[k] / 2.0 if k else np.inf)
        up, down = (_calibrated(design, state, fit.reml, name, at + sign * step).beta for sign in (1.0, -1.0))
        slopes[:, k] = weights @ (up - down) / (2.0 * step[k])
    variance = weights @ refit.vcov @ weights.T + slopes @ levels.uncertainty @ slopes.T
    se = np.sqrt(np.diag(variance))
    df = design.n_persons - sum(_is_between(column, state) for column in design.fixed)
    reach = se * stdtrit(df, 0.5 + level / 2.0)
    reliability = reliability_of_mean(levels.between, levels.within, state.n)
    columns = {
        "observed": weights @ fit.beta,
        "observed_se": np.sqrt(np.diag(weights @ fit.vcov @ weights.T)),
        "corrected": corrected,
        "corrected_se": se,
        "lower": corrected - reach,
        "upper": corrected + reach,
    }
    table = pd.DataFrame(columns, index=pd.Index([*terms, "contextual"], name="term"))
    return LatentBetween(name, table, float(reliability.mean()), float(reliability.min()), levels)


def _refuse_other_uses(design: Design, name: str) -> tuple[str, str]:
    """The names of the within and the between term."""
    terms = (f"within({name})", f"between({name})")
    for term in terms:
        if term not in design.fixed_names:
            raise SpecError(f"latent_between({name!r}): the model has no fixed effect {term!r}; it needs both parts.")
    for other in dict.fromkeys((*design.fixed_names, *design.random_names)):
        if other not in terms and (other == name or any(term in other for term in terms)):
            raise SpecError(f"latent_between({name!r}): the model also has the term {other!r}; leave it out.")
    return terms


def _contrasts(names: Sequence[str], terms: tuple[str, str]) -> np.ndarray:
    """(3, p) weights of the within, the between and the contextual effect."""
    within, between = (np.array([float(name == term) for name in names]) for term in terms)
    return np.array([within, between, between - within])


def _calibrated(design: Design, state: PersonState, reml: bool, name: str, at: np.ndarray) -> LmmFit:
    """The model with x − EB for within(x) and EB less the anchor for between(x), at (mean, τ², σ²).

    Both are raw columns of a state that differs from the model's in nothing but a shift of persons' means.
    """
    j, last = state.names.index(name), len(state.names) - 1
    take = [*range(last), j, j, last]
    observed = state.mean[:, j]
    centre = at[0] - state.anchor[j]
    best = centre + reliability_of_mean(at[1], at[2], state.n) * (observed - centre)
    anchor, scatter = state.anchor[take], state.scatter[:, take][:, :, take]
    mean = state.mean[:, take]
    mean[:, last], mean[:, last + 1] = observed - best, best - observed.mean()
    anchor[last : last + 2] = 0.0
    scatter[:, last + 1, :] = scatter[:, :, last + 1] = 0.0
    names = (*state.names[:last], f"within({name})", f"between({name})", state.names[last])
    own = state_of_moments(names, state.levels, state.n, anchor + mean, scatter)
    places = {f"within({name})": last, f"between({name})": last + 1}

    def moved(columns: tuple[Column, ...]) -> tuple[Column, ...]:
        return tuple(Column(c.name, "raw", places[c.name]) if c.name in places else c for c in columns)

    return fit_lmm(gaussian_moments(own, moved(design.fixed), moved(design.random), design.blocks, names[-1]), reml)


def _is_between(column: Column, state: PersonState) -> bool:
    """Is a column constant in every person?"""
    if column.kind == "raw":
        return not state.scatter[:, column.source, column.source].any()
    return column.kind in ("one", "between")


def _variance_uncertainty(n: np.ndarray, between: float, within: float) -> np.ndarray:
    """(2, 2) covariance of REML's (τ², σ²): the inverse of ½ tr(P V_j P V_k), in sums over persons of n rows."""
    total = within + n * between  # a person's constant is an eigenvector of V with this value
    share = (n / total) / (n / total).sum()
    parts = np.array([n / total, 1.0 / total])
    information = parts @ parts.T - 2.0 * (parts * share) @ parts.T + np.outer(parts @ share, parts @ share)
    information[1, 1] += ((n - 1.0) / within**2).sum()
    return np.asarray(np.linalg.inv(0.5 * information))
