"""Group means beside the mixed model ("pseudobulk"): what is tested when the group, not its rows, is the replicate.

Where the groups have equally many rows and the predictors are constant within them, least squares on the means and the
random-intercept model by REML are one analysis (Searle, Casella & McCulloch, 1992, §4.5): same estimates, errors and df.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import plots
from analysis.answer import Answer, with_limits
from analysis.checks import refuse_frame
from analysis.design import Design, build_design
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.least_squares import least_squares, per_million, sums, tests_of
from analysis.models import lmm
from analysis.words import counted, decimals_for, interval, joined, level_words, number

CONSTANT = 1e-9
"""A column varies within groups where it leaves their means by more than this share of its largest value."""
FALSE_DISCOVERIES = 0.05
OUTCOME = "outcome of pseudobulk"


@dataclass(frozen=True, repr=False)
class Pseudobulk(Answer):
    """Three analyses of the same question; the last one is wrong and stands there for contrast.

    groups : least squares on the groups' figures, with the groups' degrees of freedom. One outcome: index term; several:
        index (outcome, term). Columns `estimate, se, df, statistic, p_value, lower, upper`, and with several outcomes
        `q_value`, by Benjamini and Hochberg over the outcomes of each term
    mixed : the random-intercept model's `tests()`; None for several outcomes and for sums
    rows_as_replicates : least squares on the rows as if they were independent: pseudoreplication
    coincide : are `groups` and `mixed` the same analysis, by proof?  reasons : why not
    lost : terms of the formula that vary within groups, which the groups' figures cannot see
    at_boundary : of several outcomes in a design where the two coincide, those of which the mixed model would find no spread
        between groups and so would not
    """

    groups: pd.DataFrame
    mixed: pd.DataFrame | None
    rows_as_replicates: pd.DataFrame
    coincide: bool
    reasons: tuple[str, ...]
    lost: tuple[str, ...]
    at_boundary: int
    outcome: str
    outcomes: int
    group: str
    n_groups: int
    n_rows: int
    how: str
    level: float

    @property
    def title(self) -> str:
        what = self.outcome if self.outcomes == 1 else counted(self.outcomes, "outcome")
        return f"{what}: {self.n_groups:,} {level_words(self.group)} as replicates, not {self.n_rows:,} rows"

    @property
    def terms(self) -> list[str]:
        """The terms that the groups can tell of, without the intercept."""
        return [str(term) for term in self.groups.index.unique("term") if term != "Intercept"]

    @property
    def sentences(self) -> tuple[str, ...]:
        said = self._one() if self.outcomes == 1 else self._many()
        if self.how == "mean":
            said.append(self._same())
        if self.lost:
            said.append(
                f"Lost in the groups’ figures: {joined(list(self.lost))}, which "
                f"{'varies' if len(self.lost) == 1 else 'vary'} within {level_words(self.group)}; "
                "only the mixed model can estimate and allow for that."
            )
        return tuple(said)

    @property
    def notes(self) -> tuple[str, ...]:
        figure = {
            "mean": "Groups: unweighted means of the rows of each.",
            "sum": "Groups: log2 of the summed counts per million of the summed sizes, (sum + prior) / (size + 2 prior) as voom.",
        }[self.how]
        more = (
            " q: false-discovery rate, Benjamini and Hochberg, over the outcomes of each term."
            if self.outcomes > 1
            else ""
        )
        return (f"{figure} Rows as replicates: WRONG here, for contrast; rows of one group are not independent.{more}",)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        shown = {"group figures": self.groups}
        if self.mixed is not None:
            shown["mixed model"] = self.mixed
        shown["rows as replicates (WRONG)"] = self.rows_as_replicates
        return {head: _shown(frame, self.level) for head, frame in shown.items()}

    def plot(self) -> Any:
        """An Altair chart: of one outcome the estimates of all three analyses; of many, how their p spread."""
        return plots.pseudobulk_chart(self)

    def _one(self) -> list[str]:
        said = []
        groups: Any = self.groups
        mixed: Any = self.mixed
        rows: Any = self.rows_as_replicates
        for term in self.terms[:3]:
            parts = [f"{_estimate(groups.loc[term])} from group {self.how}s"]
            if mixed is not None:
                parts.append(f"{_estimate(mixed.loc[term])} from the mixed model")
            wrong = rows.loc[term]
            said.append(
                f"{term}: {joined(parts)}. Rows as replicates would claim {number(wrong['df'], 0)} degrees of freedom and an SE "
                f"of {number(wrong['se'], 3)}, not {number(groups.loc[term, 'se'], 3)}."
            )
        return said

    def _many(self) -> list[str]:
        said = []
        for term in self.terms[:3]:
            found, wrong = (
                int((table.xs(term, level="term")["q_value"] < FALSE_DISCOVERIES).sum())
                for table in (self.groups, self.rows_as_replicates)
            )
            said.append(
                f"{term}: {found:,} of {self.outcomes:,} outcomes have q below {FALSE_DISCOVERIES}; with rows as replicates "
                f"it would be {wrong:,}."
            )
        return said

    def _same(self) -> str:
        if not self.coincide:
            return f"Group means and the mixed model are not the same analysis here: {joined(list(self.reasons))}."
        said = (
            f"Group means and the mixed model are the same analysis here: all {level_words(self.group)} have equally many "
            "rows and the terms compared are constant within them"
        )
        if self.at_boundary:
            return f"{said}; except for {counted(self.at_boundary, 'outcome')} without any spread between groups in the mixed model."
        return f"{said}."


def pseudobulk(
    formula: str,
    frame: pd.DataFrame,
    outcomes: Sequence[str] | pd.DataFrame | None = None,
    how: str = "mean",
    size: str | None = None,
    prior: float = 0.5,
    level: float = 0.95,
) -> Pseudobulk:
    """Analyse groups' means (or summed counts) by least squares, beside the mixed model and the naive analysis of rows.

    formula : with one grouping factor, "y ~ dose + (1 | patient)"; with `outcomes`, "~ dose + (1 | patient)"
    outcomes : many outcomes of the same rows, in one batch: columns of the frame, or a frame with the same index
    how : "mean", or "sum" for counts, analysed as log2 counts per million of `size`
    size : for sums, the column of each row's total count; of several outcomes their sum where it is not given
    prior : counts added before the logarithm

    Raises SpecError for a wrong question, outcomes that are no counts included; DesignError for missing outcomes, too few
    groups and terms that depend on each other.
    """
    refuse_frame(frame)
    if how not in ("mean", "sum"):
        raise SpecError(f"how={how!r} must be 'mean' or 'sum'.")
    if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    if not isinstance(prior, (int, float)) or not prior > 0.0:
        raise SpecError(f"prior={prior!r} must be a number above zero.")
    design, names, values = _read(formula, frame, outcomes)
    starts, x = design.starts, design.matrix(design.fixed)
    sizes = _sizes(frame, size, values, design, how)
    total = sums(values, starts)
    figures = (
        total / np.diff(starts)[:, None] if how == "mean" else per_million(total, sums(sizes[:, None], starts), prior)
    )
    means = np.add.reduceat(x, starts[:-1], axis=0) / np.diff(starts)[:, None]
    varies = np.abs(x - np.repeat(means, np.diff(starts), axis=0)).max(axis=0) > CONSTANT * np.abs(x).max(axis=0)
    kept = np.flatnonzero(~varies)
    kept_names = [design.fixed_names[j] for j in kept]
    if not len(kept):
        raise DesignError(
            f"all terms vary within {level_words(design.factor)}; there is nothing that their means can tell."
        )
    beta, rss, inverse, df = least_squares(means[:, kept], figures, kept_names, "groups")
    groups = tests_of(names, kept_names, beta, rss, inverse, df, level)
    rows = _rows_as_replicates(x, values, sizes, how, prior, design.fixed_names)
    fit = lmm(formula, frame) if outcomes is None and how == "mean" else None
    reasons = _reasons(design, x, means, varies, fit)
    spread = (rows[1] - np.diff(starts)[0] * rss) / max(
        design.n_obs - design.n_persons - int(varies.sum()), 1
    )  # in groups
    boundary = np.diff(starts)[0] * rss / df <= spread if not reasons else np.zeros(len(names), dtype=bool)
    return Pseudobulk(
        groups=groups,
        mixed=None if fit is None else fit.tests(level=level),
        rows_as_replicates=tests_of(names, design.fixed_names, *rows, level),
        coincide=how == "mean" and not reasons,
        reasons=tuple(reasons),
        lost=tuple(name for name, moves in zip(design.fixed_names, varies, strict=True) if moves),
        at_boundary=int(boundary.sum()) if how == "mean" else 0,
        outcome=names[0],
        outcomes=len(names),
        group=design.factor,
        n_groups=design.n_persons,
        n_rows=design.n_obs,
        how=how,
        level=level,
    )


def _read(
    formula: str, frame: pd.DataFrame, outcomes: Sequence[str] | pd.DataFrame | None
) -> tuple[Design, list[str], np.ndarray]:
    """The design, the outcomes' names, and their values (n, outcomes) with rows as in the design."""
    if outcomes is None:
        design = build_design(formula, frame)
        _refuse_several(design)
        return design, [design.spec.outcome], design.outcome[:, None]
    left, found, right = str(formula).partition("~")
    if not found or left.strip():
        raise SpecError(f"with outcomes= the formula starts with '~', as in '~ dose + (1 | patient)', not {formula!r}.")
    if isinstance(outcomes, str):
        raise SpecError(f"outcomes={outcomes!r} must be a list of columns, or a frame.")
    if isinstance(outcomes, pd.DataFrame):
        if not outcomes.index.equals(frame.index):
            raise SpecError(
                "outcomes= is a frame with another index than the data's; give the same rows in the same order."
            )
        names, table, rest = [str(name) for name in outcomes.columns], outcomes, frame
    else:
        names = [str(name) for name in outcomes]
        known = set(frame.columns)
        for name in names:
            if name not in known:
                raise unknown_column(name, frame.columns, "outcomes")
        table, rest = frame[names], frame.drop(columns=names)
    if not names or len(set(names)) < len(names):
        raise SpecError("outcomes= must name at least one column, and each once.")
    design = build_design(f"`{OUTCOME}` ~{right}", rest.assign(**{OUTCOME: 0.0}))
    _refuse_several(design)
    try:
        values = table.to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise DesignError(f"the outcomes must be numbers: {error}.") from error
    if len(design.positions) < len(values) or (np.diff(design.positions) != 1).any():
        values = values[design.positions]
    if not np.isfinite(values.sum(axis=0)).all():
        bad = names[int(np.flatnonzero(~np.isfinite(values.sum(axis=0)))[0])]
        raise DesignError(f"the outcome {bad!r} has missing or infinite values; all outcomes share the same rows.")
    return design, names, values


