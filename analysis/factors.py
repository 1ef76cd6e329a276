"""Grouping factors: who belongs to which level of what, and which factor is nested in which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.errors import DesignError


@dataclass(frozen=True)
class Factor:
    """One grouping factor: its columns (several: their combinations), levels, and each row's level.

    codes : (n,) the number of each row's level;  terms : which columns of Z (and of Λ) are its own
    parts : (levels,) for each column, its value in each level
    """

    group: tuple[str, ...]
    levels: pd.Index
    codes: np.ndarray
    terms: slice
    parts: tuple[pd.Index, ...]

    @property
    def name(self) -> str:
        """As in `fit.random`: `a` or `a:b`."""
        return ":".join(self.group)

    @property
    def size(self) -> int:
        """Random effects of one level."""
        return int(self.terms.stop - self.terms.start)


def read_factor(data: pd.DataFrame, group: Sequence[str], terms: slice) -> Factor:
    """The factor of one column, or of the combinations of several that occur in the rows.

    Levels ascend, or stand in a categorical's own order; combinations likewise, the first column counting most. Raises
    DesignError where two combinations read alike.
    """
    codes, levels = _column_levels(data[group[0]])
    parts = [levels]
    for name in group[1:]:
        own, own_levels = _column_levels(data[name])
        both = codes * len(own_levels) + own
        found, codes = _distinct(both)
        first, second = found // len(own_levels), found % len(own_levels)
        parts = [*(part[first] for part in parts), own_levels[second]]
    labels = joined_labels(parts)
    if not labels.is_unique:
        alike = labels[labels.duplicated()][0]
        raise DesignError(
            f"the grouping factor {':'.join(group)!r}: two combinations of its columns both read {alike!r}; rename the levels "
            "that hold a colon."
        )
    return Factor(tuple(group), labels.rename(":".join(group)), codes, terms, tuple(parts))


def joined_labels(parts: Sequence[pd.Index]) -> pd.Index:
    """The levels' names: the column's own values, or those of several with colons between."""
    if len(parts) == 1:
        return parts[0]
    return pd.Index([":".join(map(str, level)) for level in zip(*parts, strict=True)])


def is_nested(inner: Factor, outer: Factor) -> bool:
    """Does each level of `inner` lie in one level of `outer`?"""
    of_level = np.empty(len(inner.levels), dtype=outer.codes.dtype)
    of_level[inner.codes] = outer.codes
    return bool((of_level[inner.codes] == outer.codes).all())


def level_of(inner: Factor, outer: Factor) -> np.ndarray:
    """(levels of inner,) the level of `outer` that each lies in."""
    out = np.empty(len(inner.levels), dtype=np.int64)
    out[inner.codes] = outer.codes
    return out


def _column_levels(keys: pd.Series) -> tuple[np.ndarray, pd.Index]:
    if isinstance(keys.dtype, pd.CategoricalDtype):
        keys = keys.cat.remove_unused_categories()
        return np.asarray(keys.cat.codes, dtype=np.int64), pd.Index(keys.cat.categories)
    values = keys.to_numpy()
    if values.dtype.kind in "iu" and len(values):
        low, high = values.min(), values.max()
        if 0 <= int(high) - int(low) < 4 * len(values):  # a table instead of a sort
            found, codes = _distinct((values - low).astype(np.int64))
            return codes, pd.Index((found + low).astype(values.dtype))
    codes, levels = pd.factorize(keys, sort=True)
    return np.asarray(codes, dtype=np.int64), pd.Index(levels)


def _distinct(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ones of non-negative whole numbers, ascending, and each number's place among them."""
    most = int(numbers.max(initial=0)) + 1
    if most <= 16 * len(numbers):
        present = np.zeros(most, dtype=bool)
        present[numbers] = True
        found = np.flatnonzero(present)
        places = np.empty(most, dtype=np.int64)
        places[found] = np.arange(len(found))
        return found, places[numbers]
    found, inverse = np.unique(numbers, return_inverse=True)
    return found, np.asarray(inverse, dtype=np.int64)
