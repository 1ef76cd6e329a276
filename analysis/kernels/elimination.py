"""Cholesky elimination of several grouping factors by blocks, and what follows from it: solutions and the selected inverse.

Columns stand in this order: levels of the *eliminated* factors, each nested in all that come after it (rows' days, then
persons, then sites), then the *kept* random columns (crossed factors) and the dense ones (X and y). A level's block of the
matrix is q columns wide; its rows are: the level's own q, those of the level of each later eliminated factor that it lies
in, the kept columns that its rows meet, and the dense ones. So elimination never fills a block beyond these rows, and
what remains is one dense Schur complement (Bates, MixedModels.jl; Davis, 2006, ch. 4). The inverse is needed, and had, at
the places of these blocks alone (Takahashi, Fagan & Chin, 1973).

Nodes of one chunk meet no node of another, so that chunks, `first:last` of the queue, can be worked on at the same time.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from analysis.kernels.compiled import compiled, inlined


class Layout(NamedTuple):
    """Where everything stands. F factors, the first S of them eliminated; T kept columns; a "node" is a level of these S.

    q, first : (F,) terms of each factor, and the place of its first term in Λ
    base : (S + 1,) first node of each eliminated factor;  above : (nodes, S) the node of factor g that a node lies in, g later
    ptr : (nodes + 1,) where a node's block starts in the flat array of blocks, row by row
    upos : (nodes + 1,) where its columns start among all eliminated columns
    tptr : (nodes + 1,), tidx : (·,) the kept columns that a node meets, ascending
    tmap : (S, ·) the place of the same kept column in the list of the node that it lies in
    queue : (nodes,) all nodes, chunk by chunk, each chunk in the order of elimination;  of : (nodes,) the factor of a node
    row_of : (S, S) the first row of factor g in a block of factor f;  t_row : (S,) the first row of kept columns
    t_factor, t_term : (T,) the factor of a kept column, and which of its terms it is;  dense : number of dense columns
    """

    q: np.ndarray
    first: np.ndarray
    base: np.ndarray
    above: np.ndarray
    ptr: np.ndarray
    upos: np.ndarray
    tptr: np.ndarray
    tidx: np.ndarray
    tmap: np.ndarray
    queue: np.ndarray
    of: np.ndarray
    row_of: np.ndarray
    t_row: np.ndarray
    t_factor: np.ndarray
    t_term: np.ndarray
    dense: int


class RowPlaces(NamedTuple):
    """Where each row's levels stand: node (S, n), first kept column (F − S, n), its place in the nodes' lists (S, F − S, n)."""

    node: np.ndarray
    column: np.ndarray
    place: np.ndarray


@compiled
def cross_products(
    at: Layout, rows: RowPlaces, z: np.ndarray, x: np.ndarray, weight: np.ndarray, blocks: np.ndarray, kept: np.ndarray
) -> None:
    """Adds Z'W[Z X] of rows z (n, terms), x (n, dense), weight (n,) to `blocks` and `kept` (T + dense, T + dense), lower part.

    X'X itself is left to the caller.
    """
    factors, eliminated, columns = len(at.q), len(at.base) - 1, len(at.t_factor)
    d = at.dense
    for j in range(z.shape[0]):
        w = weight[j]
        for f in range(eliminated):
            node = rows.node[f, j]
            width, start = at.q[f], at.ptr[node]
            for b in range(width):
                zb = w * z[j, at.first[f] + b]
                for a in range(width):
                    blocks[start + a * width + b] += z[j, at.first[f] + a] * zb
                for g in range(f + 1, eliminated):
                    for a in range(at.q[g]):
                        blocks[start + (at.row_of[f, g] + a) * width + b] += z[j, at.first[g] + a] * zb
                for h in range(factors - eliminated):
                    g = eliminated + h
                    row = at.t_row[f] + rows.place[f, h, j]
                    for a in range(at.q[g]):
                        blocks[start + (row + a) * width + b] += z[j, at.first[g] + a] * zb
                row = at.t_row[f] + at.tptr[node + 1] - at.tptr[node]
                for k in range(d):
                    blocks[start + (row + k) * width + b] += x[j, k] * zb
        for h in range(factors - eliminated):
            g = eliminated + h
            for b in range(at.q[g]):
                zb = w * z[j, at.first[g] + b]
                column = rows.column[h, j] + b
                for h2 in range(h, factors - eliminated):
                    for a in range(at.q[eliminated + h2]):
                        row = rows.column[h2, j] + a
                        if row >= column:
                            kept[row, column] += z[j, at.first[eliminated + h2] + a] * zb
                for k in range(d):
                    kept[columns + k, column] += x[j, k] * zb


@inlined
def scale_block(at: Layout, lam: np.ndarray, f: int, node: int, out: np.ndarray) -> None:
    """One node's block, in place: Λ'K Λ, and I where it meets itself."""
    width, start, first = at.q[f], at.ptr[node], at.first[f]
    stop = at.ptr[node + 1]
    count = (stop - start) // width
    if width == 1:
        own = lam[first, first]
        for cell in range(start, stop):
            out[cell] *= own
    for r in range(count if width > 1 else 0):
        at_row = start + r * width
        for b in range(width):
            total = 0.0
            for c in range(b, width):
                total += out[at_row + c] * lam[first + c, first + b]
            out[at_row + b] = total
    eliminated = len(at.base) - 1
    row = 0
    for g in range(f, eliminated):
        scale_rows(lam, at.first[g], at.q[g], start + row * width, width, out)
        row += at.q[g]
    t = at.tptr[node]
    while t < at.tptr[node + 1]:
        g = at.t_factor[at.tidx[t]]
        scale_rows(lam, at.first[g], at.q[g], start + row * width, width, out)
        row += at.q[g]
        t += at.q[g]
    for a in range(width):
        out[start + a * width + a] += 1.0


@compiled
def scale_kept(at: Layout, lam: np.ndarray, kept: np.ndarray, out: np.ndarray) -> None:
    """The lower part of Λ'K Λ + I for the kept columns, the dense ones with Λ on one side or none, into `out`."""
    columns = len(at.t_factor)
    for r in range(columns + at.dense):
        for c in range(min(r + 1, columns)):
            h, b = at.t_factor[c], at.t_term[c]
            total = 0.0
            for c2 in range(b, at.q[h]):
                weight = lam[at.first[h] + c2, at.first[h] + b]
                if r >= columns:
                    total += kept[r, c - b + c2] * weight
                    continue
                g, a = at.t_factor[r], at.t_term[r]
                for c1 in range(a, at.q[g]):
                    total += lam[at.first[g] + c1, at.first[g] + a] * kept[r - a + c1, c - b + c2] * weight
            out[r, c] = total
        if r < columns:
            out[r, r] += 1.0
        for c in range(columns, r + 1):
            out[r, c] = kept[r, c]