def _refuse_several(design: Design) -> None:
    if design.several:
        factors = ", ".join(factor.name for factor in design.factors)
        raise SpecError(f"pseudobulk needs one grouping factor, the one that is replicated; the formula has {factors}.")


def _sizes(frame: pd.DataFrame, size: str | None, values: np.ndarray, design: Design, how: str) -> np.ndarray:
    """(n,) total counts of the rows; ones for means."""
    if how == "mean":
        if size is not None:
            raise SpecError("size= is for how='sum'; leave it out for means.")
        return np.ones(design.n_obs)
    if (values < 0.0).any() or (values != np.rint(values)).any():
        raise SpecError("how='sum' is for counts: whole numbers from zero on; use how='mean' for other outcomes.")
    if size is None:
        if values.shape[1] < 2:
            raise SpecError("how='sum' of a single outcome needs size=, the column of each row's total count.")
        return np.asarray(values.sum(axis=1))
    if size not in frame.columns:
        raise unknown_column(size, frame.columns, "size")
    sizes = np.asarray(frame[size].to_numpy(dtype=float)[design.positions])
    if not (sizes >= values.max(axis=1)).all():
        raise SpecError(
            f"size={size!r} must hold each row's total count, no lower than its outcomes and nowhere missing."
        )
    return sizes


