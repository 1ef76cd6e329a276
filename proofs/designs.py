"""Random designs with a known nature: well posed, or with an optimum that may lie on the boundary. A seed is a design."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

SLOPES = ("x1", "x2", "x3")
LEAST_EIGENVALUE = 0.4
"""Of a well-posed correlation matrix of random effects: no direction is nearly empty."""


@dataclass(frozen=True)
class Shape:
    """terms : number of random terms, an intercept among them unless `bare`;  correlated : one block or independent terms"""

    persons: int
    rows: tuple[int, int]
    terms: int
    correlated: bool
    bare: bool = False

    @property
    def slopes(self) -> tuple[str, ...]:
        return SLOPES[: self.terms if self.bare else self.terms - 1]

    @property
    def formula(self) -> str:
        inner = " + ".join(["0" if self.bare else "1", *self.slopes])
        fixed = " + ".join(["1", *self.slopes])
        return f"y ~ {fixed} + ({inner} {'|' if self.correlated or self.terms == 1 else '||'} person)"


@dataclass(frozen=True)
class Case:
    """A design and its data: columns person, x1 … (those in use), y."""

    kind: str
    seed: int
    shape: Shape
    frame: pd.DataFrame

    @property
    def formula(self) -> str:
        return self.shape.formula


Drawn = tuple[Shape, pd.DataFrame]
"""A shape and the data in units of about 1."""


def well_posed(seed: int) -> Case:
    """Enough persons and rows, spreads well above their sampling error, correlations away from ±1; any units."""
    rng = np.random.default_rng((1, seed))
    bare = bool(rng.random() < 0.1)
    terms = int(rng.integers(1, 4 if bare else 5))
    least = 6 + 4 * terms
    most = least if rng.random() < 0.3 else 2 * least
    shape = Shape(int(rng.integers(25, 50)) + 10 * terms, (least, most), terms, bool(rng.random() < 0.6), bare)
    spread = rng.uniform(1.0, 3.0, terms)
    correlation = _correlation(rng, terms) if shape.correlated else np.eye(terms)
    frame, z = _predictors(rng, shape)
    root = np.linalg.cholesky(correlation * np.outer(spread, spread))
    own = rng.standard_normal((shape.persons, terms)) @ root.T
    return Case("well posed", seed, shape, _in_any_units(rng, _respond(rng, frame, z, own), shape))


def maybe_singular(seed: int) -> Case:
    """Designs whose optimum often lies on the boundary: the kinds of `KINDS` in turn."""
    rng = np.random.default_rng((2, seed))
    kind = list(KINDS)[seed % len(KINDS)]
    shape, frame = KINDS[kind](rng)
    return Case(kind, seed, shape, _in_any_units(rng, frame, shape))


def _without_variance(rng: np.random.Generator) -> Drawn:
    """One random term has no variance in truth."""
    shape = Shape(int(rng.integers(8, 40)), (6, 14), int(rng.integers(1, 4)), bool(rng.random() < 0.6))
    frame, z = _predictors(rng, shape)
    spread = rng.uniform(0.5, 1.5, shape.terms)
    spread[rng.integers(shape.terms)] = 0.0
    own = rng.standard_normal((shape.persons, shape.terms)) * spread
    return shape, _respond(rng, frame, z, own)


def _flat(rng: np.random.Generator) -> Drawn:
    """The persons' own least-squares estimates of one term are all the same: less than chance would have it."""
    shape = Shape(int(rng.integers(8, 40)), (8, 14), int(rng.integers(1, 4)), bool(rng.random() < 0.6))
    frame, z = _predictors(rng, shape)
    own = rng.standard_normal((shape.persons, shape.terms)) * rng.uniform(0.5, 1.5, shape.terms)
    own[:, rng.integers(shape.terms)] = 0.0
    return shape, _respond(rng, frame, z, own, exact=True)


def _one_direction(rng: np.random.Generator) -> Drawn:
    """Correlations of ±1: all persons differ along one direction, their own estimates included."""
    shape = Shape(int(rng.integers(8, 40)), (8, 14), int(rng.integers(2, 4)), True)
    frame, z = _predictors(rng, shape)
    direction = rng.choice([-1.0, 1.0], shape.terms) * rng.uniform(0.5, 1.5, shape.terms)
    own = rng.standard_normal((shape.persons, 1)) * direction
    exact = bool(rng.random() < 0.5)
    return shape, _respond(rng, frame, z, own, exact=exact)


