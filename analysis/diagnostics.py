"""What to know before trusting a fit: convergence, boundaries, persons without variation, reliability of means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.corrections import nickell_bias, nickell_corrected, reliability_of_mean, usual_levels
from analysis.covariance import SINGULAR
from analysis.design import Design
from analysis.errors import DesignError
from analysis.generalised import GlmmFit
from analysis.kernels.families import POISSON
from analysis.linear import LinearFit
from analysis.serial_fit import SerialFit, at_edge
from analysis.state import PersonState

SHORT = 50
"""Below this median number of transitions per person a lagged outcome needs a correction (METHODS §2.4)."""
NOTHING = 1e-4
"""A random effect's SD below this share of the largest is named as no spread at all."""


EDGES = {
    "nothing": "{residual}: the data show no positive correlation of residuals in time (φ = 0); leave residual out.",
    "close": "{residual}: φ = {phi:.1e} rests on the few rows that are closest in time; over most gaps residuals are independent.",
    "everything": "{residual}: φ = {phi:.6f} has run to the end of its range: such residuals cannot be told from persons' own "
    "levels and trends, and residual and random SDs mean little. Use fewer random terms, or leave residual out.",
}
"""Where φ is at an end of its range; see `serial_fit.at_edge`."""


@dataclass(frozen=True, slots=True)
class Convergence:
    """The proof of an optimum, on the scaled design.

    projected_gradient : largest slope that is not held by a boundary;  decrement : fall that a Newton step promises, ×2
    curvatures : eigenvalues of the Hessian, ascending;  at_boundary : number of variance parameters at zero
    evaluations : calls of the criterion
    """

    projected_gradient: float
    decrement: float
    curvatures: tuple[float, ...]
    at_boundary: int
    evaluations: int


def convergence(fit: LinearFit | GlmmFit) -> Convergence:
    minimum = fit.minimum
    structure = fit.moments.structure if isinstance(fit, LinearFit) else fit.data.structure
    return Convergence(
        projected_gradient=minimum.projected_gradient,
        decrement=minimum.decrement,
        curvatures=tuple(float(value) for value in minimum.curvatures),
        at_boundary=int((fit.theta[structure.diagonal] <= 0.0).sum()),
        evaluations=minimum.evaluations,
    )


def messages(fit: LinearFit | GlmmFit, design: Design, state: PersonState) -> list[str]:
    """Sentences on what limits the fit, the gravest first; empty where nothing does."""
    out = []
    if not fit.converged:
        if isinstance(fit, GlmmFit) and fit.separated:
            out.append(
                "The model did not converge: a predictor separates the outcome, and its estimate runs to infinity."
            )
        elif isinstance(fit, GlmmFit) and fit.endless:
            out.append(
                f"The model did not converge: the levels of {design.factor!r} are so far apart that their spread runs to "
                "infinity; most of them have only one kind of answer."
            )
        else:
            gradient, decrement = fit.minimum.projected_gradient, fit.minimum.decrement
            out.append(f"The model did not converge (gradient {gradient:.1e}, Newton decrement {decrement:.1e}).")
    out += _of_factors(fit, design)
    if isinstance(fit, SerialFit) and (edge := at_edge(fit)) is not None:
        out.append(EDGES[edge].format(residual=fit.residual, phi=fit.phi))
    if state.worn:
        out.append(
            f"Rows far from the rest were taken away from {', '.join(map(str, state.worn))}, which cost digits; "
            "collect these anew from their rows."
        )
    if isinstance(fit, GlmmFit) and fit.extra.size == 1 and np.isinf(fit.extra[0]):
        out.append(
            "The counts are no more spread than Poisson's: the size parameter is infinite, and the fit is Poisson's."
        )
    for name, count in unvarying_persons(design, state).items():
        out.append(f"{count} of {design.n_persons} never vary in {name!r}; they inform the between part only.")
    return out + lagged_outcome_messages(fit, design, state)


