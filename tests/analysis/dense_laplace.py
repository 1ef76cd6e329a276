"""The Laplace approximation written plainly, over all random effects at once: what the engine's kernels must equal."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, gammaln

from analysis.factors import Factor
from analysis.kernels import families
from analysis.marginal import natural
from analysis.responses import Responses


def of_rows(data: Responses, psi: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood without constants, slope and minus curvature of each row (n,); logit, log and cumulative logit."""
    y, size = data.y, data.size
    if data.family == families.BINOMIAL_LOGIT:
        mean = expit(eta)
        return size * (y * eta - np.logaddexp(0.0, eta)), size * (y - mean), size * mean * (1.0 - mean)
    if data.family == families.POISSON:
        return y * eta - np.exp(eta), y - np.exp(eta), np.exp(eta)
    if data.family == families.NEGATIVE_BINOMIAL:
        kappa, mean = np.exp(psi[0]), np.exp(eta)
        rising = gammaln(y + kappa) - gammaln(kappa) - y * np.log(kappa)
        slope = (y - mean) / (1.0 + mean / kappa)
        bend = mean * (1.0 + y / kappa) / (1.0 + mean / kappa) ** 2
        return rising + y * eta - (y + kappa) * np.log1p(mean / kappa), slope, bend
    edges = np.concatenate([[-np.inf], psi, [np.inf]])
    below = expit(np.append(edges[1:], np.inf)[y.astype(int)] - eta)
    under = expit(edges[y.astype(int)] - eta)
    return np.log(below - under), below + under - 1.0, below * (1.0 - below) + under * (1.0 - under)


def design_of_levels(data: Responses, factors: list[Factor]) -> np.ndarray:
    """Z (n, all levels' terms), factor by factor, level by level."""
    parts = []
    for factor in factors:
        own = np.zeros((len(data.y), len(factor.levels), factor.size))
        own[np.arange(len(data.y)), factor.codes] = data.z[factor.terms].T
        parts.append(own.reshape(len(data.y), -1))
    return np.hstack(parts)


def dense_lam(factors: list[Factor], lam: np.ndarray) -> np.ndarray:
    """Λ of all levels."""
    blocks = [np.kron(np.eye(len(factor.levels)), lam[factor.terms, factor.terms]) for factor in factors]
    out = np.zeros((sum(map(len, blocks)),) * 2)
    start = 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return out


def modes(data: Responses, factors: list[Factor], point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u of all levels at the point (β*, φ, θ), H = V'WV + I, and V = ZΛ."""
    p, r = data.n_fixed, data.n_extra
    v = design_of_levels(data, factors) @ dense_lam(factors, data.structure.lam(point[p + r :]))
    fixed, psi = data.offset + point[:p] @ data.x, natural(data.family, point[p : p + r])
    u = np.zeros(v.shape[1])

    def density(u: np.ndarray) -> float:
        return float(of_rows(data, psi, fixed + v @ u)[0].sum() - 0.5 * u @ u)

    for _ in range(100):
        _, slope, bend = of_rows(data, psi, fixed + v @ u)
        step = np.linalg.solve(v.T @ (bend[:, None] * v) + np.eye(len(u)), v.T @ slope - u)
        while density(u + step) < density(u) - 1e-9:
            step *= 0.5
        u = u + step
        if np.abs(step).max() < 1e-12:
            break
    bend = of_rows(data, psi, fixed + v @ u)[2]
    return u, v.T @ (bend[:, None] * v) + np.eye(len(u)), v


def deviance(data: Responses, factors: list[Factor], point: np.ndarray) -> float:
    """−2 log-likelihood without constants."""
    p, r = data.n_fixed, data.n_extra
    u, h, v = modes(data, factors, point)
    value = of_rows(data, natural(data.family, point[p : p + r]), data.offset + point[:p] @ data.x + v @ u)[0]
    return float(-2.0 * value.sum() + u @ u + np.linalg.slogdet(h)[1])