@inlined
def scale_rows(lam: np.ndarray, first: int, size: int, start: int, width: int, out: np.ndarray) -> None:
    """Λ' from the left on `size` rows of a block, in place."""
    if size == 1:
        for b in range(width):
            out[start + b] *= lam[first, first]
    else:
        for a in range(size):
            for b in range(width):
                total = 0.0
                for c in range(a, size):
                    total += lam[first + c, first + a] * out[start + c * width + b]
                out[start + a * width + b] = total


@inlined
def product(values: np.ndarray, a: int, b: int, width: int) -> float:
    """The product of two rows of a block."""
    total: float = values[a] * values[b]
    for c in range(1, width):
        total += values[a + c] * values[b + c]
    return total


@compiled
def eliminate(at: Layout, first: int, last: int, lam: np.ndarray, blocks: np.ndarray, kept: np.ndarray) -> float:
    """Cholesky of a chunk, node by node. `blocks` holds Z'W[Z X] and is overwritten with the factor; its share is taken from
    `kept`, the lower part. Returns the log determinant of the part eliminated; NaN where a pivot is not positive."""
    for place in range(first, last):
        if at.of[at.queue[place]] > 0:
            scale_block(at, lam, at.of[at.queue[place]], at.queue[place], blocks)
    most = 1
    for place in range(first, last):
        node = at.queue[place]
        if at.tptr[node] == at.tptr[node + 1]:
            most = max(most, (at.ptr[node + 1] - at.ptr[node]) // at.q[at.of[node]])
    share = np.zeros((most, most))
    logs, pivots = 0.0, 1.0
    for place in range(first, last):
        node = at.queue[place]
        f = at.of[node]
        width = at.q[f]
        if f == 0:
            scale_block(at, lam, 0, node, blocks)
        start = at.ptr[node]
        count = (at.ptr[node + 1] - start) // width
        for b in range(width):  # the own rows give the factor, the others are solved with it
            total = blocks[start + b * width + b]
            for c in range(b):
                total -= blocks[start + b * width + c] ** 2
            if not total > 0.0:
                return np.nan
            pivots *= total
            if not 1e-200 < pivots < 1e200:  # one logarithm for many pivots
                logs += np.log(pivots)
                pivots = 1.0
            root = np.sqrt(total)
            over = 1.0 / root
            blocks[start + b * width + b] = root
            for r in range(b + 1, count):
                own = start + r * width
                total = blocks[own + b]
                for c in range(b):
                    total -= blocks[own + c] * blocks[start + b * width + c]
                blocks[own + b] = total * over
        if at.tptr[node] < at.tptr[node + 1]:
            pass_up(at, node, f, width, start, blocks)
            pass_on(at, node, width, start + at.t_row[f] * width, blocks, kept)
            continue
        # nodes in one node above, without kept columns, have the same rows: their shares are added up before they are passed on
        if width == 1:
            for r in range(1, count):
                one = blocks[start + r]
                for s in range(1, r + 1):
                    share[r, s] += one * blocks[start + s]
        else:
            for r in range(width, count):
                for s in range(width, r + 1):
                    share[r, s] += product(blocks, start + r * width, start + s * width, width)
        following = at.queue[place + 1] if place + 1 < last else -1
        if following < 0 or at.of[following] != f or not same_above(at, node, following, f):
            pass_share(at, node, f, width, count, share, blocks, kept)
            share[width:count, width:count] = 0.0
    return logs + math.log(pivots)


@inlined
def same_above(at: Layout, node: int, other: int, f: int) -> bool:
    """Do two nodes of factor f lie in the same nodes? So they do if they lie in the same one of the next factor."""
    return f + 1 == len(at.base) - 1 or at.above[node, f + 1] == at.above[other, f + 1]


@inlined
def pass_share(
    at: Layout, node: int, f: int, width: int, count: int, share: np.ndarray, blocks: np.ndarray, kept: np.ndarray
) -> None:
    """Takes the share (count, count), lower, of nodes like this one from the nodes above and the dense columns."""
    eliminated, columns, d = len(at.base) - 1, len(at.t_factor), at.dense
    dense_row = at.t_row[f]
    for g in range(f + 1, eliminated):
        above, size, row = at.above[node, g], at.q[g], at.row_of[f, g]
        target = at.ptr[above]
        behind = target + (at.t_row[g] + at.tptr[above + 1] - at.tptr[above]) * size
        for b in range(size):
            for a in range(size):
                blocks[target + a * size + b] -= share[row + max(a, b), row + min(a, b)]
            for h in range(g + 1, eliminated):
                into = target + at.row_of[g, h] * size + b
                for a in range(at.q[h]):
                    blocks[into + a * size] -= share[at.row_of[f, h] + a, row + b]
            for k in range(d):
                blocks[behind + k * size + b] -= share[dense_row + k, row + b]
    for k in range(d):
        for j in range(k + 1):
            kept[columns + k, columns + j] -= share[dense_row + k, dense_row + j]


@inlined
def pass_up(at: Layout, node: int, f: int, width: int, start: int, blocks: np.ndarray) -> None:
    """Takes a node's share from the blocks of the nodes that it lies in."""
    eliminated, d = len(at.base) - 1, at.dense
    kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
    rest = start + at.t_row[f] * width
    for g in range(f + 1, eliminated):
        above, size = at.above[node, g], at.q[g]
        target = at.ptr[above]
        t_row, above_count = at.t_row[g], at.tptr[above + 1] - at.tptr[above]
        for b in range(size):
            mine = start + (at.row_of[f, g] + b) * width
            for h in range(g, eliminated):
                into = target + b if h == g else target + at.row_of[g, h] * size + b
                other = start + at.row_of[f, h] * width
                for a in range(at.q[h]):
                    blocks[into + a * size] -= product(blocks, other + a * width, mine, width)
            into = target + t_row * size + b
            for i in range(kept_count):
                blocks[into + at.tmap[g, kept_first + i] * size] -= product(blocks, rest + i * width, mine, width)
            into += above_count * size
            for k in range(d):
                blocks[into + k * size] -= product(blocks, rest + (kept_count + k) * width, mine, width)


@inlined
def pass_on(at: Layout, node: int, width: int, rest: int, blocks: np.ndarray, kept: np.ndarray) -> None:
    """Takes a node's share from the kept and dense columns; its rows for these begin at `rest`."""
    columns, d = len(at.t_factor), at.dense
    kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
    for i in range(kept_count):
        row, mine = at.tidx[kept_first + i], rest + i * width
        for j in range(i + 1):
            kept[row, at.tidx[kept_first + j]] -= product(blocks, mine, rest + j * width, width)
    for k in range(d):
        row, mine = columns + k, rest + (kept_count + k) * width
        for j in range(kept_count):
            kept[row, at.tidx[kept_first + j]] -= product(blocks, mine, rest + j * width, width)
        for j in range(k + 1):
            kept[row, columns + j] -= product(blocks, mine, rest + (kept_count + j) * width, width)


@compiled
def solve_back(
    at: Layout, first: int, last: int, factor: np.ndarray, right: np.ndarray, tail: np.ndarray, out: np.ndarray
) -> None:
    """L'u = right for the eliminated columns, where the kept and dense ones have the solution `tail` (T + dense,).

    right, out (columns,); they may be one array.
    """
    eliminated, columns = len(at.base) - 1, len(at.t_factor)
    for place in range(last - 1, first - 1, -1):
        node = at.queue[place]
        f = at.of[node]
        width = at.q[f]
        start, own = at.ptr[node], at.upos[node]
        kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
        for b in range(width - 1, -1, -1):
            total = right[own + b]
            for c in range(b + 1, width):
                total -= factor[start + c * width + b] * out[own + c]
            for g in range(f + 1, eliminated):
                above = at.upos[at.above[node, g]]
                for a in range(at.q[g]):
                    total -= factor[start + (at.row_of[f, g] + a) * width + b] * out[above + a]
            for i in range(kept_count):
                total -= factor[start + (at.t_row[f] + i) * width + b] * tail[at.tidx[kept_first + i]]
            for k in range(len(tail) - columns):
                total -= factor[start + (at.t_row[f] + kept_count + k) * width + b] * tail[columns + k]
            out[own + b] = total / factor[start + b * width + b]


@compiled
def solve_forward(at: Layout, first: int, last: int, factor: np.ndarray, right: np.ndarray, tail: np.ndarray) -> None:
    """L w = right, in place, for the eliminated columns; `tail` (T + k,) loses their share and is left to be solved."""
    eliminated, columns = len(at.base) - 1, len(at.t_factor)
    for place in range(first, last):
        node = at.queue[place]
        f = at.of[node]
        width = at.q[f]
        start, own = at.ptr[node], at.upos[node]
        kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
        for b in range(width):
            total = right[own + b]
            for c in range(b):
                total -= factor[start + b * width + c] * right[own + c]
            total /= factor[start + b * width + b]
            right[own + b] = total
            for g in range(f + 1, eliminated):
                above = at.upos[at.above[node, g]]
                for a in range(at.q[g]):
                    right[above + a] -= factor[start + (at.row_of[f, g] + a) * width + b] * total
            for i in range(kept_count):
                tail[at.tidx[kept_first + i]] -= factor[start + (at.t_row[f] + i) * width + b] * total
            for k in range(len(tail) - columns):
                tail[columns + k] -= factor[start + (at.t_row[f] + kept_count + k) * width + b] * total


@compiled
def forward_rows(
    at: Layout,
    factor: np.ndarray,
    node: np.ndarray,
    v: np.ndarray,
    tail: np.ndarray,
    norm: np.ndarray,
    cross: np.ndarray,
) -> None:
    """L w = v for rows v (r, terms), each with the columns of the nodes (S, r) that it names, −1 for none.

    Adds w'w to norm (r,) and L⁻¹[dense]·w to cross (r, dense), over the eliminated columns; tail (r, T) loses their share.
    A row walks up from its own nodes through those that they lie in: these alone are touched (Davis, 2006, ch. 3).
    """
    eliminated, d = len(at.base) - 1, at.dense
    work = np.zeros(at.upos[-1])
    touched = np.empty((eliminated, eliminated + 1), dtype=np.int64)
    count = np.empty(eliminated, dtype=np.int64)
    for j in range(v.shape[0]):
        for f in range(eliminated):
            count[f] = 0
            if node[f, j] >= 0:
                touched[f, 0] = node[f, j]
                count[f] = 1
                for b in range(at.q[f]):
                    work[at.upos[node[f, j]] + b] = v[j, at.first[f] + b]
        for f in range(eliminated):
            width = at.q[f]
            for place in range(count[f]):
                here = touched[f, place]
                start, own = at.ptr[here], at.upos[here]
                kept_first, kept_count = at.tptr[here], at.tptr[here + 1] - at.tptr[here]
                for g in range(f + 1, eliminated):
                    above = at.above[here, g]
                    known = False
                    for other in range(count[g]):
                        known = known or touched[g, other] == above
                    if not known:
                        touched[g, count[g]] = above
                        count[g] += 1
                for b in range(width):
                    total = work[own + b]
                    for c in range(b):
                        total -= factor[start + b * width + c] * work[own + c]
                    total /= factor[start + b * width + b]
                    work[own + b] = total
                    norm[j] += total * total
                    for g in range(f + 1, eliminated):
                        above = at.upos[at.above[here, g]]
                        for a in range(at.q[g]):
                            work[above + a] -= factor[start + (at.row_of[f, g] + a) * width + b] * total
                    row = at.t_row[f]
                    for i in range(kept_count):
                        tail[j, at.tidx[kept_first + i]] -= factor[start + (row + i) * width + b] * total
                    for k in range(d):
                        cross[j, k] += factor[start + (row + kept_count + k) * width + b] * total
                for b in range(width):
                    work[own + b] = 0.0


@compiled
def coordinates(at: Layout, rows: np.ndarray, columns: np.ndarray) -> None:
    """The row and column of the whole matrix that each place of the flat blocks stands for: eliminated, kept, dense."""
    eliminated, width_all = len(at.base) - 1, at.upos[-1]
    kept = len(at.t_factor)
    for f in range(eliminated):
        width = at.q[f]
        for node in range(at.base[f], at.base[f + 1]):
            place = at.ptr[node]
            for g in range(f, eliminated):
                above = node if g == f else at.above[node, g]
                for a in range(at.q[g]):
                    for b in range(width):
                        rows[place], columns[place] = at.upos[above] + a, at.upos[node] + b
                        place += 1
            for i in range(at.tptr[node], at.tptr[node + 1]):
                for b in range(width):
                    rows[place], columns[place] = width_all + at.tidx[i], at.upos[node] + b
                    place += 1
            for k in range(at.dense):
                for b in range(width):
                    rows[place], columns[place] = width_all + kept + k, at.upos[node] + b
                    place += 1


@compiled
def dense_rows(at: Layout, factor: np.ndarray, k: int, out: np.ndarray) -> None:
    """The k-th dense row of the factor, (columns,): where X or y has become L⁻¹Λ'Z'x."""
    for f in range(len(at.base) - 1):
        width = at.q[f]
        for node in range(at.base[f], at.base[f + 1]):
            row = at.t_row[f] + at.tptr[node + 1] - at.tptr[node] + k
            for b in range(width):
                out[at.upos[node] + b] = factor[at.ptr[node] + row * width + b]


@inlined
def weigh(value: float, factor: np.ndarray, start: int, width: int, r: int, s: int, weighed: np.ndarray) -> None:
    """One element of a symmetric matrix, at rows r and s, times the factor's block: its share of the product."""
    for c in range(width):
        weighed[r, c] += value * factor[start + s * width + c]
    if r != s:
        for c in range(width):
            weighed[s, c] += value * factor[start + r * width + c]


@compiled
def select_inverse(
    at: Layout, first: int, last: int, factor: np.ndarray, tail: np.ndarray, inverse: np.ndarray
) -> None:
    """The inverse at the places of the blocks, into `inverse`; `tail` is the inverse of what was kept.

    tail (T + k, T + k), its lower part, with the first k dense columns taken as part of the matrix; rows of the others are left alone.
    """
    eliminated, columns = len(at.base) - 1, len(at.t_factor)
    taken = tail.shape[0] - columns
    most, widest, bare = 1, 1, 1
    for place in range(first, last):
        node = at.queue[place]
        widest = max(widest, at.q[at.of[node]])
        rows = (at.ptr[node + 1] - at.ptr[node]) // at.q[at.of[node]]
        most = max(most, rows)
        if at.tptr[node] == at.tptr[node + 1]:
            bare = max(bare, rows)
    spot = np.empty(most, dtype=np.int64)
    rest = np.empty((bare, bare))
    before = -1
    weighed = np.empty((most, widest))
    inner = np.empty((widest, widest))
    for place in range(last - 1, first - 1, -1):
        node = at.queue[place]
        f = at.of[node]
        width = at.q[f]
        start = at.ptr[node]
        kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
        begin = at.t_row[f]  # rows before are the own and those of the nodes above
        count = begin + kept_count + taken
        if kept_count == 0:  # nodes in one node above, without kept columns, meet the same part of the inverse
            if before < 0 or at.of[before] != f or not same_above(at, node, before, f):
                for g in range(f + 1, eliminated):
                    above, size = at.above[node, g], at.q[g]
                    source = at.ptr[above]
                    behind = source + (at.t_row[g] + at.tptr[above + 1] - at.tptr[above]) * size
                    for b in range(size):
                        column = at.row_of[f, g] + b
                        for h in range(g, eliminated):
                            begin_there = 0 if h == g else at.row_of[g, h]
                            for a in range(at.q[h]):
                                value = inverse[source + (begin_there + a) * size + b]
                                rest[at.row_of[f, h] + a, column] = value
                                rest[column, at.row_of[f, h] + a] = value
                        for k in range(taken):
                            value = inverse[behind + k * size + b]
                            rest[begin + k, column] = value
                            rest[column, begin + k] = value
                for k in range(taken):
                    for j in range(taken):
                        rest[begin + k, begin + j] = tail[columns + max(k, j), columns + min(k, j)]
            before = node
            if width == 1:
                for r in range(1, count):
                    total = 0.0
                    for s in range(1, count):
                        total += rest[r, s] * factor[start + s]
                    weighed[r, 0] = total
            else:
                for r in range(width, count):
                    for b in range(width):
                        total = 0.0
                        for s in range(width, count):
                            total += rest[r, s] * factor[start + s * width + b]
                        weighed[r, b] = total
        else:
            before = -1
            weighed[width:count, :width] = 0.0
            for g in range(f + 1, eliminated):
                above, size = at.above[node, g], at.q[g]
                source = at.ptr[above]
                above_kept = at.tptr[above + 1] - at.tptr[above]
                for b in range(size):
                    column = at.row_of[f, g] + b
                    for h in range(g, eliminated):
                        begin_there = 0 if h == g else at.row_of[g, h]
                        for a in range(b if h == g else 0, at.q[h]):
                            value = inverse[source + (begin_there + a) * size + b]
                            weigh(value, factor, start, width, at.row_of[f, h] + a, column, weighed)
                    for i in range(kept_count):
                        value = inverse[source + (at.t_row[g] + at.tmap[g, kept_first + i]) * size + b]
                        weigh(value, factor, start, width, begin + i, column, weighed)
                    for k in range(taken):
                        value = inverse[source + (at.t_row[g] + above_kept + k) * size + b]
                        weigh(value, factor, start, width, begin + kept_count + k, column, weighed)
            for i in range(kept_count + taken):
                spot[i] = at.tidx[kept_first + i] if i < kept_count else columns + i - kept_count
                for j in range(i + 1):
                    weigh(tail[spot[i], spot[j]], factor, start, width, begin + i, begin + j, weighed)
        for a in range(width):
            for b in range(width):
                total = 1.0 if a == b else 0.0
                for r in range(width, count):
                    total += factor[start + r * width + a] * weighed[r, b]
                inner[a, b] = total
        for r in range(width, count):
            for b in range(width - 1, -1, -1):
                total = -weighed[r, b]
                for c in range(b + 1, width):
                    total -= inverse[start + r * width + c] * factor[start + c * width + b]
                inverse[start + r * width + b] = total / factor[start + b * width + b]
        for a in range(width):  # inner C⁻¹ from the right, then C⁻ᵀ from the left
            for b in range(width - 1, -1, -1):
                total = inner[a, b]
                for c in range(b + 1, width):
                    total -= inner[a, c] * factor[start + c * width + b]
                inner[a, b] = total / factor[start + b * width + b]
        for b in range(width):
            for a in range(width - 1, -1, -1):
                total = inner[a, b]
                for c in range(a + 1, width):
                    total -= factor[start + c * width + a] * inverse[start + c * width + b]
                inverse[start + a * width + b] = total / factor[start + a * width + a]


@compiled
def contract(
    at: Layout,
    first: int,
    last: int,
    lam: np.ndarray,
    blocks: np.ndarray,
    inverse: np.ndarray,
    taken: int,
    out: np.ndarray,
) -> None:
    """Adds each factor's Σ over a chunk's levels of [Z'W(ZΛ X)·inverse] (its own columns) to its block of `out` (terms, terms).

    With `contract_kept`, twice the lower part of `out` is the gradient of the matrix's log determinant with respect to Λ.
    taken : how many dense columns are taken as part of the matrix
    """
    eliminated = len(at.base) - 1
    for place in range(first, last):
        node = at.queue[place]
        f = at.of[node]
        width, mine = at.q[f], at.first[f]
        start = at.ptr[node]
        for a in range(width):
            for b in range(width):
                total = 0.0
                for c in range(width):
                    for e in range(c + 1):
                        total += (
                            blocks[start + a * width + c] * lam[mine + c, mine + e] * inverse[start + e * width + b]
                        )
                out[mine + a, mine + b] += total
        row = width
        for g in range(f + 1, eliminated):
            meet(lam, mine, width, at.first[g], at.q[g], start + row * width, blocks, inverse, out)
            row += at.q[g]
        t = at.tptr[node]
        while t < at.tptr[node + 1]:
            g = at.t_factor[at.tidx[t]]
            meet(lam, mine, width, at.first[g], at.q[g], start + row * width, blocks, inverse, out)
            row += at.q[g]
            t += at.q[g]
        for k in range(taken):
            for a in range(width):
                for b in range(width):
                    cell = start + (row + k) * width
                    out[mine + a, mine + b] += blocks[cell + a] * inverse[cell + b]


@compiled
def contract_kept(at: Layout, lam: np.ndarray, kept: np.ndarray, tail: np.ndarray, out: np.ndarray) -> None:
    """`contract` for the kept columns among themselves and with the dense ones; kept (T + dense, T + dense) whole."""
    columns = len(at.t_factor)
    taken = tail.shape[0] - columns
    for row in range(columns):
        g, a = at.t_factor[row], at.t_term[row]
        for b in range(at.q[g]):
            column = row - a + b
            total = 0.0
            for other in range(columns):
                value = kept[row, other]
                if value == 0.0:
                    continue
                h, c = at.t_factor[other], at.t_term[other]
                for e in range(c + 1):
                    total += value * lam[at.first[h] + c, at.first[h] + e] * tail[column, other - c + e]
            for k in range(taken):
                total += kept[columns + k, row] * tail[columns + k, column]
            out[at.first[g] + a, at.first[g] + b] += total


@inlined
def meet(
    lam: np.ndarray,
    mine: int,
    width: int,
    theirs: int,
    size: int,
    start: int,
    blocks: np.ndarray,
    inverse: np.ndarray,
    out: np.ndarray,
) -> None:
    """What the `size` rows from `start` on, where another factor's level meets this one, give to either's block."""
    if width == 1 and size == 1:
        value = blocks[start] * inverse[start]
        out[mine, mine] += value * lam[theirs, theirs]
        out[theirs, theirs] += value * lam[mine, mine]
    else:
        for a in range(width):
            for b in range(width):
                total = 0.0
                for c in range(size):
                    for e in range(c + 1):
                        total += (
                            blocks[start + c * width + a] * lam[theirs + c, theirs + e] * inverse[start + e * width + b]
                        )
                out[mine + a, mine + b] += total
        for a in range(size):
            for b in range(size):
                total = 0.0
                for c in range(width):
                    for e in range(c + 1):
                        total += (
                            blocks[start + a * width + c] * lam[mine + c, mine + e] * inverse[start + b * width + e]
                        )
                out[theirs + a, theirs + b] += total


@compiled
def multiply(
    at: Layout,
    first: int,
    last: int,
    blocks: np.ndarray,
    vector: np.ndarray,
    tail: np.ndarray,
    out: np.ndarray,
    out_tail: np.ndarray,
) -> None:
    """[Z X]'[Z X] times a vector, what a chunk's blocks give of it: the eliminated columns' into out, added to out_tail (T + dense,).

    vector (columns,), tail (T + dense,)
    """
    eliminated, columns = len(at.base) - 1, len(at.t_factor)
    for place in range(last - 1, first - 1, -1):
        node = at.queue[place]
        f = at.of[node]
        width, start, here = at.q[f], at.ptr[node], at.upos[node]
        kept_first, kept_count = at.tptr[node], at.tptr[node + 1] - at.tptr[node]
        rest = start + at.t_row[f] * width
        for b in range(width):
            total = 0.0
            own = vector[here + b]
            for a in range(width):
                total += blocks[start + a * width + b] * vector[here + a]
            for g in range(f + 1, eliminated):
                above = at.upos[at.above[node, g]]
                for a in range(at.q[g]):
                    value = blocks[start + (at.row_of[f, g] + a) * width + b]
                    out[above + a] += value * own
                    total += value * vector[above + a]
            for i in range(kept_count):
                value, column = blocks[rest + i * width + b], at.tidx[kept_first + i]
                out_tail[column] += value * own
                total += value * tail[column]
            for k in range(at.dense):
                value = blocks[rest + (kept_count + k) * width + b]
                out_tail[columns + k] += value * own
                total += value * tail[columns + k]
            out[here + b] = total
