"""The calls that people use (ENGINE.md): `lmm`, `glmm`, `clmm`. Everything here delegates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.checks import refuse_frame
from analysis.design import build_design
from analysis.errors import SpecError
from analysis.factor_moments import factor_moments
from analysis.factored import fit_factors
from analysis.generalised import fit_glmm
from analysis.generalised_model import GeneralisedModel
from analysis.linear import fit_lmm
from analysis.linear_model import LinearModel
from analysis.moments import gaussian_moments, person_state
from analysis.ordinal import ordinal_responses, with_codes, without_intercept
from analysis.ordinal_model import OrdinalModel
from analysis.responses import read_kind, read_link, responses
from analysis.serial import AR1, CAR1, read_residual, series_of
from analysis.serial_bins import bins_of, inner_rows
from analysis.serial_factors import fit_serial_factors
from analysis.serial_fit import fit_serial


def lmm(
    formula: str,
    frame: pd.DataFrame,
    reml: bool = True,
    residual: AR1 | CAR1 | None = None,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
) -> LinearModel:
    """Fit a linear mixed model by REML or (reml=False) maximum likelihood; grouping factors may be nested and crossed.

    `formula` is lme4's. within(x) and between(x) split a predictor on the rows that the model uses, within_day(x) and
    between_days(x) once more by the column `day`; lag(x) is x at the prompt before, of the same person and day, its
    number in the column `prompt` lower by one; lag(within(x)) takes the person's mean of all x off it. Rows with a
    missing value in a used column are dropped and counted. Raises SpecError (wrong question) or DesignError
    (impossible data).

    residual : AR1("beep", within="id") or CAR1("hours", within="id") for residuals that correlate in time within each
    series, a combination of the columns `within`; rows may stand in any order. None for independent ones.
    """
    if not isinstance(reml, (bool, np.bool_)):
        raise SpecError(f"reml={reml!r} must be True or False.")
    kind: AR1 | CAR1 | None = None
    also: tuple[str, ...] = ()
    if residual is not None:
        refuse_frame(frame)
        kind, frame, also = read_residual(residual, frame)
    design = build_design(formula, frame, person=person, day=day, prompt=prompt, also=also)
    state = person_state(design)
    if design.several:
        if kind is not None:
            return LinearModel(design, state, fit_serial_factors(design, kind, reml))
        return LinearModel(design, state, fit_factors(factor_moments(design), reml))
    moments = gaussian_moments(state, design.fixed, design.random, design.blocks, design.raw[-1])
    if kind is None:
        return LinearModel(design, state, fit_lmm(moments, reml))
    bins = bins_of(series := series_of(kind, design), inner_rows(design, moments)[series.order], moments)
    return LinearModel(design, state, fit_serial(bins, reml))


def glmm(
    formula: str,
    frame: pd.DataFrame,
    family: str = "binomial",
    link: str | None = None,
    weights: str | None = None,
    offset: str | None = None,
    agq: int = 1,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
) -> GeneralisedModel:
    """Fit a generalised mixed model by Laplace, or with one grouping factor and random effect by quadrature (agq points).

    family, link: "binomial" with "logit" (default), "probit" or "cloglog"; "poisson" and "negative_binomial" (variance
    μ + μ²/κ) with "log". The outcome is 0/1, or a proportion with `weights` naming the column of the numbers of trials;
    or a count. `offset` names a column that is added to the linear predictor: the log of the exposure. Otherwise as `lmm`.
    """
    link, kind = read_kind(family, link)
    for argument, value in (("weights", weights), ("offset", offset)):
        if value is not None and not isinstance(value, str):
            raise SpecError(f"{argument}={value!r} must be the name of a column.")
    design = build_design(formula, frame, person=person, day=day, prompt=prompt, weights=weights, offset=offset)
    fit = fit_glmm(responses(design, kind), agq, design.several)
    return GeneralisedModel(design, person_state(design), fit, family, link, weights, offset)


def clmm(
    formula: str,
    frame: pd.DataFrame,
    link: str = "logit",
    agq: int = 1,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
) -> OrdinalModel:
    """Fit a cumulative link mixed model, P(y ≤ j) = F(τ_j − x'β − z'b), of ordered categories; link "logit" or "probit".

    The outcome is a categorical in its own order, numbers, or text in alphabetical order. Thresholds take the place of an
    intercept. Otherwise as `glmm`.
    """
    link, kind = read_link("ordinal", link)
    coded, labels = with_codes(formula, frame)
    design = without_intercept(build_design(formula, coded, person=person, day=day, prompt=prompt))
    data, labels = ordinal_responses(design, kind, labels)
    return OrdinalModel(design, person_state(design), fit_glmm(data, agq, design.several), link=link, labels=labels)
