"""What a report says of one fitted model, as numbers: its rows, parts, spread, probabilities and persons.

Between the engine's results (ENGINE.md) and the page; writes no words and draws nothing. `Part` values are per unit of
the predictor on the scale of the linear predictor unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri, stdtrit

from analysis.centering import mean_of_persons, person_means
from analysis.design import build_design
from analysis.errors import SpecError

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(25)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
"""Gauss–Hermite rule for a standard normal deviate: Σ w f(u) ≈ E f(U)."""
Z975 = float(ndtri(0.975))


@dataclass(frozen=True)
class Rows:
    """The rows of one model, person by person.

    X : (n, p) DataFrame of the fixed effects' columns; persons : N labels; starts : (N + 1,) where each person's rows begin; x, y : (n,) predictor and outcome
    mean_x : (N,) each person's mean of x; anchor : the mean of those, each person once
    dropped : rows without outcome or predictor; varying : the terms that differ between persons
    """

    X: pd.DataFrame
    persons: list[str]
    starts: np.ndarray
    x: np.ndarray
    y: np.ndarray
    mean_x: np.ndarray
    anchor: float
    dropped: int
    varying: list[str]

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.starts)

    @property
    def within(self) -> np.ndarray:
        return np.asarray(self.x - np.repeat(self.mean_x, self.sizes))

    @property
    def step(self) -> float:
        """The typical within-person step: SD of the within deviations, with N means taken out."""
        return float(np.sqrt((self.within**2).sum() / max(len(self.x) - len(self.persons), 1)))

    @property
    def spread_between(self) -> float:
        """The typical difference between people: SD of their means, each person once."""
        return float(self.mean_x.std(ddof=1)) if len(self.persons) > 1 else 0.0

    def means(self, values: np.ndarray) -> np.ndarray:
        """(N, …) each person's mean of values (n, …)."""
        return np.asarray(np.add.reduceat(values, self.starts[:-1], axis=0).T / self.sizes).T


@dataclass(frozen=True)
class Margins:
    """Differences of the probability averaged over people, in percentage points, for one typical step up.

    estimate, se, lower, upper; the spread between people is held at its estimate (delta method in the fixed effects).
    """

    estimate: float
    se: float
    lower: float
    upper: float


def model_rows(frame: pd.DataFrame, model: Mapping[str, Any]) -> Rows:
    """The complete rows of one model of a plan, as the engine lays them out: centred on exactly these (METHODS §2.1)."""
    design = build_design(model["formula"], frame)
    predictor = model["predictor"]["name"]
    if predictor not in design.raw:
        raise SpecError(f"the predictor {predictor!r} is not in the formula {model['formula']!r}.")
    x = design.column(design.raw.index(predictor))
    means = person_means(x, design.starts)
    return Rows(
        X=pd.DataFrame(design.matrix(design.fixed), columns=design.fixed_names),
        persons=[str(level) for level in design.levels],
        starts=design.starts,
        x=x,
        y=design.outcome,
        mean_x=means,
        anchor=mean_of_persons(means),
        dropped=design.rows_dropped,
        varying=design.random_names,
    )


def fixed_rows(tests: pd.DataFrame, df_method: str, *, with_p: bool) -> list[dict[str, Any]]:
    """The engine's table of fixed effects as rows; without p below 20 persons (METHODS §6)."""
    return [row_of(str(term), row, df_method, with_p=with_p) for term, row in tests.iterrows()]


def row_of(term: str, row: Any, df_method: str, *, with_p: bool) -> dict[str, Any]:
    df = float(row["df"])
    return {
        "term": term,
        "estimate": float(row["estimate"]),
        "se": float(row["se"]),
        "df": df if np.isfinite(df) else None,
        "df_method": df_method if np.isfinite(df) else "normal",
        "statistic": float(row["statistic"]),
        "p_value": float(row["p_value"]) if with_p else None,
        "lower": float(row["lower"]),
        "upper": float(row["upper"]),
    }


