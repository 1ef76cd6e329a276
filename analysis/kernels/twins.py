"""The kernels written plainly in numpy: what each must equal. Slow, and read first."""

from __future__ import annotations

import itertools

import numpy as np


def add_rows(rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twin of `state.add_rows` for persons without earlier rows: base, sums, products."""
    base, sums, products = [], [], []
    for first, last in itertools.pairwise(starts):
        own = rows[first:last] - rows[first]
        base.append(rows[first])
        sums.append(own.sum(axis=0))
        products.append(own.T @ own)
    return np.array(base), np.array(sums), np.array(products)


def deviance(zz: np.ndarray, zw: np.ndarray, ww: np.ndarray, n_obs: int, lam: np.ndarray, reml: bool) -> float:
    """Twin of `gaussian.first_sums` and `gaussian.criterion`: the profiled deviance alone."""
    p = ww.shape[0] - 1
    chol = np.linalg.cholesky(lam.T @ zz @ lam + np.eye(lam.shape[0]))
    u = np.linalg.solve(chol, lam.T @ zw)
    rest = ww - np.einsum("iqa,iqb->ab", u, u)
    rss = rest[p, p] - rest[p, :p] @ np.linalg.solve(rest[:p, :p], rest[:p, p])
    free = n_obs - (p if reml else 0)
    out = 2.0 * np.log(np.diagonal(chol, axis1=1, axis2=2)).sum() + free * (1.0 + np.log(2.0 * np.pi * rss / free))
    return float(out + (np.linalg.slogdet(rest[:p, :p])[1] if reml else 0.0))


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


def left_over(zz: np.ndarray, zw: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Twin of `information.left_over`, for all persons: S (persons, q, q) and T (persons, q, d)."""
    m = lam @ np.linalg.inv(lam.T @ zz @ lam + np.eye(lam.shape[0])) @ lam.T
    return zz - zz @ m @ zz, zw - zz @ m @ zw


def trace_sums(
    zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, phi: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Twin of `information.trace_sums`."""
    s, t = left_over(zz, zw, lam)
    t = t[:, :, : len(phi)]
    h = t @ phi @ t.transpose(0, 2, 1)
    units = element_units(rows, columns, lam.shape[0])
    own = np.einsum("iab,rbc,icd,sda->rs", s, units, s, units, optimize=True)
    return np.asarray(own - 2.0 * np.einsum("rab,ibc,scd,ida->rs", units, s, units, h, optimize=True))


def excess_sums(
    zz: np.ndarray, zw: np.ndarray, lam: np.ndarray, weight: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Twin of `information.excess_sums`."""
    s, t = left_over(zz, zw, lam)
    units = element_units(rows, columns, lam.shape[0])
    inner = np.einsum("rs,rab,ibc,scd->iad", weight, units, s, units, optimize=True)
    return np.asarray(np.einsum("iaj,iab,ibk->jk", t, inner, t, optimize=True))


def element_units(rows: np.ndarray, columns: np.ndarray, q: int) -> np.ndarray:
    """(m, q, q) derivative of a symmetric matrix with respect to its elements at (rows, columns)."""
    units = np.zeros((len(rows), q, q))
    units[np.arange(len(rows)), rows, columns] = 1.0
    units[np.arange(len(rows)), columns, rows] = 1.0
    return units
