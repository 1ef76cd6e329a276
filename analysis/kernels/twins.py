"""The kernels written plainly in numpy: what each must equal. Slow, and read first."""

from __future__ import annotations

import itertools

import numpy as np


def person_moments(rows: np.ndarray, starts: np.ndarray, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `gaussian.person_moments`."""
    means, scatters = [], []
    for first, last in itertools.pairwise(starts):
        own = rows[first:last] - rows[first]
        means.append(rows[first] - anchor + own.mean(axis=0))
        deviation = own - own.mean(axis=0)
        scatters.append(deviation.T @ deviation)
    return np.array(means), np.array(scatters)


def explained(zz: np.ndarray, zw: np.ndarray, lam: np.ndarray) -> tuple[float, np.ndarray]:
    """Twin of `gaussian.explained`."""
    chol = np.linalg.cholesky(lam.T @ zz @ lam + np.eye(lam.shape[0]))
    u = np.linalg.solve(chol, lam.T @ zw)
    return float(np.log(np.diagonal(chol, axis1=1, axis2=2)).sum()), np.einsum("iqa,iqb->ab", u, u)


def score_parts(zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `gaussian.score_parts`."""
    m = lam @ np.linalg.inv(lam.T @ zz @ lam + np.eye(lam.shape[0])) @ lam.T
    w = zw - zz @ m @ zw
    return (zz - zz @ m @ zz).sum(axis=0), np.einsum("iaj,jk,ibk->ab", w, weight, w)


def laplace_deviance(
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    lam: np.ndarray,
) -> float:
    """Twin of `laplace.laplace_deviance`, its value only: plain Newton steps to each mode."""
    q, deviance = lam.shape[0], 0.0
    for first, last in itertools.pairwise(starts):
        own = slice(first, last)
        v, u = z[own] @ lam, np.zeros(q)
        for _ in range(60):
            eta = offset[own] + x[own] @ beta + v @ u
            mu = 1.0 / (1.0 + np.exp(-eta))
            h = np.eye(q) + v.T @ ((size[own] * mu * (1.0 - mu))[:, None] * v)
            u = u + np.linalg.solve(h, v.T @ (size[own] * (y[own] - mu)) - u)
        eta = offset[own] + x[own] @ beta + v @ u
        joint = float((size[own] * (y[own] * eta - np.logaddexp(0.0, eta))).sum() - 0.5 * u @ u)
        deviance += float(np.linalg.slogdet(h)[1]) - 2.0 * joint
    return deviance


def marginal_deviance(
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    scale: float,
) -> float:
    """−2 log-likelihood with one random effect per person, integrated on a fine grid: what quadrature must reach."""
    grid = np.linspace(-12.0, 12.0, 20_001)
    prior = np.exp(-0.5 * grid**2) / np.sqrt(2.0 * np.pi)
    deviance = 0.0
    for first, last in itertools.pairwise(starts):
        own = slice(first, last)
        eta = (offset[own] + x[own] @ beta)[:, None] + scale * z[own] * grid
        likelihood = np.exp((size[own, None] * (y[own, None] * eta - np.logaddexp(0.0, eta))).sum(axis=0))
        deviance -= 2.0 * float(np.log((likelihood * prior).sum() * (grid[1] - grid[0])))
    return deviance
