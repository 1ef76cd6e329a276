"""Each person's own line: where they usually are, their own slope, and how far that rests on their own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.picture import ENOUGH, opacity
from analysis.plots.typical import band, columns_at, slope_at
from analysis.words import number


def persons_table(fit: Any, predictor: str, inner: str, between: str | None) -> pd.DataFrame:
    """Each person's usual x, SD of x, predicted y there (linear predictor), own slope, and what that rests on."""
    design, state, modes = fit.design, fit.state, fit.modes[fit.design.place_of(None)]
    terms = design.persons.terms
    random, g = design.random[terms], fit.fit.g[terms, terms]
    mean = state.means(predictor) if predictor in state.names else np.zeros(len(state.n))
    anchor = float(mean[0] + (mean - mean[0]).mean())
    level = band(fit, inner, np.zeros(1), {})["eta"].iloc[0]
    up = float(fit.fit.beta @ slope_at(design.fixed, state, between)) if between else 0.0
    slope = slope_at(random, state, inner)
    variance = slope @ g @ slope
    conditional = np.einsum("a,iab,b->i", slope, modes.covariance, slope)
    weight = np.clip(1.0 - conditional / variance, 0.0, 1.0) if variance > 0.0 else np.full(len(mean), np.nan)
    column = next(each for each in design.fixed if each.name == inner)
    out = pd.DataFrame(
        {
            "person": design.levels.astype(str),
            "n": state.n.astype(int),
            "x": mean,
            "sd": np.nan_to_num(state.deviations(state.names[column.source])),
            "y": level + up * (mean - anchor) + modes.modes @ columns_at(random, state, {inner: 0.0}),
            "slope": fit.fit.beta @ slope_at(design.fixed, state, inner) + modes.modes @ slope,
            "weight": weight,
        }
    )
    out["few"] = out["weight"] < ENOUGH
    out["opacity"] = [opacity(None if np.isnan(w) else w) for w in out["weight"]]
    out["own"] = [
        "too few answers for a slope" if few else number(value, 2, sign=True)
        for few, value in zip(out["few"], out["slope"], strict=True)
    ]
    return out.join(_limits(fit, predictor))


def _limits(fit: Any, predictor: str) -> pd.DataFrame:
    """Each person's lowest and highest x where the rows are at hand; no limits otherwise."""
    design = fit.design
    source = fit.state.names.index(predictor) if predictor in fit.state.names else -1
    if source < 0 or not design.has_rows:
        return pd.DataFrame({"low": np.full(design.n_persons, -np.inf), "high": np.inf})
    x = design.column(source)
    return pd.DataFrame(
        {
            "low": np.minimum.reduceat(x, design.starts[:-1]),
            "high": np.maximum.reduceat(x, design.starts[:-1]),
        }
    )


def points_of(people: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """One row per person and point."""
    out = people.loc[people.index.repeat(x.shape[1]), ["person", "n", "own", "few", "opacity"]].reset_index(drop=True)
    return out.assign(x=x.ravel(), y=y.ravel())
