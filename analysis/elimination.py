"""In which order several grouping factors are eliminated, and where everything stands (symbolic analysis).

The factor with most levels goes first; each further one that all before are nested in goes after it, without fill-in. The rest,
crossed with these, is kept as one dense Schur complement: a plan says how large before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.errors import DesignError
from analysis.factors import Factor, is_nested, level_of
from analysis.kernels.elimination import Layout, RowPlaces

ROOM = 4e9
"""Bytes that the dense part may take; it stands in memory about four times."""
COPIES = 4
ENOUGH = 6000
"""Nodes of a chunk that are worth a core's attention."""


@dataclass(frozen=True)
class Plan:
    """`order`: the factors as numbers in the design's order, the first `eliminated` of them eliminated; and their layout.

    chunks : (first, last) in the layout's queue, of nodes that meet no node of another chunk
    """

    factors: tuple[Factor, ...]
    order: tuple[int, ...]
    eliminated: int
    layout: Layout
    rows: RowPlaces
    chunks: tuple[tuple[int, int], ...]

    @property
    def kept(self) -> int:
        """T, the columns of the dense Schur complement, without X and y."""
        return len(self.layout.t_factor)

    @property
    def nodes_columns(self) -> int:
        """Eliminated columns."""
        return int(self.layout.upos[-1])


def make_plan(factors: Sequence[Factor], dense: int) -> Plan:
    """The plan with the smaller dense part of two: largest factor first by its levels, or by its columns.

    dense : number of dense columns that go along (X and y). Raises DesignError where the dense part would not fit memory.
    """
    chains = [_chain(factors, lambda f: len(f.levels)), _chain(factors, lambda f: len(f.levels) * f.size)]
    order, eliminated = min(chains, key=lambda chain: _kept_columns(factors, *chain))
    columns = _kept_columns(factors, order, eliminated)
    if COPIES * 8.0 * (columns + dense) ** 2 > ROOM:
        names = ", ".join(f"{factors[f].name!r} ({len(factors[f].levels):,} levels)" for f in order)
        raise DesignError(
            f"the grouping factors {names} are crossed: {columns:,} random effects would have to be kept together, which "
            f"takes {COPIES * 8.0 * (columns + dense) ** 2 / 1e9:,.0f} GB of memory and may take {ROOM / 1e9:g}; leave out "
            "one of them, or make it a fixed effect or nested."
        )
    return _laid_out(tuple(factors), order, eliminated, dense)


def _chain(factors: Sequence[Factor], size: Callable[[Factor], int]) -> tuple[tuple[int, ...], int]:
    """The order of elimination and how many are eliminated."""
    by_size = sorted(range(len(factors)), key=lambda f: -size(factors[f]))
    chain = by_size[:1]
    for f in by_size[1:]:
        if all(is_nested(factors[inner], factors[f]) for inner in chain):
            chain.append(f)
    return (*chain, *(f for f in by_size if f not in chain)), len(chain)


def _kept_columns(factors: Sequence[Factor], order: tuple[int, ...], eliminated: int) -> int:
    return sum(len(factors[f].levels) * factors[f].size for f in order[eliminated:])


