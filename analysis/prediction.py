"""Predictions for rows, for persons of the model and for persons never seen (METHODS §2.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError
from scipy.special import ndtri, stdtrit

from analysis.centering import mean_of_persons, numeric
from analysis.conditional_modes import Modes
from analysis.design import Design
from analysis.errors import DesignError, SpecError
from analysis.factored import FactorFit
from analysis.factors import Factor
from analysis.occasions import for_new_rows
from analysis.state import PersonState

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
"""Quadrature for the mean over a standard normal deviate; 60 points hold 1e-10 for SDs up to 3 on the logit scale."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to predict: x (r, p), z (r, q), level (factors, r) the numbers of their levels or −1, offset (r,)."""

    index: pd.Index
    x: np.ndarray
    z: np.ndarray
    level: np.ndarray
    offset: np.ndarray


def own_rows(design: Design) -> Rows:
    """The model's rows, sorted by person."""
    level = np.array([factor.codes for factor in design.factors])
    offset = np.zeros(design.n_obs) if design.offset is None else design.offset
    return Rows(design.index, design.matrix(design.fixed), design.matrix(design.random), level, offset)


def new_rows(design: Design, state: PersonState, frame: pd.DataFrame, *, random: bool, offset: str | None) -> Rows:
    """Design columns of new rows. Splits are made with the *model's* person means, anchor and days' means.

    For a person not in the model, or without the person's column, give the columns within(x) and between(x) themselves.
    A lag is the row before among the new rows; a row without one is predicted as NaN.
    """
    if not isinstance(frame, pd.DataFrame):
        raise SpecError(f"newdata must be a pandas DataFrame, not {type(frame).__name__}.")
    level = np.array([_levels_in(factor, frame) for factor in design.factors])
    lacking = [name for factor in design.factors for name in factor.group if name not in frame.columns]
    if random and lacking:
        raise SpecError(f"newdata needs the column {lacking[0]!r} for random=True; use random=False without it.")
    person = level[design.place_of(None)]
    full = _with_splits(design, state, frame.reset_index(drop=True), person)
    split = {item.column for item in design.splits} | {item.column for item in design.occasions.columns}
    for name in dict.fromkeys(n for part in (design.fixed_terms, *design.random_terms) for n in part.prepared.columns):
        if name not in full.columns and name not in split:
            raise SpecError(f"newdata has no column {name!r}, which the model uses.")
    try:
        x, pieces = design.fixed_terms.matrix(full), [terms.matrix(full) for terms in design.random_terms]
    except FormulaicError as error:
        raise SpecError(f"newdata: {error}") from error
    if offset is not None and offset not in frame.columns:
        raise SpecError(f"newdata has no column {offset!r}, the model's offset.")
    shift = np.zeros(len(frame)) if offset is None else numeric(frame, offset)
    return Rows(frame.index, x, np.column_stack(pieces), level, shift)


def linear_predictor(rows: Rows, beta: np.ndarray, modes: Sequence[Modes]) -> np.ndarray:
    """(r,) offset + x'β, and z'b̂ of the levels in the model of each factor that modes are given for."""
    eta: np.ndarray = rows.offset + rows.x @ beta
    first = 0
    for own, level in zip(modes, rows.level, strict=False):
        terms = slice(first, first + own.modes.shape[1])
        inside = level >= 0
        eta[inside] += np.einsum("rq,rq->r", rows.z[inside, terms], own.modes[level[inside]])
        first = terms.stop
    return eta


def linear_predictor_se(rows: Rows, vcov: np.ndarray, modes: Modes | None, g: np.ndarray) -> np.ndarray:
    """(r,) SE of the linear predictor: of x'β̂ alone, or of x'β̂ + z'b̂ with both errors and their covariance.

    For models with one grouping factor; `factors_se` for several. A person not in the model adds z'Gz. The variance
    parameters are taken as known. vcov and the modes' shift may hold parameters beside β that no row's x multiplies.
    """
    x = np.hstack([rows.x, np.zeros((len(rows.x), len(vcov) - rows.x.shape[1]))])
    extra = np.zeros(len(x))
    if modes is not None:
        assert modes.shift is not None
        person = rows.level[0]
        inside = person >= 0
        own, z = person[inside], rows.z[inside]
        x[inside] += np.einsum("rq,rqp->rp", z, modes.shift[own])
        extra[inside] = np.einsum("rq,rqk,rk->r", z, modes.covariance[own], z)
        extra[~inside] = np.einsum("rq,qk,rk->r", rows.z[~inside], g, rows.z[~inside])
    return np.asarray(np.sqrt(np.einsum("rp,pk,rk->r", x, vcov, x) + extra))


