"""A frame's rows → the two equations of 1-1-1 mediation, concurrent or lagged, about each person's own means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.centering import boundaries, person_means
from analysis.errors import DesignError, SpecError
from analysis.lags import calendar, lagged
from analysis.paths import Equation, Stacked
from analysis.words import number

CONSTANT = 1e-9
"""Spread within persons below this share of a column's size is rounding."""
FEW_PAIRS = 20
"""Lagged rows of a person below which the note on the own lag's bias appears."""


def stack(
    frame: pd.DataFrame,
    values: dict[str, np.ndarray],
    codes: np.ndarray,
    triple: tuple[str, str, str],
    covariates: list[str],
    lag: tuple[str, str | None, str | None] | None,
) -> tuple[Stacked, int, list[str]]:
    x, m, y = triple
    held = [values[name] for name in covariates]
    messages: list[str] = []
    if lag is None:
        first, second = [values[x], *held, values[m]], [values[m], values[x], *held, values[y]]
        whole = ~np.isnan(np.column_stack([*first, values[y]])).any(axis=1)  # both equations use the same rows
        first = [np.where(whole, column, np.nan) for column in first]
        extra = tuple(covariates), tuple(covariates)
    else:
        person, day, prompt = lag
        when = calendar(frame, codes, person, str(day), str(prompt))
        before = {name: lagged(values[name], when)[0] for name in triple}
        earlier = lagged(before[x], when)[0]
        first = [before[x], before[m], *held, values[m]]
        second = [before[m], earlier, before[y], *held, values[y]]
        extra = (f"lag({m})", *covariates), (f"lag({y})", *covariates)
    one, rows_one = equation(first, codes, 1, (x, *extra[0], m))
    other, rows_other = equation(second, codes, 2, (m, x, *extra[1], y))
    if lag is not None:
        pairs = float(np.median(other.n[other.n > 0] + 1))
        messages.append(f"{rows_one:,} pairs of prompts for the first equation, {rows_other:,} triples for the second.")
        if pairs < FEW_PAIRS:
            messages.append(
                f"A person has {number(pairs, 0)} triples in the middle: each equation’s own lag is biased downwards (Nickell), "
                "which paths beside it share a little of."
            )
    names = ("a", "b", "direct", *(f"{name} in m" for name in extra[0]), *(f"{name} in y" for name in extra[1]))
    return Stacked(one, other, names), rows_other, messages


def equation(columns: list[np.ndarray], codes: np.ndarray, paths: int, names: tuple[str, ...]) -> tuple[Equation, int]:
    """Cross-products about each person's own means over the complete rows, persons in the order of their codes."""
    table = np.column_stack(columns)
    rows = np.flatnonzero((codes >= 0) & ~np.isnan(table).any(axis=1))
    if not len(rows):
        raise DesignError(f"no row has all of {', '.join(dict.fromkeys(names))}.")
    rows = rows[np.argsort(codes[rows], kind="stable")]
    table, own = table[rows], codes[rows]
    starts = boundaries(own)
    means = np.column_stack([person_means(column, starts) for column in table.T])
    left = table - np.repeat(means, np.diff(starts), axis=0)
    still = np.abs(left).max(axis=0) <= CONSTANT * np.abs(table).max(axis=0)
    if still.any():
        name = names[int(np.flatnonzero(still)[0])]
        raise SpecError(
            f"mediate: {name!r} does not vary within any person; design='1-1-1' needs x, m, y and covariates that do."
        )
    scatter = np.zeros((int(codes.max()) + 1, len(columns), len(columns)))
    scatter[own[starts[:-1]]] = np.add.reduceat(left[:, :, None] * left[:, None, :], starts[:-1], axis=0)
    n = np.zeros(len(scatter), dtype=np.int64)
    n[own[starts[:-1]]] = np.diff(starts) - 1
    return Equation(scatter, n, paths), len(rows)
