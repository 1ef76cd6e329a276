"""Linear mixed models by profiled REML or ML (Bates et al., 2015, eqs. 30–42), with an analytic gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.errors import DesignError
from analysis.kernels.gaussian import explained, score_parts
from analysis.moments import Moments
from analysis.optimize import Minimum, minimise_factor

STARTS = (0.1, 0.3, 1.0, 3.0, 10.0, 50.0)
"""Relative SDs of all random effects to choose the start from: too large a start steps over the optimum to zero."""


@dataclass(frozen=True)
class Profile:
    """The criterion at one θ, everything else profiled out; inner scale.

    deviance : −2 log-likelihood (restricted for REML), gradient (m,) with respect to θ
    beta : (p,);  rss : the penalised residual sum of squares;  information : (p, p) X'V⁻¹X with V relative to σ²
    """

    deviance: float
    gradient: np.ndarray
    beta: np.ndarray
    rss: float
    information: np.ndarray


@dataclass(frozen=True)
class LmmFit:
    """A fitted linear mixed model, on the scale of the data.

    beta (p,), vcov (p, p): fixed effects;  g (q, q): covariance of a person's random effects
    theta (m,), lam (q, q), profile: the optimum on the inner scale
    """

    moments: Moments
    reml: bool
    theta: np.ndarray
    lam: np.ndarray
    profile: Profile
    minimum: Minimum
    beta: np.ndarray
    vcov: np.ndarray
    g: np.ndarray
    sigma: float
    log_likelihood: float
    converged: bool
    singular: bool

    @property
    def degrees(self) -> int:
        """n − p for REML, n for ML."""
        return degrees(self.moments, self.reml)


def degrees(moments: Moments, reml: bool) -> int:
    return moments.n_obs - (moments.n_fixed if reml else 0)


def profile(moments: Moments, theta: np.ndarray, reml: bool) -> Profile:
    """The criterion and its gradient at θ (m,); +inf where it is undefined."""
    lam = moments.structure.lam(theta)
    p, free = moments.n_fixed, degrees(moments, reml)
    logs, absorbed = explained(moments.zz, moments.zw, lam)
    rest = moments.ww - absorbed
    try:
        root = np.linalg.cholesky(rest)
    except np.linalg.LinAlgError:
        nothing = np.full(len(theta), np.nan)
        return Profile(np.inf, nothing, np.full(p, np.nan), np.nan, rest[:p, :p])
    beta = np.linalg.solve(root[:p, :p].T, root[p, :p])
    rss = float(root[p, p] ** 2)
    deviance = 2.0 * logs + free * (1.0 + np.log(2.0 * np.pi * rss / free))
    residual = np.append(-beta, 1.0)
    weight = np.outer(residual, residual) * (free / rss)
    if reml:
        deviance += 2.0 * float(np.log(np.diag(root)[:p]).sum())
        weight[:p, :p] += np.linalg.inv(rest[:p, :p])
    own, weighted = score_parts(moments.zz, moments.zw, lam, weight)
    slope = 2.0 * (own - weighted) @ lam
    gradient = slope[moments.structure.rows, moments.structure.columns]
    return Profile(float(deviance), gradient, beta, rss, rest[:p, :p])


def fit_lmm(moments: Moments, reml: bool = True) -> LmmFit:
    """Fit by REML or ML. A fit that did not converge is returned with `converged` False.

    Raises DesignError where there are too few rows or the fixed effects predict the outcome exactly.
    """
    structure = moments.structure
    persons, q, _ = moments.zw.shape
    if moments.n_obs <= moments.n_fixed:
        raise DesignError(f"{moments.n_obs} rows are too few for {moments.n_fixed} fixed effects.")
    if moments.n_obs <= persons * q:
        raise DesignError(
            f"{moments.n_obs} rows for {persons} groups with {q} random effects each: the random effects and the "
            "residual cannot be told apart; more rows per group or fewer random terms are needed."
        )
    _refuse_exact(moments)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        at = profile(moments, theta, reml)
        return at.deviance, at.gradient

    starts = [np.where(structure.diagonal, size, 0.0) for size in STARTS]
    minimum = minimise_factor(objective, min(starts, key=lambda theta: objective(theta)[0]), structure)
    theta = np.where(structure.diagonal, np.maximum(minimum.x, 0.0), minimum.x)
    best = profile(moments, theta, reml)
    free = degrees(moments, reml)
    sigma = float(np.sqrt(best.rss / free)) * moments.scale_y
    factor = moments.random_map @ structure.lam(theta)
    fixed_map = moments.fixed_map
    deviance = best.deviance + 2.0 * free * np.log(moments.scale_y) - (2.0 * moments.log_det if reml else 0.0)
    return LmmFit(
        moments=moments,
        reml=reml,
        theta=theta,
        lam=structure.lam(theta),
        profile=best,
        minimum=minimum,
        beta=moments.beta(best.beta),
        vcov=sigma**2 * fixed_map @ np.linalg.inv(best.information) @ fixed_map.T,
        g=sigma**2 * factor @ factor.T,
        sigma=sigma,
        log_likelihood=float(-0.5 * deviance),
        converged=minimum.is_proven(moments.n_obs),
        singular=structure.is_singular(theta),
    )


def _refuse_exact(moments: Moments) -> None:
    """An outcome without residual variance has no finite optimum."""
    p = moments.n_fixed
    explained_by_fixed = moments.ww[:p, p] @ np.linalg.solve(moments.ww[:p, :p], moments.ww[:p, p])
    if moments.ww[p, p] - explained_by_fixed <= 1e-13 * moments.ww[p, p]:
        raise DesignError("the fixed effects predict the outcome exactly; there is nothing left to model.")
