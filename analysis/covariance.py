"""θ ↔ the lower-triangular relative factor Λ; deviations and correlations.

Random terms come in blocks: terms of one block correlate, blocks are independent. Λ is block diagonal, and the
covariance of a person's random effects is G = σ²ΛΛ' (Bates et al., 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SINGULAR = 1e-4
"""A diagonal element of θ below this is a boundary fit, as lme4's isSingular; θ is on the scaled design here."""
EMPTY = 1e-13
"""Share of a term's variance, left after the terms before it, that is rounding."""


@dataclass(frozen=True, slots=True)
class Structure:
    """Where the elements of θ stand in Λ: `rows` and `columns` (m,), column by column inside each block.

    blocks : sizes of the blocks, in order; q is their sum
    """

    blocks: tuple[int, ...]
    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def of_blocks(cls, blocks: tuple[int, ...]) -> Structure:
        rows: list[int] = []
        columns: list[int] = []
        start = 0
        for size in blocks:
            for column in range(size):
                rows.extend(range(start + column, start + size))
                columns.extend([start + column] * (size - column))
            start += size
        return cls(blocks, np.array(rows), np.array(columns))

    @property
    def size(self) -> int:
        """q, the number of random effects of one person."""
        return sum(self.blocks)

    @property
    def diagonal(self) -> np.ndarray:
        """(m,) bool: which elements of θ are diagonal, and so bounded below by zero."""
        return np.asarray(self.rows == self.columns)

    @property
    def lower(self) -> np.ndarray:
        """(m,) lower bounds of θ."""
        return np.where(self.diagonal, 0.0, -np.inf)

    def lam(self, theta: np.ndarray) -> np.ndarray:
        """Λ (q, q) from θ (m,)."""
        out = np.zeros((self.size, self.size))
        out[self.rows, self.columns] = theta
        return out

    def theta(self, lam: np.ndarray) -> np.ndarray:
        """θ (m,) from Λ (q, q)."""
        return np.asarray(lam[self.rows, self.columns], dtype=float)

    def is_singular(self, theta: np.ndarray) -> bool:
        """Is a variance zero, or a correlation ±1?"""
        return bool((theta[self.diagonal] < SINGULAR).any())

    def slices(self) -> list[slice]:
        """The places of each block's terms."""
        ends = np.cumsum(self.blocks)
        return [slice(int(end) - size, int(end)) for end, size in zip(ends, self.blocks, strict=True)]

    def same_block(self) -> np.ndarray:
        """(q, q) bool: may the two terms correlate?"""
        label = np.repeat(np.arange(len(self.blocks)), self.blocks)
        return np.asarray(label[:, None] == label[None, :])


def canonical(structure: Structure, factor: np.ndarray) -> np.ndarray:
    """θ (m,) of factor @ factor' (q, any): Cholesky block by block, a column without variance left being wholly zero."""
    covariance = factor @ factor.T
    lam = np.zeros_like(covariance)
    for block in structure.slices():
        rest = covariance[block, block].copy()
        floor = EMPTY * np.diag(rest)
        for j in range(len(rest)):
            if rest[j, j] > floor[j]:
                column = rest[j:, j] / np.sqrt(rest[j, j])
                lam[block.start + j : block.stop, block.start + j] = column
                rest[j:, j:] -= np.outer(column, column)
    return structure.theta(lam)


def deviations_and_correlations(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SDs (q,) and correlations (q, q) of a covariance; NaN where an SD is zero."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    product = np.outer(deviations, deviations)
    correlations = np.divide(covariance, product, out=np.full_like(covariance, np.nan), where=product > 0)
    return deviations, correlations
