"""What a fitted linear mixed model answers. Everything here delegates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from analysis import corrections, inference, intervals, new_groups, variance
from analysis.errors import SpecError
from analysis.factored import FactorFit
from analysis.linear import LmmFit
from analysis.model import MultilevelModel
from analysis.r_code import nlme_code, r_code
from analysis.serial_factors import FactorSerialFit
from analysis.serial_fit import SerialFit, independence


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
    def residual_correlation(self) -> float | None:
        """φ of AR1 or CAR1 residuals: their correlation one prompt, or one unit of time, apart."""
        return self.fit.phi if isinstance(self.fit, (SerialFit, FactorSerialFit)) else None

    @property
    def estimator(self) -> str:
        return "REML" if self.fit.reml else "ML"

    @property
    def df_method(self) -> str:
        """Kenward–Roger for a REML fit of at most 200 persons, otherwise Satterthwaite; see `inference.default_method`."""
        return inference.default_method(self.fit, self.design.n_persons)

    def tests(self, df: str | None = None, robust: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """As `MultilevelModel.tests`; φ of serial residuals is taken as known."""
        return super().tests(df, robust, level)

    def _uncertainty(self, contrasts: np.ndarray, df: str | None, robust: str | None) -> tuple[np.ndarray, np.ndarray]:
        return inference.uncertainty(self.fit, self.state, self.design.fixed, contrasts, df, robust)

    @property
    def _residual_variance(self) -> float:
        return self.fit.sigma**2

    @property
    def _beside(self) -> tuple[intervals.Beside, ...]:
        return ("sigma", "phi") if isinstance(self.fit, SerialFit) else ("sigma",)

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
        return new_groups.gaussian(rows, fit.beta, fit.vcov, fit.g, fit.sigma, df)

    def latent_between(self, predictor: str, level: float = 0.95) -> corrections.LatentBetween:
        """Between and contextual effects of a reflective predictor's usual levels; see `corrections.latent_between`.

        Raises SpecError unless the formula has within(predictor) and between(predictor), and for several grouping factors or
        serial residuals.
        """
        if isinstance(self.fit, SerialFit):
            raise SpecError("latent_between is for independent residuals; fit the model without residual=.")
        if not isinstance(self.fit, LmmFit):
            raise SpecError(f"latent_between({predictor!r}) is for models with one grouping factor.")
        return corrections.latent_between(self.design, self.state, self.fit, predictor, level)

    def serial_test(self) -> pd.Series:
        """Likelihood-ratio test of φ = 0, that residuals are independent in time: `statistic`, `df` (1), `p_value`.

        For CAR1, where φ cannot be negative, p is up to twice what it need be. Raises SpecError for a fit without residual=.
        """
        if not isinstance(self.fit, (SerialFit, FactorSerialFit)):
            raise SpecError(
                "serial_test needs a fit with serial residuals: lmm(…, residual=AR1('beep', within='id')) or CAR1(…)."
            )
        statistic = independence(self.fit)
        return pd.Series({"statistic": statistic, "df": 1.0, "p_value": float(chdtrc(1.0, statistic))}, name="serial")

    def to_r(self) -> str:
        """The same model as R code for lme4, or for nlme where residuals are serial."""
        if isinstance(self.fit, (SerialFit, FactorSerialFit)):
            return nlme_code(self.design, self.fit.residual, self.fit.reml)
        call = f"lmer({{}}, data = frame, REML = {'TRUE' if self.fit.reml else 'FALSE'})"
        return r_code(self.design, weights=None, offset=None, call=call)
