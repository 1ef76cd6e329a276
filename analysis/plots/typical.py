"""A model's columns at chosen values, the others at their averages over persons: what a predicted line is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.design import Column
from analysis.state import PersonState
from analysis.words import decimals_for, interval, number


def columns_at(columns: Sequence[Column], state: PersonState, at: Mapping[str, float]) -> np.ndarray:
    """(len(columns),) values of design columns: those named in `at` there, the others at their average.

    The average counts each person once; a split's is zero. A product such as `within(x):age` is the product of its
    factors' values wherever each of them is a column of its own.
    """
    plain = {column.name: column for column in columns if ":" not in column.name}

    def value(name: str, column: Column | None) -> float:
        if name in at:
            return at[name]
        if column is not None and column.kind != "raw":
            return 1.0 if column.kind == "one" else 0.0
        if column is not None:
            return float(state.means(state.names[column.source]).mean())
        return float(state.means(name).mean())

    def known(name: str) -> bool:
        return name in at or name in plain or name in state.names

    out = np.empty(len(columns))
    for j, column in enumerate(columns):
        factors = column.name.split(":")
        if len(factors) > 1 and column.name not in at and all(known(name) for name in factors):
            out[j] = np.prod([value(name, plain.get(name)) for name in factors])
        else:
            out[j] = value(column.name, column)
    return out


def slope_at(columns: Sequence[Column], state: PersonState, name: str) -> np.ndarray:
    """(len(columns),) change of the columns with one unit more of the column `name`, the others at their averages."""
    return np.asarray(columns_at(columns, state, {name: 1.0}) - columns_at(columns, state, {name: 0.0}))


def band(fit: Any, name: str, values: np.ndarray, at: Mapping[str, float]) -> pd.DataFrame:
    """The population's linear predictor with its 95 % interval along one column: columns at, eta, lower, upper.

    By the fit's own rule for degrees of freedom, point by point; an offset stands at its average.
    """
    shift = 0.0 if fit.design.offset is None else float(np.mean(fit.design.offset))
    rows = []
    for value in values:
        weights = columns_at(fit.design.fixed, fit.state, {**at, name: float(value)})
        row = contrast(fit, weights)
        rows.append({"at": float(value), "eta": row["estimate"], "lower": row["lower"], "upper": row["upper"]})
    out = pd.DataFrame(rows)
    out[["eta", "lower", "upper"]] += shift
    return out


def contrast(fit: Any, weights: np.ndarray) -> pd.Series:
    """A row of `tests` for weights (p,) of the fixed effects."""
    named = {name: float(w) for name, w in zip(fit.design.fixed_names, weights, strict=True) if w != 0.0}
    row: pd.Series = fit.contrast(named)
    return row


def with_words(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `said`: "−0.25 (−0.30 to −0.21)", with as many decimals as the interval is worth."""
    said = []
    for estimate, lower, upper in rows[["estimate", "lower", "upper"]].to_numpy(dtype=float):
        decimals = decimals_for((upper - lower) / 2)
        said.append(f"{number(estimate, decimals)} ({interval(lower, upper, decimals)})")
    return rows.assign(said=said)