def factors_se(rows: Rows, fit: FactorFit) -> np.ndarray:
    """(r,) SE of x'β̂ + z'b̂ with several grouping factors (Henderson, 1975), the variance parameters taken as known.

    With v = Λ'z at the columns of the row's levels: σ²(v'H⁻¹v + (x − c)'Φ(x − c)), c = X'ZΛH⁻¹v; each level that is not in
    the model adds its factor's z'Gz.
    """
    m, p = fit.moments, fit.moments.n_fixed
    assert fit.profile.factorised is not None  # an optimum has a factor
    v = np.ascontiguousarray(rows.z @ m.random_map @ fit.lam)
    unseen = np.zeros(len(v))
    for factor, level in zip(m.plan.factors, rows.level, strict=True):
        z = rows.z[level < 0, factor.terms]
        unseen[level < 0] += np.einsum("rq,qk,rk->r", z, fit.g[factor.terms, factor.terms], z)
    known, cross = fit.profile.factorised.of_rows(rows.level, v)
    x = rows.x @ m.fixed_map - cross[:, :p]
    return np.asarray(np.sqrt(fit.sigma**2 * (known + np.einsum("rp,pk,rk->r", x, fit.profile.inverse, x)) + unseen))


def new_group_gaussian(
    rows: Rows, beta: np.ndarray, vcov: np.ndarray, g: np.ndarray, sigma: float, df: np.ndarray | None = None
) -> pd.DataFrame:
    """One outcome of a group never seen; its quantiles with the estimates taken as known, or as uncertain.

    The latter with df (r,), the degrees of freedom of the predictive variance x'Vx + z'Gz + σ² (METHODS §2.10).
    """
    mean = linear_predictor(rows, beta, ())
    between = np.einsum("rq,qk,rk->r", rows.z, g, rows.z)
    total = np.sqrt(between + sigma**2)
    sampling = np.einsum("rp,pk,rk->r", rows.x, vcov, rows.x)
    columns = {
        "mean": mean,
        "sd_between": np.sqrt(between),
        "sd_total": total,
        "sd_predictive": np.sqrt(total**2 + sampling),
    }
    for name, share in (("q025", 0.025), ("q50", 0.5), ("q975", 0.975)):
        known = ndtri(share) * total
        columns[name] = mean + (known if df is None else stdtrit(df, share) * columns["sd_predictive"])
    return pd.DataFrame(columns, index=rows.index)


def new_group_mean(
    rows: Rows, beta: np.ndarray, g: np.ndarray, curve: Callable[[np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """The mean outcome in a group never seen, over its random effects; `curve` from η to it; estimates taken as known."""
    eta = linear_predictor(rows, beta, ())
    between = np.sqrt(np.einsum("rq,qk,rk->r", rows.z, g, rows.z))
    means = curve(eta[:, None] + between[:, None] * NODES)
    mean = means @ WEIGHTS
    columns = {
        "sd_between": between,
        "mean_marginal": mean,
        "sd_of_group_mean": np.sqrt(np.maximum((means - mean[:, None]) ** 2 @ WEIGHTS, 0.0)),
        "mean_at_zero_effect": curve(eta),
    }
    for name, share in (("q025", 0.025), ("q50", 0.5), ("q975", 0.975)):
        columns[name] = curve(eta + ndtri(share) * between)
    return pd.DataFrame(columns, index=rows.index)


def _levels_in(factor: Factor, frame: pd.DataFrame) -> np.ndarray:
    """(r,) the number of each row's level, −1 where it is not in the model or the frame lacks a column."""
    if not all(name in frame.columns for name in factor.group):
        return np.full(len(frame), -1)
    if len(factor.group) == 1:
        return _match(factor.levels, frame[factor.group[0]])
    known, asked = [], []
    for name, part in zip(factor.group, factor.parts, strict=True):
        codes, values = pd.factorize(part)
        known.append(codes)
        asked.append(_match(values, frame[name]))
    return np.asarray(pd.MultiIndex.from_arrays(known).get_indexer(pd.MultiIndex.from_arrays(asked)))


def _match(levels: pd.Index, keys: pd.Series) -> np.ndarray:
    """The number of each key's level, −1 where there is none; text and numbers match by their text."""
    found = levels.get_indexer(pd.Index(keys.astype(object)))
    if (found < 0).any():
        found = np.where(found >= 0, found, levels.astype(str).get_indexer(pd.Index(keys.astype(str))))
    return np.asarray(found)


def _with_splits(design: Design, state: PersonState, frame: pd.DataFrame, person: np.ndarray) -> pd.DataFrame:
    made = {}
    for split in design.splits:
        if split.name in frame.columns:
            continue
        if split.column not in frame.columns:
            raise SpecError(f"newdata has neither {split.name!r} nor {split.column!r}.")
        if (person < 0).any():
            raise DesignError(
                f"newdata has persons that the model does not know, and so no mean of {split.column!r} for them; "
                f"give the column {split.name!r} itself."
            )
        means = state.means(split.column)
        own = means[person]
        made[split.name] = (
            numeric(frame, split.column) - own if split.kind == "within" else own - mean_of_persons(means)
        )
    return frame.assign(**made, **for_new_rows(design.occasions, frame, person, design.levels))
