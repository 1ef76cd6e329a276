"""Columns that depend on when a row was: the day's parts of a predictor, and lags; for the model's rows and for new ones.

Lags are made on the whole frame, before incomplete rows go: a row without an outcome still lends its x. Day parts are
made on exactly the rows that the model uses, as within(x) and between(x) are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis.centering import day_parts, known_means, numeric
from analysis.errors import DesignError, SpecError, unknown_column
from analysis.lags import Calendar, LagCount, calendar, count, day_codes, lagged
from analysis.spec import TimedColumn


@dataclass(frozen=True)
class Occasions:
    """How a model's columns in time are made, and what they need to be made again for new rows.

    columns : as the formula asks for them;  group : the person's columns;  day, prompt : those columns, where named
    counts : what became of each lagged column's pairs
    usual : lagged column's name → the mean that is taken off, by person
    days : one row per day of a person in the rows used: `person`, `day`, and mean(x) and between_days(x) of split columns
    """

    columns: tuple[TimedColumn, ...] = ()
    group: tuple[str, ...] = ()
    day: str | None = None
    prompt: str | None = None
    counts: tuple[LagCount, ...] = ()
    usual: dict[str, pd.Series] = field(default_factory=dict)
    days: pd.DataFrame | None = None

    def plus(self, other: Occasions) -> Occasions:
        """Those of other persons too."""
        return replace(
            self,
            counts=tuple(mine.plus(theirs, 1) for mine, theirs in zip(self.counts, other.counts, strict=True)),
            usual={name: pd.concat([means, other.usual[name]]) for name, means in self.usual.items()},
            days=None if self.days is None else pd.concat([self.days, other.days], ignore_index=True),
        )

    def minus(self, other: Occasions, levels: pd.Index) -> Occasions:
        """Without the persons of `levels`, whose occasions `other` has."""
        return replace(
            self,
            counts=tuple(mine.plus(theirs, -1) for mine, theirs in zip(self.counts, other.counts, strict=True)),
            usual={name: means[~means.index.isin(levels)] for name, means in self.usual.items()},
            days=None if self.days is None else self.days[~self.days["person"].isin(levels)],
        )


@dataclass(frozen=True, slots=True)
class Lagged:
    """A frame with its lagged columns; `usual` holds for each centred one the person's mean (n,), row by row."""

    frame: pd.DataFrame
    counts: tuple[LagCount, ...]
    usual: dict[str, np.ndarray]

    def usual_of(self, rows: np.ndarray, levels: pd.Index) -> dict[str, pd.Series]:
        """The means by person; rows (persons,) is a row of each."""
        return {name: pd.Series(means[rows], index=levels) for name, means in self.usual.items()}


def refuse_unnamed(timed: Sequence[TimedColumn], day: str | None, prompt: str | None, frame: pd.DataFrame) -> None:
    """SpecErrors for a day or prompt that is no column, or that a formula needs and nobody named."""
    for argument, name in (("day", day), ("prompt", prompt)):
        if name is not None and not isinstance(name, str):
            raise SpecError(f"{argument}={name!r} must be the name of one column.")
        if name is not None and name not in frame.columns:
            raise unknown_column(name, frame.columns, f"{argument}={name!r}")
    for column in timed:
        lacking = [] if day is not None else ["the day with day="]
        if column.is_lag and prompt is None:
            lacking.append("the prompt's number within the day with prompt=")
        if lacking:
            raise SpecError(f"{column.name}: name the column of {' and that of '.join(lacking)}.")


def with_lags(
    frame: pd.DataFrame,
    timed: Sequence[TimedColumn],
    used: Sequence[str],
    group: tuple[str, ...],
    day: str | None,
    prompt: str | None,
) -> Lagged:
    """The frame with the lagged columns among `timed`; pairs are counted over rows that lack nothing else of `used`."""
    wanted = [column for column in timed if column.is_lag]
    if not wanted:
        return Lagged(frame, (), {})
    assert day is not None  # refuse_unnamed has seen to it
    assert prompt is not None
    names = [column.name for column in wanted]
    kept = frame[[name for name in used if name not in names]]
    complete = kept.notna().to_numpy().all(axis=1)
    person = _codes(frame, group)
    when = calendar(frame, person, ":".join(group), day, prompt)
    made, usual, counts = {}, {}, []
    for column in wanted:
        values = numeric(frame, column.column)
        made[column.name], fate = lagged(values, when)
        if column.kind == "lag_within":
            usual[column.name] = np.append(known_means(values, person), np.nan)[person]
            made[column.name] -= usual[column.name]
        counts.append(count(column.name, column.column, column.kind == "lag_within", fate[complete]))
    return Lagged(kept.assign(**made), tuple(counts), usual)


