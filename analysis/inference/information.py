"""Sums over the data behind Kenward and Roger's method, V_r = ∂V/∂(covariance element r), in units of σ²: W = V/σ².

One grouping factor: person by person. Several: the random columns that hang together through rows are taken at once as dense
matrices M = Z'W⁻¹Z = (I + KΛΛ')⁻¹K, K = Z'Z, so nested designs cost their outermost levels one by one, crossed ones all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from analysis.blocks import left_of_levels
from analysis.elimination import Plan
from analysis.errors import SpecError
from analysis.factored import FactorFit
from analysis.kernels.information import excess_sums, trace_sums
from analysis.linear import LinearFit, LmmFit

MOST_TOGETHER = 4000
"""Random effects that hang together through rows, up to which Kenward–Roger is to be had: some 10 s and 1 GB."""


@dataclass(frozen=True, slots=True)
class Information:
    """traces : (m, m) tr(W⁻¹V_rW⁻¹V_s) − 2 tr(ΦQ_rs), Q_rs = X'W⁻¹V_rW⁻¹V_sW⁻¹X;  own : (m,) tr(W⁻¹V_r)

    alone : (m,) what the diagonal of the information could be;  excess : weights (m, m) → Σ weight_rs Q_rs (p, p)
    """

    traces: np.ndarray
    own: np.ndarray
    alone: np.ndarray
    excess: Callable[[np.ndarray], np.ndarray]


def together(plan: Plan) -> int:
    """The largest number of random effects that hang together through rows."""
    return int(np.bincount(_parts(plan)).max())


def information_of(fit: LinearFit) -> Information:
    """Raises SpecError where too many random effects hang together."""
    if isinstance(fit, LmmFit):
        return _of_persons(fit)
    assert isinstance(fit, FactorFit)
    return _of_parts(fit)


def _of_persons(fit: LmmFit) -> Information:
    at, m, s, p = fit.profile, fit.moments, fit.moments.structure, fit.moments.n_fixed
    own = at.score + np.einsum("jk,abjk->ab", at.weight, at.spread)
    halves = np.where(s.diagonal, 0.5, 1.0)

    def excess(weights: np.ndarray) -> np.ndarray:
        return excess_sums(m.zz, m.zw, fit.lam, weights, s.rows, s.columns)[:p, :p]

    return Information(
        traces=trace_sums(m.zz, m.zw, fit.lam, at.inverse, s.rows, s.columns),
        own=2.0 * halves * own[s.rows, s.columns],
        alone=halves * np.diag(own)[s.rows] * np.diag(own)[s.columns] * 2.0 / len(m.zz),
        excess=excess,
    )


def _of_parts(fit: FactorFit) -> Information:
    m, s, p = fit.moments, fit.moments.structure, fit.moments.n_fixed
    parts = _parts(m.plan)
    if together(m.plan) > MOST_TOGETHER:
        names = ", ".join(f"{f.name!r} ({len(f.levels):,} levels)" for f in m.plan.factors)
        raise SpecError(
            f"df='kenward-roger' is to be had up to {MOST_TOGETHER:,} random effects that hang together through rows; here are "
            f"{together(m.plan):,} of {names}. Choose df='satterthwaite', which differs little with so many levels."
        )
    assert fit.profile.factorised is not None  # an optimum has a factor
    halves = np.where(s.diagonal, 0.5, 1.0)
    factors = [m.plan.factors[f] for f in m.plan.order]
    term = np.concatenate([np.tile(np.arange(f.terms.start, f.terms.stop), len(f.levels)) for f in factors])
    of_level = left_of_levels(m, fit.profile.factorised)
    left = np.concatenate([of_level[f][:, :, :p].reshape(-1, p) for f in m.plan.order])
    relative = fit.lam @ fit.lam.T
    g = sparse.block_diag([sparse.kron(sparse.eye_array(len(f.levels)), relative[f.terms, f.terms]) for f in factors])
    k = sparse.csr_array(m.matrix()[: len(term), : len(term)])
    kg = sparse.csr_array(k @ g)
    size = len(s.rows)
    traces, own = np.zeros((size, size)), np.zeros(size)
    crossed = np.zeros((size * p, size * p))
    order = np.argsort(parts, kind="stable")
    for part in np.split(order, np.cumsum(np.bincount(parts))[:-1]):
        mixed = kg[part][:, part].toarray()
        mixed[np.diag_indices_from(mixed)] += 1.0
        inner = np.linalg.solve(mixed, k[part][:, part].toarray())
        places = [np.flatnonzero(term[part] == t) for t in range(s.size)]
        turned = np.zeros((len(part), size, p))
        for r, (a, b) in enumerate(zip(s.rows, s.columns, strict=True)):
            turned[places[a], r] += halves[r] * left[part][places[b]]
            turned[places[b], r] += halves[r] * left[part][places[a]]
            own[r] += 2.0 * halves[r] * inner[places[a], places[b]].sum()
            for x in range(r + 1):
                c, e = s.rows[x], s.columns[x]
                meet = [inner[np.ix_(places[i], places[j])] for i, j in ((a, c), (b, e), (a, e), (b, c))]
                total = 2.0 * halves[r] * halves[x] * (np.vdot(meet[0], meet[1]) + np.vdot(meet[2], meet[3]))
                traces[r, x] += total
        flat = turned.reshape(len(part), size * p)
        crossed += flat.T @ inner @ flat
    traces += np.tril(traces, -1).T
    q = crossed.reshape(size, p, size, p).transpose(0, 2, 1, 3)
    return Information(
        traces=traces - 2.0 * np.einsum("jk,rskj->rs", fit.profile.inverse, q),
        own=own,
        alone=np.diag(traces),
        excess=lambda weights: np.einsum("rs,rsjk->jk", weights, q),
    )


def _parts(plan: Plan) -> np.ndarray:
    """(columns,) the number of the part, without rows in common with any other, that each random column lies in."""
    starts = np.concatenate([[0], np.cumsum([len(f.levels) for f in plan.factors])])
    first, n = plan.factors[0].codes, len(plan.factors[0].codes)
    links = sparse.coo_array((int(starts[-1]), int(starts[-1])))
    for start, factor in zip(starts[1:], plan.factors[1:], strict=False):
        links = links + sparse.coo_array((np.ones(n), (first, start + factor.codes)), shape=links.shape)
    of_level = connected_components(links, directed=False)[1]
    own = [of_level[starts[f] : starts[f + 1]].repeat(plan.factors[f].size) for f in plan.order]
    return np.asarray(np.concatenate(own))
