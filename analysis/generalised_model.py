"""What a fitted generalised mixed model answers. Everything here delegates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis import inference, prediction
from analysis.errors import SpecError
from analysis.generalised import GlmmFit
from analysis.model import MultilevelModel
from analysis.r_code import r_code

LOGIT_VARIANCE = np.pi**2 / 3.0
"""Variance of the standard logistic distribution: the residual of a logistic model on its latent scale."""


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
