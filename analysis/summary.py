"""Fits → plain rows and text; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.centering import mean_of_persons
from analysis.covariance import deviations_and_correlations
from analysis.serial import unit_words
from analysis.summary_html import page
from analysis.summary_text import text
from analysis.words import counted_levels, level_words, number, p_value

FEW = 20
"""Levels of the grouping factor below which a summary shows intervals and no p (METHODS §6); `tests` has it."""
TITLES = {
    ("gaussian", "identity"): "Linear mixed model",
    ("binomial", "logit"): "Logistic mixed model",
    ("binomial", "probit"): "Probit mixed model",
    ("binomial", "cloglog"): "Complementary log-log mixed model",
    ("poisson", "log"): "Poisson mixed model",
    ("negative_binomial", "log"): "Negative binomial mixed model",
    ("ordinal", "logit"): "Cumulative logit mixed model",
    ("ordinal", "probit"): "Cumulative probit mixed model",
}
SCALES = {
    ("binomial", "logit"): "Estimates and SDs are log-odds; plot_effects() shows probabilities.",
    ("binomial", "probit"): "Estimates and SDs are in SDs of a normal answer behind the outcome (probits).",
    ("binomial", "cloglog"): "Estimates and SDs are logs of the hazard.",
    ("poisson", "log"): "Estimates and SDs are logs: exp(estimate) multiplies the mean count.",
    ("negative_binomial", "log"): "Estimates and SDs are logs: exp(estimate) multiplies the mean count.",
    ("ordinal", "logit"): "Estimates and SDs are log-odds of a higher category.",
    (
        "ordinal",
        "probit",
    ): "Estimates and SDs are in SDs of a normal answer behind the categories; higher means higher ones.",
}
ESTIMATORS = {
    "REML": "restricted maximum likelihood (REML)",
    "ML": "maximum likelihood (ML)",
    "Laplace": "maximum likelihood, Laplace approximation",
}
DEGREES = {
    "kenward-roger": "SE, degrees of freedom (df) and intervals by Kenward and Roger, with Student’s t.",
    "satterthwaite": "Intervals by Student’s t, degrees of freedom (df) by Satterthwaite.",
    "persons minus between terms": "Intervals by Student’s t, degrees of freedom (df) {levels} less the terms that are "
    "constant within each of them.",
}


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What one page says of a model. `str()` gives text within 100 columns; a notebook shows HTML.

    facts : (label, value) pairs;  fixed : the tests;  with_p : are there enough levels for p
    spread : random effects and residual, SDs and correlations;  who : what the grouping factor's levels are called
    messages : what limits the fit, shown first;  notes : how to read the tables
    """

    title: str
    formula: str
    facts: tuple[tuple[str, str], ...]
    fixed: pd.DataFrame
    spread: pd.DataFrame
    messages: tuple[str, ...]
    notes: tuple[str, ...]
    who: str
    with_p: bool

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return page(self)


def summarise(fit: Any) -> ModelSummary:
    """The summary of a fitted model."""
    levels = fit.design.n_persons
    who = level_words(fit.design.factor)
    return ModelSummary(
        title=TITLES[fit.family, fit.link],
        formula=fit.formula,
        facts=tuple(_facts(fit)),
        fixed=fit.tests(),
        spread=spread_table(fit.random, fit.residual_sd),
        messages=tuple(fit.messages),
        notes=tuple(_notes(fit, who)),
        who=who if len(fit.random) == 1 else "levels",
        with_p=levels >= FEW,
    )


def _facts(fit: Any) -> list[tuple[str, str]]:
    design = fit.design
    dropped = ""
    if fit.rows_dropped:
        lacks = ", ".join(f"{name} in {count:,}" for name, count in fit.missing.items())
        dropped = f"; {fit.rows_dropped:,} dropped, missing: {lacks}"
    sound = "converged" if fit.converged else "DID NOT CONVERGE"
    how = ESTIMATORS.get(fit.estimator, f"maximum likelihood, adaptive quadrature ({fit.estimator})")
    facts = [
        *(("Groups", _counts(factor.name, design.rows_of(factor))) for factor in design.factors),
        ("Rows", f"{fit.n_obs:,} used{dropped}"),
        ("Fit", f"{how}; {sound}; log-likelihood {number(fit.log_likelihood, 2)}"),
    ]
    if fit.residual_correlation is not None:
        facts.append(("Residuals", _serial(fit)))
    if fit.dispersion is not None:
        size = f"size κ {number(fit.dispersion, 3)}" if np.isfinite(fit.dispersion) else "size κ without end"
        facts.append(("Dispersion", f"{size}: the variance of a count is μ + μ²/κ"))
    if fit.thresholds is not None:
        rows = zip(fit.thresholds.index, *fit.thresholds.to_numpy().T, strict=True)
        facts += [("Threshold", f"{name} {number(value, 2)} (SE {number(se, 2)})") for name, value, se in rows]
    for name in dict.fromkeys(split.column for split in design.splits if split.kind == "between"):
        if name in fit.state.names:
            anchor = number(mean_of_persons(fit.state.means(name)), 2)
            facts.append(
                (
                    "Centring",
                    f"between({name}) is measured from {anchor}, the mean of the averages of {level_words(design.factor)}",
                )
            )
    facts += [(count.name, str(count)) for count in getattr(design, "lags", ())]
    return facts


def _serial(fit: Any) -> str:
    kind, test = fit.fit.residual, fit.serial_test()
    p = p_value(float(test["p_value"]))
    return (
        f"{number(fit.residual_correlation, 3)} correlation of residuals {unit_words(kind)} ({kind.time} within {kind.within}); "
        f"against independence χ²(1) = {number(test['statistic'], 1)}, p {'' if p.startswith('<') else '= '}{p}"
    )


def _counts(factor: str, n: np.ndarray) -> str:
    """ "79 people (id), 3 to 60 rows each, median 52", from the rows of each level (levels,)."""
    low, high = int(n.min()), int(n.max())
    each = f"{low:,} to {high:,} rows each, median {float(np.median(n)):g}" if low < high else f"{low:,} rows each"
    grouping = counted_levels(len(n), factor)
    return f"{grouping} ({factor}), {each}" if grouping.endswith("people") else f"{grouping}, {each}"


def _notes(fit: Any, who: str) -> list[str]:
    notes = [DEGREES[fit.df_method].format(levels=who)]
    if (fit.family, fit.link) in SCALES:
        notes.insert(0, SCALES[fit.family, fit.link])
    if fit.design.n_persons < FEW:
        few = counted_levels(fit.design.n_persons, fit.design.factor)
        notes.append(f"With {few}, fewer than {FEW}, there are intervals and no p; tests() has it.")
    return notes


def spread_table(random: dict[str, pd.DataFrame], residual_sd: float | None) -> pd.DataFrame:
    """Rows of `group`, `term`, `variance`, `sd`, and the correlation with each term before it."""
    rows = []
    for group, covariance in random.items():
        deviations, correlations = deviations_and_correlations(covariance.to_numpy())
        for i, term in enumerate(covariance.index):
            own = {f"cor {covariance.index[j]}": correlations[i, j] for j in range(i)}
            rows.append({"group": group, "term": term, "variance": deviations[i] ** 2, "sd": deviations[i], **own})
    if residual_sd is not None:
        rows.append({"group": "residual", "term": "", "variance": residual_sd**2, "sd": residual_sd})
    return pd.DataFrame(rows)
