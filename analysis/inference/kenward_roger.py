"""Kenward and Roger's covariance and degrees of freedom, from per-person moments (Kenward & Roger, 1997; pbkrtest).

The variance parameters are the covariance elements of each block of correlated terms and σ², also in a singular fit. The
method does not change if these parameters are changed linearly, so the derivative of V with respect to σ², I, may be replaced
by V itself: V = Σ G_r V_r + σ²I. Then every term that involves it is known (P = −Φ⁻¹, Q_r = −P_r, its trace with V_r is
tr(V⁻¹V_r)), the powers V⁻², V⁻³ of METHODS §2.13 drop out, and so does σ² from the bias of Φ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.errors import SpecError
from analysis.inference.information import information_of
from analysis.inference.optimum import optimum
from analysis.linear import LinearFit

NOTHING = 1e-13
"""Information on the variance parameters below this share of what it could be is rounding."""
UNTOLD = 1e-4
"""A contrast whose log variance turns with a parameter without information by more than this has no degrees of freedom."""


@dataclass(frozen=True, slots=True)
class KenwardRoger:
    """vcov : (p, p) the adjusted covariance of the fixed effects, as written

    phi : (p, p) Φ and slopes : (m, p, p) P_r on the inner scale, in units of σ²;  fixed_map : (p, p) from there
    weights : (m + 1, m + 1) twice the inverse information on the covariance elements and on V's scale
    untold : (m + 1, k) directions of these parameters that the data tell nothing of; most often none
    """

    vcov: np.ndarray
    phi: np.ndarray
    slopes: np.ndarray
    weights: np.ndarray
    untold: np.ndarray
    fixed_map: np.ndarray

    def degrees(self, contrasts: np.ndarray) -> np.ndarray:
        """(r,) of single contrasts (r, p): 2/A with A = Σ W_rs (ℓ'ΦP_rΦℓ)(ℓ'ΦP_sΦℓ)/(ℓ'Φℓ)², to which 4 + 3/(ρ − 1) comes.

        NaN where nothing in the data tells of a variance that counts (with as many between-person terms as persons, say).
        """
        inner = contrasts @ self.fixed_map
        direction = inner @ self.phi
        f = np.einsum("rp,rp->r", direction, inner)
        own = np.einsum("cj,rjk,ck->cr", direction, self.slopes, direction, optimize=True) / f[:, None]
        own = np.column_stack([own, -np.ones(len(own))])
        df = 2.0 / np.einsum("cr,rs,cs->c", own, self.weights, own)
        return np.asarray(np.where((np.abs(own @ self.untold) > UNTOLD).any(axis=1), np.nan, df))


def kenward_roger(fit: LinearFit) -> KenwardRoger:
    """Φ + 2ΦUΦ, U = Σ W_rs (Q_rs − P_rΦP_s), at the REML optimum.

    Raises SpecError for a fit by maximum likelihood, and for more random effects than `information_of` can take at once.
    """
    if not fit.reml:
        raise SpecError(
            "df='kenward-roger' needs a REML fit: refit with reml=True, or choose df='satterthwaite' or df='z'."
        )
    at, m = optimum(fit), fit.moments
    p, s = m.n_fixed, m.structure
    phi = at.phi
    halves = np.where(s.diagonal, 0.5, 1.0)
    above = at.spread[s.rows, s.columns, :p, :p]
    slopes = -halves[:, None, None] * (above + above.transpose(0, 2, 1))
    turned = phi @ slopes
    size = len(slopes)
    sums = information_of(fit)
    information = np.empty((size + 1, size + 1))
    information[:size, :size] = sums.traces + np.einsum("rjk,skj->rs", turned, turned)
    information[:size, size] = sums.own + np.einsum("rjj->r", turned)
    information[size, :size] = information[:size, size]
    information[size, size] = m.n_obs - p
    inverse, untold = _inverse(information, np.append(sums.alone, m.n_obs))
    weights = 2.0 * inverse
    elements = np.ascontiguousarray(weights[:size, :size])
    excess = sums.excess(elements)
    excess -= np.einsum("rs,rjk,skl->jl", elements, slopes, turned, optimize=True)
    back = fit.sigma * m.fixed_map @ phi
    vcov = fit.sigma**2 * m.fixed_map @ phi @ m.fixed_map.T + 2.0 * back @ excess @ back.T
    return KenwardRoger(vcov, phi, slopes, weights, untold, m.fixed_map)


def _inverse(information: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inverse over the directions that the data tell of, and the others as columns (m + 1, k).

    size (m + 1,): what the diagonal would be if the fixed effects took nothing away.
    """
    units = 1.0 / np.sqrt(size)
    values, vectors = np.linalg.eigh(units[:, None] * information * units)
    axes = units[:, None] * vectors
    told = values > NOTHING
    return (axes[:, told] / values[told]) @ axes[:, told].T, axes[:, ~told]
