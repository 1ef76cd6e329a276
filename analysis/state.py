"""What is kept of each person's rows: a state that can be added to, merged and taken apart again, at any time in any order.

It holds each person's number of rows and, about a base of their own (their first row), sums and sums of products of the raw
columns: no offset costs digits, whole numbers stay exact, and to take rows away is to subtract (METHODS §2.13, §2.15).
Sums over rows are sums over sites too: the states of several sites merge into the state of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.errors import DesignError, SpecError
from analysis.kernels import state as kernel
from analysis.kernels.compiled import each

CHUNK = 16_384
"""Rows that go through the processor's cache at a time."""
PART = 262_144
"""Rows that one core sums at a time, at least; persons are never divided."""
WORN = 1e-6
"""A scatter of which subtraction leaves less than this share has lost digits: the person is named as worn."""


@dataclass(frozen=True)
class PersonState:
    """Each person's rows in sums. k raw columns, named; persons in ascending order of their levels.

    n : (persons,) whole numbers;  base : (persons, k) a row near the person's
    sums : (persons, k) Σ(x − base);  products : (persons, k, k) Σ(x − base)(x − base)'
    worn : persons whose sums lost digits by subtraction of far larger values; build these anew from their rows
    """

    names: tuple[str, ...]
    levels: pd.Index
    n: np.ndarray
    base: np.ndarray
    sums: np.ndarray
    products: np.ndarray
    worn: tuple[object, ...] = ()

    @property
    def n_obs(self) -> int:
        return int(self.n.sum())

    @property
    def anchor(self) -> np.ndarray:
        """(k,) a value near the data: what `mean` is relative to."""
        return np.asarray(self.base[0])

    @property
    def mean(self) -> np.ndarray:
        """(persons, k) means − anchor."""
        return self._centred[0]

    @property
    def scatter(self) -> np.ndarray:
        """(persons, k, k) Σ(x − mean)(x − mean)' about the person's own means."""
        return self._centred[1]

    @cached_property
    def _centred(self) -> tuple[np.ndarray, np.ndarray]:
        parts = (self.n, self.base, self.sums, self.products, self.anchor)
        return kernel.centred(*(np.ascontiguousarray(part) for part in parts))

    def means(self, name: str) -> np.ndarray:
        """(persons,) means of one raw column."""
        j = self.names.index(name)
        return np.asarray(self.anchor[j] + self.mean[:, j])

    def deviations(self, name: str) -> np.ndarray:
        """(persons,) SDs within person of one raw column, divisor n − 1; NaN with a single row."""
        j = self.names.index(name)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.n > 1, np.sqrt(self.scatter[:, j, j] / (self.n - 1)), np.nan))

    def column(self, name: str) -> PersonState:
        """The state of one raw column alone."""
        j = [self.names.index(name)]
        return replace(
            self, names=(name,), base=self.base[:, j], sums=self.sums[:, j], products=self.products[:, j][:, :, j]
        )

    def plus(self, other: PersonState) -> PersonState:
        """Both states' rows. Raises SpecError for states of other columns."""
        self._refuse_other_columns(other)
        known = self.levels.equals(other.levels)
        levels = self.levels if known else self.levels.union(other.levels)
        mine = None if known or len(levels) == len(self.levels) else levels.get_indexer(self.levels)
        out = self._spread(levels, mine)
        slots = np.arange(len(levels)) if known else levels.get_indexer(other.levels)
        _merge(out, slots, 1, other)
        return replace(out, worn=tuple(dict.fromkeys((*self.worn, *other.worn))))

    def minus(self, other: PersonState) -> PersonState:
        """This state's rows without those of `other`, which must be among them; a person left without rows is gone.

        Raises DesignError for persons who are not here or do not have as many rows, SpecError for other columns.
        """
        self._refuse_other_columns(other)
        slots = self.levels.get_indexer(other.levels)
        if (slots < 0).any():
            raise DesignError(f"the state has no rows of {other.levels[slots < 0][0]!r} that could be taken away.")
        short = self.n[slots] < other.n
        if short.any():
            level = other.levels[short][0]
            raise DesignError(
                f"{other.n[short][0]} rows of {level!r} cannot be taken away: the state has {self.n[slots][short][0]}."
            )
        out = self._spread(self.levels, None)
        _merge(out, slots, -1, other)
        out = _emptied(out, out.n > 0)
        if not len(out.n):
            raise DesignError("nothing would be left: these are all of the state's rows.")
        kept = slots[np.isin(self.levels[slots], out.levels)]
        places = out.levels.get_indexer(self.levels[kept])
        before = np.diagonal(self.products[kept], axis1=1, axis2=2)
        after = np.diagonal(out.products[places], axis1=1, axis2=2)
        exact = (before == np.rint(before)) & (before < 2.0**53)  # whole numbers lose nothing
        worn = ((after < WORN * before) & ~exact).any(axis=1)
        return replace(out, worn=tuple(dict.fromkeys((*self.worn, *out.levels[places[worn]]))))

    def _spread(self, levels: pd.Index, slots: np.ndarray | None) -> PersonState:
        """A copy with the persons at `slots` of `levels`, the others without rows."""
        if slots is None:
            return replace(
                self, n=self.n.copy(), base=self.base.copy(), sums=self.sums.copy(), products=self.products.copy()
            )
        out = empty_state(self.names, levels)
        out.n[slots], out.base[slots], out.sums[slots], out.products[slots] = (
            self.n,
            self.base,
            self.sums,
            self.products,
        )
        return replace(out, worn=self.worn)

    def _refuse_other_columns(self, other: PersonState) -> None:
        if other.names != self.names:
            raise SpecError(f"a state of {', '.join(other.names)} cannot join a state of {', '.join(self.names)}.")


