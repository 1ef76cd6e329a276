"""Where the variance lies, and how well a mean over chosen numbers measures (Brennan, 2001, ch. 4–5).

A mean over n levels of a facet has that facet's variance divided by n. Error is relative where objects are compared with
each other under the same conditions (what interacts with the object), absolute where the figure itself counts (all of it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from analysis import plots
from analysis.answer import Answer, with_limits
from analysis.errors import SpecError
from analysis.factors import Factor, is_nested
from analysis.model import MultilevelModel
from analysis.words import NO_BREAK, joined, level_words, number

RESIDUAL = "residual"


@dataclass(frozen=True)
class MeanReliability:
    """How well a mean over chosen numbers tells the levels of `object` apart.

    generalisability : object variance / (that + relative error), for comparisons under the same conditions
    dependability : object variance / (that + absolute error), for the figure itself
    errors : index error component; columns `variance, divisor, error` = variance / divisor, `relative` (bool)
    numbers : facet → levels in the mean, of a facet nested in another per level of that one; "residual": rows in each cell
    universe : components that count as the object's own variance
    """

    object: str
    numbers: dict[str, float]
    generalisability: float
    dependability: float
    errors: pd.DataFrame
    universe: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class VarianceComponents(Answer):
    """A model's variance by source, given its fixed effects.

    table : index component (`plate`, `person: x` for a slope, `residual`); columns `variance, sd, lower, upper` (limits of
        the SD at `level`; NaN where the model has none), `share` of the intercepts' and the residual variance, NaN for slopes
    icc : index grouping factor; columns `share` (as `fit.icc()`) and `correlation` of two rows of one level, which adds the
        factors that the level lies in
    reliability : of a mean over chosen numbers, None where none were given
    """

    table: pd.DataFrame
    icc: pd.DataFrame
    reliability: MeanReliability | None
    outcome: str
    family: str
    level: float
    method: str

    @property
    def title(self) -> str:
        return f"Where the variance of {self.outcome} lies"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        shown = pd.DataFrame(
            {
                f"SD ({100 * self.level:g} %)": with_limits(self.table, "sd", "lower", "upper"),
                "variance": self.table["variance"],
                "share": [_percent(share) for share in self.table["share"]],
            },
            index=self.table.index,
        )
        out = {"component": shown, "two rows of one": self.icc[["correlation"]]}
        if self.reliability is not None:
            errors = self.reliability.errors
            out["error of the mean"] = errors.assign(relative=["yes" if one else "no" for one in errors["relative"]])
        return out

    @property
    def sentences(self) -> tuple[str, ...]:
        shares = self.table["share"].dropna().sort_values(ascending=False, kind="stable")
        parts = [f"{_percent(share)} {_lies(str(name))}" for name, share in shares.items()]
        scale = "" if self.family == "gaussian" else ", on the scale of its linear predictor,"
        said = [f"Of the variance of {self.outcome} that the fixed effects leave{scale or ','} {joined(parts)}."]
        alike = [f"{number(row.correlation)} in one {name}" for name, row in self.icc.iterrows()]
        if len(self.icc) and not self.icc["correlation"].isna().any():
            said.append(f"Two rows correlate by {joined(alike)}.")
        return (*said, _reliability_sentence(self.reliability)) if self.reliability is not None else tuple(said)

    @property
    def notes(self) -> tuple[str, ...]:
        made = {
            "profile": "Limits of SDs are by profile likelihood (of the ML fit).",
            "wald": "Limits of SDs are Wald's, on the log scale.",
            "none": "There are no limits of SDs for this model.",
        }[self.method]
        latent = (
            ""
            if self.family == "gaussian"
            else " Variances are on the scale of the linear predictor, the residual there."
        )
        slopes = (
            " Shares and correlations are at zero of the random slopes’ columns."
            if self.table["share"].isna().any()
            else ""
        )
        return (f"{made}{latent}{slopes}",)

    def plot(self) -> Any:
        """An Altair chart: each component's SD with its limits, and its share."""
        return plots.components_chart(self)


