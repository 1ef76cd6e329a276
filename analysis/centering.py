"""Within- and between-person columns (Enders & Tofighi, 2007; METHODS §2.1).

within(x) = x − the person's mean; between(x) = the person's mean − the mean over *persons* of their means, each
person counted once. All means are shifted by a value near the data first, so that a large offset costs no digits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.errors import DesignError, SpecError, unknown_column


def person_means(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean of each person (persons,) of values (n,) that stand person by person; `starts` (persons + 1,)."""
    first = values[starts[:-1]]
    sizes = np.diff(starts)
    return np.asarray(first + np.add.reduceat(values - np.repeat(first, sizes), starts[:-1]) / sizes)


def mean_of_persons(means: np.ndarray) -> float:
    """The anchor of the between part: the mean of the persons' means, each person once."""
    return float(means[0] + (means - means[0]).mean())


def within_between(frame: pd.DataFrame, names: Sequence[str], person: str) -> pd.DataFrame:
    """A copy of the frame with `NAME_within` and `NAME_between` for each of `names`.

    Means are taken over the rows where person and NAME are present; other rows get NaN. To centre on the rows that a
    model uses, write within(x) and between(x) in its formula instead. Raises SpecError and DesignError by column.
    """
    if isinstance(names, str):
        raise SpecError(f"within_between: give a list of columns, as in [{names!r}].")
    out = frame.copy()
    for name in (person, *names):
        if name not in frame.columns:
            raise unknown_column(name, frame.columns, "within_between")
    codes, _ = pd.factorize(frame[person])
    for name in names:
        values = numeric(frame, name)
        known = np.flatnonzero((codes >= 0) & ~np.isnan(values))
        within, between = np.full(len(frame), np.nan), np.full(len(frame), np.nan)
        if len(known):
            order = known[np.argsort(codes[known], kind="stable")]
            starts = boundaries(codes[order])
            means = person_means(values[order], starts)
            spread = np.repeat(means, np.diff(starts))
            within[order] = values[order] - spread
            between[order] = spread - mean_of_persons(means)
        out[f"{name}_within"] = within
        out[f"{name}_between"] = between
    return out


def boundaries(codes: np.ndarray) -> np.ndarray:
    """Where each person's rows start (persons + 1,), for codes (n,) in which a person's rows stand together."""
    changes = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return np.concatenate([[0], changes, [len(codes)]]).astype(np.int64)


def numeric(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64 (n,), missing as NaN. Raises DesignError where it does not hold numbers."""
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DesignError(f"the frame has more than one column named {name!r}; keep one.")
    if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)):
        raise DesignError(f"column {name!r} holds {column.dtype}, not numbers; numbers or yes/no are needed here.")
    values = np.asarray(column) if column.dtype == np.float64 else column.to_numpy(dtype=float, na_value=np.nan)
    if not np.isfinite(values @ values) and np.isinf(values).any():
        raise DesignError(f"column {name!r} holds infinite values; make them missing or correct them.")
    return np.asarray(values, dtype=float)
