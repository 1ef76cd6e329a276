"""Residuals that remember: `AR1` over numbered prompts, `CAR1` over time; a design's rows → series in time."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.centering import at_rows, label, numeric
from analysis.design import Design
from analysis.errors import DesignError, SpecError, unknown_column

EXACT = 2.0**53
"""Whole numbers beyond this are not told apart."""


@dataclass(frozen=True, slots=True)
class _Series:
    """time : column of positions or times;  within : columns, joined by ':' or '/', whose combinations are the series."""

    time: str
    within: str

    def __post_init__(self) -> None:
        for field in ("time", "within"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field).strip():
                raise SpecError(
                    f"{type(self).__name__}: {field}={getattr(self, field)!r} must name a column, as in "
                    f"{type(self).__name__}('beep', within='id')."
                )

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.time!r}, within={self.within!r})"

    def columns(self, frame: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
        """The time's column and those of the series. Raises SpecError for one that the frame lacks."""
        known = [str(name) for name in frame.columns]
        parts = [self.within] if self.within in known else [part.strip() for part in re.split("[:/]", self.within)]
        for name in (self.time, *parts):
            if name not in known:
                raise unknown_column(name, known, f"residual={self}")
        return self.time, tuple(dict.fromkeys(parts))


@dataclass(frozen=True, slots=True)
class AR1(_Series):
    """Residuals of one series correlate φ^|gap|, −1 < φ < 1, gaps counted in whole positions: nlme's corAR1(~ time | within)."""


@dataclass(frozen=True, slots=True)
class CAR1(_Series):
    """Residuals of one series correlate φ^|t − t'|, 0 < φ < 1 per unit of time: nlme's corCAR1(~ time | within)."""


Residual = AR1 | CAR1


def unit_words(residual: Residual) -> str:
    """How far apart residuals correlate φ: one prompt, or one unit of the column of times."""
    return "one prompt apart" if isinstance(residual, AR1) else f"one unit of {residual.time!r} apart"


def read_residual(residual: object, frame: pd.DataFrame) -> tuple[Residual, pd.DataFrame, tuple[str, ...]]:
    """The residual's kind, the frame with infinite times as missing, and the columns that a row must have."""
    if not isinstance(residual, (AR1, CAR1)):
        raise SpecError(
            f"residual={residual!r} must be AR1('beep', within='id') (numbered prompts), CAR1('hours', within='id') (times), "
            "or None for independent residuals."
        )
    time, parts = residual.columns(frame)
    column = frame[time]
    if isinstance(column, pd.Series) and column.dtype.kind == "f":
        infinite = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
        if infinite.any():
            frame = frame.assign(**{time: column.mask(infinite)})
    return residual, frame, (time, *parts)


@dataclass(frozen=True)
class Series:
    """A design's rows, series by series and in time.

    order : (n,) a row's place in the design;  starts : (persons + 1,) as the design's
    code : (n,) number of the gap to the row before, −1 where a series begins
    gaps, counts : (gaps,) the distinct gaps, ascending, and how many pairs of neighbours have each
    """

    residual: Residual
    order: np.ndarray
    starts: np.ndarray
    code: np.ndarray
    gaps: np.ndarray
    counts: np.ndarray

    @property
    def steps(self) -> np.ndarray:
        """(n,) the gap to the row before, 0 where a series begins."""
        return np.where(self.code < 0, 0.0, self.gaps[self.code])


def series_of(residual: Residual, design: Design) -> Series:
    """Rows out of order are sorted. Raises DesignError for repeated times and for series of one row each, SpecError for series
    that several persons share."""
    data = design.lent
    assert data is not None  # lmm() has just read these rows
    name, parts = residual.columns(data)
    time = _times(residual, data, name)
    person = np.repeat(np.arange(design.n_persons), np.diff(design.starts))
    series = _series_codes(residual, design, data, parts, person)
    begins = np.r_[True, series[1:] != series[:-1]]
    steps = np.diff(time, prepend=time[:1])
    order = np.arange(len(time))
    if (steps[~begins] <= 0.0).any() or begins.sum() > series.max() + 1:
        order = np.lexsort((time, series, person))
        begins = np.r_[True, np.diff(series[order]) != 0]
        steps = np.diff(time[order], prepend=time[order[:1]])
    repeated = np.flatnonzero(~begins & (steps == 0.0))
    if len(repeated):
        rows = order[repeated[0] - 1 : repeated[0] + 1]
        one, other = (label(design.index[row]) for row in rows)
        raise DesignError(
            f"residual={residual}: {design.factor} {label(design.levels[person[rows[0]]])} has {name!r} = {time[rows[0]]:g} twice "
            f"in one series, in the rows labelled {one} and {other}; residuals of one moment have no order. Keep one of them."
        )
    if begins.all():
        raise DesignError(
            f"residual={residual}: every series has one row, so that nothing tells how residuals correlate in time; name longer "
            "series with within=, or leave residual out."
        )
    gaps, inverse, counts = np.unique(steps[~begins], return_inverse=True, return_counts=True)
    code = np.full(len(time), -1, dtype=np.int64)
    code[~begins] = inverse
    return Series(residual, order, np.asarray(design.starts, dtype=np.int64), code, gaps, counts)


def _times(residual: Residual, data: pd.DataFrame, name: str) -> np.ndarray:
    if data[name].dtype.kind in "mM":
        raise DesignError(
            f"residual={residual}: column {name!r} holds {data[name].dtype}; make numbers of it, such as hours since the start."
        )
    time = numeric(data, name)
    if isinstance(residual, AR1):
        broken = (time != np.rint(time)) | (np.abs(time) > EXACT)
        if broken.any():
            raise DesignError(
                f"residual={residual}: positions must be whole numbers, and {name!r} is {time[broken][0]:g} in "
                f"{at_rows(broken, data.index)}; CAR1 takes times."
            )
    return time


def _series_codes(
    residual: Residual, design: Design, data: pd.DataFrame, parts: tuple[str, ...], person: np.ndarray
) -> np.ndarray:
    """(n,) the number of each row's series."""
    group = design.group
    inside = set(group) <= set(parts)
    codes = person if inside else np.zeros(len(person), dtype=np.int64)
    for name in parts:
        if not inside or name not in group:
            own, levels = pd.factorize(data[name])
            codes = pd.factorize(codes * len(levels) + own)[0]
    owner = np.empty(int(codes.max()) + 1, dtype=np.int64)
    owner[codes] = person
    shared = np.flatnonzero(owner[codes] != person)
    if len(shared):
        one, other = (label(design.levels[i]) for i in (person[shared[0]], owner[codes[shared[0]]]))
        raise SpecError(
            f"residual={residual}: {design.factor} {one} and {other} share a series; every series must belong to one level of "
            f"{design.factor!r}, as with within='{design.factor}:{residual.within}'."
        )
    return np.asarray(codes)
