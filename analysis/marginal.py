"""The marginal likelihood of a generalised model at a point, as the minimiser asks for it.

A point holds (β*, φ, θ): inner fixed effects, the families' own parameters on an unbounded scale, relative factor. For ordinal
outcomes φ is the first threshold and the logs of the gaps; for the negative binomial log κ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.kernels.compiled import each
from analysis.kernels.families import ORDINAL_LOGIT
from analysis.kernels.laplace import curvatures, laplace
from analysis.kernels.quadrature import quadrature
from analysis.responses import Responses

ROWS_A_PART = 16_384
"""Rows that are worth a thread of their own."""


@dataclass(frozen=True, slots=True)
class At:
    """The marginal deviance at a point: value, gradient (m,), and the persons' own gradients (persons, m)."""

    value: float
    gradient: np.ndarray
    scores: np.ndarray

    @property
    def information(self) -> np.ndarray:
        """(m, m) the deviance's curvature as the spread of the scores about their mean promises it (Berndt, Hall, Hall & Hausman, 1974)."""
        apart = self.scores - self.gradient / len(self.scores)
        return np.asarray(0.5 * apart.T @ apart)


class Marginal:
    """The deviance as a function of the point. It keeps the persons' modes, from where the next search starts."""

    def __init__(self, data: Responses, agq: int) -> None:
        self.data = data
        self.modes = np.zeros((data.n_persons, data.structure.size))
        self.nodes, weights = np.polynomial.hermite.hermgauss(agq)
        self.log_weights = np.log(weights) + self.nodes**2
        parts = min(16, 1 + int(data.starts[-1]) // ROWS_A_PART)
        edges = np.searchsorted(data.starts, np.linspace(0, data.starts[-1], parts + 1))
        self.edges = np.unique(np.append(edges[:-1], data.n_persons))

        self._last: tuple[np.ndarray, At] | None = None
        self.parts = len(self.edges) - 1
        self._rows = (data.family, data.x, data.z, data.y, data.size, data.offset, data.starts)

    def _span(self, part: int) -> tuple[int, int]:
        return int(self.edges[part]), int(self.edges[part + 1])

    def _split(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """β*, ψ* and Λ."""
        data, p, r = self.data, self.data.n_fixed, self.data.n_extra
        return point[:p].copy(), natural(data.family, point[p : p + r]), data.structure.lam(point[p + r :])

    def curvatures(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At the modes of the point asked for last: see `kernels.laplace.curvatures`."""
        data, q = self.data, self.data.structure.size
        curvature = np.empty((data.n_persons, q, q))
        cross = np.empty((data.n_persons, q, data.n_fixed + data.n_extra))
        information = np.empty((self.parts, data.n_fixed, data.n_fixed))
        parameters = self._split(point)

        def work(part: int) -> None:
            curvatures(*self._rows, *self._span(part), *parameters, self.modes, curvature, cross, information[part])

        each(work, self.parts)
        return curvature, cross, information.sum(axis=0)

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        at = self.at(point)
        return at.value, at.gradient

    def at(self, point: np.ndarray) -> At:
        if self._last is not None and np.array_equal(point, self._last[0]):
            return self._last[1]
        data, p, r = self.data, self.data.n_fixed, self.data.n_extra
        q = data.structure.size
        parameters = self._split(point)
        rows = self._rows
        deviance, scores = np.empty(data.n_persons), np.empty((data.n_persons, p + r + q * q))

        def work(part: int) -> None:
            span = self._span(part)
            if len(self.nodes) == 1:
                laplace(*rows, *span, *parameters, self.modes, deviance, scores)
            else:
                nodes = (self.nodes, self.log_weights)
                quadrature(*rows, *span, *parameters, self.modes, *nodes, deviance, scores)

        each(work, self.parts)
        places = p + r + data.structure.rows * q + data.structure.columns
        own = [scores[:, :p], scores[:, p : p + r] @ natural_slope(data.family, point[p : p + r]), scores[:, places]]
        scores = np.hstack(own)
        value = float(deviance.sum())
        if not np.isfinite(value):
            self.modes[~np.isfinite(self.modes).all(axis=1)] = 0.0
            self._last = None
            return At(np.inf, np.full(len(point), np.nan), scores)
        self._last = point.copy(), At(value, scores.sum(axis=0), scores)
        return self._last[1]


def natural(family: int, phi: np.ndarray) -> np.ndarray:
    """ψ (r,) from the unbounded φ (r,): thresholds from the first one and the logs of the gaps; log κ is itself."""
    if family < ORDINAL_LOGIT:
        return phi.copy()
    return np.asarray(np.cumsum(np.append(phi[:1], np.exp(np.minimum(phi[1:], 50.0)))))


def unbounded(family: int, psi: np.ndarray) -> np.ndarray:
    """φ (r,) from ψ (r,)."""
    return psi.copy() if family < ORDINAL_LOGIT else np.append(psi[:1], np.log(np.diff(psi)))


def natural_slope(family: int, phi: np.ndarray) -> np.ndarray:
    """∂ψ/∂φ (r, r)."""
    if family < ORDINAL_LOGIT:
        return np.eye(len(phi))
    return np.asarray(np.tril(np.ones((len(phi), len(phi)))) * np.append(1.0, np.exp(np.minimum(phi[1:], 50.0))))
