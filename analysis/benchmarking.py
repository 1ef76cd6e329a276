"""Fair comparison of groups (hospitals, schools, interviewers): observed, expected, and shrunken beside raw.

Indirect standardisation by a random-intercept model (Normand & Shahian, 2007, eqs. 1–3; Goldstein & Spiegelhalter, 1996):
expected = the outcome of the group's own rows had its random effect been zero; predicted = with the group's own effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata

from analysis import plots
from analysis.answer import Answer, with_limits
from analysis.errors import SpecError
from analysis.model import MultilevelModel
from analysis.standings import OUTCOMES, Groups, count_limits, drawn_standings, group_rows
from analysis.words import counted, level_words, number

DRAWS = 1000
"""Draws of the groups' effects. They are stratified, so that limits of one group carry next to no error of drawing."""
FURTHEST = 10
"""Groups whose places before and after shrinkage the sentence counts, of at least three times as many."""
NOTHING = 1e-8
"""Where own rows weigh no more than this the spread between groups is rounding, not a variance."""


@dataclass(frozen=True, repr=False)
class Benchmark(Answer):
    """Groups beside what would be expected of an average group with the same case mix.

    table : index group. `n` rows (trials of a binomial outcome that has sizes); then, of a count outcome, `observed`,
        `expected` and `predicted` events, `rate` = observed per trial, unit of exposure or row, `raw_ratio` = observed /
        expected with `raw_lower, raw_upper` and `ratio` = predicted / expected with `lower, upper`. Of a normal outcome the
        first three are means and there are `raw_difference` = observed − expected and `difference` = predicted − expected;
        `raw_ratio` and `ratio` beside them only where all expected means are above zero.
        `weight` : share of the group's effect that rests on its own rows, 1 − conditional variance / variance
        `rank, rank_lower, rank_upper` : median and limits over draws of its place, 1 for the highest
        `probability_above` : that the group lies above the average;  `unlike_average` : is that, or its complement, above
        1 − (1 − level)/2?
    measure : "ratio" or "difference", the columns that are compared;  family, group, outcome, level : as fitted and asked
    spread : SD of the group's random intercept;  residual : residual SD of a normal outcome, else NaN
    """

    table: pd.DataFrame
    measure: str
    family: str
    group: str
    outcome: str
    level: float
    spread: float
    residual: float
    draws: int

    @property
    def title(self) -> str:
        return f"{self.outcome} of {counted(len(self.table), self.group, f'levels of {self.group}')}, given case mix"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The columns that are read first, limits in brackets; `table` has all of them."""
        table, raw = self.table, f"raw_{self.measure}"
        shown = table[["n", "observed", "expected"]].assign(
            **{
                f"raw {self.measure}": with_limits(table, raw, "raw_lower", "raw_upper"),
                self.measure: with_limits(table, self.measure, "lower", "upper"),
                "rank": with_limits(table.round(), "rank", "rank_lower", "rank_upper"),
            }
        )
        return {self.group: shown}

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What shrinkage did to the small groups, and how many groups are credibly unlike the average."""
        if not self.table["weight"].gt(NOTHING).any():
            return (
                f"The data show no differences between {level_words(self.group)} beyond chance; all are estimated at the average.",
            )
        return (self._shrinkage(), self._unlike())

    @property
    def notes(self) -> tuple[str, ...]:
        raw = {
            "binomial": "exact for a binomial count (Clopper and Pearson)",
            "poisson": "exact for a Poisson count (Garwood)",
            "gaussian": "by the model's residual SD",
        }[self.family]
        percent = f"{100 * self.level:g} %"
        return (
            f"Expected: the group's own rows with its random effect at zero, those of other factors at their modes. Raw "
            f"limits ({percent}) are {raw}, the expected figure taken as known. Those of the shrunken {self.measure} and of the ranks are of {self.draws:,} stratified draws of the "
            "groups' effects and the fixed effects given the data, the variances taken as known; rank 1 is the highest.",
            "A group is called unlike the average where the probability that it lies on one side exceeds "
            f"{1 - 0.5 * (1 - self.level):g}. Shrinkage allows for the number of groups, which raw limits do not; a rank "
            "whose limits span much of the list is no verdict.",
        )

    def caterpillar(self) -> Any:
        """An Altair chart: groups sorted by what is left after shrinkage, with limits, the raw figure as a dash behind."""
        return plots.benchmark_caterpillar(self)

    def funnel(self) -> Any:
        """An Altair chart: raw figures against size with 95 and 99.8 % control limits (Spiegelhalter, 2005), shrunken beside."""
        return plots.benchmark_funnel(self)

    def _shrinkage(self) -> str:
        table = self.table
        who, rows = level_words(self.group), "trials" if self.family == "binomial" else "rows"
        few = float(table["n"].median())
        if table["n"].min() == table["n"].max():
            return f"All {len(table):,} {who} have {number(few, 0)} {rows}: shrinkage draws all of them in alike."
        many = max(1, min(FURTHEST, len(table) // 3))
        raw, shrunken = (_furthest(table[name], self.measure, many) for name in (f"raw_{self.measure}", self.measure))
        small = raw[(table.loc[raw, "n"] < few).to_numpy()]
        still = len(small.intersection(shrunken))
        return (
            f"Of the {many} {who} furthest from the average by raw {self.measure}, {len(small)} have fewer than "
            f"{number(few, 0)} {rows} (the smaller half); after shrinkage {still} of these "
            f"{'is' if still == 1 else 'are'} still among the {many} furthest."
        )

    def _unlike(self) -> str:
        table = self.table
        unlike = table[table["unlike_average"]]
        above = int((unlike["probability_above"] > 0.5).sum())
        said = (
            f"{len(unlike)} of {len(table):,} {'is' if len(unlike) == 1 else 'are'} credibly unlike the average "
            f"({above} above, {len(unlike) - above} below)"
        )
        if not len(unlike):
            return f"None of the {len(table):,} is credibly unlike the average."
        wrong = float(np.minimum(unlike["probability_above"], 1.0 - unlike["probability_above"]).sum())
        return f"{said}; by the model {number(max(wrong, 0.01), 2)} of these is expected to lie on the other side."


def benchmark(
    fit: MultilevelModel, group: str | None = None, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Benchmark:
    """Compare the levels of `group` (default: the only grouping factor) of a fit with a random intercept for them.

    Random slopes of the group take part in what is predicted; other factors' effects are at their modes in both expected and
    predicted, so that the ratio is the group's own, and with several factors the limits take the fixed effects as known.
    Raises SpecError for a group without a random intercept, for families
    other than normal, binomial and Poisson, and for a level outside (0, 1).
    """
    if not isinstance(fit, MultilevelModel):
        raise SpecError(f"benchmark needs a fitted model, as of lmm() or glmm(), not {type(fit).__name__}.")
    if fit.family not in OUTCOMES:
        raise SpecError(f"benchmark is for the families {', '.join(OUTCOMES)}, not {fit.family!r}.")
    if fit.residual_correlation is not None:
        raise SpecError(
            "benchmark takes rows as independent given their group; fit without residual= (serial correlation)."
        )
    if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    if not isinstance(draws, int) or draws < 100:
        raise SpecError(f"draws={draws!r} must be a whole number of at least 100.")
    place = _place(fit, group)
    rows = group_rows(fit, place)
    measure = OUTCOMES[fit.family]
    drawn = drawn_standings(fit, rows, draws, np.random.default_rng(seed))
    ends = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    average = 1.0 if measure == "ratio" else 0.0
    above = np.where(drawn == average, 0.5, drawn > average).mean(axis=0)
    ranks = np.quantile(rankdata(-drawn, axis=1), [0.5, 0.5 - level / 2, 0.5 + level / 2], axis=0)
    table = (_ratios if measure == "ratio" else _differences)(fit, rows, ends, level).assign(
        weight=rows.weight,
        rank=ranks[0],
        rank_lower=ranks[1],
        rank_upper=ranks[2],
        probability_above=above,
        unlike_average=np.maximum(above, 1.0 - above) > 0.5 + level / 2,
    )
    return Benchmark(
        table=table,
        measure=measure,
        family=fit.family,
        group=fit.design.factors[place].name,
        outcome=fit.design.spec.outcome,
        level=level,
        spread=rows.spread,
        residual=fit.residual_sd if fit.residual_sd is not None else float("nan"),
        draws=draws,
    )


def _place(fit: MultilevelModel, group: str | None) -> int:
    """The grouping factor's number in the design."""
    names = ", ".join(repr(factor.name) for factor in fit.design.factors)
    if group is None and fit.design.several:
        raise SpecError(f"benchmark: name the group; the model has {names}.")
    place = fit.design.place_of(group)
    factor = fit.design.factors[place].name
    if "Intercept" not in fit.random[factor].index:
        raise SpecError(f"benchmark: the model has no random intercept of {factor!r}; add (1 | {factor}).")
    return place


def _ratios(fit: MultilevelModel, rows: Groups, ends: np.ndarray, level: float) -> pd.DataFrame:
    offset = fit.design.offset if fit.family == "poisson" else None
    per = rows.n if offset is None else np.bincount(rows.code, np.exp(offset))
    low, high = count_limits(rows.observed, rows.n if fit.family == "binomial" else None, level)
    columns = {
        "n": rows.n,
        "observed": rows.observed,
        "expected": rows.expected,
        "predicted": rows.predicted,
        "rate": rows.observed / per,
        "raw_ratio": rows.observed / rows.expected,
        "raw_lower": low / rows.expected,
        "raw_upper": high / rows.expected,
        "ratio": rows.predicted / rows.expected,
        "lower": ends[0],
        "upper": ends[1],
    }
    return pd.DataFrame(columns, index=rows.levels)


def _differences(fit: MultilevelModel, rows: Groups, ends: np.ndarray, level: float) -> pd.DataFrame:
    raw = rows.observed - rows.expected
    half = float(ndtri(0.5 + level / 2)) * float(fit.residual_sd or 0.0) / np.sqrt(rows.n)
    columns = {
        "n": rows.n,
        "observed": rows.observed,
        "expected": rows.expected,
        "predicted": rows.predicted,
        "raw_difference": raw,
        "raw_lower": raw - half,
        "raw_upper": raw + half,
        "difference": rows.predicted - rows.expected,
        "lower": ends[0],
        "upper": ends[1],
    }
    if (rows.expected > 0.0).all():
        columns |= {"raw_ratio": rows.observed / rows.expected, "ratio": rows.predicted / rows.expected}
    return pd.DataFrame(columns, index=rows.levels)


def _furthest(values: pd.Series, measure: str, many: int) -> pd.Index:
    """Labels of the values furthest from the average: ratios by their logarithm, so that half and double are as far."""
    with np.errstate(divide="ignore"):
        away = np.abs(np.log(values.to_numpy())) if measure == "ratio" else np.abs(values.to_numpy())
    return values.index[np.argsort(-away, kind="stable")[:many]]
