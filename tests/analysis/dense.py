"""A linear model with several grouping factors by its definition, every matrix dense: what block elimination must equal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

import analysis
from analysis.design import Design


@dataclass(frozen=True)
class Dense:
    """x (n, p), z (n, all random columns, factor by factor and level by level), y (n,); g their covariance; v of y."""

    x: np.ndarray
    z: np.ndarray
    y: np.ndarray
    g: np.ndarray
    v: np.ndarray

    @property
    def phi(self) -> np.ndarray:
        return np.linalg.inv(self.x.T @ np.linalg.solve(self.v, self.x))

    @property
    def beta(self) -> np.ndarray:
        return self.phi @ self.x.T @ np.linalg.solve(self.v, self.y)

    @property
    def modes(self) -> np.ndarray:
        return self.g @ self.z.T @ np.linalg.solve(self.v, self.y - self.x @ self.beta)

    def log_likelihood(self, reml: bool) -> float:
        left = self.y - self.x @ self.beta
        n, p = self.x.shape
        total = np.linalg.slogdet(self.v)[1] + left @ np.linalg.solve(self.v, left)
        if reml:
            total -= np.linalg.slogdet(self.phi)[1]
        return float(-0.5 * (total + (n - p if reml else n) * np.log(2.0 * np.pi)))

    def prediction_se(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(r,) root of Var(x'β̂ + z'b̂ − x'β − z'b), by BLUP theory (Henderson, 1975)."""
        gz = self.g @ z.T
        inside = self.z.T @ np.linalg.solve(self.v, self.z)
        c = x - (self.x.T @ np.linalg.solve(self.v, self.z @ gz)).T
        own = np.einsum("rk,kr->r", z, gz) - np.einsum("kr,kl,lr->r", gz, inside, gz)
        return np.sqrt(own + np.einsum("rp,pk,rk->r", c, self.phi, c))


def columns_of(design: Design, z: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(r, all random columns) of rows z (r, terms) whose levels are `level` (factors, r), −1 for none."""
    parts = []
    for factor, own in zip(design.factors, level, strict=True):
        part = np.zeros((len(z), len(factor.levels), factor.size))
        known = np.flatnonzero(own >= 0)
        part[known, own[known]] = z[known, factor.terms]
        parts.append(part.reshape(len(z), -1))
    return np.hstack(parts)


def dense(design: Design, g: np.ndarray, sigma: float) -> Dense:
    """The model at covariance g (terms, terms) of the random effects and residual SD sigma."""
    x = design.matrix(design.fixed)
    z = columns_of(design, design.matrix(design.random), np.array([factor.codes for factor in design.factors]))
    whole = block_diag(*(np.kron(np.eye(len(f.levels)), g[f.terms, f.terms]) for f in design.factors))
    return Dense(x, z, design.outcome, whole, z @ whole @ z.T + sigma**2 * np.eye(len(x)))


def dense_of(fit: analysis.LinearModel) -> Dense:
    return dense(fit.design, fit.fit.g, fit.residual_sd)


def made(seed: int = 0, rows: int = 150) -> pd.DataFrame:
    """Rows with factors of every kind: b in a in s by their labels, c crossed with them, d crossed in part, k in a alone."""
    rng = np.random.default_rng(seed)
    b = rng.integers(0, 24, rows)
    a = b // 3
    frame = pd.DataFrame({"s": a // 3, "a": a, "b": b, "c": rng.integers(0, 5, rows)})
    frame["d"] = (frame["a"] + rng.integers(0, 3, rows)) % 9
    frame["k"] = rng.integers(0, 3, rows)
    frame["x"] = rng.normal(2.0, 1.0, rows)
    frame["w"] = rng.normal(size=rows)
    effects = {name: rng.normal(size=(30, 3)) for name in "sabcd"}
    y = 1.0 + 0.5 * frame["x"] + rng.normal(size=rows)
    for name, own in effects.items():
        level = frame[name].to_numpy()
        y += own[level, 0] + 0.6 * own[level, 1] * frame["x"] + 0.5 * own[level, 2] * frame["w"]
    return frame.assign(y=y + rng.normal(size=(8, 3))[frame["a"], frame["k"]])
