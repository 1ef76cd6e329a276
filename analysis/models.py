"""The calls that people use (ENGINE.md): `lmm`, `glmm`, and what a fitted model answers. Everything here delegates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis import corrections, diagnostics, inference, intervals, plots, prediction, summary, variance
from analysis.conditional_modes import Modes, conditional_modes
from analysis.design import Design, build_design
from analysis.errors import SpecError
from analysis.generalised import GlmmFit, binomial_data, fit_glmm
from analysis.linear import LmmFit, fit_lmm
from analysis.moments import gaussian_moments, person_state
from analysis.r_code import r_code
from analysis.state import PersonState

LOGIT_VARIANCE = np.pi**2 / 3.0
"""Variance of the standard logistic distribution: the residual of a logistic model on its latent scale."""
SCALES = ("response", "link")
INTERVALS = ("wald", "profile", "bootstrap")


def lmm(
    formula: str,
    frame: pd.DataFrame,
    reml: bool = True,
    residual: object = None,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
) -> LinearModel:
    """Fit a linear mixed model with one grouping factor, by REML or (reml=False) maximum likelihood.

    `formula` is lme4's. within(x) and between(x) split a predictor on the rows that the model uses, within_day(x) and
    between_days(x) once more by the column `day`; lag(x) is x at the prompt before, of the same person and day, its
    number in the column `prompt` lower by one; lag(within(x)) takes the person's mean of all x off it. Rows with a
    missing value in a used column are dropped and counted. Raises SpecError (wrong question) or DesignError
    (impossible data).
    """
    if not isinstance(reml, (bool, np.bool_)):
        raise SpecError(f"reml={reml!r} must be True or False.")
    if residual is not None:
        raise SpecError("residual= (serial correlation) is not available yet; leave it out for independent residuals.")
    design = build_design(formula, frame, person=person, day=day, prompt=prompt)
    state = person_state(design)
    moments = gaussian_moments(state, design.fixed, design.random, design.blocks, design.raw[-1])
    return LinearModel(design, state, fit_lmm(moments, reml))


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
) -> LogisticModel:
    """Fit a logistic mixed model with one grouping factor by Laplace, or by quadrature (agq > 1, one random effect).

    The outcome is 0/1, or a proportion with `weights` naming the column of the numbers of trials; `offset` names a
    column that is added to the log-odds. Otherwise as `lmm`.
    """
    if family != "binomial":
        raise SpecError(f"family={family!r} is not available yet; 'binomial' is.")
    if link not in (None, "logit"):
        raise SpecError(f"link={link!r} is not available yet; 'logit' is.")
    design = build_design(formula, frame, person=person, day=day, prompt=prompt, weights=weights, offset=offset)
    return LogisticModel(design, person_state(design), fit_glmm(binomial_data(design), agq), weights, offset)


@dataclass(frozen=True)
class MultilevelModel:
    """A fitted model with one grouping factor. Tables are pandas objects, named by the formula's terms."""

    design: Design
    state: PersonState
    fit: LmmFit | GlmmFit

    # ------------------------------------------------------------------ what was fitted

    @property
    def formula(self) -> str:
        return self.design.spec.formula

    @property
    def n_obs(self) -> int:
        """Rows used."""
        return self.design.n_obs

    @property
    def n_groups(self) -> dict[str, int]:
        """Grouping factor → number of its levels in the rows used."""
        return {self.design.factor: self.design.n_persons}

    @property
    def rows_dropped(self) -> int:
        """Rows left out because a used column is missing; `missing` says which."""
        return self.design.rows_dropped

    @property
    def missing(self) -> dict[str, int]:
        """Used column → rows of the frame that lack it, where any do."""
        return self.design.missing

    @property
    def converged(self) -> bool:
        return self.fit.converged

    @property
    def singular(self) -> bool:
        """Is the random effects' covariance at its boundary: a variance of zero, or a correlation of ±1?"""
        return self.fit.singular

    @cached_property
    def messages(self) -> list[str]:
        """Sentences on what limits the fit; empty where nothing does."""
        return diagnostics.messages(self.fit, self.design, self.state)

    @property
    def log_likelihood(self) -> float:
        """Complete log-likelihood, no constants left out; restricted for REML."""
        return self.fit.log_likelihood

    # ------------------------------------------------------------------ estimates

    @property
    def fixed(self) -> pd.DataFrame:
        """Index term; columns `estimate`, `se`."""
        columns = {"estimate": self.fit.beta, "se": np.sqrt(np.diag(self.fit.vcov))}
        return pd.DataFrame(columns, index=pd.Index(self.design.fixed_names, name="term"))

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance of the fixed effects."""
        return pd.DataFrame(self.fit.vcov, index=self.design.fixed_names, columns=self.design.fixed_names)

    @property
    def random(self) -> dict[str, pd.DataFrame]:
        """Grouping factor → covariance of its random effects (terms × terms); zeros between independent terms."""
        names = self.design.random_names
        return {self.design.factor: pd.DataFrame(self.fit.g, index=names, columns=names)}

    @property
    def residual_sd(self) -> float | None:
        return None

    @property
    def residual_correlation(self) -> float | None:
        return None

    @property
    def dispersion(self) -> float | None:
        return None

    @property
    def thresholds(self) -> pd.DataFrame | None:
        return None

    # ------------------------------------------------------------------ inference

    @property
    def df_method(self) -> str:
        """The default rule for degrees of freedom."""
        raise NotImplementedError

    def tests(self, df: str | None = None, robust: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Index term; columns `estimate, se, df, statistic, p_value, lower, upper`.

        df: None for `df_method`, "z" for the normal distribution; a linear model has "kenward-roger" (with its adjusted
        standard errors; REML only) and "satterthwaite", and robust="cr2" with Bell and McCaffrey's degrees of freedom.
        """
        names = self.design.fixed_names
        return self._table(np.eye(len(names)), names, df, robust, level)

    def contrast(
        self, weights: dict[str, float], df: str | None = None, robust: str | None = None, level: float = 0.95
    ) -> pd.Series:
        """A weighted sum of fixed effects, as a row of `tests`: {"between(x)": 1, "within(x)": -1} is contextual."""
        row = inference.read_contrast(weights, self.design.fixed_names)
        label = " ".join(f"{weight:+g}·{term}" for term, weight in weights.items())
        return self._table(row, [label], df, robust, level).iloc[0]

    def confint(
        self,
        method: str = "wald",
        parameters: Sequence[str] | None = None,
        level: float = 0.95,
        df: str | None = None,
        replicates: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """`lower`, `upper` of the fixed effects, with the degrees of freedom of `tests`."""
        if method != "wald":
            raise SpecError(f"confint(method={method!r}) is not available yet; 'wald' is, for the fixed effects.")
        table = self.tests(df=df, level=level)[["lower", "upper"]]
        if parameters is None:
            return table
        for name in parameters:
            if name not in table.index:
                raise SpecError(f"no Wald interval for {name!r}; there is one for {', '.join(table.index)}.")
        return table.loc[list(parameters)]

    def _table(
        self, contrasts: np.ndarray, labels: Sequence[str], df: str | None, robust: str | None, level: float
    ) -> pd.DataFrame:
        vcov, degrees = self._uncertainty(contrasts, df, robust)
        estimates = inference.Estimates(tuple(self.design.fixed_names), self.fit.beta, vcov)
        return inference.fixed_table(estimates, contrasts, labels, degrees, level)

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of the fixed effects (p, p) and degrees of freedom (r,) for contrasts (r, p)."""
        raise NotImplementedError

    # ------------------------------------------------------------------ persons

    @cached_property
    def modes(self) -> Modes:
        """Conditional modes as arrays; `conditional_modes` and `conditional_sd` are the tables."""
        return conditional_modes(self.fit)

    def conditional_modes(self, group: str | None = None) -> pd.DataFrame:
        """Index level, columns terms: each person's own deviations from the fixed effects, shrunken."""
        self._check_group(group)
        return pd.DataFrame(self.modes.modes, index=self.design.levels, columns=self.design.random_names)

    def conditional_sd(self, group: str | None = None) -> pd.DataFrame:
        """SDs of the modes given the data and the estimated parameters (lme4's condVar)."""
        self._check_group(group)
        spread = np.sqrt(np.maximum(np.diagonal(self.modes.covariance, axis1=1, axis2=2), 0.0))
        return pd.DataFrame(spread, index=self.design.levels, columns=self.design.random_names)

    def _check_group(self, group: str | None) -> None:
        if group is not None and sorted(str(group).split(":")) != sorted(self.design.factor.split(":")):
            raise SpecError(f"the model has no grouping factor {group!r}; it has {self.design.factor!r}.")

    def reliability(self, predictors: Sequence[str] | None = None) -> pd.DataFrame:
        """Reliability λ of the person means of the split predictors, or those named; see `diagnostics.reliability`."""
        split = dict.fromkeys(item.column for item in self.design.splits if item.column in self.state.names)
        names = list(split if predictors is None else predictors)
        for name in names:
            if name not in self.state.names:
                raise SpecError(f"{name!r} is no predictor of this model; {', '.join(self.state.names[:-1])} are.")
        return diagnostics.reliability(self.state, names)

    def convergence(self) -> diagnostics.Convergence:
        """Gradient, Newton decrement and curvatures at the optimum."""
        return diagnostics.convergence(self.fit)

    # ------------------------------------------------------------------ predictions

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        random: bool = True,
        scale: Literal["response", "link"] = "response",
        se: bool = False,
    ) -> pd.Series | pd.DataFrame:
        """Predictions for the model's rows (in the frame's order) or for newdata, with or without persons' deviations.

        Persons not in the model get no deviation. `se`: a frame `estimate, se`; on the response scale by the delta
        method, the variance parameters taken as known.
        """
        if scale not in SCALES:
            raise SpecError(f"scale={scale!r} must be one of {', '.join(SCALES)}.")
        rows = self._rows(newdata, random)
        modes = self.modes if random else None
        eta = prediction.linear_predictor(rows, self.fit.beta, modes)
        value, slope = self._respond(eta) if scale == "response" else (eta, np.ones_like(eta))
        out = pd.DataFrame({"estimate": value}, index=rows.index)
        if se:
            out["se"] = slope * prediction.linear_predictor_se(rows, self.fit.vcov, modes, self.fit.g)
        if newdata is None:
            out = out.iloc[np.argsort(self.design.positions, kind="stable")]
        return out if se else out["estimate"].rename("prediction")

    def _rows(self, newdata: pd.DataFrame | None, random: bool) -> prediction.Rows:
        if newdata is None:
            return prediction.own_rows(self.design)
        return prediction.new_rows(self.design, self.state, newdata, random=random, offset=self._offset_name)

    @property
    def _offset_name(self) -> str | None:
        return None

    def _respond(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The response at a linear predictor, and its derivative."""
        return eta, np.ones_like(eta)

    # ------------------------------------------------------------------ shares of variance

    @property
    def _residual_variance(self) -> float:
        raise NotImplementedError

    def icc(self) -> pd.Series:
        """Intercept variance over intercept plus residual variance, given the fixed effects; NaN without the former."""
        share = variance.icc(self.design.random, self.fit.g, self._residual_variance)
        return pd.Series({self.design.factor: share}, name="icc")

    def r2(self) -> pd.Series:
        """`marginal` and `conditional` R²: see `variance.nakagawa`."""
        return variance.nakagawa(self._variance_parts)

    @property
    def _variance_parts(self) -> variance.Parts:
        design, fit = self.design, self.fit
        return variance.variance_parts(
            self.state, design.fixed, design.random, fit.beta, fit.g, self._residual_variance
        )

    # ------------------------------------------------------------------ pictures

    def plot_effects(self, terms: Sequence[str] | None = None) -> Any:
        """An Altair chart: each split predictor's two slopes with every person, or the (named) terms as a forest."""
        return plots.effects_chart(self, terms)

    def plot_modes(self, group: str | None = None) -> Any:
        """An Altair chart: everybody's own deviation with its 95 % interval, sorted, a panel for each random term."""
        return plots.modes_chart(self, group)

    def plot_diagnostics(self) -> Any:
        """An Altair chart: residuals, their quantiles and memory, and the facts in words. Needs the model's rows."""
        return plots.diagnostics_chart(self)

    # ------------------------------------------------------------------ words

    def summary(self) -> summary.ModelSummary:
        """A page of text (print it), or HTML in a notebook."""
        return summary.summarise(self)

    def __repr__(self) -> str:
        groups = f"{self.design.n_persons} levels of {self.design.factor}"
        return f"<{type(self).__name__} {self.formula!r}: {self.n_obs} rows, {groups}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    @property
    def estimator(self) -> str:
        """REML, ML, Laplace or AGQ-k."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class LinearModel(MultilevelModel):
    """A linear mixed model."""

    fit: LmmFit
    family = "gaussian"
    link = "identity"

    @property
    def residual_sd(self) -> float:
        return self.fit.sigma

    @property
    def estimator(self) -> str:
        return "REML" if self.fit.reml else "ML"

    @property
    def df_method(self) -> str:
        """Kenward–Roger for a REML fit of at most 200 persons, otherwise Satterthwaite (METHODS §6)."""
        return inference.default_method(self.fit)

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        return inference.uncertainty(self.fit, self.state, self.design.fixed, contrasts, df, robust)

    @property
    def _residual_variance(self) -> float:
        return self.fit.sigma**2

    def confint(
        self,
        method: str = "wald",
        parameters: Sequence[str] | None = None,
        level: float = 0.95,
        df: str | None = None,
        replicates: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """`lower`, `upper`; index: term, `sd_TERM|GROUP`, `cor_A.B|GROUP` (either order of A and B), `sigma`.

        "wald": fixed effects with the degrees of freedom of `tests`; SDs on the log scale and correlations on Fisher's z, NaN
        in a singular fit. "profile": by profile likelihood, a REML fit refitted by ML first. "bootstrap": percentiles over
        `replicates` parametric draws with `seed`; `attrs["replicates"]` counts those whose fit was sound. Raises SpecError.
        """
        if method not in INTERVALS:
            raise SpecError(f"confint(method={method!r}) must be one of {', '.join(map(repr, INTERVALS))}.")
        if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
            raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
        known = intervals.parameters(
            self.design.fixed_names, self.design.random_names, self.fit.moments.structure, self.design.factor
        )
        chosen = intervals.choose(known, parameters, self.design.factor)
        wanted, names = [parameter for _, parameter in chosen], [name for name, _ in chosen]
        sound = replicates
        if method == "profile":
            limits = intervals.profile_intervals(self.fit, wanted, level)
        elif method == "bootstrap":
            limits, sound = intervals.bootstrap_intervals(self.fit, wanted, level, replicates, seed)
        else:
            fixed = self.tests(df=df, level=level)[["lower", "upper"]].to_numpy()
            limits = np.empty((len(wanted), 2))
            spread = [k for k, parameter in enumerate(wanted) if parameter.kind != "fixed"]
            limits[spread] = intervals.spread_intervals(self.fit, [wanted[k] for k in spread], level)
            for k, parameter in enumerate(wanted):
                if parameter.kind == "fixed":
                    limits[k] = fixed[parameter.i]
        table = pd.DataFrame(limits, columns=["lower", "upper"], index=pd.Index(names, name="parameter"))
        if method == "bootstrap":
            table.attrs["replicates"] = sound
        return table

    def r2(self) -> pd.Series:
        """`marginal` and `conditional` R², then Rights and Sterba's: see `variance.nakagawa`, `variance.rights_sterba`."""
        parts = self._variance_parts
        both: pd.Series = pd.concat([variance.nakagawa(parts), variance.rights_sterba(parts)])
        return both

    def predict_new_group(self, newdata: pd.DataFrame, uncertainty: bool = False) -> pd.DataFrame:
        """An outcome in a group never seen: `mean, sd_between, sd_total, sd_predictive, q025, q50, q975`.

        The quantiles take the estimates as known; with `uncertainty` they are those of Student's t about the mean, scaled
        by `sd_predictive`, with Satterthwaite's degrees of freedom of that variance: an approximation, which allows for
        the errors of the fixed effects and of the variances.
        """
        rows, fit = self._rows(newdata, random=False), self.fit
        df = inference.satterthwaite_new_group(fit, rows.x, rows.z) if uncertainty else None
        return prediction.new_group_gaussian(rows, fit.beta, fit.vcov, fit.g, fit.sigma, df)

    def latent_between(self, predictor: str, level: float = 0.95) -> corrections.LatentBetween:
        """Between and contextual effects of a reflective predictor's usual levels; see `corrections.latent_between`.

        Raises SpecError unless the formula has within(predictor) and between(predictor).
        """
        return corrections.latent_between(self.design, self.state, self.fit, predictor, level)

    def to_r(self) -> str:
        """The same model as R code for lme4."""
        call = f"lmer({{}}, data = frame, REML = {'TRUE' if self.fit.reml else 'FALSE'})"
        return r_code(self.design, weights=None, offset=None, call=call)


@dataclass(frozen=True, repr=False)
class LogisticModel(MultilevelModel):
    """A logistic mixed model."""

    fit: GlmmFit
    weights: str | None = None
    offset: str | None = None
    family = "binomial"
    link = "logit"

    @property
    def estimator(self) -> str:
        return "Laplace" if self.fit.agq == 1 else f"AGQ-{self.fit.agq}"

    @property
    def df_method(self) -> str:
        return "persons minus between terms"

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Persons minus the terms that are constant in every person (the intercept and between-person terms)."""
        if robust is not None:
            raise SpecError(f"robust={robust!r} is for linear models; leave it out for model-based standard errors.")
        if df not in (None, "z"):
            raise SpecError(f"df={df!r} is for linear models; leave it out for {self.df_method}, or choose 'z'.")
        if df == "z":
            return self.fit.vcov, np.full(len(contrasts), np.inf)
        constant = [
            column.kind in ("one", "between")
            or (column.kind == "raw" and not self.state.scatter[:, column.source, column.source].any())
            for column in self.design.fixed
        ]
        return self.fit.vcov, inference.persons_minus_between(contrasts, self.design.n_persons, sum(constant))

    def _respond(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = expit(eta)
        return probability, probability * (1.0 - probability)

    @property
    def _offset_name(self) -> str | None:
        return self.offset

    @property
    def _residual_variance(self) -> float:
        return float(LOGIT_VARIANCE)

    def predict_new_group(self, newdata: pd.DataFrame, uncertainty: bool = False) -> pd.DataFrame:
        """The probability in a group never seen: `sd_between` (log-odds), `mean_marginal, sd_of_group_mean,
        mean_at_zero_effect` and the group mean's quantiles `q025, q50, q975`."""
        _refuse_uncertainty(uncertainty)
        return prediction.new_group_binomial(self._rows(newdata, random=False), self.fit.beta, self.fit.g)

    def to_r(self) -> str:
        """The same model as R code for lme4."""
        extra = f", weights = {self.weights}" if self.weights else ""
        extra += f", offset = {self.offset}" if self.offset else ""
        call = f"glmer({{}}, data = frame, family = binomial{extra}, nAGQ = {self.fit.agq})"
        return r_code(self.design, weights=self.weights, offset=self.offset, call=call)


def _refuse_uncertainty(uncertainty: bool) -> None:
    if uncertainty:
        raise SpecError("predict_new_group(uncertainty=True) is not available yet; the estimates are taken as known.")
