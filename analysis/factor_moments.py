"""Rows → the cross-products of a model with several grouping factors, by blocks: all that a Gaussian model needs of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from analysis.covariance import Structure
from analysis.design import Design
from analysis.elimination import Plan, make_plan
from analysis.errors import DesignError
from analysis.inner_columns import inner_columns
from analysis.kernels.elimination import coordinates, cross_products
from analysis.moments import Inner, block_constants, refuse_dependence


@dataclass(frozen=True)
class FactorMoments(Inner):
    """Cross-products of the inner design [Z X y] at the places of `plan`.

    blocks : flat, as in `Layout`;  kept : (T + p + 1, T + p + 1), symmetric
    """

    plan: Plan
    blocks: np.ndarray
    kept: np.ndarray

    @property
    def ww(self) -> np.ndarray:
        """(p + 1, p + 1) [X y]'[X y]."""
        return self.kept[self.plan.kept :, self.plan.kept :]

    @property
    def zw(self) -> np.ndarray:
        """(all random columns, p + 1) Z'[X y], eliminated columns first."""
        return np.concatenate([self.blocks[self._dense_places], self.kept[: self.plan.kept, self.plan.kept :]])

    def with_dense(self, zw: np.ndarray, ww: np.ndarray) -> FactorMoments:
        """The same random part with other Z'[X y] and [X y]'[X y]."""
        blocks, kept = self.blocks.copy(), self.kept.copy()
        count, columns = self.plan.kept, self.plan.nodes_columns
        blocks[self._dense_places] = zw[:columns]
        kept[:count, count:], kept[count:, :count], kept[count:, count:] = zw[columns:], zw[columns:].T, ww
        return replace(self, blocks=blocks, kept=kept)

    def matrix(self) -> sparse.csc_array:
        """The whole of [Z X y]'[Z X y]: eliminated columns, kept ones, X and y."""
        columns, size = self.plan.nodes_columns, self.plan.nodes_columns + len(self.kept)
        rows, own = np.empty((2, len(self.blocks)), dtype=np.int64)
        coordinates(self.plan.layout, rows, own)
        below = rows >= own
        kept_rows, kept_own = np.tril_indices(len(self.kept))
        values = np.concatenate([self.blocks[below], self.kept[kept_rows, kept_own]])
        places = np.concatenate([rows[below], kept_rows + columns]), np.concatenate([own[below], kept_own + columns])
        lower = sparse.csc_array((values, places), shape=(size, size))
        return sparse.csc_array(lower + sparse.tril(lower, -1).T)

    @property
    def _dense_places(self) -> np.ndarray:
        """(eliminated columns, p + 1) where their products with X and y stand in `blocks`."""
        at = self.plan.layout
        node = np.repeat(np.arange(len(at.ptr) - 1), np.diff(at.upos))
        width = np.diff(at.upos)[node]
        first = at.ptr[node + 1] - at.dense * width + np.arange(len(node)) - at.upos[node]
        return np.asarray(first[:, None] + width[:, None] * np.arange(at.dense))


@dataclass(frozen=True)
class InnerRows:
    """The rows of a linear model with inner columns: z (n, q), w (n, p + 1) = [X y], and the way back."""

    z: np.ndarray
    w: np.ndarray
    inner: Inner


def inner_rows(design: Design) -> InnerRows:
    """Raises DesignError for a constant outcome, an empty column, or fixed effects that depend linearly on each other."""
    structure = Structure.of_blocks(design.blocks)
    one = next((j for j, column in enumerate(design.fixed) if column.kind == "one"), None)
    x, _, fixed_map = inner_columns(design, design.fixed, [one] * len(design.fixed))
    z, _, random_map = inner_columns(design, design.random, block_constants(design.random, structure))
    y = design.outcome
    shift = 0.0 if one is None else float(y[0] + (y - y[0]).mean())
    y = y - shift
    scale = float(np.sqrt(np.mean(y**2)))
    if scale == 0.0:
        raise DesignError(f"the outcome {design.raw[-1]!r} is constant in the rows used.")
    inner = Inner(design.n_obs, structure, fixed_map, random_map, one, shift, scale)
    return InnerRows(np.ascontiguousarray(z.T), np.column_stack([*x, y / scale]), inner)


def factor_moments(design: Design) -> FactorMoments:
    """The cross-products of a design's rows. Raises DesignError as `inner_rows`, and where they would not fit memory."""
    rows = inner_rows(design)
    refuse_dependence((rows.w.T @ rows.w)[:-1, :-1], design.fixed_names)
    return moments_of(rows.inner, make_plan(design.factors, rows.w.shape[1]), rows.z, rows.w)


def moments_of(inner: Inner, plan: Plan, z: np.ndarray, w: np.ndarray) -> FactorMoments:
    """The cross-products of rows z (n, q), w (n, p + 1) = [X y] at the places of the plan."""
    ww = w.T @ w
    blocks = np.zeros(int(plan.layout.ptr[-1]))
    kept = np.zeros((plan.kept + len(ww), plan.kept + len(ww)))
    z, w = np.ascontiguousarray(z), np.ascontiguousarray(w)
    cross_products(plan.layout, plan.rows, z, w, np.ones(len(z)), blocks, kept)
    kept[plan.kept :, plan.kept :] = ww
    kept = np.tril(kept) + np.tril(kept, -1).T
    fields = {name: getattr(inner, name) for name in Inner.__dataclass_fields__}
    return FactorMoments(**fields, plan=plan, blocks=blocks, kept=kept)