def empty_state(names: tuple[str, ...], levels: pd.Index) -> PersonState:
    """Persons without rows, to be filled."""
    persons, k = len(levels), len(names)
    return PersonState(
        names,
        levels,
        np.zeros(persons, dtype=np.int64),
        np.zeros((persons, k)),
        np.zeros((persons, k)),
        np.zeros((persons, k, k)),
    )


def state_of_moments(
    names: tuple[str, ...], levels: pd.Index, n: np.ndarray, means: np.ndarray, scatter: np.ndarray
) -> PersonState:
    """The state of persons whose means (persons, k) and scatter (persons, k, k) are given."""
    return PersonState(names, levels, n, means, np.zeros_like(means), scatter)


def state_of_rows(
    names: tuple[str, ...], levels: pd.Index, starts: np.ndarray, values: tuple[np.ndarray, ...]
) -> PersonState:
    """One pass over raw columns `values`, (n,) each, rows sorted by person; `starts` (persons + 1,)."""
    out = empty_state(names, levels)
    parts = _parts(starts)

    def part(i: int) -> None:
        _add(out, starts, values, parts[i], parts[i + 1])

    each(part, len(parts) - 1)
    return out


def _parts(starts: np.ndarray) -> np.ndarray:
    """Persons at which the work is divided."""
    marks = np.searchsorted(starts, np.arange(0, starts[-1], PART))
    return np.unique(np.append(marks, len(starts) - 1))


def _add(out: PersonState, starts: np.ndarray, values: tuple[np.ndarray, ...], first: int, last: int) -> None:
    """The rows of persons first:last, a chunk of whole persons at a time."""
    while first < last:
        stop = max(int(np.searchsorted(starts, starts[first] + CHUNK, side="right")) - 1, first + 1)
        stop = min(stop, last)
        rows = slice(starts[first], starts[stop])
        chunk = np.empty((len(values), rows.stop - rows.start))
        for j, column in enumerate(values):
            chunk[j] = column[rows]
        kernel.add_rows(
            chunk,
            np.arange(first, stop),
            starts[first : stop + 1] - starts[first],
            out.n,
            out.base,
            out.sums,
            out.products,
        )
        first = stop


def _merge(out: PersonState, slots: np.ndarray, sign: int, other: PersonState) -> None:
    kernel.merge(slots, sign, other.n, other.base, other.sums, other.products, out.n, out.base, out.sums, out.products)


def _emptied(state: PersonState, keep: np.ndarray) -> PersonState:
    """The persons in `keep` (persons,) bool."""
    if keep.all():
        return state
    return replace(
        state,
        levels=state.levels[keep],
        n=state.n[keep],
        base=state.base[keep],
        sums=state.sums[keep],
        products=state.products[keep],
    )