def _laid_out(factors: tuple[Factor, ...], order: tuple[int, ...], eliminated: int, dense: int) -> Plan:
    chosen = [factors[f] for f in order]
    inside, outside = chosen[:eliminated], chosen[eliminated:]
    n = len(chosen[0].codes)
    q = np.array([factor.size for factor in chosen], dtype=np.int64)
    levels = [len(factor.levels) for factor in inside]
    base = np.concatenate([[0], np.cumsum(levels)]).astype(np.int64)

    starts = np.concatenate([[0], np.cumsum([len(f.levels) * f.size for f in outside])]).astype(np.int64)
    columns = int(starts[-1])
    t_factor = np.repeat(np.arange(eliminated, len(chosen)), np.diff(starts))
    t_term = np.array([term for f in outside for _ in range(len(f.levels)) for term in range(f.size)], dtype=np.int64)
    column = np.empty((len(outside), n), dtype=np.int64)
    for h, factor in enumerate(outside):
        column[h] = starts[h] + factor.codes * factor.size

    above = np.full((int(base[-1]), eliminated), -1, dtype=np.int64)
    for f, inner in enumerate(inside):
        for g in range(f + 1, eliminated):
            above[base[f] : base[f + 1], g] = base[g] + level_of(inner, inside[g])
    keys = [_meetings(factor, outside, column, columns) for factor in inside]
    counts = [np.bincount(own // max(columns, 1), minlength=len(f.levels)) for own, f in zip(keys, inside, strict=True)]
    tptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    tidx = np.concatenate([own % max(columns, 1) for own in keys]).astype(np.int64)
    tmap = np.zeros((eliminated, len(tidx)), dtype=np.int64)
    place = np.zeros((eliminated, len(outside), n), dtype=np.int64)
    for f, factor in enumerate(inside):
        here = slice(int(tptr[base[f]]), int(tptr[base[f + 1]]))
        own_level = keys[f] // max(columns, 1)
        for g in range(f + 1, eliminated):
            level = above[base[f] + own_level, g] - base[g]
            at = np.searchsorted(keys[g], level * columns + tidx[here])
            tmap[g, here] = at - (tptr[base[g] + level] - tptr[base[g]])
        for h in range(len(outside)):
            at = np.searchsorted(keys[f], factor.codes * columns + column[h])
            place[f, h] = at - (tptr[base[f] + factor.codes] - tptr[base[f]])

    row_of = np.zeros((eliminated, eliminated), dtype=np.int64)
    t_row = np.zeros(eliminated, dtype=np.int64)
    for f in range(eliminated):
        row_of[f, f:] = np.concatenate([[0], np.cumsum(q[f : eliminated - 1])])
        t_row[f] = q[f:eliminated].sum()
    of_node = np.repeat(np.arange(eliminated), levels)
    size = (t_row[of_node] + np.diff(tptr) + dense) * q[of_node]
    queue, chunks = _in_chunks(above, base, columns + dense)
    layout = Layout(
        q=q,
        first=np.array([factor.terms.start for factor in chosen], dtype=np.int64),
        base=base,
        above=above,
        ptr=np.concatenate([[0], np.cumsum(size)]).astype(np.int64),
        upos=np.concatenate([[0], np.cumsum(q[of_node])]).astype(np.int64),
        tptr=tptr,
        tidx=tidx,
        tmap=tmap,
        queue=queue,
        of=of_node,
        row_of=row_of,
        t_row=t_row,
        t_factor=t_factor.astype(np.int64),
        t_term=t_term,
        dense=dense,
    )
    node = np.array([base[f] + factor.codes for f, factor in enumerate(inside)])
    return Plan(factors, order, eliminated, layout, RowPlaces(node, column, place), chunks)


def _in_chunks(above: np.ndarray, base: np.ndarray, tail: int) -> tuple[np.ndarray, tuple[tuple[int, int], ...]]:
    """The nodes, chunk by chunk, and the chunks; fewer where each has a large dense part to add to (tail² numbers)."""
    nodes, eliminated = above.shape
    unit = np.arange(nodes) if eliminated == 1 else above[:, -1].copy()
    unit[base[-2] :] = np.arange(base[-2], nodes)  # the outermost levels are their own
    count = int(np.clip(nodes // ENOUGH, 1, 16)) if tail <= 100 else 2 if tail <= 5000 else 1
    size = np.bincount(unit - base[-2], minlength=nodes - int(base[-2]))
    chunk_of_unit = np.minimum(np.cumsum(size) * count // (size.sum() + 1), count - 1)
    chunk = chunk_of_unit[unit - base[-2]]
    ends = np.concatenate([[0], np.cumsum(np.bincount(chunk, minlength=count))])
    chunks = tuple((int(a), int(b)) for a, b in pairwise(ends) if b > a)
    return np.argsort(chunk, kind="stable"), chunks


def _meetings(factor: Factor, outside: Sequence[Factor], column: np.ndarray, columns: int) -> np.ndarray:
    """level · columns + kept column for each pair that occurs in a row, ascending."""
    found = []
    for h, other in enumerate(outside):
        pairs = np.unique(factor.codes * columns + column[h])
        found.append((pairs[:, None] + np.arange(other.size)).ravel())
    return np.sort(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
