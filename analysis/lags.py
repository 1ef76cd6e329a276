"""Lags that cross neither nights nor missed prompts (METHODS §2.3).

The lag of a row is the value at the prompt just before: same person, same day, a prompt number lower by exactly one.
A missed prompt gives a missing lag, never the answer before it (mlVAR's `dayvar` and `beepvar` are the same rule).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.centering import label
from analysis.errors import DesignError

NOWHERE = -1
PAIRS = ("possible", "used", "night", "missed")


@dataclass(frozen=True, slots=True)
class LagCount:
    """What became of one lagged column's pairs, over the rows that lack nothing else.

    A pair is possible where the person has an earlier answer at all; possible = used + night + missed.
    night : the earlier answer is of another day;  missed : of the same day, but not of the prompt just before
    column : the column that is lagged;  centred : less the person's mean
    """

    name: str
    column: str
    centred: bool
    possible: int
    used: int
    night: int
    missed: int

    def plus(self, other: LagCount, sign: int) -> LagCount:
        """With (sign 1) or without (−1) the pairs of other persons."""
        tally = {name: getattr(self, name) + sign * getattr(other, name) for name in PAIRS}
        return replace(self, **tally)

    def __str__(self) -> str:
        lost = f"{self.night} lost to the night, {self.missed} to a missed prompt"
        return f"{self.used} of {self.possible} possible pairs ({lost})"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When each row was, for rows given in any order.

    order : (m,) the rows with a person, a day and a prompt, by these three
    person, day, prompt : (m,) codes and prompt numbers in that order
    """

    order: np.ndarray
    person: np.ndarray
    day: np.ndarray
    prompt: np.ndarray


def calendar(frame: pd.DataFrame, person: np.ndarray, group: str, day: str, prompt: str) -> Calendar:
    """The frame's calendar; person (n,) are codes, −1 where missing. A row without day or prompt stands outside it.

    Raises DesignError for prompts that are no whole numbers, days that are moments, and a prompt that stands twice.
    """
    days, numbers = day_codes(frame, day), _prompt_numbers(frame, prompt)
    placed = np.flatnonzero((person >= 0) & (days >= 0) & ~np.isnan(numbers))
    person, days, numbers = person[placed], days[placed], numbers[placed].astype(np.int64)
    order = np.lexsort((numbers, days, person))
    found = Calendar(placed[order], person[order], days[order], numbers[order])
    same = (np.diff(found.person) == 0) & (np.diff(found.day) == 0) & (np.diff(found.prompt) == 0)
    if same.any():
        row = found.order[np.flatnonzero(same)[0] + 1]
        key = ", ".join(f"{name} {frame[name].iloc[row]!s}" for name in (*group.split(":"), day, prompt))
        raise DesignError(
            f"each person, day and prompt may have one row; {int(same.sum())} more than that, the first at {key}."
        )
    return found


def day_codes(frame: pd.DataFrame, day: str) -> np.ndarray:
    """(n,) a number for each row's day, ascending with the days; −1 where it is missing."""
    values = frame[day]
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        moments = values.dropna()
        if (moments != moments.dt.normalize()).any():
            raise DesignError(f"day={day!r} holds moments, not days; make a column of days, as with .dt.date.")
    return np.asarray(pd.factorize(values, sort=True)[0], dtype=np.int64)


def lagged(values: np.ndarray, when: Calendar) -> tuple[np.ndarray, np.ndarray]:
    """The value at the prompt before (n,), NaN where there is none, and the fate (n,) of each row's pair.

    values : (n,) in the frame's own order, NaN where missing
    fate : 0 no earlier answer of this person, 1 used, 2 lost to the night, 3 lost to a missed prompt
    """
    ordered = values[when.order]
    places = np.arange(len(ordered))
    last = np.maximum.accumulate(np.where(np.isnan(ordered), NOWHERE, places))  # the last answer up to each row
    before = np.concatenate([[NOWHERE], last[:-1]])[: len(ordered)]
    possible = (before != NOWHERE) & (when.person[before] == when.person)
    same_day = possible & (when.day[before] == when.day)
    used = same_day & (when.prompt - when.prompt[before] == 1)
    out, fate = np.full(len(values), np.nan), np.zeros(len(values), dtype=np.int8)
    out[when.order[used]] = ordered[before[used]]
    fate[when.order] = np.select([used, same_day, possible], [1, 3, 2], 0)
    return out, fate


def count(name: str, column: str, centred: bool, fate: np.ndarray) -> LagCount:
    """Tally the fates of the rows that count."""
    used, night, missed = (int((fate == kind).sum()) for kind in (1, 2, 3))
    return LagCount(name, column, centred, used + night + missed, used, night, missed)


def _prompt_numbers(frame: pd.DataFrame, prompt: str) -> np.ndarray:
    values = frame[prompt]
    if not pd.api.types.is_numeric_dtype(values.dtype):
        raise DesignError(f"prompt={prompt!r} holds {values.dtype}; the prompt's number within the day is needed.")
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    whole = np.isnan(numbers) | (numbers == np.rint(numbers)) & np.isfinite(numbers)
    if not whole.all():
        row = int(np.flatnonzero(~whole)[0])
        raise DesignError(
            f"prompt={prompt!r} must hold whole numbers, and the row labelled {label(frame.index[row])} has {numbers[row]:g}."
        )
    return np.asarray(numbers)