def _rows_as_replicates(
    x: np.ndarray, values: np.ndarray, sizes: np.ndarray, how: str, prior: float, names: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    return least_squares(x, values if how == "mean" else per_million(values, sizes[:, None], prior), names, "rows")


def _reasons(design: Design, x: np.ndarray, means: np.ndarray, varies: np.ndarray, fit: Any) -> list[str]:
    """Why the two analyses differ; none where they are one by proof."""
    sizes, out = np.diff(design.starts), []
    if sizes.min() < sizes.max():
        out.append(
            f"{level_words(design.factor)} of {sizes.min():,} to {sizes.max():,} rows count alike as means, by precision in the mixed model"
        )
    centred = np.abs(means).max(axis=0) <= CONSTANT * np.abs(x).max(axis=0)
    mixed = [name for name, moves, zero in zip(design.fixed_names, varies, centred, strict=True) if moves and not zero]
    if mixed:
        out.append(f"the mixed model also adjusts for {joined(mixed)}, within and between groups")
    if [column.kind for column in design.random] != ["one"]:
        out.append("the mixed model has more than a random intercept")
    if fit is not None and fit.singular:
        out.append("the mixed model finds no spread between groups and so pools all rows")
    return out


def _estimate(row: pd.Series) -> str:
    places = decimals_for((row["upper"] - row["lower"]) / 2)
    return (
        f"{number(row['estimate'], places)} ({interval(row['lower'], row['upper'], places)}; {number(row['df'], 1)} df)"
    )


def _shown(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    head = f"estimate ({100 * level:g} %)"
    out = pd.DataFrame({head: with_limits(frame, "estimate", "lower", "upper")}, index=frame.index)
    return out.join(frame[[name for name in ("se", "df", "p_value", "q_value") if name in frame.columns]])
