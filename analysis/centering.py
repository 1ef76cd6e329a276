"""Within- and between-person columns (Enders & Tofighi, 2007; METHODS §2.1), and the days between (§6).

within(x) = x − the person's mean; between(x) = the person's mean − the mean over *persons* of their means, each
person counted once; within(x) = within_day(x) + between_days(x). All means are shifted by a value near the data first,
so that a large offset costs no digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    if not isinstance(frame, pd.DataFrame):
        raise SpecError(f"within_between: the data must be a pandas DataFrame, not {type(frame).__name__}.")
    out = frame.copy()
    for name in (person, *names):
        if name not in frame.columns:
            raise unknown_column(name, frame.columns, "within_between")
    codes, _ = pd.factorize(frame[person])
    for name in names:
        values = numeric(frame, name)
        means = known_means(values, codes)
        spread = np.where((codes >= 0) & ~np.isnan(values), np.append(means, np.nan)[codes], np.nan)
        out[f"{name}_within"] = values - spread
        known = means[~np.isnan(means)]
        out[f"{name}_between"] = spread - (mean_of_persons(known) if len(known) else np.nan)
    return out


def known_means(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mean (persons,) of each person's values (n,) that are present, NaN without any; codes (n,), −1 for nobody."""
    means = np.full(int(codes.max(initial=-1)) + 1, np.nan)
    known = np.flatnonzero((codes >= 0) & ~np.isnan(values))
    if len(known):
        order = known[np.argsort(codes[known], kind="stable")]
        starts = boundaries(codes[order])
        means[codes[order[starts[:-1]]]] = person_means(values[order], starts)
    return means


@dataclass(frozen=True, slots=True)
class DayParts:
    """A column's parts inside the person: within_day = x − the day's mean, between_days = the day's − the person's.

    within_day, between_days : (n,);  means : (days,) the days' means
    first : (days,) the first row of each day of a person
    """

    within_day: np.ndarray
    between_days: np.ndarray
    means: np.ndarray
    first: np.ndarray


def day_parts(values: np.ndarray, starts: np.ndarray, days: np.ndarray) -> DayParts:
    """Split values (n,) that stand person by person; days (n,) are codes that persons may share."""
    persons = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    which = pd.factorize(persons * (int(days.max()) + 1) + days)[0]
    first = np.zeros(int(which.max()) + 1, dtype=np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    base = values[first]
    means = base + np.bincount(which, values - base[which]) / np.bincount(which)
    own = means - person_means(values, starts)[persons[first]]
    return DayParts(_settled(values - means[which], values), _settled(own, values)[which], means, first)


def _settled(part: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Differences no larger than the rounding of the values are none: a predictor must not be made of rounding."""
    return np.where(np.abs(part) <= 4.0 * np.finfo(float).eps * np.abs(values).max(), 0.0, part)


def boundaries(codes: np.ndarray) -> np.ndarray:
    """Where each person's rows start (persons + 1,), for codes (n,) in which a person's rows stand together."""
    changes = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return np.concatenate([[0], changes, [len(codes)]]).astype(np.int64)


def numeric(frame: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64 (n,), missing as NaN. Raises SpecError without it, DesignError if it does not hold numbers."""
    if name not in frame.columns:
        raise unknown_column(name, frame.columns, "the model's columns")
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise DesignError(f"the frame has more than one column named {name!r}; keep one.")
    numbers = pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
    if not numbers or pd.api.types.is_complex_dtype(column.dtype):
        raise DesignError(f"column {name!r} holds {column.dtype}, not numbers; numbers or yes/no are needed here.")
    values = np.asarray(column) if column.dtype == np.float64 else column.to_numpy(dtype=float, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        suspect = not np.isfinite(values.sum())
    infinite = np.isinf(values) if suspect else np.zeros(0, dtype=bool)
    if infinite.any():
        raise DesignError(
            f"column {name!r} holds infinite values: {at_rows(infinite, frame.index)}; make them missing or correct them."
        )
    return np.asarray(values, dtype=float)


def at_rows(wrong: np.ndarray, index: pd.Index) -> str:
    """In how many rows something is wrong, and the label of the first of them; wrong (n,) is a mask."""
    places = np.flatnonzero(wrong)
    return f"{len(places)} {'row' if len(places) == 1 else 'rows'}, first the row labelled {label(index[places[0]])}"


def label(value: object) -> str:
    """A row's label as people write it: numbers plain, text in quotes."""
    return repr(value.item() if isinstance(value, np.generic) else value)
