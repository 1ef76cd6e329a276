"""What every fitted multilevel model answers (ENGINE.md). Everything here delegates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis import diagnostics, inference, intervals, plots, prediction, summary, variance
from analysis.conditional_modes import Modes, conditional_modes
from analysis.covariance import Structure
from analysis.design import Design
from analysis.errors import SpecError
from analysis.factored import FactorFit
from analysis.factors import joined_labels
from analysis.generalised import GlmmFit
from analysis.linear import LmmFit
from analysis.state import PersonState

SCALES = ("response", "link")
INTERVALS = ("wald", "profile", "bootstrap")


@dataclass(frozen=True)
class MultilevelModel:
    """A fitted model. Tables are pandas objects, named by the formula's terms."""

    design: Design
    state: PersonState
    fit: LmmFit | FactorFit | GlmmFit

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
        return {factor.name: len(factor.levels) for factor in self.design.factors}

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
        names, g = self.design.random_names, self.fit.g
        return {
            factor.name: pd.DataFrame(g[factor.terms, factor.terms], names[factor.terms], names[factor.terms])
            for factor in self.design.factors
        }

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
        """`lower`, `upper`; index: term, threshold `1|2`, `sd_TERM|GROUP`, `cor_A.B|GROUP` (either order of A and B), and
        `sigma` and `phi` of a linear or `dispersion` of a negative binomial model.

        "wald": fixed effects and thresholds with the degrees of freedom of `tests`; SDs and the dispersion on the log scale,
        correlations and φ of AR1 on Fisher's z, φ of CAR1 on the logit; NaN in a singular fit. "profile": by profile likelihood, a REML fit refitted by ML
        first. "bootstrap": percentiles over `replicates` parametric draws with `seed`; `attrs["replicates"]` counts those
        whose fit was sound. Raises SpecError.
        """
        if method not in INTERVALS:
            raise SpecError(f"confint(method={method!r}) must be one of {', '.join(map(repr, INTERVALS))}.")
        if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
            raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
        random, factors = self.design.random_names, self.design.factors
        thresholds = [] if self.thresholds is None else list(self.thresholds.index)
        known = intervals.parameters(
            self.design.fixed_names, random, self._structure, factors, thresholds, self._beside
        )
        chosen = intervals.choose(known, parameters, random, factors)
        wanted, names = [parameter for _, parameter in chosen], [name for name, _ in chosen]
        sound = replicates
        if method == "profile":
            limits = intervals.profile_intervals(self.fit, wanted, level)
        elif method == "bootstrap":
            limits, sound = intervals.bootstrap_intervals(self.fit, self.design, wanted, level, replicates, seed)
        else:
            limits = self._wald(wanted, df, level)
        table = pd.DataFrame(limits, columns=["lower", "upper"], index=pd.Index(names, name="parameter"))
        if method == "bootstrap":
            table.attrs["replicates"] = sound
        return table

    def _wald(self, wanted: Sequence[intervals.Parameter], df: str | None, level: float) -> np.ndarray:
        fixed = self.tests(df=df, level=level)[["lower", "upper"]].to_numpy()
        limits = np.empty((len(wanted), 2))
        spread = [k for k, parameter in enumerate(wanted) if parameter.kind not in ("fixed", "threshold")]
        limits[spread] = intervals.spread_intervals(self.fit, [wanted[k] for k in spread], level)
        for k, parameter in enumerate(wanted):
            if parameter.kind == "fixed":
                limits[k] = fixed[parameter.i]
            elif parameter.kind == "threshold":
                limits[k] = self._threshold_limits(df, level)[parameter.i]
        return limits

    def _threshold_limits(self, df: str | None, level: float) -> np.ndarray:
        """(r, 2) Wald limits, where there are thresholds."""
        raise NotImplementedError

    @property
    def _structure(self) -> Structure:
        return self.fit.data.structure if isinstance(self.fit, GlmmFit) else self.fit.moments.structure

    @property
    def _beside(self) -> tuple[intervals.Beside, ...]:
        """The parameters that the model has beside effects and their spread."""
        return () if self.dispersion is None else ("dispersion",)

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
    def modes(self) -> tuple[Modes, ...]:
        """Conditional modes as arrays, for each factor; `conditional_modes` and `conditional_sd` are the tables."""
        return conditional_modes(self.fit)

    def conditional_modes(self, group: str | None = None) -> pd.DataFrame:
        """Index level, columns terms: each level's own deviations from the fixed effects, shrunken.

        group: a grouping factor, an interaction's columns in either order; the only one or the first where none is named.
        """
        place, columns, levels = self._table_of(group)
        return pd.DataFrame(self.modes[place].modes, index=levels, columns=columns)

    def conditional_sd(self, group: str | None = None) -> pd.DataFrame:
        """SDs of the modes given the data and the estimated parameters (lme4's condVar)."""
        place, columns, levels = self._table_of(group)
        spread = np.sqrt(np.maximum(np.diagonal(self.modes[place].covariance, axis1=1, axis2=2), 0.0))
        return pd.DataFrame(spread, index=levels, columns=columns)

    def _table_of(self, group: str | None) -> tuple[int, list[str], pd.Index]:
        """Number, terms and levels of a grouping factor; levels in the order of the name's columns."""
        place = self.design.place_of(group)
        factor = self.design.factors[place]
        levels = factor.levels
        if group is not None and group != factor.name:
            turn = [factor.group.index(name) for name in str(group).split(":")]
            levels = joined_labels([factor.parts[k] for k in turn]).rename(group)
        return place, self.design.random_names[factor.terms], levels

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
        modes = self.modes if random else ()
        eta = prediction.linear_predictor(rows, self.fit.beta, modes)
        value, slope = self._respond(eta) if scale == "response" else (eta, np.ones_like(eta))
        out = pd.DataFrame({"estimate": value}, index=rows.index)
        if se:
            out["se"] = slope * self._predictor_se(rows, modes)
        if newdata is None:
            out = out.iloc[np.argsort(self.design.positions, kind="stable")]
        return out if se else out["estimate"].rename("prediction")

    def _predictor_se(self, rows: prediction.Rows, modes: Sequence[Modes]) -> np.ndarray:
        if modes and isinstance(self.fit, FactorFit):
            return prediction.factors_se(rows, self.fit)
        if modes and isinstance(self.fit, GlmmFit) and self.fit.factorised is not None:
            return prediction.joint_se(rows, self.fit, modes)
        return prediction.linear_predictor_se(rows, self._predictor_covariance, modes, self.fit.g)

    def _rows(self, newdata: pd.DataFrame | None, random: bool) -> prediction.Rows:
        if newdata is None:
            return prediction.own_rows(self.design)
        return prediction.new_rows(self.design, self.state, newdata, random=random, offset=self._offset_name)

    @property
    def _predictor_covariance(self) -> np.ndarray:
        """Of the fixed effects, and of what else moves the conditional modes."""
        return self.fit.vcov

    @property
    def effect_scale(self) -> str:
        """What the fixed and random effects are measured in, for a picture's title."""
        return f"in units of {self.design.spec.outcome}"

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
        """Each factor's intercept variance over all intercept variances and the residual's, given the fixed effects.

        NaN for a factor without an intercept.
        """
        return variance.icc(self.design, self.fit.g, self._residual_variance)

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
        """An Altair chart: each level's own deviation with its 95 % interval, sorted, a panel for each random term."""
        return plots.modes_chart(self, group)

    def plot_diagnostics(self) -> Any:
        """An Altair chart: residuals, their quantiles and memory, and the facts in words. Needs the model's rows."""
        return plots.diagnostics_chart(self)

    # ------------------------------------------------------------------ words

    def summary(self) -> summary.ModelSummary:
        """A page of text (print it), or HTML in a notebook."""
        return summary.summarise(self)

    def __repr__(self) -> str:
        groups = ", ".join(f"{count} levels of {name}" for name, count in self.n_groups.items())
        return f"<{type(self).__name__} {self.formula!r}: {self.n_obs} rows, {groups}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()

    @property
    def estimator(self) -> str:
        """REML, ML, Laplace or AGQ-k."""
        raise NotImplementedError

    @property
    def family(self) -> str:
        """The outcome's distribution: gaussian, binomial, poisson, …"""
        raise NotImplementedError