def _said_twice(rng: np.random.Generator) -> Drawn:
    """x2 says nearly what x1 says, and only x1 matters."""
    shape = Shape(int(rng.integers(10, 40)), (8, 14), 3, True)
    frame, z = _predictors(rng, shape)
    frame["x2"] = z[:, 2] = frame["x1"] + 10.0 ** rng.uniform(-2.0, -0.5) * frame["x2"]
    own = np.column_stack([rng.standard_normal((shape.persons, 2)), np.zeros(shape.persons)])
    return shape, _respond(rng, frame, z, own)


def _too_many_terms(rng: np.random.Generator) -> Drawn:
    """Hardly more persons than random terms."""
    shape = Shape(int(rng.integers(4, 7)), (10, 16), 4, True)
    frame, z = _predictors(rng, shape)
    own = rng.standard_normal((shape.persons, 4)) * 0.3
    return shape, _respond(rng, frame, z, own)


KINDS: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "no variance": _without_variance,
    "flat": _flat,
    "one direction": _one_direction,
    "said twice": _said_twice,
    "too many terms": _too_many_terms,
}


def _predictors(rng: np.random.Generator, shape: Shape) -> tuple[pd.DataFrame, np.ndarray]:
    """The predictors in units of about 1, and Z (n, terms): moments about a person's level, a count of days, a yes/no."""
    n = rng.integers(shape.rows[0], shape.rows[1] + 1, shape.persons)
    person = np.repeat(np.arange(shape.persons), n)
    first = np.repeat(np.cumsum(n) - n, n)
    total = len(person)
    columns: dict[str, np.ndarray] = {}
    for name, kind in zip(SLOPES, ["moment", *rng.permutation(["moment", "count", "yes or no"])], strict=False):
        if kind == "moment":
            columns[name] = rng.standard_normal(total) + 0.5 * rng.standard_normal(shape.persons)[person]
        elif kind == "count":
            columns[name] = (np.arange(total) - first) / (n[person] / 3.0) - 1.5
        else:
            columns[name] = 2.0 * (rng.random(total) < 0.5) - 1.0
    frame = pd.DataFrame({"person": person, **columns})
    z = np.column_stack([*([] if shape.bare else [np.ones(total)]), *(frame[name] for name in shape.slopes)])
    return frame, z


def _respond(
    rng: np.random.Generator, frame: pd.DataFrame, z: np.ndarray, own: np.ndarray, *, exact: bool = False
) -> pd.DataFrame:
    """With the outcome, residual SD 1; `exact`: residuals without any projection on a person's own Z."""
    person = frame["person"].to_numpy()
    noise = rng.standard_normal(len(frame))
    if exact:
        for i in range(len(own)):
            rows = person == i
            noise[rows] -= z[rows] @ np.linalg.lstsq(z[rows], noise[rows], rcond=None)[0]
    fixed = z @ rng.normal(0.0, 1.0, z.shape[1])
    return frame.assign(y=fixed + np.einsum("nq,nq->n", z, own[person]) + noise)


def _in_any_units(rng: np.random.Generator, frame: pd.DataFrame, shape: Shape) -> pd.DataFrame:
    """Units from thousandths to thousands, a level far from zero where an intercept takes it up."""
    out = frame[["person"]].copy()
    for name in (*shape.slopes, "y"):
        unit = 10.0 ** rng.uniform(-3.0, 3.0)
        level = rng.uniform(-5.0, 5.0) if name == "y" or (shape.correlated and not shape.bare) else 0.0
        out[name] = (frame[name] + level) * unit
    return out


def _correlation(rng: np.random.Generator, terms: int) -> np.ndarray:
    """A random correlation matrix whose smallest eigenvalue is at least `LEAST_EIGENVALUE`."""
    factor = rng.standard_normal((terms, terms + 2))
    covariance = factor @ factor.T
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    least = float(np.linalg.eigvalsh(correlation)[0])
    share = min(1.0, (1.0 - LEAST_EIGENVALUE) / max(1.0 - least, 1e-12))
    return np.asarray(share * correlation + (1.0 - share) * np.eye(terms))
