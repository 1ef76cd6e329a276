"""The kernels written plainly in numpy: what each must equal. Slow, and read first."""

from __future__ import annotations

import itertools

import numpy as np

from analysis.kernels import families


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
    family: int,
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    extra: np.ndarray,
    lam: np.ndarray,
) -> float:
    """Twin of `laplace.laplace`, its value only: plain Newton steps to each mode. x (p, n), z (q, n)."""
    q, deviance = lam.shape[0], 0.0
    for first, last in itertools.pairwise(starts):
        own = slice(first, last)
        v, u = z[:, own].T @ lam, np.zeros(q)
        for _ in range(60):
            eta = offset[own] + beta @ x[:, own] + v @ u
            value, slope, bend = row_slopes(family, y[own], size[own], eta, extra)
            h = np.eye(q) - v.T @ (bend[:, None] * v)
            u = u + np.linalg.solve(h, v.T @ slope - u)
        deviance += float(np.linalg.slogdet(h)[1] - 2.0 * value.sum() + u @ u)
    return deviance


def marginal_deviance(
    family: int,
    x: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    size: np.ndarray,
    offset: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    extra: np.ndarray,
    scale: float,
) -> float:
    """−2 log-likelihood with one random effect per person, integrated on a fine grid: what quadrature must reach."""
    grid = np.linspace(-12.0, 12.0, 4_001)
    prior = np.exp(-0.5 * grid**2) / np.sqrt(2.0 * np.pi)
    deviance = 0.0
    for first, last in itertools.pairwise(starts):
        logs = np.zeros(len(grid))
        for j in range(first, last):
            eta = offset[j] + beta @ x[:, j] + scale * z[0, j] * grid
            logs += row_slopes(family, np.full_like(grid, y[j]), np.full_like(grid, size[j]), eta, extra)[0]
        deviance -= 2.0 * float(np.log((np.exp(logs) * prior).sum() * (grid[1] - grid[0])))
    return deviance


def row_slopes(family: int, y: np.ndarray, size: np.ndarray, eta: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """(3, n) `families.slopes` of each row: log-likelihood and its first two derivatives in η."""
    return np.array([families.slopes(family, *row, extra) for row in zip(y, size, eta, strict=True)]).T


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
