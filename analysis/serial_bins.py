"""Series → sums by person and gap → the moments of whitened rows at any φ.

A series' residuals are Markov, so that whitening takes a row and the row before (Pinheiro & Bates, 2000, §5.3; METHODS §2.11).
The sums of a model by person and gap hold all that its likelihood needs, at every φ, whatever the number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.design import Column, Design
from analysis.kernels import serial as kernel
from analysis.moments import Moments
from analysis.serial import AR1, Residual, Series


def phi_of(residual: Residual, zeta: float) -> float:
    """φ from its unbounded scale ζ: tanh ζ (Fisher's z) for AR1, exp(−exp(−ζ)) for CAR1, which a unit of time only shifts."""
    return float(np.tanh(zeta) if isinstance(residual, AR1) else np.exp(-np.exp(-zeta)))


def zeta_of(residual: Residual, decay: float) -> float:
    """ζ of the positive φ = exp(−decay)."""
    return float(-0.5 * np.log(np.tanh(0.5 * decay)) if isinstance(residual, AR1) else -np.log(decay))


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
    g, ar1 = series.gaps, isinstance(series.residual, AR1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        decay = 2.0 * np.arctanh(np.exp(-2.0 * abs(zeta))) if ar1 else np.exp(-zeta)
        below = np.expm1(-g * decay)  # |r| − 1
        left = -below * (2.0 + below)  # 1 − r²
        t = -below / (2.0 + below)
        if ar1:
            phi = np.tanh(zeta)
            slope = g * np.power(phi, g - 1.0) / np.cosh(zeta) ** 2
            r = np.power(phi, g)
            t = np.where(r < 0.0, 1.0 / t, t)
        else:
            r = 1.0 + below
            slope = g * r * decay if np.isfinite(decay) else np.zeros_like(g)
        bend = -2.0 * slope / left  # of log t
        down = 1.0 / t
        log_det = float(np.einsum("g,g->", series.counts, np.log(left)))
        log_det_slope = float(np.einsum("g,g,g->", series.counts, bend, r))
    return Weights(t, down, bend * t, -bend * down, log_det, log_det_slope)


def whiten(rows: np.ndarray, gaps: np.ndarray, phi: float) -> np.ndarray:
    """Rows (n, k) → R^{-½} rows, R the correlation φ^|gap| of each series; then R⁻¹ products are plain ones.

    Rows stand series by series and in time; gaps (n,) to the row before, 0 where a series begins. Whole gaps where φ < 0.
    """
    r = np.where(gaps > 0.0, np.power(phi, np.where(gaps > 0.0, gaps, 1.0)), 0.0)[:, None]
    before = np.vstack([rows[:1], rows[:-1]])
    return np.asarray((rows - r * before) / np.sqrt(1.0 - r * r))


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

    def sampled(self, every: int) -> Bins:
        """The bins of every so-manieth person."""
        sizes = np.diff(self.series.starts)
        taken = np.arange(len(sizes)) % every == 0
        rows = np.repeat(taken, sizes)
        code = self.series.code[rows]
        neighbours = code >= 0
        gaps, code[neighbours], counts = np.unique(code[neighbours], return_inverse=True, return_counts=True)
        starts = np.append(0, np.cumsum(sizes[taken]))
        series = replace(
            self.series,
            order=self.series.order[rows],
            starts=starts,
            code=code,
            gaps=self.series.gaps[gaps],
            counts=counts,
        )
        base = replace(self.base, zz=self.base.zz[taken], zw=self.base.zw[taken], n_obs=int(starts[-1]), sample=None)
        return bins_of(series, self.rows[rows], base)

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
