"""Groups' observed, expected and predicted figures, and draws of where each stands given the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebpts1, chebval, chebvander
from scipy.special import betaincinv, gammaincinv, ndtri

from analysis.model import MultilevelModel
from analysis.prediction import linear_predictor, own_rows

NODES = 16
OUTCOMES = {"gaussian": "difference", "binomial": "ratio", "poisson": "ratio"}
"""Family → what of a group is compared with what is expected."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows and groups: code (n,) of each row's group, eta (n,) at effects of zero, x (n, p), z (n, q), size (n,) trials or 1.

    modes (J, q), shift (J, q, p) their change with the fixed effects;  roots (J, q, q), fixed_root (p, p) : roots of the
    covariances given the parameters and of the fixed effects;  n, observed, expected, predicted, weight (J,)
    """

    levels: pd.Index
    code: np.ndarray
    eta: np.ndarray
    x: np.ndarray
    z: np.ndarray
    size: np.ndarray
    modes: np.ndarray
    shift: np.ndarray
    roots: np.ndarray
    fixed_root: np.ndarray
    n: np.ndarray
    observed: np.ndarray
    expected: np.ndarray
    predicted: np.ndarray
    weight: np.ndarray
    spread: float


def group_rows(fit: MultilevelModel, place: int) -> Groups:
    design, rows, factor, own = fit.design, own_rows(fit.design), fit.design.factors[place], fit.modes[place]
    z, p = rows.z[:, factor.terms], rows.x.shape[1]
    eta = linear_predictor(rows, fit.fit.beta, fit.modes) - np.einsum("nq,nq->n", z, own.modes[factor.codes])
    size = np.ones(design.n_obs) if design.weights is None else design.weights
    total = np.bincount(factor.codes, size)
    per = np.ones_like(total) if OUTCOMES[fit.family] == "ratio" else total
    moved = eta + np.einsum("nq,nq->n", z, own.modes[factor.codes])
    observed, expected, predicted = (
        np.bincount(factor.codes, size * values) / per
        for values in (design.outcome, fit._respond(eta)[0], fit._respond(moved)[0])
    )
    covariance = fit.random[factor.name]
    intercept = list(covariance.index).index("Intercept")
    variance = float(covariance.to_numpy()[intercept, intercept])
    left = own.covariance[:, intercept, intercept]
    return Groups(
        levels=factor.levels.rename(factor.name),
        code=factor.codes,
        eta=eta,
        x=rows.x,
        z=z,
        size=size,
        modes=own.modes,
        shift=np.zeros((*own.modes.shape, p)) if own.shift is None else own.shift[:, :, :p],
        roots=_root(own.covariance),
        fixed_root=_root(np.nan_to_num(fit.fit.vcov)),  # a fit that did not converge may have none
        n=total.astype(int),
        observed=observed,
        expected=expected,
        predicted=predicted,
        weight=np.clip(1.0 - left / variance, 0.0, 1.0) if variance > 0.0 else np.zeros(len(left)),
        spread=float(np.sqrt(variance)),
    )


def _root(covariance: np.ndarray) -> np.ndarray:
    """A square root (…, q, q) of covariances that may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def drawn_standings(fit: MultilevelModel, rows: Groups, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, J) of the ratio or difference: the groups' effects given the data, with the error of the fixed effects.

    Normal about the modes, which move with the drawn fixed effects (Henderson's prediction error), the rows' linear predictor
    held at its estimate; each coordinate has one draw in each stratum of equal probability.
    """
    normal = ndtri((np.arange(draws) + 0.5) / draws)

    def stratified(*shape: int) -> np.ndarray:
        return rng.permuted(np.broadcast_to(normal.reshape(-1, *(1 for _ in shape)), (draws, *shape)), axis=0)

    moved = stratified(rows.x.shape[1]) @ rows.fixed_root.T
    effects = rows.modes + np.einsum("jqp,dp->djq", rows.shift, moved)
    effects += np.einsum("jab,djb->dja", rows.roots, stratified(*rows.modes.shape))
    if OUTCOMES[fit.family] == "difference":
        means = np.stack([np.bincount(rows.code, column) for column in rows.z.T], axis=1) / rows.n[:, None]
        return np.asarray(np.einsum("jq,djq->dj", means, effects))
    return np.asarray(_predicted(fit, rows, effects) / rows.expected)


def _predicted(fit: MultilevelModel, rows: Groups, effects: np.ndarray) -> np.ndarray:
    """(draws, J) predicted events at effects (draws, J, q).

    Of an intercept alone they are smooth curves in it, one a group: polynomials through Chebyshev's nodes over the draws'
    range give their logarithm to nine digits, at the cost of a few passes over the rows.
    """

    def at(effect: np.ndarray) -> np.ndarray:
        eta = rows.eta + np.einsum("nq,nq->n", rows.z, effect[rows.code])
        return np.asarray(np.bincount(rows.code, rows.size * fit._respond(eta)[0]))

    if effects.shape[2] > 1:
        return np.array([at(effect) for effect in effects])
    drawn = effects[:, :, 0]
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    middle, half = 0.5 * (low + high), np.where(high > low, 0.5 * (high - low), 1.0)
    nodes = chebpts1(NODES)
    logs = np.log([at((middle + half * node)[:, None]) for node in nodes])
    curves = np.linalg.solve(chebvander(nodes, NODES - 1), logs)
    return np.asarray(np.exp(chebval((drawn - middle) / half, curves, tensor=False)))


def count_limits(count: np.ndarray, trials: np.ndarray | None, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact limits of an expected count: Clopper and Pearson (1934) given the trials, else Garwood (1936)."""
    tail = 0.5 - level / 2
    count = np.rint(count)
    if trials is None:
        low = np.where(count > 0, gammaincinv(np.maximum(count, 1.0), tail), 0.0)
        return low, gammaincinv(count + 1.0, 1.0 - tail)
    missed = trials - count
    low = np.where(count > 0, betaincinv(np.maximum(count, 1.0), missed + 1.0, tail), 0.0)
    high = np.where(missed > 0, betaincinv(count + 1.0, np.maximum(missed, 1.0), 1.0 - tail), 1.0)
    return trials * low, trials * high
