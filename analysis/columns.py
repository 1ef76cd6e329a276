"""Design columns as affine views of a `PersonState`: their means, scatter and covariance without any row.

In person i a design column is α_i + (raw deviation from the person's own mean), so that its cross-products are
n αα' + S'MS (METHODS §2.14).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.design import Column
from analysis.state import PersonState


def column_means(state: PersonState, columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """Each person's mean of the columns as written, in two parts to be added: (persons, k), and (k,) the same for all.

    A far offset stays in the second part, where it costs no digits of the differences between persons.
    """
    means = np.zeros((len(state.n), len(columns)))
    anchor = np.zeros(len(columns))
    for j, column in enumerate(columns):
        if column.kind == "one":
            anchor[j] = 1.0
        elif column.kind == "raw":
            means[:, j], anchor[j] = state.mean[:, column.source], state.anchor[column.source]
        elif column.kind == "between":
            means[:, j] = state.mean[:, column.source] - state.mean[:, column.source].mean()
    return means, anchor


def column_scatter(state: PersonState, columns: Sequence[Column], part: slice = slice(None)) -> np.ndarray:
    """(persons, k, k) scatter of the columns about each person's own means, for a part of the persons."""
    source = np.array([c.source if c.kind in ("raw", "within") else -1 for c in columns], dtype=int)
    out = state.scatter[part][:, source[:, None], source[None, :]]
    out[:, source < 0] = 0.0
    out[:, :, source < 0] = 0.0
    return np.asarray(out)


def column_covariances(state: PersonState, columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """Within and between persons, each (k, k), over rows with divisor n − 1; their sum is the covariance over all rows."""
    means, _ = column_means(state, columns)
    means -= state.n @ means / state.n_obs
    within = column_scatter(state, columns).sum(axis=0) / (state.n_obs - 1)
    return within, (means * state.n[:, None]).T @ means / (state.n_obs - 1)