def variance_components(
    fit: MultilevelModel,
    means: Mapping[str, float] | None = None,
    level: float = 0.95,
    object: str | None = None,
    method: str = "profile",
) -> VarianceComponents:
    """Components, shares and ICCs of a fit; with `means`, the reliability of a mean that measures the levels of `object`.

    means : facet → levels in the mean: {"batch": 2, "sample": 6, "residual": 3} is 3 rows of each of 6 samples in each of
        2 batches. Facets are the columns of the other grouping factors; of one nested in another, the number per level of
        that one; "residual" the rows in each cell, 1 if left out
    object : the factor whose levels are measured (default: the only one); a factor in which it is nested counts with it
    method : of the SDs' limits, "profile" or "wald"; where a model has no profile, Wald's

    Raises SpecError for facets that the model does not have, that are missing from `means`, or numbers below one.
    """
    if not isinstance(fit, MultilevelModel):
        raise SpecError(f"variance_components needs a fitted model, as of lmm() or glmm(), not {type(fit).__name__}.")
    if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    if method not in ("profile", "wald"):
        raise SpecError(f"method={method!r} must be 'profile' or 'wald'.")
    if means is not None and fit.residual_correlation is not None:
        raise SpecError(
            "means= takes rows as independent given their levels; fit without residual= (serial correlation)."
        )
    variances = _intercepts(fit)
    residual = float(fit._residual_variance)
    total = sum(variances.values()) + residual
    table, used = _table(fit, residual, total, level, method)
    return VarianceComponents(
        table=table,
        icc=_icc(fit, variances, total),
        reliability=None if means is None else _reliability(fit, variances, residual, dict(means), object),
        outcome=fit.design.spec.outcome,
        family=fit.family,
        level=level,
        method=used,
    )


def _intercepts(fit: MultilevelModel) -> dict[str, float]:
    """Grouping factor → variance of its random intercept, for those that have one."""
    return {
        name: float(np.diag(covariance)[list(covariance.index).index("Intercept")])
        for name, covariance in fit.random.items()
        if "Intercept" in covariance.index
    }


def _table(fit: MultilevelModel, residual: float, total: float, level: float, method: str) -> tuple[pd.DataFrame, str]:
    rows: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    for factor, covariance in fit.random.items():
        for term, variance in zip(covariance.index, np.diag(covariance), strict=True):
            label = factor if term == "Intercept" else f"{factor}: {term}"
            rows[label] = {"variance": variance, "share": variance / total if term == "Intercept" else np.nan}
            names[label] = f"sd_{term}|{factor}"
    rows[RESIDUAL] = {"variance": residual, "share": residual / total}
    names |= {RESIDUAL: "sigma"} if fit.residual_sd is not None else {}
    limits, used = _limits(fit, list(names.values()), level, method)
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("component")
    table["sd"] = np.sqrt(table["variance"])
    own = limits.reindex([names.get(str(label), "") for label in table.index])
    table[["lower", "upper"]] = own[["lower", "upper"]].to_numpy()
    return table[["variance", "sd", "lower", "upper", "share"]], used


def _limits(fit: MultilevelModel, names: list[str], level: float, method: str) -> tuple[pd.DataFrame, str]:
    """Limits of the SDs by the method asked for, else by Wald's, else none; and which it was."""
    for way in dict.fromkeys((method, "wald")):
        try:
            return fit.confint(method=way, parameters=names, level=level), way
        except SpecError:  # this kind of model has no such limits
            continue
    return pd.DataFrame(np.nan, index=names, columns=["lower", "upper"]), "none"


def _icc(fit: MultilevelModel, variances: dict[str, float], total: float) -> pd.DataFrame:
    factors = [factor for factor in fit.design.factors if factor.name in variances]
    shared = [sum(variances[other.name] for other in factors if is_nested(factor, other)) for factor in factors]
    names = [factor.name for factor in factors]
    return pd.DataFrame(
        {"share": [variances[name] / total for name in names], "correlation": np.array(shared) / total},
        index=pd.Index(names, name="factor"),
    )


