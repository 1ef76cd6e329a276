"""Fits → plain rows and text; prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from analysis.covariance import deviations_and_correlations


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What one page says of a model. `str()` gives text; a notebook shows HTML.

    facts : (label, value) pairs;  fixed : the tests;  spread : random effects and residual, SDs and correlations
    """

    title: str
    formula: str
    facts: tuple[tuple[str, str], ...]
    fixed: pd.DataFrame
    spread: pd.DataFrame
    messages: tuple[str, ...]

    def __str__(self) -> str:
        width = max(len(label) for label, _ in self.facts)
        lines = [self.title, self.formula, ""]
        lines += [f"{label:<{width}}  {value}" for label, value in self.facts]
        lines += ["", "Spread", _text(self.spread), "", "Fixed effects", _text(self.fixed)]
        if self.messages:
            lines += ["", *(f"Note: {message}" for message in self.messages)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in self.facts)
        notes = "".join(f"<p>Note: {escape(message)}</p>" for message in self.messages)
        return (
            f"<h4>{escape(self.title)}</h4><p><code>{escape(self.formula)}</code></p><table>{facts}</table>"
            f"<h5>Spread</h5>{_html(self.spread)}<h5>Fixed effects</h5>{_html(self.fixed)}{notes}"
        )


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


def _text(table: pd.DataFrame) -> str:
    named = not isinstance(table.index, pd.RangeIndex)
    return _rounded(table).to_string(index=named, na_rep="")


def _html(table: pd.DataFrame) -> str:
    named = not isinstance(table.index, pd.RangeIndex)
    return str(_rounded(table).to_html(index=named, na_rep="", border=0))


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Four significant digits; p-values as people write them."""
    out = table.rename_axis(None).copy()
    for name in out.columns:
        if name == "p_value":
            out[name] = ["<0.001" if p < 0.001 else f"{p:.3f}" for p in out[name]]
        elif pd.api.types.is_float_dtype(out[name]):
            out[name] = ["" if np.isnan(value) else f"{value:.4g}" for value in out[name]]
    return out