def random_covariance(fit: Any, person: str, slope: str) -> np.ndarray:
    """(2, 2) covariance of a person's intercept and slope; zeros where the model has no such term."""
    block = fit.random[person]
    terms = [next((term for term in block.index if str(term) in ("Intercept", "(Intercept)", "1")), None), slope]
    G = np.zeros((2, 2))
    for a, first in enumerate(terms):
        for b, second in enumerate(terms):
            if first in block.index and second in block.index:
                G[a, b] = float(block.loc[first, second])
    return G


def critical_value(df: float | None) -> float:
    """The 97.5 % point of Student's t with df degrees of freedom; of the normal where there are none."""
    return float(stdtrit(df, 0.975)) if df is not None and np.isfinite(df) else Z975


def averaged(eta: np.ndarray, sd: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """P(y = 1) and its derivative in eta, averaged over normal person deviations of this SD (METHODS §2.10)."""
    p = expit(np.asarray(eta)[..., None] + np.asarray(sd)[..., None] * NODES)
    return p @ WEIGHTS, (p * (1.0 - p)) @ WEIGHTS


def margins(
    rows: Rows, beta: np.ndarray, V: np.ndarray, G: np.ndarray, terms: tuple[str, str], df: float | None
) -> dict[str, Margins]:
    """Percentage points for a typical step: within (from a person's usual) and between (from the average person's usual).

    Every person counts once. `terms` names the within and the between column; the other columns stay as observed.
    The interval is the coefficient's own, carried to this scale, and allows no difference wherever that one does;
    `se` is the delta method's, over all coefficients.
    """
    X = rows.X.to_numpy(dtype=float)
    names = list(rows.X.columns)
    place = {"within": names.index(terms[0]), "between": names.index(terms[1])}
    reach = {"within": rows.step, "between": rows.spread_between}

    def change(part: str, coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        """Percentage points from half a step below to half a step above, and their gradient in the coefficients.

        Even about the usual: a one-sided step would mistake the pull of the slopes' spread on the average for a slope.
        """
        level, gradient = [], []
        for value in (-reach[part] / 2, reach[part] / 2):
            moved = X.copy()
            moved[:, place[part]] = value
            within = moved[:, place["within"]]
            sd = np.sqrt(np.maximum(G[0, 0] + 2 * G[0, 1] * within + G[1, 1] * within**2, 0.0))
            p, slope = averaged(moved @ coefficients, sd)
            level.append(rows.means(p).mean())
            gradient.append(rows.means(slope[:, None] * moved).mean(axis=0))
        return 100.0 * float(level[1] - level[0]), 100.0 * (gradient[1] - gradient[0])

    found = {}
    for part, column in place.items():
        estimate, direction = change(part, beta)
        half = critical_value(df) * float(np.sqrt(V[column, column]))
        ends = []
        for side in (-half, half):
            shifted = beta.copy()
            shifted[column] += side
            ends.append(change(part, shifted)[0])
        if abs(beta[column]) <= half:  # a spread of slopes alone moves the average; that is no difference on average
            ends.append(0.0)
        found[part] = Margins(estimate, float(np.sqrt(direction @ V @ direction)), min(ends), max(ends))
    return found


def reliability_of_means(rows: Rows, between: float, within: float) -> float:
    """λ: the mean over persons of τ²/(τ² + σ²/n), for answers taken as independent (METHODS §2.5)."""
    if between + within <= 0:
        return float("nan")
    return float(np.mean(between / (between + within / rows.sizes)))


def share_at_ends(values: np.ndarray, limits: tuple[float, float] | None) -> tuple[float, float]:
    """Share of answers at the lowest and at the highest point of the scale; zeros where the scale has no ends."""
    if limits is None or not len(values):
        return 0.0, 0.0
    return float(np.mean(values <= limits[0])), float(np.mean(values >= limits[1]))


def persons(rows: Rows, fit: Any, beta: pd.Series, terms: tuple[str, str], G: np.ndarray) -> list[dict[str, Any]]:
    """Each person: own mean of x, predicted intercept there and slope, and how much the slope rests on own answers.

    `intercept` and `slope` are on the linear predictor's scale, at the average (each person once) of the other columns.
    `weight` = 1 − conditional variance / slope variance (METHODS §2.9); None where the model gives everyone one slope.
    """
    modes, spread = fit.conditional_modes("person"), fit.conditional_sd("person")
    modes.index, spread.index = modes.index.astype(str), spread.index.astype(str)
    level = average_level(rows, beta, terms)
    varies = terms[0] in modes.columns and G[1, 1] > 0
    intercepts = next((name for name in modes.columns if str(name) in ("Intercept", "(Intercept)", "1")), None)
    found = []
    for place, person in enumerate(rows.persons):
        own = slice(rows.starts[place], rows.starts[place + 1])
        x, name = rows.x[own], person
        mean = float(rows.mean_x[place])
        up = float(modes.at[name, intercepts]) if intercepts is not None else 0.0
        slope = float(beta[terms[0]]) + (float(modes.at[name, terms[0]]) if varies else 0.0)
        sd = float(spread.at[name, terms[0]]) if varies else None
        found.append(
            {
                "person": name,
                "n": len(x),
                "mean_x": mean,
                "mean_y": float(rows.y[own].mean()),
                "intercept": level + float(beta[terms[1]]) * (mean - rows.anchor) + up,
                "slope": slope,
                "slope_lower": slope - Z975 * sd if sd is not None else None,
                "slope_upper": slope + Z975 * sd if sd is not None else None,
                "weight": max(0.0, 1.0 - sd**2 / G[1, 1]) if sd is not None else None,
                "sd_x": float(x.std(ddof=1)) if len(x) > 1 else 0.0,
                "lo_x": float(x.min()),
                "hi_x": float(x.max()),
            }
        )
    return found


def average_columns(rows: Rows, terms: tuple[str, str]) -> pd.Series:
    """(p,) the fixed effects' columns averaged over people, each once, at a usual moment of the average person."""
    mean = pd.Series(rows.means(rows.X.to_numpy(dtype=float)).mean(axis=0), index=rows.X.columns)
    mean[list(terms)] = 0.0
    return mean


def average_level(rows: Rows, beta: pd.Series, terms: tuple[str, str]) -> float:
    return float(average_columns(rows, terms).to_numpy() @ beta.to_numpy())


def between_line(rows: Rows, beta: pd.Series, V: pd.DataFrame, terms: tuple[str, str], critical: float) -> pd.DataFrame:
    """The line between persons with its 95 % band over the range of the persons' means: columns x, eta, lower, upper."""
    columns = average_columns(rows, terms)
    x = np.linspace(rows.mean_x.min(), rows.mean_x.max(), 25)
    grid = np.tile(columns.to_numpy(dtype=float), (len(x), 1))
    grid[:, columns.index.get_loc(terms[1])] = x - rows.anchor
    eta = grid @ beta.to_numpy()
    se = np.sqrt(np.einsum("ij,jk,ik->i", grid, V.to_numpy(), grid))
    return pd.DataFrame({"x": x, "eta": eta, "lower": eta - critical * se, "upper": eta + critical * se})


def marginal_check(rows: Rows, terms: tuple[str, str]) -> dict[str, Any] | None:
    """The logistic model as a GEE with exchangeable answers and robust errors: averages over people, no random part.

    A sensitivity analysis (Liang & Zeger, 1986) by statsmodels; None where it does not settle.
    """
    from statsmodels.genmod.cov_struct import Exchangeable
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_estimating_equations import GEE

    groups = np.repeat(np.arange(len(rows.persons)), rows.sizes)
    result = GEE(
        rows.y, rows.X.to_numpy(dtype=float), groups=groups, family=Binomial(), cov_struct=Exchangeable()
    ).fit()
    if not result.converged or not np.isfinite(result.bse).all():
        return None
    names = list(rows.X.columns)
    found: dict[str, Any] = {"correlation": float(result.model.cov_struct.dep_params), "rows": []}
    for part, term in zip(("within", "between"), terms, strict=True):
        at = names.index(term)
        estimate, se = float(result.params[at]), float(result.bse[at])
        found["rows"].append(
            {
                "term": term,
                "part": part,
                "estimate": estimate,
                "se": se,
                "lower": estimate - Z975 * se,
                "upper": estimate + Z975 * se,
            }
        )
    return found
