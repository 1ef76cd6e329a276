"""Mediation across levels: does what goes with x in y run through m? Within persons (1-1-1), or from persons' x (2-1-1).

1-1-1 (Bauer, Preacher & Gil, 2006): each person has an own a (x → m), b (m → y) and c' (x → y); over persons the indirect path is
ab + cov(a, b), since E[a_i b_i] is. 2-1-1 (Zhang, Zyphur & Preacher, 2009): x is the person's, so only the person's usual m
can carry it: a·b_between, with m split. Limits are percentiles of draws of the estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis import plots
from analysis.answer import Answer, with_limits
from analysis.centering import label as named_level
from analysis.centering import numeric
from analysis.checks import refuse_frame
from analysis.covariance import deviations_and_correlations
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.models import lmm
from analysis.paths import Paths, fit_paths
from analysis.stacking import stack
from analysis.words import counted_levels, decimals_for, excludes_zero, interval, level_words, number

LOW = 0.8
"""Reliability of persons' mean m below which 2-1-1 says so (METHODS §2.5)."""

Label = Literal["concurrent: direction unknown", "lagged", "between people"]


@dataclass(frozen=True, repr=False)
class Mediation(Answer):
    """Paths from x to y, beside and through m, per unit of x.

    table : index path: `a` (x → m), `b` (m → y at equal x; `b_within` and `b_between` in 2-1-1), `cov_ab` (of persons' own a
        and b; 1-1-1), `direct` (c'), `indirect` (ab + cov_ab, or a·b_between), `total` = indirect + direct; columns
        `estimate, se, lower, upper`, errors and limits of draws
    spread : 1-1-1: covariance of persons' own a, b and direct; None in 2-1-1
    label : what the order in time is;  persons, rows : used, a row of Y where the two equations differ
    converged, messages : honest flags
    """

    table: pd.DataFrame
    spread: pd.DataFrame | None
    x: str
    m: str
    y: str
    person: str
    design: str
    label: Label
    persons: int
    rows: int
    level: float
    draws: int
    converged: bool
    messages: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.x} → {self.m} → {self.y}, {self.design} ({self.label})"

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        head = f"estimate ({100 * self.level:g} %)"
        shown = pd.DataFrame({head: with_limits(self.table, "estimate", "lower", "upper"), "se": self.table["se"]})
        out = {"path": shown.set_axis(self.table.index)}
        if self.spread is not None:
            deviations, correlations = deviations_and_correlations(self.spread.to_numpy())
            spread = pd.DataFrame({"SD between people": deviations}, index=self.spread.index)
            out["own path"] = spread.assign(**{f"correlation with {self.spread.index[0]}": correlations[:, 0]})
        return out

    @property
    def sentences(self) -> tuple[str, ...]:
        rows: Any = self.table
        who = level_words(self.person)
        usual = "a person’s usual" if who == "people" else f"the usual of its {self.person}"
        about = {
            "concurrent: direction unknown": f"At moments when {self.x} was one unit above {usual}, {self.y} was on average",
            "lagged": f"Two prompts after moments when {self.x} was one unit above {usual}, {self.y} was on average",
            "between people": f"{who[0].upper()}{who[1:]} whose {self.x} is one unit higher have on average",
        }[self.label]
        amount = _amount(rows.loc["total"], self.y if self.label == "between people" else "")
        through = f"a path through {'their usual ' if self.label == 'between people' else ''}{self.m}"
        tail = {
            "concurrent: direction unknown": "Same moment: direction unknown.",
            "lagged": f"In time {self.x} comes first, then {self.m}, then {self.y}; something else may still stand behind all three.",
            "between people": f"{counted_levels(self.persons, self.person)}; may reflect other differences between them.",
        }[self.label]
        return (
            f"{about} {amount}.",
            f"{_carried(rows.loc['indirect'], through)}; {_said(rows.loc['direct'])} is left beside it. {tail}",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        many = f"{self.rows:,} rows of {counted_levels(self.persons, self.person)}."
        made = {
            "1-1-1": "Stacked model of both equations within persons, by REML, with a residual variance for each; the indirect path "
            f"is ab + cov(a, b). Limits: percentiles of {self.draws:,} draws of (a, b, c') from their covariance, and of cov(a, b) "
            "from its standard error.",
            "2-1-1": f"Two random-intercept models; the indirect path is a × b between persons. Limits: percentiles of {self.draws:,} "
            "draws, by Student’s t with each model’s degrees of freedom.",
        }[self.design]
        return (*self.messages, f"{many} {made}", "A model of paths does not show that one thing makes another.")

    def plot(self) -> Any:
        """An Altair chart: the paths as a diagram, and indirect, direct and total with their limits."""
        return plots.mediation_chart(self)


def mediate(
    frame: pd.DataFrame,
    x: str,
    m: str,
    y: str,
    person: str,
    design: str = "1-1-1",
    day: str | None = None,
    prompt: str | None = None,
    lagged: bool = False,
    covariates: Sequence[str] = (),
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Mediation:
    """Indirect, direct and total paths from x to y with Monte-Carlo limits.

    design : "1-1-1" where x, m and y vary within persons; "2-1-1" where x is constant in each person
    lagged : 1-1-1 over three successive prompts of a day: x, then m, then y, each equation with its outcome's own lag; needs
        `day` and `prompt`
    covariates : columns held equal in both equations; within persons only in 1-1-1

    Raises SpecError for columns that do not fit the design, DesignError for data that cannot tell.
    """
    refuse_frame(frame)
    names = _checked(frame, (x, m, y), person, design, day, prompt, lagged, covariates, draws, level)
    rng = np.random.default_rng(seed)
    if design == "2-1-1":
        return _between(frame, (x, m, y), person, names, draws, rng, level)
    codes = pd.factorize(frame[person])[0]
    values = {name: numeric(frame, name) for name in (x, m, y, *names)}
    stacked, rows, messages = stack(frame, values, codes, (x, m, y), names, (person, day, prompt) if lagged else None)
    paths = fit_paths(stacked)
    label: Label = "lagged" if lagged else "concurrent: direction unknown"
    if not paths.converged:
        messages.insert(0, "The model did not reach its optimum; do not use these figures.")
    if not np.isfinite(paths.covariance_se):
        messages.append("The uncertainty of cov(a, b) could not be had; limits take it as known.")
    if paths.singular:
        messages.append("The spread of persons’ own paths is at its boundary: fewer dimensions than the model has.")
    return Mediation(
        table=_path_table(paths, draws, rng, level),
        spread=pd.DataFrame(paths.g, index=["a", "b", "direct"], columns=["a", "b", "direct"]),
        x=x, m=m, y=y, person=person, design=design, label=label,
        persons=int((stacked.outcome.n > 0).sum()),
        rows=rows, level=level, draws=draws, converged=paths.converged, messages=tuple(messages),
    )  # fmt: skip


def _checked(
    frame: pd.DataFrame,
    triple: tuple[str, str, str],
    person: str,
    design: str,
    day: str | None,
    prompt: str | None,
    lag: bool,
    covariates: Sequence[str],
    draws: int,
    level: float,
) -> list[str]:
    """The covariates as a list, with all that can be wrong about the question refused."""
    if design not in ("1-1-1", "2-1-1"):
        raise SpecError(f"design={design!r} must be '1-1-1' or '2-1-1'.")
    if isinstance(covariates, str):
        raise SpecError(f"covariates={covariates!r} must be a list of columns, as in [{covariates!r}].")
    if lag and (design != "1-1-1" or day is None or prompt is None):
        raise SpecError("lagged=True is for design='1-1-1' and needs day= and prompt=.")
    if not lag and (day is not None or prompt is not None):
        raise SpecError("day= and prompt= are for lagged=True; leave them out.")
    if not isinstance(draws, int) or draws < 1000:
        raise SpecError(f"draws={draws!r} must be a whole number of at least 1,000.")
    if not isinstance(level, (int, float)) or not 0.0 < level < 1.0:
        raise SpecError(f"level={level!r} must lie between 0 and 1, as in 0.95.")
    used = [*triple, person, *covariates]
    for name in (*used, *(name for name in (day, prompt) if name is not None)):
        if name not in frame.columns:
            raise unknown_column(name, frame.columns, "mediate")
    if len(set(used)) < len(used):
        raise SpecError(f"mediate: x, m, y, person and covariates must be different columns, not {', '.join(used)}.")
    return list(covariates)


# ---------------------------------------------------------------------- tables


def _path_table(paths: Paths, draws: int, rng: np.random.Generator, level: float) -> pd.DataFrame:
    together = float(paths.g[0, 1])
    drawn = rng.multivariate_normal(paths.beta, paths.vcov, size=draws, method="eigh").T
    moved = together + np.nan_to_num(paths.covariance_se) * rng.standard_normal(draws)

    def named(a: Any, b: Any, direct: Any, covariance: Any) -> dict[str, Any]:
        indirect = a * b + covariance
        return {
            "a": a,
            "b": b,
            "cov_ab": covariance,
            "direct": direct,
            "indirect": indirect,
            "total": indirect + direct,
        }

    return _summarised(
        named(*(float(value) for value in (*paths.beta, together))), named(drawn[0], drawn[1], drawn[2], moved), level
    )


def _summarised(estimates: dict[str, float], drawn: dict[str, np.ndarray], level: float) -> pd.DataFrame:
    rows = {
        name: [estimate, drawn[name].std(ddof=1), *np.quantile(drawn[name], [0.5 - level / 2, 0.5 + level / 2])]
        for name, estimate in estimates.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["estimate", "se", "lower", "upper"]).rename_axis(
        "path"
    )


# ---------------------------------------------------------------------- between persons


def _between(
    frame: pd.DataFrame,
    triple: tuple[str, str, str],
    person: str,
    covariates: list[str],
    draws: int,
    rng: np.random.Generator,
    level: float,
) -> Mediation:
    x, m, y = triple
    whole = frame[[person, *triple, *covariates]].dropna()
    if not len(whole):
        raise DesignError(f"no row has all of {', '.join((person, *triple, *covariates))}.")
    moving = whole.groupby(person, observed=True)[x].nunique() > 1
    if moving.any():
        raise SpecError(
            f"mediate: design='2-1-1' needs an x that is constant in each person; {x!r} varies in {int(moving.sum())}, first "
            f"{named_level(moving.idxmax())}. Use design='1-1-1'."
        )
    names = {name: f"v{place}" for place, name in enumerate((person, *triple, *covariates))}
    data = whole.rename(columns=names).reset_index(drop=True)
    held = "".join(f" + {names[name]}" for name in covariates)
    ends = f"{names[x]}{held} + (1 | {names[person]})"
    first = lmm(f"{names[m]} ~ {ends}", data)
    second = lmm(f"{names[y]} ~ within({names[m]}) + between({names[m]}) + {ends}", data)
    parts = {"b_within": f"within({names[m]})", "b_between": f"between({names[m]})", "direct": names[x]}
    a: Any = first.tests().loc[names[x]]
    others: Any = second.tests()
    estimate = np.array([others.loc[term, "estimate"] for term in parts.values()])
    covariance = second.vcov.loc[list(parts.values()), list(parts.values())].to_numpy()
    root = np.linalg.cholesky(covariance)
    drawn_a = a["estimate"] + a["se"] * rng.standard_t(a["df"], draws)
    widths = _student(rng, float(others.loc[parts["b_between"], "df"]), draws)
    drawn = estimate + widths[:, None] * (rng.standard_normal((draws, 3)) @ root.T)

    def named(a: Any, within: Any, between: Any, direct: Any) -> dict[str, Any]:
        indirect = a * between
        return {"a": a, "b_within": within, "b_between": between, "direct": direct, "indirect": indirect, "total": indirect + direct}  # fmt: skip

    reliability = float(second.reliability([names[m]])["reliability"].iloc[0])
    messages = [message for fit in (first, second) for message in fit.messages]
    if reliability < LOW:
        messages.append(
            f"Persons’ means of {m} stand for their usual level with a reliability of {number(reliability)}: b between is drawn "
            "towards b within."
        )
    return Mediation(
        table=_summarised(
            named(float(a["estimate"]), *(float(value) for value in estimate)), named(drawn_a, *drawn.T), level
        ),
        spread=None,
        x=x, m=m, y=y, person=person, design="2-1-1", label="between people",
        persons=first.n_groups[names[person]],
        rows=first.n_obs, level=level, draws=draws,
        converged=first.converged and second.converged, messages=tuple(_renamed(message, names) for message in messages),
    )  # fmt: skip


def _student(rng: np.random.Generator, df: float, draws: int) -> np.ndarray:
    """(draws,) what turns normal draws into Student's t."""
    return np.sqrt(df / rng.chisquare(df, draws)) if np.isfinite(df) else np.ones(draws)


def _renamed(message: str, names: dict[str, str]) -> str:
    for name, short in names.items():
        message = message.replace(f"({short})", f"({name})").replace(repr(short), repr(name))
    return message


# ---------------------------------------------------------------------- words


def _said(row: pd.Series) -> str:
    places = decimals_for((row["upper"] - row["lower"]) / 2)
    return f"{number(row['estimate'], places)} ({interval(row['lower'], row['upper'], places)})"


def _amount(row: pd.Series, of: str) -> str:
    places = decimals_for((row["upper"] - row["lower"]) / 2)
    low, high = (row["lower"], row["upper"]) if row["estimate"] >= 0 else (-row["upper"], -row["lower"])
    word = ("more" if of else "higher") if row["estimate"] >= 0 else ("less" if of else "lower")
    size = number(abs(row["estimate"]), places)
    open_ = "" if excludes_zero(row["lower"], row["upper"]) else ", but the interval also allows no difference"
    return f"{size} {word}{f' {of}' if of else ''} (interval {interval(low, high, places)}){open_}"


def _carried(row: pd.Series, through: str) -> str:
    tail = "" if excludes_zero(row["lower"], row["upper"]) else ", but the interval also allows none"
    return f"{_said(row)} is consistent with {through}{tail}"
