"""What a fitted generalised mixed model answers. Everything here delegates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import inference, new_groups
from analysis.errors import SpecError
from analysis.generalised import GlmmFit
from analysis.links import LINKS
from analysis.model import MultilevelModel
from analysis.r_code import r_code


@dataclass(frozen=True, repr=False)
class GeneralisedModel(MultilevelModel):
    """A binomial, Poisson or negative binomial mixed model."""

    fit: GlmmFit
    family: str = "binomial"
    link: str = "logit"
    weights: str | None = None
    offset: str | None = None

    @property
    def estimator(self) -> str:
        return "Laplace" if self.fit.agq == 1 else f"AGQ-{self.fit.agq}"

    @property
    def dispersion(self) -> float | None:
        """The negative binomial's size κ, with variance μ + μ²/κ: inf where counts are no more spread than Poisson's."""
        return float(np.exp(self.fit.extra[0])) if self.family == "negative_binomial" else None

    @property
    def df_method(self) -> str:
        return "persons minus between terms"

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        """Persons minus the terms that are constant in every person (the intercept and between-person terms).

        With several factors a term has the least of this and of the same number for each factor in whose levels it is constant; a
        contrast the least of its terms.
        """
        if robust is not None:
            raise SpecError(f"robust={robust!r} is for linear models; leave it out for model-based standard errors.")
        if df not in (None, "z"):
            raise SpecError(f"df={df!r} is for linear models; leave it out for {self.df_method}, or choose 'z'.")
        if df == "z":
            return self.fit.vcov, np.full(len(contrasts), np.inf)
        if self.design.several:
            each = self._term_degrees()
            used = np.where(np.asarray(contrasts) != 0.0, each, np.inf)
            return self.fit.vcov, used.min(axis=1)
        constant = [
            column.kind in ("one", "between")
            or (column.kind == "raw" and not self.state.scatter[:, column.source, column.source].any())
            for column in self.design.fixed
        ]
        return self.fit.vcov, inference.persons_minus_between(
            contrasts, self.design.n_persons, sum(constant) + self._constants_beside
        )

    def _term_degrees(self) -> np.ndarray:
        """(p,) levels minus the terms constant in them, the least over the primary factor and those a term is constant in."""
        x, primary = self.design.matrix(self.design.fixed), self.design.place_of(None)
        out = np.full(x.shape[1], np.inf)
        for place, factor in enumerate(self.design.factors):
            first = np.empty((len(factor.levels), x.shape[1]))
            first[factor.codes] = x
            spread = np.abs(x - first[factor.codes]).max(axis=0, initial=0.0)
            constant = spread <= 1e-9 * np.abs(x).max(axis=0, initial=1.0)
            degrees = max(len(factor.levels) - int(constant.sum()) - self._constants_beside, 1)
            out = np.where(constant | (place == primary), np.minimum(out, degrees), out)
        return out

    @property
    def _constants_beside(self) -> int:
        """Constants of the model that are no fixed effects."""
        return 0

    @property
    def effect_scale(self) -> str:
        return f"on the scale of {LINKS[self.link].scale}" if self.link != "logit" else "on the log-odds scale"

    def _respond(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return LINKS[self.link].mean(eta), LINKS[self.link].slope(eta)

    @property
    def _predictor_covariance(self) -> np.ndarray:
        return self.fit.joint

    @property
    def _offset_name(self) -> str | None:
        return self.offset

    @property
    def _residual_variance(self) -> float:
        """On the link's scale: the latent distribution's, or log(1 + 1/μ̄ + 1/κ) (Nakagawa, Johnson & Schielzeth, 2017)."""
        latent = LINKS[self.link].latent
        if latent is not None:
            return float(latent)
        spare = 0.0 if self.dispersion is None else 1.0 / self.dispersion
        return float(np.log1p(1.0 / self.design.outcome.mean() + spare))

    def predict_new_group(self, newdata: pd.DataFrame, uncertainty: bool = False) -> pd.DataFrame:
        """The mean outcome in a group never seen: `sd_between` (link scale), `mean_marginal, sd_of_group_mean,
        mean_at_zero_effect` and the group mean's quantiles `q025, q50, q975`; for counts also `count_q025, count_q50,
        count_q975`, the quantiles of one new count.

        The quantiles take the estimates as known; with `uncertainty` they allow for the errors of all parameters, by the
        approximation of `new_groups`. `newdata` holds the offset's column where the model has one.
        """
        rows, curve = self._rows(newdata, random=False), LINKS[self.link].mean
        out = new_groups.group_mean(rows, self.fit, curve, uncertainty)
        if self.family == "binomial":
            return out
        return pd.concat([out, new_groups.single_counts(rows, self.fit, curve, uncertainty)], axis=1)

    def plot_effects(self, terms: Any = None) -> Any:
        self._refuse_picture("plot_effects")
        return super().plot_effects(terms)

    def plot_diagnostics(self) -> Any:
        self._refuse_picture("plot_diagnostics")
        return super().plot_diagnostics()

    def _refuse_picture(self, name: str) -> None:
        if (self.family, self.link) != ("binomial", "logit"):
            raise SpecError(
                f"{name}() draws linear and logistic models; this one is {self.family} with link {self.link}."
            )

    def to_r(self) -> str:
        """The same model as R code: for lme4, or for glmmTMB where lme4's Laplace approximation is another one.

        lme4 takes the expected curvature, glmmTMB the observed one, as here; only with a canonical link are they the same.
        """
        weights = f", weights = {self.weights}" if self.weights else ""
        family = {"binomial": "binomial", "poisson": "poisson", "negative_binomial": "nbinom2"}[self.family]
        if self.link in ("probit", "cloglog"):
            family += f'(link = "{self.link}")'
        if self.family == "negative_binomial" or (self.link in ("probit", "cloglog") and self.fit.agq == 1):
            shift = f" + offset({self.offset})" if self.offset else ""
            call = f"glmmTMB({{}}{shift}, data = frame, family = {family}{weights})"
            return r_code(self.design, weights=self.weights, offset=self.offset, call=call, package="glmmTMB")
        shift = f", offset = {self.offset}" if self.offset else ""
        call = f"glmer({{}}, data = frame, family = {family}{weights}{shift}, nAGQ = {self.fit.agq})"
        return r_code(self.design, weights=self.weights, offset=self.offset, call=call)
