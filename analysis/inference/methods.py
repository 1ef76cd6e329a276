"""Which covariance and which degrees of freedom a question about the fixed effects of a linear fit is answered with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.design import Column
from analysis.errors import SpecError
from analysis.factored import FactorFit
from analysis.inference.information import MOST_TOGETHER, together
from analysis.inference.kenward_roger import kenward_roger
from analysis.inference.robust import cr2
from analysis.inference.satterthwaite import satterthwaite
from analysis.linear import LinearFit, LmmFit
from analysis.state import PersonState

MOST_PERSONS = 200
"""Kenward–Roger by default up to here; with more persons it no longer differs from Satterthwaite (METHODS §6)."""


def default_method(fit: LinearFit, persons: int) -> str:
    """Kenward–Roger for a REML fit of at most 200 persons (levels of the primary factor), otherwise Satterthwaite.

    Satterthwaite also where several factors have more random effects than Kenward–Roger can take at once.
    """
    few = persons <= MOST_PERSONS and (not isinstance(fit, FactorFit) or together(fit.moments.plan) <= MOST_TOGETHER)
    return "kenward-roger" if fit.reml and few else "satterthwaite"


def uncertainty(
    fit: LinearFit,
    state: PersonState,
    fixed: Sequence[Column],
    contrasts: np.ndarray,
    df: str | None,
    robust: str | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The covariance (p, p) and the degrees of freedom (r,) that belong to contrasts (r, p).

    df : "satterthwaite", "kenward-roger", "z", or None for `default_method`
    robust : "cr2" for the cluster-robust covariance, with Bell and McCaffrey's degrees of freedom (df=None) or "z"
    """
    normal = np.full(len(contrasts), np.inf)
    if robust is not None:
        if robust != "cr2":
            raise SpecError(f"robust={robust!r} is not known; 'cr2' is, or None for model-based standard errors.")
        if df not in (None, "z"):
            raise SpecError(
                f"df={df!r} does not go with robust='cr2', which has degrees of freedom of its own: leave df out, "
                "or choose df='z'."
            )
        if not isinstance(fit, LmmFit):
            raise SpecError("robust='cr2' is not available for several grouping factors; leave robust out.")
        vcov, degrees = cr2(fit, state, fixed, contrasts)
        return vcov, degrees if df is None else np.where(np.isnan(degrees), np.nan, normal)
    method = default_method(fit, len(state.levels)) if df is None else df
    if method == "kenward-roger":
        adjusted = kenward_roger(fit)
        return adjusted.vcov, adjusted.degrees(contrasts)
    if method == "satterthwaite":
        return fit.vcov, satterthwaite(fit, contrasts)
    if method == "z":
        return fit.vcov, normal
    raise SpecError(f"df={df!r} is none of this model's methods: 'kenward-roger', 'satterthwaite', 'z'.")


def persons_minus_between(contrasts: np.ndarray, persons: int, between_terms: int) -> np.ndarray:
    """Degrees of freedom (r,) of a generalised model: persons minus terms that are constant in each person."""
    return np.full(len(contrasts), float(max(persons - between_terms, 1)))
