"""New outcomes of a generalised or ordinal model, drawn from the fitted one, and their fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from analysis.generalised import GlmmFit, Known, fit_glmm, with_size_parameter
from analysis.kernels import families
from analysis.links import LINKS
from analysis.optimize import rising
from analysis.responses import KINDS, Responses

AWAY = 0.1
"""Diagonal elements of Λ below this begin here: from zero a search cannot see the other side."""
HARDLY_SPREAD = np.log(100.0)
"""Where log κ begins after an infinite κ."""
MOST = 1e15
"""Means beyond this are no counts."""
LINK_OF = {number: link for (_, link), number in KINDS.items()}


def refits(fit: GlmmFit) -> Callable[[np.random.Generator], GlmmFit]:
    """Draws random effects and outcomes and fits them, from the fit's own point on."""
    draw, plan = drawn(fit), fit.plan
    first = fit.data.n_fixed + fit.data.n_extra
    point, curvature = fit.minimum.x.copy(), rising(fit.minimum.hessian)
    near_zero = np.append(np.zeros(first, dtype=bool), fit.data.structure.diagonal) & (np.abs(point) < AWAY)
    point[near_zero] = AWAY
    if fit.without_size:
        point = np.insert(point, first, HARDLY_SPREAD)
        curvature = np.insert(np.insert(curvature, first, 0.0, axis=0), first, 0.0, axis=1)
        curvature[first, first] = 1.0
    known, factors = Known(point, curvature, plan), () if plan is None else plan.factors
    return lambda rng: fit_glmm(draw(rng), fit.agq, factors, known)


def drawn(fit: GlmmFit) -> Callable[[np.random.Generator], Responses]:
    """The model's rows with another outcome at each call: new levels of every grouping factor, then their answers."""
    data, p = fit.data, fit.data.n_fixed
    psi = fit.inner[p : p + data.n_extra]
    eta = data.offset + fit.inner[:p] @ data.x
    if fit.plan is None:
        levels = [(data.n_persons, np.repeat(np.arange(data.n_persons), np.diff(data.starts)), slice(0, len(fit.lam)))]
    else:
        levels = [(len(factor.levels), factor.codes, factor.terms) for factor in fit.plan.factors]

    def draw(rng: np.random.Generator) -> Responses:
        here = eta.copy()
        for count, codes, terms in levels:
            own = rng.standard_normal((count, terms.stop - terms.start)) @ fit.lam[terms, terms].T
            here += np.einsum("tn,nt->n", data.z[terms], own[codes])
        y = _answers(data, here, psi, rng)
        return replace(with_size_parameter(data) if fit.without_size else data, y=y)

    return draw


def _answers(data: Responses, eta: np.ndarray, psi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = LINKS[LINK_OF[data.family]].mean
    if data.family >= families.ORDINAL_LOGIT:
        below = mean(psi[:, None] - eta)
        return np.asarray((below < rng.random(len(eta))).sum(axis=0), dtype=float)
    if data.family < families.POISSON:
        return np.asarray(rng.binomial(np.rint(data.size).astype(int), mean(eta)) / data.size)
    mu = np.minimum(mean(eta), MOST)
    if data.family == families.NEGATIVE_BINOMIAL:
        mu = np.minimum(rng.gamma(np.exp(psi[0]), mu * np.exp(-psi[0])), MOST)
    return np.asarray(rng.poisson(mu), dtype=float)
