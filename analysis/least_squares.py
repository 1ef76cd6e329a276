"""Ordinary least squares of many outcomes on one design, and their tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import stdtr, stdtrit

from analysis.errors import DesignError
from analysis.moments import refuse_dependence

PART = 512
"""Outcomes whose rows are held in memory at a time."""
ROUNDING = 1e-13
"""Residual squares below this share of all squares are rounding: the terms predict such an outcome exactly."""
MILLION = 1e6


def sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(J, outcomes) sums over each group's rows."""
    n = len(values)
    groups = csr_matrix((np.ones(n), np.arange(n), starts), shape=(len(starts) - 1, n))
    return np.asarray(groups @ values)


def per_million(counts: np.ndarray, sizes: np.ndarray, prior: float) -> np.ndarray:
    """log2 counts per million, kept finite by prior counts (Law et al., 2014, eq. 1, where the prior is a half)."""
    return np.asarray(np.log2((counts + prior) / (sizes + 2.0 * prior) * MILLION))


def least_squares(
    x: np.ndarray, y: np.ndarray, names: list[str], units: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Coefficients (p, outcomes), residual sums of squares (outcomes,), diagonal of (X'X)⁻¹ (p,), degrees of freedom."""
    n, p = x.shape
    if n <= p:
        raise DesignError(f"{n} {units} are too few for {p} terms.")
    refuse_dependence(x.T @ x / n, names)
    q, r = np.linalg.qr(x)
    inverse = np.linalg.inv(r)
    centre = y.mean(axis=0)  # sums of squares about it keep their digits
    turned = csr_matrix(q.T) @ y  # a thin product, which sparse sums do faster than threads that wait for each other
    moved = turned - q.sum(axis=0)[:, None] * centre
    squares = np.empty(y.shape[1])
    for first in range(0, y.shape[1], PART):
        part = y[:, first : first + PART] - centre[first : first + PART]
        squares[first : first + PART] = np.einsum("ng,ng->g", part, part)
    rss = squares - np.einsum("pg,pg->g", moved, moved)
    rss[rss <= ROUNDING * squares] = 0.0
    return inverse @ turned, rss, (inverse**2).sum(axis=1), n - p


def tests_of(
    outcomes: list[str], terms: list[str], beta: np.ndarray, rss: np.ndarray, inverse: np.ndarray, df: int, level: float
) -> pd.DataFrame:
    """Tests of every outcome's terms: outcomes in order, terms inside."""
    estimate = beta.T.ravel()
    se = np.sqrt(np.outer(rss / df, inverse)).ravel()
    statistic = np.divide(estimate, se, out=np.full_like(estimate, np.nan), where=se > 0.0)
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    columns = {
        "estimate": estimate,
        "se": se,
        "df": float(df),
        "statistic": statistic,
        "p_value": 2.0 * stdtr(df, -np.abs(statistic)),
        "lower": estimate - half,
        "upper": estimate + half,
    }
    if len(outcomes) == 1:
        return pd.DataFrame(columns, index=pd.Index(terms, name="term"))
    p = columns["p_value"].reshape(len(outcomes), len(terms))
    columns["q_value"] = np.column_stack([_q_values(column) for column in p.T]).ravel()
    return pd.DataFrame(columns, index=pd.MultiIndex.from_product([outcomes, terms], names=["outcome", "term"]))


def _q_values(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's, of the outcomes that have a p."""
    from statsmodels.stats.multitest import multipletests

    out, known = np.full(len(p), np.nan), np.isfinite(p)
    if known.any():
        out[known] = multipletests(p[known], method="fdr_bh")[1]
    return out
