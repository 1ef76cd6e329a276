"""A second opinion on an optimum: another criterion (bench.referee), another parametrisation, another optimiser, several starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from bench.referee import Referee
from proofs.designs import Case

SURELY_ZERO, SURELY_NOT = 1e-3, 1e-2
"""A smallest relative SD below the one is a boundary, above the other is none; between them nothing is said."""
RESTARTS = 5


@dataclass(frozen=True)
class Opinion:
    """log_likelihood : the best found, restricted and complete;  smallest : least relative SD of any direction of Z."""

    log_likelihood: float
    smallest: float

    @property
    def singular(self) -> bool | None:
        return True if self.smallest < SURELY_ZERO else False if self.smallest > SURELY_NOT else None


def second_opinion(case: Case) -> Opinion:
    """Maximise over full square factors F, G = FF', by BFGS with numerical slopes: no bound, so no boundary to stall at.

    Correlated terms are made orthonormal over the rows first, which leaves the model what it is.
    """
    referee, constant = _referee(case)
    q = case.shape.terms
    mask = np.ones((q, q), dtype=bool) if case.shape.correlated else np.eye(q, dtype=bool)

    def factor(point: np.ndarray) -> np.ndarray:
        out = np.zeros((q, q))
        out[mask] = point
        return out

    def criterion(point: np.ndarray) -> float:
        f = factor(point)
        with np.errstate(invalid="ignore", over="ignore"):  # a line search may look very far away
            return -referee.best_log_likelihood(f @ f.T)

    rng = np.random.default_rng(case.seed)
    starts = [0.3 * np.eye(q), 1.5 * np.eye(q), rng.normal(0.0, 1.0, (q, q))]
    found = [minimize(criterion, start[mask], method="BFGS", options={"gtol": 1e-7}) for start in starts]
    best = min(found, key=lambda result: float(result.fun))
    for _ in range(RESTARTS):  # BFGS with numerical slopes may stop early; from its end it goes on
        again = minimize(criterion, best.x, method="BFGS", options={"gtol": 1e-7})
        gain, best = float(best.fun - again.fun), again if again.fun < best.fun else best
        if gain < 1e-10:
            break
    sizes = np.linalg.svd(factor(best.x), compute_uv=False)
    return Opinion(constant - float(best.fun), float(sizes[-1]))


def in_own_units(case: Case) -> tuple[pd.DataFrame, float]:
    """The data with columns of mean square 1, centred where the model has an intercept that they may correlate with.

    The number is what is to be added to a restricted log-likelihood of these to have that of the data as they are.
    """
    frame, shape = case.frame, case.shape
    slopes = frame[list(shape.slopes)]
    if shape.correlated and not shape.bare:
        slopes = slopes - slopes.mean()
    scale, spread = np.sqrt((slopes**2).mean()), float(frame["y"].std())
    out = (slopes / scale).assign(person=frame["person"], y=(frame["y"] - frame["y"].mean()) / spread)
    degrees = len(frame) - 1 - len(shape.slopes)
    return out[list(frame)], -float(np.log(scale).sum()) - degrees * float(np.log(spread))


def _referee(case: Case) -> tuple[Referee, float]:
    frame, constant = in_own_units(case)
    x = np.column_stack([np.ones(len(frame)), frame[list(case.shape.slopes)]])
    z = x[:, 1:] if case.shape.bare else x
    if case.shape.correlated:
        z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / len(z)).T)
    return Referee.of(frame["person"].to_numpy(), x, z, frame["y"].to_numpy()), constant