def _of_factors(fit: LinearFit | GlmmFit, design: Design) -> list[str]:
    """What the levels of each grouping factor do not tell: no spread, too few levels, one row each."""
    out = []
    single = isinstance(fit, GlmmFit) and fit.data.family < POISSON and fit.data.size.max() == 1.0
    lam, spread = np.diag(fit.lam), np.sqrt(np.diag(fit.g))
    for factor in design.factors:
        rows = design.rows_of(factor)
        if (lam[factor.terms] < SINGULAR).any():
            places = range(factor.terms.start, factor.terms.stop)
            zero = [design.random[j].name for j in places if spread[j] <= NOTHING * spread.max()]
            what = f"no spread of {', '.join(zero)}" if zero else "correlations of −1 or 1"
            terms = f"{factor.size} random terms may be" if factor.size > 1 else "its random term may be"
            out.append(
                f"The fit is singular: the data show {what} between the levels of {factor.name!r} ({terms} too many)."
            )
        if len(rows) <= factor.size:
            out.append(f"{len(rows)} levels of {factor.name!r} are few for {factor.size} random terms.")
        if rows.max() == 1 and single:
            out.append(
                f"Each level of {factor.name!r} has one 0/1 answer, from which no spread between levels can be told; "
                "leave the random part out, or use a factor with several rows a level."
            )
        elif rows.max() == 1 and not isinstance(fit, GlmmFit):
            out.append(
                f"Each level of {factor.name!r} has one row; their spread rests on the shape of the model alone."
            )
    return out


def lagged_outcome_messages(fit: LinearFit | GlmmFit, design: Design, state: PersonState) -> list[str]:
    """One sentence for each lag of the outcome over few transitions, with the expected bias (METHODS §2.4)."""
    transitions = int(np.median(state.n))
    out = []
    for lag in design.lags:
        if lag.column != design.raw[-1].strip("`") or transitions >= SHORT or lag.name not in design.fixed_names:
            continue
        phi = float(fit.beta[design.fixed_names.index(lag.name)])
        few = f"{lag.name}: with a median of {transitions} transitions per person"
        if not isinstance(fit, LinearFit) or not -1.0 < phi <= 1.0 or transitions < 2:
            out.append(f"{few}, the estimate for a lag of the outcome is biased; do not read it as inertia.")
            continue
        bias = f"{nickell_bias(phi, transitions):+.3f}".replace("-", "−")
        if lag.centred:
            corrected = nickell_corrected(phi, transitions)
            solved = (
                "" if np.isnan(corrected) else f"; the φ that such a bias turns into this estimate is {corrected:.3f}"
            )
            out.append(f"{few}, a bias of {bias} is to be expected of this estimate (Nickell, 1981){solved}.")
        else:
            out.append(
                f"{few}, the estimate rests on the random intercepts, which the lag is not independent of; less the "
                f"person's mean, as lag(within({lag.column})), a bias of {bias} would be expected (Nickell, 1981)."
            )
    return out


def unvarying_persons(design: Design, state: PersonState) -> dict[str, int]:
    """For each predictor with a within part: how many persons give it one value only (none: left out)."""
    out = {}
    for name in dict.fromkeys(split.column for split in design.splits if split.kind == "within"):
        if name in state.names:
            j = state.names.index(name)
            count = int((state.scatter[:, j, j] == 0.0).sum())
            if count:
                out[name] = count
    return out


def reliability(state: PersonState, names: list[str]) -> pd.DataFrame:
    """How well a person's mean of a predictor stands for their usual level: λ = τ²/(τ² + σ²/n) (Lüdtke et al., 2008).

    Index: predictor; columns `variance_between`, `variance_within`, `icc` (of single answers), `reliability` (mean over
    persons), `lowest`. τ², σ² are REML estimates without predictors, answers taken as independent: where they are
    serially correlated the means are less reliable than this.
    """
    rows = {}
    for name in names:
        try:
            levels = usual_levels(state, name)
        except DesignError:
            rows[name] = dict.fromkeys(("variance_between", "variance_within", "icc", "reliability", "lowest"), np.nan)
            continue
        between, within = levels.between, levels.within
        own = reliability_of_mean(between, within, state.n)
        rows[name] = {
            "variance_between": between,
            "variance_within": within,
            "icc": between / (between + within),
            "reliability": float(own.mean()),
            "lowest": float(own.min()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")