def _reliability(
    fit: MultilevelModel, variances: dict[str, float], residual: float, means: dict[str, float], measured: str | None
) -> MeanReliability:
    if measured is None and fit.design.several:
        raise SpecError(f"means= needs object=, the factor that is measured: one of {', '.join(map(repr, variances))}.")
    target = fit.design.factors[fit.design.place_of(measured)]
    if target.name not in variances:
        raise SpecError(f"the model has no random intercept of {target.name!r}; add (1 | {target.name}).")
    factors = [factor for factor in fit.design.factors if factor.name in variances and factor.name != target.name]
    above = [factor for factor in factors if is_nested(target, factor)]
    errors = [factor for factor in factors if not is_nested(target, factor)]
    facets = {factor.name: _facets(factor, target, errors) for factor in errors}
    everything = list(dict.fromkeys(facet for own in facets.values() for facet in own))
    numbers = _checked(means, everything)
    rows = {
        factor.name: (variances[factor.name], float(np.prod([numbers[facet] for facet in facets[factor.name]])),
                      is_nested(factor, target))
        for factor in errors
    }  # fmt: skip
    rows[RESIDUAL] = (residual, float(np.prod(list(numbers.values()))), True)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["variance", "divisor", "relative"])
    table.insert(2, "error", table["variance"] / table["divisor"])
    universe = variances[target.name] + sum(variances[factor.name] for factor in above)
    relative = float(table.loc[table["relative"], "error"].sum())
    return MeanReliability(
        object=target.name,
        numbers=numbers,
        generalisability=_ratio(universe, relative),
        dependability=_ratio(universe, float(table["error"].sum())),
        errors=table.rename_axis("component"),
        universe=(target.name, *(factor.name for factor in above)),
    )


def _facets(factor: Factor, target: Factor, errors: list[Factor]) -> tuple[str, ...]:
    """The facets over whose levels a mean averages this component: its own columns, and those of what it lies in."""
    around = [other for other in errors if other.name != factor.name and is_nested(factor, other)]
    columns = [name for one in (*around, factor) for name in one.group]
    return tuple(dict.fromkeys(name for name in columns if name not in target.group))


def _checked(means: dict[str, float], facets: list[str]) -> dict[str, float]:
    known = [*facets, RESIDUAL]
    for facet in means:
        if facet not in known:
            raise SpecError(f"means: the model has no facet {facet!r}; it has {', '.join(map(repr, known))}.")
    for facet in facets:
        if facet not in means:
            raise SpecError(
                f"means: how many levels of {facet!r} are in the mean? It has {', '.join(map(repr, known))}."
            )
    for facet, count in means.items():
        if isinstance(count, bool) or not isinstance(count, Real) or not 1.0 <= float(count) < np.inf:
            raise SpecError(f"means: the number of {facet!r} must be at least 1, not {count!r}.")
    return {facet: float(means.get(facet, 1.0)) for facet in known}


def _ratio(variance: float, error: float) -> float:
    return variance / (variance + error) if variance + error > 0.0 else float("nan")


def _reliability_sentence(found: MeanReliability) -> str:
    counts = [f"{number(count, 0)} of {facet}" for facet, count in found.numbers.items() if facet != RESIDUAL]
    rows = found.numbers[RESIDUAL]
    each = f"{number(rows, 0)} row{'' if rows == 1 else 's'}{' in each' if counts else ''}"
    return (
        f"A mean over {joined([*counts, each])} tells {level_words(found.object)} apart with a generalisability of "
        f"{number(found.generalisability)}, and stands for the level itself with a dependability of "
        f"{number(found.dependability)}."
    )


def _lies(component: str) -> str:
    return "is left between rows (residual)" if component == RESIDUAL else f"lies between {level_words(component)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}{NO_BREAK}%" if np.isfinite(share) else ""
