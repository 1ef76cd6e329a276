"""Cluster-robust covariance of the fixed effects, CR2, with Bell and McCaffrey's degrees of freedom, one person a cluster.

Bell & McCaffrey (2002); Pustejovsky & Tipton (2018); METHODS §2.8. With C = X'W⁻¹X of a person, M = (ΣC)⁻¹ = RR' and
H = R'CR, the adjusted score of a person is g = (I − H)^{-1/2} R'X'W⁻¹e and the covariance R(Σ gg')R'. The degrees of freedom
are tr(Ω)²/tr(Ω²), where Ω_ij = [i=j] a_i'H_ia_i − a_i'H_iH_ja_j with a = (I − H)^{-1/2}R'ℓ; as Ω is diagonal less a matrix of
rank p, both traces are sums over persons, and no persons × persons matrix is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.columns import column_means, column_scatter
from analysis.design import Column
from analysis.linear import LmmFit
from analysis.moments import Moments
from analysis.serial_fit import SerialFit
from analysis.state import PersonState

SINGLE = 1e-10
"""Where less than this share of a direction's information comes from all other persons, one person alone determines it."""
UNBIASED = 1e-6
"""Share of a contrast's variance that may rest on such directions before its robust variance means nothing."""
PART = 1024
"""Persons taken at once: memory does not grow with the persons."""


def cr2(
    fit: LmmFit, state: PersonState, fixed: Sequence[Column], contrasts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(p, p) robust covariance of the fixed effects as written, and the degrees of freedom (r,) of contrasts (r, p).

    Warns, and gives NaN, for a contrast that a single person determines wholly or in part (a group of one, say): its robust
    variance leaves that part out, and nothing in the data says how large it is.
    """
    m = fit.moments
    root = np.linalg.cholesky(fit.profile.inverse)
    directions = contrasts @ m.fixed_map @ root
    p, count = m.n_fixed, len(contrasts)
    meat, crossed = np.zeros((p, p)), np.zeros((count, p, p))
    sums = np.zeros((3, count))
    for gram in weighted_grams(fit, state, fixed):
        scores = (gram[:, :p, p] - gram[:, :p, :p] @ fit.profile.beta) @ root
        own = root.T @ gram[:, :p, :p] @ root
        lift = _inverse_root(own)
        adjusted = np.einsum("ijk,ik->ij", lift, scores)
        meat += adjusted.T @ adjusted
        a = np.einsum("ijk,rk->irj", lift, directions)
        b = a @ own
        d, bb = np.einsum("irj,irj->ir", a, b), np.einsum("irj,irj->ir", b, b)
        sums += np.stack([(d - bb).sum(axis=0), (d**2).sum(axis=0), (d * bb).sum(axis=0)])
        crossed += np.einsum("irj,irk->rjk", b, b, optimize=True)
    trace, squares, mixed = sums
    alone = trace < (1.0 - UNBIASED) * np.einsum("rj,rj->r", directions, directions)
    if alone.any():
        _warn(contrasts[alone], fixed)
    spread = squares - 2.0 * mixed + np.einsum("rjk,rjk->r", crossed, crossed)
    df = np.divide(trace**2, spread, out=np.full(count, np.nan), where=~alone)
    back = m.scale_y * m.fixed_map @ root
    return back @ meat @ back.T, df


def _warn(contrasts: np.ndarray, fixed: Sequence[Column]) -> None:
    named = [" with ".join(repr(c.name) for c, weight in zip(fixed, row, strict=True) if weight) for row in contrasts]
    warnings.warn(
        f"no robust inference for {', '.join(named)}: a single person determines it, or a part of it, and the other persons "
        "cannot tell how far off that is. Leave robust out.",
        RuntimeWarning,
        stacklevel=3,
    )


def weighted_grams(fit: LmmFit, state: PersonState, fixed: Sequence[Column]) -> Iterator[np.ndarray]:
    """(≤ PART, p + 1, p + 1) [X y]'W⁻¹[X y] of each person, on the inner scale of the fit's moments, part by part."""
    m, lam = fit.moments, fit.lam
    grams = _serial_grams(fit) if isinstance(fit, SerialFit) else _plain_grams(m, state, fixed)
    for first, gram in zip(range(0, len(m.zz), PART), grams, strict=True):
        part = slice(first, first + PART)
        root = np.linalg.cholesky(lam.T @ m.zz[part] @ lam + np.eye(len(lam)))
        absorbed = np.linalg.solve(root, lam.T @ m.zw[part])
        yield gram - absorbed.transpose(0, 2, 1) @ absorbed


def _serial_grams(fit: SerialFit) -> Iterator[np.ndarray]:
    """(≤ PART, p + 1, p + 1) W'R⁻¹W of each person, from the whitened rows."""
    starts, rows = fit.bins.series.starts, fit.rows[:, len(fit.lam) :]
    for first in range(0, len(starts) - 1, PART):
        own = starts[first : first + PART + 1]
        here = rows[own[0] : own[-1]]
        yield np.add.reduceat(here[:, :, None] * here[:, None, :], own[:-1] - own[0], axis=0)


def _plain_grams(m: Moments, state: PersonState, fixed: Sequence[Column]) -> Iterator[np.ndarray]:
    """(≤ PART, p + 1, p + 1) W'W of each person, from the state."""
    columns = (*fixed, Column(state.names[-1], "raw", len(state.names) - 1))
    inner = np.eye(len(columns))
    inner[:-1, :-1] = m.fixed_map
    inner[:, -1] /= m.scale_y
    means, anchor = column_means(state, columns)
    anchor[-1] -= m.shift_y
    means = means @ inner + anchor @ inner
    for first in range(0, len(means), PART):
        part = slice(first, first + PART)
        own = means[part]
        gram = inner.T @ column_scatter(state, columns, part) @ inner
        yield gram + state.n[part][:, None, None] * own[:, :, None] * own[:, None, :]


def _inverse_root(own: np.ndarray) -> np.ndarray:
    """(persons, p, p) (I − H)^{-1/2}, without the directions that one person alone determines."""
    values, vectors = np.linalg.eigh(np.eye(own.shape[-1]) - own)
    scale = np.where(values > SINGLE, 1.0 / np.sqrt(np.maximum(values, SINGLE)), 0.0)
    return np.asarray((vectors * scale[:, None, :]) @ vectors.transpose(0, 2, 1))
