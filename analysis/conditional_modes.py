"""Each person's own deviations and their uncertainty (Henderson, 1975; METHODS §2.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.blocks import by_factor, level_covariances
from analysis.factored import FactorFit
from analysis.generalised import GlmmFit
from analysis.linear import LmmFit


@dataclass(frozen=True, slots=True)
class Modes:
    """The random effects of one factor's levels given the data and the estimates, on the scale of the data.

    modes : (levels, q) the most likely deviations
    covariance : (levels, q, q) their covariance given the data and the estimated parameters
    shift : (levels, q, p) change of the modes with the fixed effects, db/dβ (p + r: and the family's own parameters); None where there are several factors
    """

    modes: np.ndarray
    covariance: np.ndarray
    shift: np.ndarray | None


def conditional_modes(fit: LmmFit | FactorFit | GlmmFit) -> tuple[Modes, ...]:
    """Modes of either kind of model, for each grouping factor in the design's order."""
    if isinstance(fit, GlmmFit):
        return _generalised(fit)
    return _by_blocks(fit) if isinstance(fit, FactorFit) else (_linear(fit),)


def _by_blocks(fit: FactorFit) -> tuple[Modes, ...]:
    """b̂ = Λû and σ²ΛH⁻¹Λ' with H = Λ'Z'ZΛ + I."""
    m = fit.moments
    assert fit.profile.factorised is not None  # an optimum has a factor
    covariances = level_covariances(m.plan, *fit.profile.factorised.inverse(0))
    out = []
    for factor, u, inner in zip(
        m.plan.factors, by_factor(m.plan, fit.profile.u, fit.profile.u_kept), covariances, strict=True
    ):
        back = (m.random_map @ fit.lam)[factor.terms, factor.terms]
        out.append(Modes(m.scale_y * u @ back.T, fit.sigma**2 * (back @ inner @ back.T), None))
    return tuple(out)


def _linear(fit: LmmFit) -> Modes:
    """b̂ = M(Z'y − Z'Xβ̂) and σ²M, with M = Λ(Λ'Z'ZΛ + I)⁻¹Λ'."""
    m, lam = fit.moments, fit.lam
    inner = lam @ np.linalg.solve(lam.T @ m.zz @ lam + np.eye(len(lam)), np.broadcast_to(lam.T, m.zz.shape))
    p = m.n_fixed
    residual = m.zw[:, :, p] - m.zw[:, :, :p] @ fit.profile.beta
    modes = np.einsum("iab,ib->ia", inner, residual)
    shift = -inner @ m.zw[:, :, :p] @ np.linalg.inv(m.fixed_map)
    back = m.random_map
    return Modes(m.scale_y * modes @ back.T, fit.sigma**2 * (back @ inner @ back.T), back @ shift)


def _generalised(fit: GlmmFit) -> tuple[Modes, ...]:
    """b̂ = Λû at the mode of the joint density, with ΛH⁻¹Λ' as covariance, H = Λ'Z'WZΛ + I."""
    out, first = [], 0
    to_inner = np.linalg.inv(fit.data.joint_map)
    for own in fit.levels:
        terms = slice(first, first + own.u.shape[1])
        back = (fit.data.random_map @ fit.lam)[terms, terms]
        out.append(Modes(own.u @ back.T, back @ own.inverse @ back.T, back @ own.shift @ to_inner))
        first = terms.stop
    return tuple(out)
