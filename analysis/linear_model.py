"""What a fitted linear mixed model answers. Everything here delegates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis import corrections, inference, prediction, variance
from analysis.errors import SpecError
from analysis.factored import FactorFit
from analysis.linear import LmmFit
from analysis.model import MultilevelModel
from analysis.r_code import r_code


@dataclass(frozen=True, repr=False)
class LinearModel(MultilevelModel):
    """A linear mixed model."""

    fit: LmmFit | FactorFit
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
        """Kenward–Roger for a REML fit of at most 200 persons, otherwise Satterthwaite; see `inference.default_method`."""
        return inference.default_method(self.fit, self.design.n_persons)

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        return inference.uncertainty(self.fit, self.state, self.design.fixed, contrasts, df, robust)

    @property
    def _residual_variance(self) -> float:
        return self.fit.sigma**2

    @property
    def _beside(self) -> tuple[Literal["sigma", "dispersion"], ...]:
        return ("sigma",)

    def r2(self) -> pd.Series:
        """`marginal` and `conditional` R², then Rights and Sterba's: see `variance.nakagawa`, `variance.rights_sterba`.

        With several grouping factors the shares of all variance alone: what lies between the levels of one factor lies
        within those of another.
        """
        parts = self._variance_parts
        shares = variance.rights_sterba(parts)
        if self.design.several:
            shares = shares[shares.index.str.startswith("total_")]
        both: pd.Series = pd.concat([variance.nakagawa(parts), shares])
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

        Raises SpecError unless the formula has within(predictor) and between(predictor), and one grouping factor.
        """
        if not isinstance(self.fit, LmmFit):
            raise SpecError(f"latent_between({predictor!r}) is for models with one grouping factor.")
        return corrections.latent_between(self.design, self.state, self.fit, predictor, level)

    def to_r(self) -> str:
        """The same model as R code for lme4."""
        call = f"lmer({{}}, data = frame, REML = {'TRUE' if self.fit.reml else 'FALSE'})"
        return r_code(self.design, weights=None, offset=None, call=call)
