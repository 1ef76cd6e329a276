"""How reliably a scale of several items tells people apart, and follows their changes (Cranford et al., 2006).

Nested by default: each person has moments of their own, as with random prompts (Shrout & Lane, 2012, eqs. 10–11). Crossed
where everybody answers at the same times (eqs. 6–9, in psych's convention: items random; METHODS §2.16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.answer import Answer
from analysis.centering import numeric
from analysis.checks import refuse_frame
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.linear_model import LinearModel
from analysis.models import lmm
from analysis.words import counted, number

MEANING = {
    "RkRn": "a person’s average over their moments, moments nested in people",
    "RDn": "a day’s average, days nested in people",
    "RCn": "changes within a person, moments nested in people",
    "RkF": "a person’s average over the same fixed times",
    "R1R": "a person at one random time",
    "RkR": "a person’s average over random times that all share",
    "Rc": "changes within a person, times that all share",
}


@dataclass(frozen=True, repr=False)
class ScaleReliability(Answer):
    """Reliabilities of a scale's mean over its items.

    table : index coefficient; columns `estimate`, `of` (what it is the reliability of)
    components : index form ("nested", "crossed") and source; columns `variance`, `share` of that form's total
    persons, items : how many;  moments : harmonic mean number of a person's moments;  days : of a person's days, or NaN
    """

    table: pd.DataFrame
    components: pd.DataFrame
    persons: int
    items: int
    moments: float
    days: float
    converged: bool

    @property
    def title(self) -> str:
        return f"Reliability of a scale of {counted(self.items, 'item')}, {counted(self.persons, 'person', 'people')}"

    @property
    def sentences(self) -> tuple[str, ...]:
        value = self.table["estimate"]
        return (
            f"A person’s average over {number(self.moments, 1)} moments tells people apart with a reliability of "
            f"{number(value['RkRn'])}; changes from moment to moment within a person are measured with {number(value['RCn'])}.",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        sound = () if self.converged else ("A fit did not reach its optimum; do not use these figures.",)
        return (
            *sound,
            "Variances by REML, none below zero. The number of moments is the harmonic mean over people. The nested form "
            "counts differences between items as error.",
        )

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        return {"coefficient": self.table, "source": self.components}


def scale_reliability(
    frame: pd.DataFrame,
    person: str,
    items: Sequence[str] | str,
    time: str | None = None,
    day: str | None = None,
    value: str | None = None,
    crossed: bool = False,
) -> ScaleReliability:
    """Reliabilities of the mean of `items`: the columns of a wide frame, or of a long one the column that names the item.

    time : the moment's name or number (within the day, where `day` is given); a wide frame has a moment a row without it
    day : adds days between person and moment to the nested form, and RDn
    value : a long frame's column of answers
    crossed : add the coefficients for times that mean the same for everybody, as "the third evening" does

    Raises SpecError for unknown columns, fewer than two items, or a question that the columns cannot answer; DesignError for
    an answer that stands twice, and for people without repeated moments.
    """
    refuse_frame(frame)
    long = _long(frame, person, items, time, day, value, crossed)
    moments = long.groupby("person")["occasion"].nunique()
    if (moments < 2).all():
        raise DesignError("every person has a single moment; the reliability of changes needs repeated ones.")
    m, k = int(long["item"].nunique()), _harmonic(moments)
    days = float("nan") if day is None else _harmonic(long.groupby("person")["day"].nunique())
    between = "" if day is None else " + (1 | person:day)"
    fits = {"nested": lmm(f"value ~ 1 + (1 | person){between} + (1 | person:occasion)", long)}
    if crossed:
        pairs = "(1 | person:occasion) + (1 | person:item) + (1 | occasion:item)"
        fits["crossed"] = lmm(f"value ~ 1 + (1 | person) + (1 | occasion) + (1 | item) + {pairs}", long)
    variances = {form: _variances(fit) for form, fit in fits.items()}
    found = _nested(variances["nested"], m, k, days) | (_crossed(variances["crossed"], m, k) if crossed else {})
    return ScaleReliability(
        table=pd.DataFrame(
            {"estimate": found, "of": {name: MEANING[name] for name in found}},
            index=pd.Index(found, name="coefficient"),
        ),
        components=_components(variances),
        persons=len(moments),
        items=m,
        moments=k,
        days=days,
        converged=all(fit.converged for fit in fits.values()),
    )


def _nested(variance: dict[str, float], m: int, k: float, days: float) -> dict[str, float]:
    """k moments of a person, in `days` days or, where that is NaN, in none."""
    person, moment, error = variance["person"], variance["person:occasion"], variance["residual"]
    day = variance.get("person:day", 0.0)
    out = {"RkRn": _ratio(person, (day / days if day > 0.0 else 0.0) + moment / k + error / (k * m))}
    if "person:day" in variance:
        out["RDn"] = _ratio(day, (moment + error / m) * days / k)
    return out | {"RCn": _ratio(moment, error / m)}


def _crossed(variance: dict[str, float], m: int, k: float) -> dict[str, float]:
    person = variance["person"] + variance["person:item"] / m
    time = variance["occasion"] + variance["person:occasion"]
    error = variance["residual"] / m
    return {
        "RkF": _ratio(person, error / k),
        "R1R": _ratio(person, time + error),
        "RkR": _ratio(person, (time + error) / k),
        "Rc": _ratio(variance["person:occasion"], error),
    }


def _ratio(variance: float, error: float) -> float:
    return variance / (variance + error) if variance + error > 0.0 else float("nan")


def _harmonic(counts: pd.Series) -> float:
    return float(len(counts) / (1.0 / counts).sum())


def _variances(fit: LinearModel) -> dict[str, float]:
    out = {name: float(covariance.to_numpy()[0, 0]) for name, covariance in fit.random.items()}
    return out | {"residual": fit.residual_sd**2}


def _components(variances: dict[str, dict[str, float]]) -> pd.DataFrame:
    rows = [
        {
            "form": form,
            "source": source.replace("occasion", "moment"),
            "variance": value,
            "share": value / sum(own.values()),
        }
        for form, own in variances.items()
        for source, value in own.items()
    ]
    return pd.DataFrame(rows).set_index(["form", "source"])


def _long(
    frame: pd.DataFrame,
    person: str,
    items: Sequence[str] | str,
    time: str | None,
    day: str | None,
    value: str | None,
    crossed: bool,
) -> pd.DataFrame:
    """One row an answer: person, day, occasion, item (codes), value; rows with anything missing left out."""
    where = "scale_reliability"
    long_given = isinstance(items, str)
    if long_given != (value is not None):
        raise SpecError(
            f"{where}: give a list of item columns, or the column that names the item with value= for its answers."
        )
    if (long_given or crossed or day is not None) and time is None:
        raise SpecError(f"{where}: name the column of moments with time=.")
    columns = [items] if isinstance(items, str) else list(items)
    if not long_given and len(columns) < 2:
        raise SpecError(f"{where}: a scale needs at least two items, not {len(columns)}.")
    for name in (person, time, day, value, *columns):
        if name is not None and name not in frame.columns:
            raise unknown_column(name, frame.columns, where)
    keys = pd.DataFrame({"person": pd.factorize(frame[person])[0]})
    keys["day"] = 0 if day is None else pd.factorize(frame[day])[0]
    within = np.arange(len(frame)) if time is None else pd.factorize(frame[time])[0]
    keys["occasion"] = np.where(
        (within < 0) | (keys["day"] < 0), -1, keys["day"].to_numpy() * (int(within.max()) + 1) + within
    )
    if isinstance(items, str) and value is not None:
        out = keys.assign(item=pd.factorize(frame[items])[0], value=numeric(frame, value))
    else:
        out = pd.concat(
            [keys.assign(item=place, value=numeric(frame, name)) for place, name in enumerate(columns)],
            ignore_index=True,
        )
    out = out[out["value"].notna() & (out[["person", "day", "occasion", "item"]] >= 0).all(axis=1)]
    twice = out.duplicated(["person", "occasion", "item"])
    if twice.any():
        raise DesignError(f"{where}: {int(twice.sum())} answers stand more than once for a person, moment and item.")
    if out["item"].nunique() < 2:
        raise SpecError(f"{where}: a scale needs at least two items with answers.")
    return out.reset_index(drop=True)
