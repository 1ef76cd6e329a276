"""What `fit.plot_diagnostics()` shows, as numbers: residuals, their quantiles and their memory; nothing is drawn here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaincinv, expit, ndtri

from analysis.errors import SpecError
from analysis.prediction import linear_predictor, own_rows
from analysis.serial_fit import SerialFit, normalised

DRAWN = 3_000
"""Rows up to about which every residual is drawn; above 5,000, so many, as evenly over persons as their rows are."""
ALL_ROWS = 5_000
QUANTILES = 200
"""Points of a quantile picture; both tails are always whole."""
LAGS = 10
TAIL = 20


def residual_rows(fit: Any) -> pd.DataFrame:
    """One row per row of the model, person by person: person (number), fitted, residual, standard.

    fitted : with the person's own deviations, a probability where binary;  residual : outcome − fitted
    standard : residual over the residual SD, or Pearson's for a binary outcome; of a fit with serial residuals (rows then stand
    in time) nlme's normalised residual, what the residual before does not tell. Raises SpecError without rows.
    """
    design = fit.design
    if not design.has_rows:
        raise SpecError(
            "plot_diagnostics needs the rows, and this fit was made from persons' states alone; "
            "fit the model with lmm(formula, frame) to see its residuals."
        )
    rows = own_rows(design)
    fitted = linear_predictor(rows, fit.fit.beta, fit.modes)
    if fit.family == "binomial":
        fitted = expit(fitted)
        trials = 1.0 if design.weights is None else design.weights
        scale = np.sqrt(fitted * (1.0 - fitted) / trials)
    else:
        scale = np.full(len(fitted), fit.residual_sd)
    residual = design.outcome - fitted
    out = pd.DataFrame(
        {
            "person": rows.level[design.place_of(None)],
            "row": rows.index.astype(str),
            "fitted": fitted,
            "residual": residual,
            "standard": residual / scale,
        }
    )
    if isinstance(fit.fit, SerialFit):
        out = out.iloc[fit.fit.bins.series.order].reset_index(drop=True)
        out["standard"] = normalised(fit.fit, out["residual"].to_numpy())
    return out


def sample_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Every row up to ALL_ROWS, above that DRAWN rows at equal steps through all persons' rows."""
    if len(rows) <= ALL_ROWS:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, DRAWN).round().astype(int)]


def binned(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    """Means of y in bins of equally many x: columns x, y, lower, upper (mean ± 1.96 SE), n."""
    count = int(np.clip(np.sqrt(len(x)) / 4, 5, 20))
    parts = np.array_split(np.argsort(x, kind="stable"), count)
    out = []
    for part in parts:
        half = 1.96 * float(y[part].std(ddof=1)) / np.sqrt(len(part)) if len(part) > 1 else np.nan
        mean = float(y[part].mean())
        out.append({"x": float(x[part].mean()), "y": mean, "lower": mean - half, "upper": mean + half, "n": len(part)})
    return pd.DataFrame(out)


def quantiles(values: np.ndarray) -> pd.DataFrame:
    """Sorted values against a normal's quantiles, with the 95 % band of each for independent normal values.

    Columns normal, value, lower, upper; of many values QUANTILES, both tails whole. The band is that of an order
    statistic: the k-th of n uniforms is beta(k, n + 1 − k).
    """
    n = len(values)
    rank = np.arange(1, n + 1)
    if n > QUANTILES:
        middle = np.linspace(TAIL + 1, n - TAIL, QUANTILES - 2 * TAIL).round().astype(int)
        rank = np.unique(np.concatenate([rank[:TAIL], middle, rank[-TAIL:]]))
    at = (rank - 0.375) / (n + 0.25)
    return pd.DataFrame(
        {
            "normal": ndtri(at),
            "value": np.sort(values)[rank - 1],
            "lower": ndtri(betaincinv(rank, n + 1 - rank, 0.025)),
            "upper": ndtri(betaincinv(rank, n + 1 - rank, 0.975)),
        }
    )


def mode_quantiles(fit: Any) -> pd.DataFrame:
    """`quantiles` of each random term's modes over their own SD, with `term`; terms without spread are left out.

    With several grouping factors a term is `TERM|GROUP`.
    """
    parts = []
    several, names = len(fit.design.factors) > 1, fit.design.random_names
    own = [
        (names[j], factor.name, modes.modes[:, j - factor.terms.start])
        for factor, modes in zip(fit.design.factors, fit.modes, strict=True)
        for j in range(factor.terms.start, factor.terms.stop)
    ]
    for name, group, values in own:
        term = f"{name}|{group}" if several else name
        spread = values.std(ddof=1)
        if spread > 0.0:
            parts.append(quantiles((values - values.mean()) / spread).assign(term=str(term)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def autocorrelation(person: np.ndarray, residual: np.ndarray) -> pd.DataFrame:
    """Correlation of residuals so many rows apart within a person: lag, r, limit (±1.96/√pairs), pairs.

    Rows in the order they were given; a lag that has fewer than 20 pairs is left out.
    """
    centred = residual - residual.mean()
    variance = float((centred**2).mean())
    out = []
    for lag in range(1, LAGS + 1):
        same = person[lag:] == person[:-lag]
        pairs = int(same.sum())
        if pairs < 20 or variance <= 0.0:
            break
        r = float((centred[lag:] * centred[:-lag])[same].mean() / variance)
        out.append({"lag": lag, "r": r, "limit": 1.96 / np.sqrt(pairs), "pairs": pairs})
    return pd.DataFrame(out)
