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