def with_day_parts(
    data: pd.DataFrame, timed: Sequence[TimedColumn], starts: np.ndarray, levels: pd.Index, day: str | None
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The complete rows, person by person, with within_day(x) and between_days(x); and the table of days."""
    wanted = [column for column in timed if not column.is_lag]
    if not wanted:
        return data, None
    assert day is not None
    codes = day_codes(data, day)
    parts = {name: day_parts(numeric(data, name), starts, codes) for name in {column.column for column in wanted}}
    first = next(iter(parts.values())).first
    days = {"person": np.repeat(levels, np.diff(starts))[first], "day": data[day].to_numpy()[first]}
    made = {}
    for column in wanted:
        part = parts[column.column]
        made[column.name] = part.within_day if column.kind == "within_day" else part.between_days
        days[f"mean({column.column})"] = part.means
        days[f"between_days({column.column})"] = part.between_days[first]
    return data.assign(**made), pd.DataFrame(days)


def for_new_rows(made: Occasions, frame: pd.DataFrame, person: np.ndarray, levels: pd.Index) -> dict[str, np.ndarray]:
    """The columns in time of new rows, save those that the frame has under their own names.

    Day parts and persons' means are the *model's*; the row before is looked for among the new rows, and a row without
    one has NaN. person : (n,) numbers of the model's persons in `levels`, −1 for another. Raises SpecError for a column that is
    neither there nor can be made, DesignError for a person or a day that the model does not know.
    """
    out: dict[str, np.ndarray] = {}
    when: Calendar | None = None
    blank = np.zeros(len(frame), dtype=bool)  # rows without a lag, which need no mean either
    for column in sorted(made.columns, key=lambda column: not column.is_lag):
        if column.name in frame.columns:
            continue
        _refuse_lacking(made, column, frame)
        values = numeric(frame, column.column)
        if column.is_lag:
            when = when or _calendar(frame, made)
            values = lagged(values, when)[0]
            blank |= np.isnan(values)
        if column.kind == "lag_within":
            values = values - _usual(made, column, person, levels, blank)
        elif not column.is_lag:
            own = _of_day(made, column, frame, person, levels, blank)
            values = values - own if column.kind == "within_day" else own
        out[column.name] = values
    return out


def _calendar(frame: pd.DataFrame, made: Occasions) -> Calendar:
    assert made.day is not None
    assert made.prompt is not None
    return calendar(frame, _codes(frame, made.group), ":".join(made.group), made.day, made.prompt)


def _refuse_lacking(made: Occasions, column: TimedColumn, frame: pd.DataFrame) -> None:
    needed = [column.column, *made.group, made.day, *([made.prompt] if column.is_lag else [])]
    lacking = [repr(name) for name in needed if name not in frame.columns]
    if lacking:
        raise SpecError(
            f"newdata has no column {column.name!r}, and it cannot be made without {' and '.join(lacking)}."
        )


def _usual(made: Occasions, column: TimedColumn, person: np.ndarray, levels: pd.Index, blank: np.ndarray) -> np.ndarray:
    """(n,) the mean of the row's person in the model's frame."""
    if ((person < 0) & ~blank).any():
        raise DesignError(
            f"newdata has persons that the model does not know, and so no mean of {column.column!r} for them; "
            f"give the column {column.name!r} itself."
        )
    own = made.usual[column.name].reindex(levels).to_numpy()
    return np.where(person < 0, np.nan, own[person])


def _of_day(
    made: Occasions,
    column: TimedColumn,
    frame: pd.DataFrame,
    person: np.ndarray,
    levels: pd.Index,
    blank: np.ndarray,
) -> np.ndarray:
    """(n,) the mean of the row's day in the model, or that day's part between_days(x)."""
    assert made.days is not None
    assert made.day is not None
    known = pd.MultiIndex.from_arrays([levels.get_indexer(pd.Index(made.days["person"])), made.days["day"].to_numpy()])
    places = known.get_indexer(pd.MultiIndex.from_arrays([person, frame[made.day].to_numpy()]))
    unknown = np.flatnonzero((places < 0) & ~blank)
    if len(unknown):
        key = ", ".join(f"{name} {frame[name].iloc[unknown[0]]!s}" for name in (*made.group, made.day))
        raise DesignError(
            f"newdata has days that the model does not know (first: {key}), and so no mean of {column.column!r} for "
            f"them; give the column {column.name!r} itself."
        )
    kind = "mean" if column.kind == "within_day" else "between_days"
    values = made.days[f"{kind}({column.column})"].to_numpy()
    return np.where(places < 0, np.nan, values[places])


def _codes(frame: pd.DataFrame, group: tuple[str, ...]) -> np.ndarray:
    """(n,) a number for each row's person, −1 where a part of the name is missing."""
    if len(group) == 1:
        return np.asarray(pd.factorize(frame[group[0]])[0], dtype=np.int64)
    return frame.groupby(list(group), sort=False, observed=True).ngroup().to_numpy(dtype=np.int64, na_value=-1)
