"""What a fitted ordinal mixed model answers. Everything here delegates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from analysis import inference, new_groups, prediction
from analysis.design import INTERCEPT
from analysis.errors import SpecError
from analysis.generalised_model import GeneralisedModel
from analysis.ordinal import category_probabilities
from analysis.prediction import Rows
from analysis.r_code import r_code, r_column


@dataclass(frozen=True, repr=False)
class OrdinalModel(GeneralisedModel):
    """A cumulative link mixed model: P(y ≤ j) = F(τ_j − x'β − z'b)."""

    family: str = "ordinal"
    labels: tuple[str, ...] = ()

    @property
    def thresholds(self) -> pd.DataFrame:
        """Index `1|2`, `2|3` … by the categories' labels; columns `estimate`, `se`."""
        p = len(self.fit.beta)
        names = [f"{low}|{high}" for low, high in zip(self.labels[:-1], self.labels[1:], strict=True)]
        columns = {"estimate": self.fit.extra, "se": np.sqrt(np.diag(self.fit.joint)[p:])}
        return pd.DataFrame(columns, index=pd.Index(names, name="threshold"))

    @property
    def _constants_beside(self) -> int:
        return 1

    def _threshold_limits(self, df: str | None, level: float) -> np.ndarray:
        """(r, 2) Wald limits, with the fixed effects' degrees of freedom: thresholds stand for an intercept."""
        degrees = self._uncertainty(np.zeros((1, len(self.fit.beta))), df, None)[1]
        half = inference.critical_value(degrees, level) * self.thresholds["se"].to_numpy()
        return np.column_stack([self.fit.extra - half, self.fit.extra + half])

    def predict(
        self,
        newdata: pd.DataFrame | None = None,
        random: bool = True,
        scale: Literal["response", "link"] = "response",
        se: bool = False,
    ) -> pd.Series | pd.DataFrame:
        """scale="response": a DataFrame of each row's category probabilities, columns the labels; "link": x'β + z'b̂.

        With `se` on the link scale alone: a frame `estimate, se`. Otherwise as other models' predict.
        """
        if scale != "response":
            return super().predict(newdata, random, scale, se)
        if se:
            raise SpecError("predict(se=True) of an ordinal model needs scale='link'; probabilities come without.")
        eta = super().predict(newdata, random, "link")
        probabilities = category_probabilities(eta.to_numpy(), self.fit.extra, self.link)
        return pd.DataFrame(probabilities, index=eta.index, columns=pd.Index(self.labels, name="category"))

    def _rows(self, newdata: pd.DataFrame | None, random: bool) -> Rows:
        if newdata is None:
            return prediction.own_rows(self.design)
        rows = prediction.new_rows(self.design, self.state, newdata, random=random, offset=None)
        kept = [name != INTERCEPT for name in self.design.fixed_terms.names]
        return Rows(rows.index, rows.x[:, kept], rows.z, rows.level, rows.offset)

    def predict_new_group(self, newdata: pd.DataFrame, uncertainty: bool = False) -> pd.DataFrame:
        """Each category's probability in a group never seen: index newdata's and `category` (one row for each category, in
        order), columns `sd_between` (link scale), `mean_marginal` (the probability over groups), `sd_of_group_mean`,
        `mean_at_zero_effect` and the quantiles `q025, q50, q975` of a group's probability; otherwise as other models'."""
        rows = self._rows(newdata, random=False)
        parts = new_groups.category_shares(
            rows, self.fit, lambda eta, thresholds: category_probabilities(eta, thresholds, self.link), uncertainty
        )
        place = np.arange(len(rows.x) * len(self.labels)).reshape(len(self.labels), -1).T.ravel()
        whole = pd.concat(parts, keys=pd.Index(self.labels, name="category"))
        return whole.iloc[place].reorder_levels([*range(1, whole.index.nlevels), 0])

    def to_r(self) -> str:
        """The same model as R code for the package ordinal."""
        outcome = r_column(self.design.spec.outcome.strip("`"))
        levels = ", ".join(f'"{label}"' for label in self.labels)
        made = f"{outcome} <- factor({outcome}, levels = c({levels}), ordered = TRUE)"
        call = f'clmm({{}}, data = frame, link = "{self.link}", nAGQ = {self.fit.agq})'
        return r_code(self.design, weights=None, offset=None, call=call, package="ordinal", before=(made,))
