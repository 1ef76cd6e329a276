"""Predictions for rows, for persons of the model and for persons never seen (METHODS §2.10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError

from analysis.centering import mean_of_persons, numeric
from analysis.conditional_modes import Modes
from analysis.design import Design
from analysis.errors import DesignError, SpecError
from analysis.factored import FactorFit
from analysis.factors import Factor
from analysis.generalised import GlmmFit
from analysis.occasions import for_new_rows
from analysis.state import PersonState


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


def linear_predictor_se(rows: Rows, vcov: np.ndarray, modes: Sequence[Modes], g: np.ndarray) -> np.ndarray:
    """(r,) SE of the linear predictor: of x'β̂ alone, or of x'β̂ + z'b̂ with both errors and their covariance.

    For models with at most one grouping factor's modes; `factors_se` and `joint_se` for several. A level not in the model
    adds z'Gz. The variance parameters are taken as known. vcov and the modes' shift may hold parameters beside β.
    """
    extra = np.zeros(len(rows.x))
    for own in modes:
        inside = rows.level[0] >= 0
        z, outside = rows.z[inside], rows.z[~inside]
        extra[inside] = np.einsum("rq,rqk,rk->r", z, own.covariance[rows.level[0, inside]], z)
        extra[~inside] = np.einsum("rq,qk,rk->r", outside, g, outside)
    x = _shifted(rows, len(vcov), modes)
    return np.asarray(np.sqrt(np.einsum("rp,pk,rk->r", x, vcov, x) + extra))


def joint_se(rows: Rows, fit: GlmmFit, modes: Sequence[Modes]) -> np.ndarray:
    """(r,) the same for a generalised model with several grouping factors: with v = Λ'z at the columns of the row's levels,
    v'H⁻¹v + (x + Σz's)'Φ(x + Σz's), s the modes' shift with (β, ψ) and Φ the covariance of these."""
    assert fit.factorised is not None
    known, _ = fit.factorised.of_rows(rows.level, np.ascontiguousarray(rows.z @ fit.data.random_map @ fit.lam))
    x = _shifted(rows, len(fit.joint), modes)
    unseen = _of_unseen(rows, fit.factorised.plan.factors, fit.g)
    return np.asarray(np.sqrt(known + np.einsum("rp,pk,rk->r", x, fit.joint, x) + unseen))


def _shifted(rows: Rows, size: int, modes: Sequence[Modes]) -> np.ndarray:
    """(r, size) slope of x'β + z'b̂ in the parameters."""
    x = np.hstack([rows.x, np.zeros((len(rows.x), size - rows.x.shape[1]))])
    first = 0
    for own, level in zip(modes, rows.level, strict=False):
        assert own.shift is not None
        terms, inside = slice(first, first + own.modes.shape[1]), level >= 0
        x[inside] += np.einsum("rq,rqp->rp", rows.z[inside, terms], own.shift[level[inside]])
        first = terms.stop
    return x


def _of_unseen(rows: Rows, factors: Sequence[Factor], g: np.ndarray) -> np.ndarray:
    """(r,) z'Gz of the factors whose level is not in the model."""
    out = np.zeros(len(rows.x))
    for factor, level in zip(factors, rows.level, strict=True):
        z = rows.z[level < 0, factor.terms]
        out[level < 0] += np.einsum("rq,qk,rk->r", z, g[factor.terms, factor.terms], z)
    return out


def factors_se(rows: Rows, fit: FactorFit) -> np.ndarray:
    """(r,) SE of x'β̂ + z'b̂ with several grouping factors (Henderson, 1975), the variance parameters taken as known.

    With v = Λ'z at the columns of the row's levels: σ²(v'H⁻¹v + (x − c)'Φ(x − c)), c = X'ZΛH⁻¹v; each level that is not in
    the model adds its factor's z'Gz.
    """
    m, p = fit.moments, fit.moments.n_fixed
    assert fit.profile.factorised is not None  # an optimum has a factor
    v = np.ascontiguousarray(rows.z @ m.random_map @ fit.lam)
    unseen = _of_unseen(rows, m.plan.factors, fit.g)
    known, cross = fit.profile.factorised.of_rows(rows.level, v)
    x = rows.x @ m.fixed_map - cross[:, :p]
    return np.asarray(np.sqrt(fit.sigma**2 * (known + np.einsum("rp,pk,rk->r", x, fit.profile.inverse, x)) + unseen))


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
