"""Ordered categories: from a column's labels to numbers, and from linear predictors to their probabilities.

P(y ≤ j) = F(τ_j − η): a higher η makes higher categories likelier. Thresholds τ take the place of an intercept.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.design import Design
from analysis.errors import DesignError
from analysis.links import LINKS
from analysis.responses import Responses, assemble
from analysis.spec import parse_formula

MOST = 100
"""Categories that an ordinal outcome may have; more belong to a measurement."""


def with_codes(formula: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...] | None]:
    """The frame with a categorical or text outcome as numbers 0 …, and its labels; numbers stay, their labels are None.

    A categorical's own order counts, also where it is not declared ordered; text stands in alphabetical order.
    """
    name = parse_formula(formula).outcome.strip("`")
    if not isinstance(frame, pd.DataFrame) or name not in frame.columns or frame.columns.duplicated().any():
        return frame, None  # what build_design refuses in words
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return frame, None
    if not isinstance(column.dtype, pd.CategoricalDtype):
        try:
            column = column.astype("category")
        except TypeError as error:
            raise DesignError(f"the outcome {name!r} holds values that cannot be ordered: {error}.") from error
    codes = column.cat.codes.to_numpy(dtype=float)
    codes[codes < 0.0] = np.nan
    return frame.assign(**{name: codes}), tuple(str(label) for label in column.cat.categories)


def without_intercept(design: Design) -> Design:
    """The design without the fixed part's constant, which thresholds take the place of."""
    return replace(design, fixed=tuple(column for column in design.fixed if column.kind != "one"))


def ordinal_responses(design: Design, family: int, labels: tuple[str, ...] | None) -> tuple[Responses, tuple[str, ...]]:
    """The rows of an ordinal model and its categories' labels. Raises DesignError for an empty or an only category."""
    name, values = design.raw[-1].strip("`"), np.asarray(design.outcome, dtype=float)
    if labels is None:
        if not np.isfinite(values).all():
            raise DesignError(f"the outcome {name!r} is infinite in {int((~np.isfinite(values)).sum())} rows.")
        distinct, codes = np.unique(values, return_inverse=True)
        labels = tuple(f"{value:g}" for value in distinct)
        if len(set(labels)) < len(labels):
            labels = tuple(repr(float(value)) for value in distinct)
    else:
        codes = values.astype(int)
    counts = np.bincount(codes, minlength=len(labels))
    if len(labels) > MOST:
        raise DesignError(
            f"the outcome {name!r} has {len(labels)} different values; an ordinal outcome has at most {MOST}."
        )
    if (counts > 0).sum() < 2:
        only = labels[int(np.argmax(counts))]
        raise DesignError(f"the outcome {name!r} is {only} in all rows used; an ordinal model needs two categories.")
    if (counts == 0).any():
        empty = ", ".join(label for label, count in zip(labels, counts, strict=True) if not count)
        raise DesignError(
            f"the outcome {name!r}: no row used has the category {empty}; drop it with .cat.remove_unused_categories()."
        )
    data = assemble(design, family, codes.astype(float), np.ones(len(codes)), 0.0, n_extra=len(labels) - 1)
    return data, labels


def category_probabilities(eta: np.ndarray, thresholds: np.ndarray, link: str) -> np.ndarray:
    """(rows, categories) probabilities, of thresholds (r,) or (rows, r); differences are taken in the tail where they do not cancel."""
    curve = LINKS[link].mean
    gaps = thresholds - eta[:, None]
    edge = np.full((len(eta), 1), np.inf)
    high, low = np.hstack([gaps, edge]), np.hstack([-edge, gaps])
    right = high + low > 0.0
    out: np.ndarray = np.where(right, curve(-low) - curve(-high), curve(high) - curve(low))
    return out
