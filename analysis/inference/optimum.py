"""What degrees of freedom are made of: the fixed effects' covariance at the optimum, and how it changes with the random part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.linear import LmmFit


@dataclass(frozen=True, slots=True)
class Optimum:
    """A linear fit on the inner scale of its moments, in units of σ²: W = V/σ².

    phi : (p, p) (X'W⁻¹X)⁻¹
    own : (q, q) ΣZ'W⁻¹Z;  spread : (q, q, p + 1, p + 1) Σ T_aj T_bk, T = Z'W⁻¹[X y]
    """

    phi: np.ndarray
    own: np.ndarray
    spread: np.ndarray


def optimum(fit: LmmFit) -> Optimum:
    at = fit.profile
    return Optimum(at.inverse, at.score + np.einsum("jk,abjk->ab", at.weight, at.spread), at.spread)
