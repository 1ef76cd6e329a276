"""Residuals that remember: `AR1` over numbered prompts, `CAR1` over time; rows → series → bins → moments at any φ.

A series' residuals are Markov, so that whitening takes a row and the row before (Pinheiro & Bates, 2000, §5.3; METHODS §2.11).
The sums of a model by person and gap hold all that its likelihood needs, at every φ, whatever the number of rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit

from analysis.centering import at_rows, label, numeric
from analysis.design import Column, Design
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.kernels import serial as kernel
from analysis.moments import Moments

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
    group = design.spec.random[0].group
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


# ---------------------------------------------------------------------- φ and its unbounded scale


def phi_of(residual: Residual, zeta: float) -> float:
    """φ from ζ: tanh ζ (Fisher's z) for AR1, the inverse logit for CAR1."""
    return float(np.tanh(zeta) if isinstance(residual, AR1) else expit(zeta))


def zeta_of(residual: Residual, decay: float) -> float:
    """ζ of the positive φ = exp(−decay)."""
    return float(-0.5 * np.log(np.tanh(0.5 * decay)) if isinstance(residual, AR1) else -np.log(np.expm1(decay)))


@dataclass(frozen=True, slots=True)
class Weights:
    """What gaps count for at one ζ; r is the correlation over a gap, t = (1 − r)/(1 + r).

    up : (gaps,) t and down : 1/t, with slopes in ζ;  log_det : log|R| = Σ m log(1 − r²), with its slope
    """

    up: np.ndarray
    down: np.ndarray
    up_slope: np.ndarray
    down_slope: np.ndarray
    log_det: float
    log_det_slope: float


def weights_at(series: Series, zeta: float) -> Weights:
    """Exact to rounding also where φ is within rounding of −1 or 1."""
    g = series.gaps
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        if isinstance(series.residual, AR1):
            phi, decay = np.tanh(zeta), 2.0 * np.arctanh(np.exp(-2.0 * abs(zeta)))
            slope = g * np.power(phi, g - 1.0) / np.cosh(zeta) ** 2
            r = np.power(phi, g)
        else:
            decay = np.logaddexp(0.0, -zeta)
            r = np.exp(-g * decay)
            slope = g * r * expit(-zeta)
        t = np.tanh(0.5 * g * decay)
        t = np.where(r < 0.0, 1.0 / t, t)
        bend = -0.5 * slope * (1.0 + t) ** 2 / t  # of log t
        log_det = np.log(4.0) + np.log(t) - 2.0 * np.log1p(t)
    return Weights(t, 1.0 / t, bend * t, -bend / t, float(series.counts @ log_det), float(series.counts @ (bend * r)))


def whiten(rows: np.ndarray, gaps: np.ndarray, phi: float) -> np.ndarray:
    """Rows (n, k) → R^{-½} rows, R the correlation φ^|gap| of each series; then R⁻¹ products are plain ones.

    Rows stand series by series and in time; gaps (n,) to the row before, 0 where a series begins. Whole gaps where φ < 0.
    """
    r = np.where(gaps > 0.0, np.power(phi, np.where(gaps > 0.0, gaps, 1.0)), 0.0)[:, None]
    before = np.vstack([rows[:1], rows[:-1]])
    return np.asarray((rows - r * before) / np.sqrt(1.0 - r * r))


# ---------------------------------------------------------------------- sums


@dataclass(frozen=True)
class Bins:
    """A model's sums by person and gap, on the inner scale of `base`, whose moments are those of independent residuals.

    rows : (n, q + p + 1) the inner columns [Z X y], series by series and in time; the other arrays as in `kernels.serial`
    """

    series: Series
    base: Moments
    rows: np.ndarray
    bin_starts: np.ndarray
    bin_gap: np.ndarray
    own: np.ndarray
    own_ends: np.ndarray
    total: np.ndarray
    total_ends: np.ndarray

    def moments(self, weights: Weights) -> Moments:
        """The moments of the whitened rows."""
        zz, zw, ww = self._weighed(1.0, weights.up, weights.down)
        return replace(self.base, zz=zz, zw=zw, ww=ww, sample=None)

    def slope(self, weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """d(zz, zw, ww)/dζ."""
        return self._weighed(0.0, weights.up_slope, weights.down_slope)

    def _weighed(self, ends: float, up: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        zz, zw = np.empty_like(self.base.zz), np.empty_like(self.base.zw)
        kernel.weigh(self.bin_starts, self.bin_gap, self.own, self.own_ends, ends, up, down, zz, zw)
        sums = np.einsum("g,gk->k", up, self.total[0]) + np.einsum("g,gk->k", down, self.total[1])
        ww = np.empty_like(self.base.ww)
        below = np.tril_indices(len(ww))
        ww[below] = 0.5 * ends * self.total_ends + 0.25 * sums
        ww.T[below] = ww[below]
        return zz, zw, ww

    def with_outcome(self, outcome: np.ndarray) -> Bins:
        """The same rows with another outcome (n,), on the inner scale."""
        return bins_of(self.series, np.column_stack([self.rows[:, :-1], outcome]), self.base)


def bins_of(series: Series, rows: np.ndarray, base: Moments) -> Bins:
    """One pass over rows (n, q + p + 1) that stand series by series and in time."""
    persons, q, d = base.zw.shape
    bin_starts = kernel.count_bins(series.code, series.starts, len(series.gaps))
    bins, width, corner = int(bin_starts[-1]), q * (q + 1) // 2 + q * d, d * (d + 1) // 2
    bin_gap = np.zeros(bins, dtype=np.int64)
    own, own_ends = np.zeros((bins, 2, width)), np.zeros((persons, width))
    total, total_ends = np.zeros((2, len(series.gaps), corner)), np.zeros(corner)
    rows = np.ascontiguousarray(rows)
    kernel.add_pairs(rows, series.code, series.starts, bin_starts, q, bin_gap, own, own_ends, total, total_ends)
    return Bins(series, base, rows, bin_starts, bin_gap, own, own_ends, total, total_ends)


def inner_rows(design: Design, base: Moments) -> np.ndarray:
    """(n, q + p + 1) the design's columns [Z X y], shifted and scaled as those of its moments."""
    outcome = (design.outcome - base.shift_y) / base.scale_y
    parts = ((design.random, base.random_map), (design.fixed, base.fixed_map))
    return np.column_stack([*(_inner(design, columns, back) for columns, back in parts), outcome])


def _inner(design: Design, columns: tuple[Column, ...], back: np.ndarray) -> np.ndarray:
    """Columns (n, k) less what their constant takes up, then scaled: in this order no far offset costs digits."""
    scale = np.diag(back)
    values = design.matrix(columns)
    values += (back.sum(axis=0) - scale) / scale
    values *= scale
    return values


def unit_words(residual: Residual) -> str:
    """How far apart residuals correlate φ: one prompt, or one unit of the column of times."""
    return "one prompt apart" if isinstance(residual, AR1) else f"one unit of {residual.time!r} apart"
