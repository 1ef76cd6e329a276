"""Logistic mixed models by Laplace or adaptive quadrature (Pinheiro & Bates, 1995), fixed effects and θ jointly.

Inside, the fixed columns are centred and made orthonormal and the random ones scaled, so that a badly scaled predictor
costs neither convergence nor standard errors; the latter come from the joint Hessian of the exact score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, gammaln

from analysis.checks import without_variation
from analysis.covariance import Structure
from analysis.design import Column, Design
from analysis.errors import DesignError, SpecError
from analysis.kernels.laplace import laplace_deviance, quadrature_deviance
from analysis.moments import block_constants, inner_to_written, refuse_dependence
from analysis.optimize import Minimum, minimise_factor

WHOLE = 1e-6
"""A proportion times its number of trials may miss a whole number by this much (rounded input)."""
RUNAWAY = 30.0
"""A fitted log-odds beyond this belongs to an estimate on its way to infinity: the outcome is separated."""


@dataclass(frozen=True)
class BinomialData:
    """The rows of a binomial model with inner columns, person by person.

    x (n, p), z (n, q), y (n,) proportions, size (n,) trials, offset (n,), starts (persons + 1,)
    β = fixed_map @ β*,  b = random_map @ b*;  constant : the log-likelihood's part that no parameter touches
    """

    x: np.ndarray
    z: np.ndarray
    y: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    starts: np.ndarray
    structure: Structure
    fixed_map: np.ndarray
    random_map: np.ndarray
    constant: float


@dataclass(frozen=True)
class GlmmFit:
    """A fitted logistic mixed model, on the scale of the data.

    beta (p,), vcov (p, p), g (q, q) as in `LmmFit`; theta (m,), lam (q, q), modes (persons, q) on the inner scale
    curvature : (persons, q, q) Λ'Z'WZΛ + I at the modes;  cross : (persons, q, p) Λ'Z'WX
    separated : True where an estimate runs away to infinity
    """

    data: BinomialData
    agq: int
    theta: np.ndarray
    lam: np.ndarray
    minimum: Minimum
    modes: np.ndarray
    curvature: np.ndarray
    cross: np.ndarray
    beta: np.ndarray
    vcov: np.ndarray
    g: np.ndarray
    log_likelihood: float
    converged: bool
    singular: bool
    separated: bool


def binomial_data(design: Design) -> BinomialData:
    """Inner columns and checks. Raises DesignError for outcomes that are no proportions of whole trials."""
    y = np.array(design.outcome)  # pandas lends read-only arrays
    size = np.ones(len(y)) if design.weights is None else np.array(design.weights)
    name = design.raw[-1]
    if (size <= 0.0).any():
        raise DesignError("the weights (numbers of trials) must be above zero.")
    if (y < 0.0).any() or (y > 1.0).any():
        raise DesignError(f"the outcome {name!r} must be 0 or 1, or a proportion with weights; it reaches {y.max():g}.")
    successes = y * size
    if (np.abs(successes - np.rint(successes)) > WHOLE * np.maximum(size, 1.0)).any():
        raise DesignError(
            f"the outcome {name!r} holds proportions that are no whole number of successes; name the numbers of trials "
            "with weights=."
        )
    if y.min() == y.max() and y.min() in (0.0, 1.0):
        raise DesignError(f"the outcome {name!r} is {y.min():g} in all rows used.")
    structure = Structure.of_blocks(design.blocks)
    one = next((j for j, column in enumerate(design.fixed) if column.kind == "one"), None)
    x, fixed_map = _inner_columns(design, design.fixed, [one] * len(design.fixed))
    gram = x.T @ x / len(x)
    refuse_dependence(gram, design.fixed_names)
    whitening = np.linalg.inv(np.linalg.cholesky(gram)).T
    z, random_map = _inner_columns(design, design.random, block_constants(design.random, structure))
    constant = gammaln(size + 1.0) - gammaln(successes + 1.0) - gammaln(size - successes + 1.0)
    return BinomialData(
        x=np.ascontiguousarray(x @ whitening),
        z=np.ascontiguousarray(z),
        y=y,
        size=size,
        offset=np.zeros(len(y)) if design.offset is None else np.array(design.offset),
        starts=design.starts,
        structure=structure,
        fixed_map=fixed_map @ whitening,
        random_map=random_map,
        constant=float(constant.sum()),
    )


def fit_glmm(data: BinomialData, agq: int = 1) -> GlmmFit:
    """Fit by Laplace (agq=1) or with agq quadrature points per person, which needs a single random effect.

    A fit that did not converge is returned with `converged` False and, without a Hessian to trust, NaN in `vcov`.
    """
    if not isinstance(agq, int) or agq < 1:
        raise SpecError(f"agq={agq!r} must be a whole number of quadrature points, 1 (Laplace) or more.")
    q, p = data.structure.size, data.x.shape[1]
    if agq > 1 and q > 1:
        raise SpecError(
            f"agq={agq} needs a single random effect per group, and the model has {q}; use agq=1 (Laplace)."
        )
    modes = np.zeros((len(data.starts) - 1, q))
    nodes, weights = np.polynomial.hermite.hermgauss(agq)
    log_weights = np.log(weights) + nodes**2

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        lam = data.structure.lam(point[p:])
        if not np.isfinite(modes).all():
            modes[:] = 0.0
        common = (data.x, data.z, data.y, data.size, data.offset, data.starts, point[:p].copy(), lam, modes)
        if agq == 1:
            deviance, slope, slope_lam = laplace_deviance(*common)
        else:
            deviance, slope, slope_lam = quadrature_deviance(*common, nodes, log_weights)
        return deviance, np.concatenate([slope, slope_lam[data.structure.rows, data.structure.columns]])

    start = np.concatenate([_logistic_start(data), np.where(data.structure.diagonal, 0.5, 0.0)])
    minimum = minimise_factor(objective, start, data.structure, before=p)
    objective(minimum.x)
    beta, theta = minimum.x[:p], minimum.x[p:]
    lam = data.structure.lam(theta)
    v = data.z @ lam
    eta = data.offset + data.x @ beta + np.einsum("nq,nq->n", v, np.repeat(modes, np.diff(data.starts), axis=0))
    mu = expit(eta)
    weighted = (data.size * mu * (1.0 - mu))[:, None] * v
    factor = data.random_map @ lam
    fixed_part = data.offset + data.x @ beta
    separated = bool(np.abs(fixed_part - np.median(data.offset)).max() > RUNAWAY)
    inner_vcov = _fixed_covariance(minimum, p)
    return GlmmFit(
        data=data,
        agq=agq,
        theta=theta,
        lam=lam,
        minimum=minimum,
        modes=modes,
        curvature=np.eye(q) + np.add.reduceat(weighted[:, :, None] * v[:, None, :], data.starts[:-1], axis=0),
        cross=np.add.reduceat(weighted[:, :, None] * data.x[:, None, :], data.starts[:-1], axis=0),
        beta=data.fixed_map @ beta,
        vcov=data.fixed_map @ inner_vcov @ data.fixed_map.T,
        g=factor @ factor.T,
        log_likelihood=data.constant - 0.5 * minimum.value,
        converged=minimum.is_proven(len(data.y)) and not separated and bool(np.isfinite(inner_vcov).all()),
        singular=data.structure.is_singular(theta),
        separated=separated,
    )


def _inner_columns(
    design: Design, columns: tuple[Column, ...], constants: list[int | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, k), centred where a constant takes up the shift and scaled to unit mean square; and their map."""
    values = design.matrix(columns)
    offsets = np.zeros(len(columns))
    scale = np.ones(len(columns))
    for j, constant in enumerate(constants):
        if columns[j].kind == "one":
            continue
        if constant is not None:
            offsets[j] = values[0, j] + (values[:, j] - values[0, j]).mean()
            values[:, j] -= offsets[j]
        scale[j] = np.sqrt(np.mean(values[:, j] ** 2))
        if scale[j] <= 1e-12 * abs(offsets[j]):
            raise without_variation(columns[j].name)
        values[:, j] /= scale[j]
    return values, inner_to_written(offsets, scale, constants)


def _logistic_start(data: BinomialData) -> np.ndarray:
    """Fixed effects of the plain logistic model: a few safe Newton steps, enough to start from."""
    beta = np.zeros(data.x.shape[1])
    for _ in range(8):
        mu = expit(data.offset + data.x @ beta)
        weight = data.size * mu * (1.0 - mu)
        information = data.x.T @ (weight[:, None] * data.x)
        information[np.diag_indices_from(information)] += 1e-3 * len(data.y)  # a ridge: only a start is needed
        beta = beta + np.linalg.solve(information, data.x.T @ (data.size * (data.y - mu)))
    return np.asarray(np.clip(beta, -5.0, 5.0))


def _fixed_covariance(minimum: Minimum, p: int) -> np.ndarray:
    """β's block of 2H⁻¹, H the joint Hessian of the deviance over the free coordinates; NaN if H is not positive."""
    curvatures = minimum.curvatures
    if not len(curvatures) or curvatures[0] <= 1e-10 * curvatures[-1]:
        return np.full((p, p), np.nan)
    free = np.flatnonzero(minimum.free)
    covariance = 2.0 * np.linalg.inv(minimum.hessian[np.ix_(free, free)])
    return np.asarray(covariance[:p, :p])
