"""A person's state → the cross-products of a model: all that a Gaussian model needs, whatever the number of rows behind them.

A design column is an affine view of a person's raw columns, so that cross-products come without any subtraction
(METHODS §2.14):  D'D = n αα' + S'MS. Inside, columns are shifted and scaled where that leaves the model what it is;
`Moments` keeps the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.checks import without_variation
from analysis.covariance import Structure
from analysis.design import Column, Design
from analysis.errors import DesignError
from analysis.kernels.state import cross_products
from analysis.state import PersonState, state_of_rows

SAMPLE = 1024
"""Persons of whom a start is made where there are many more."""
DEPENDENT = 1e-10
"""A column is dependent where less than this share of its variance is left, given the columns before it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Every so-manieth person, about `SAMPLE` of them: ww (p + 1, p + 1) and number of rows. A fit of many starts from these."""

    every: int
    ww: np.ndarray
    n_obs: int


@dataclass(frozen=True)
class Inner:
    """A design that is shifted and scaled inside, and the way back.

    fixed_map : (p, p) with β = scale_y · fixed_map @ β* + shift_y (first term of `intercept`)
    random_map : (q, q) with b = scale_y · random_map @ b*
    """

    n_obs: int
    structure: Structure
    fixed_map: np.ndarray
    random_map: np.ndarray
    intercept: int | None
    shift_y: float
    scale_y: float

    @property
    def n_fixed(self) -> int:
        return int(self.fixed_map.shape[0])

    @property
    def log_det(self) -> float:
        """log |det fixed_map|."""
        return float(np.log(np.abs(np.diag(self.fixed_map))).sum())

    def beta(self, inner: np.ndarray) -> np.ndarray:
        """Fixed effects (p,) of the columns as written, from those of the inner columns."""
        beta: np.ndarray = self.scale_y * (self.fixed_map @ inner)
        if self.intercept is not None:
            beta[self.intercept] += self.shift_y
        return beta


@dataclass(frozen=True)
class Moments(Inner):
    """Cross-products of the inner design by person, W = [X y].

    zz : (persons, q, q);  zw : (persons, q, p + 1);  ww : (p + 1, p + 1)
    """

    zz: np.ndarray
    zw: np.ndarray
    ww: np.ndarray
    sample: Sample | None = None


def person_state(design: Design) -> PersonState:
    """The state of a design's rows: one pass over them."""
    return state_of_rows(design.raw, design.levels, design.starts, design.values)


def gaussian_moments(
    state: PersonState, fixed: tuple[Column, ...], random: tuple[Column, ...], blocks: tuple[int, ...], outcome: str
) -> Moments:
    """Cross-products of a model's columns from the persons' state.

    Raises DesignError for a constant outcome, an empty column, or fixed effects that depend linearly on each other.
    """
    structure = Structure.of_blocks(blocks)
    has_one = any(column.kind == "one" for column in fixed)
    views = [_view(state, c, m) for c, m in zip(random, _movable(random, structure), strict=True)]
    views += [_view(state, c, has_one) for c in fixed]
    views.append(_view(state, Column(outcome, "raw", len(state.names) - 1), has_one))
    alpha = np.column_stack([view.alpha for view in views])
    source = np.array([view.source for view in views])
    moving = source >= 0
    square = np.einsum("i,ij->j", state.n, alpha**2)
    pooled = np.diagonal(state.scatter, axis1=1, axis2=2).sum(axis=0)
    square[moving] += pooled[source[moving]]
    scale = np.sqrt(square / state.n_obs)
    q = structure.size
    for column, size in zip((*random, *fixed), scale[:-1], strict=True):
        if size == 0.0:
            raise without_variation(column.name)
    if scale[-1] == 0.0:
        raise DesignError(f"the outcome {outcome!r} is constant in the rows used.")
    scale[:-1] = np.where([c.kind == "one" for c in (*random, *fixed)], 1.0, scale[:-1])
    every = max(len(state.n) // SAMPLE, 1)
    zz, zw, (ww, sample_ww) = cross_products(state.n, alpha, source, state.scatter, scale, q, every)
    refuse_dependence(ww[:-1, :-1], [column.name for column in fixed])
    offsets = np.array([view.offset for view in views])
    one = next((j for j, column in enumerate(fixed) if column.kind == "one"), None)
    fixed_map = inner_to_written(offsets[q:-1], scale[q:-1], [one] * len(fixed))
    return Moments(
        zz=zz,
        zw=zw,
        ww=ww,
        n_obs=state.n_obs,
        structure=structure,
        fixed_map=fixed_map,
        random_map=inner_to_written(offsets[:q], scale[:q], block_constants(random, structure)),
        intercept=one,
        shift_y=float(offsets[-1]),
        scale_y=float(scale[-1]),
        sample=Sample(every, sample_ww, int(state.n[::every].sum())),
    )


@dataclass(frozen=True, slots=True)
class _View:
    """A design column as offset + α_i + (raw deviation from the person's mean, where `source` is not −1)."""

    alpha: np.ndarray
    source: int
    offset: float


def _view(state: PersonState, column: Column, movable: bool) -> _View:
    """The column, moved to mean zero over rows where the model has a constant that takes up the difference."""
    if column.kind == "one":
        return _View(np.ones(len(state.n)), -1, 0.0)
    if column.kind == "within":
        return _View(np.zeros(len(state.n)), column.source, 0.0)
    means = state.mean[:, column.source]
    if column.kind == "between":
        means, start = means - means.mean(), 0.0
    else:
        start = float(state.anchor[column.source])
    source = column.source if column.kind == "raw" else -1
    if not movable:
        return _View(means + start, source, 0.0)
    centre = float((state.n * means).sum() / state.n_obs)  # not @: its threads wait for each other
    return _View(means - centre, source, start + centre)


def block_constants(random: tuple[Column, ...], structure: Structure) -> list[int | None]:
    """For each random term, the place of the constant that it may correlate with, if any."""
    together = structure.same_block()
    ones = [j for j, column in enumerate(random) if column.kind == "one"]
    return [next((j for j in ones if together[i, j]), None) for i in range(len(random))]


def _movable(random: tuple[Column, ...], structure: Structure) -> list[bool]:
    return [constant is not None for constant in block_constants(random, structure)]


def inner_to_written(offsets: np.ndarray, scale: np.ndarray, constants: list[int | None]) -> np.ndarray:
    """(k, k) map of coefficients: inner column = (written − offset·1) / scale."""
    out = np.diag(1.0 / scale)
    for j, constant in enumerate(constants):
        if constant is not None and constant != j:
            out[constant, j] = -offsets[j] / scale[j]
    return out


def refuse_dependence(gram: np.ndarray, names: list[str]) -> None:
    """Cholesky, column by column, until one has nothing left."""
    size = np.diag(gram)
    for j in range(1, len(names)):
        before = gram[:j, :j]
        weights = np.linalg.lstsq(before, gram[:j, j], rcond=None)[0]
        left = gram[j, j] - weights @ gram[:j, j]
        if left <= DEPENDENT * size[j]:
            share = np.abs(weights) * np.sqrt(size[:j])
            partners = [names[k] for k in range(j) if share[k] > 1e-6 * max(float(share.max()), 1e-300)]
            raise DesignError(
                f"the fixed effects are linearly dependent: {names[j]!r} is made of {', '.join(map(repr, partners))}; "
                "leave one of them out."
            )
