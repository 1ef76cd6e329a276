"""Columns that a plan derives from others: values in, values out.

A plan's `columns` maps a new name to one rule:

- `{"days_since": "treatment_start"}`: days from a date in the person table to the prompt's local day;
- `{"of": "time", "breaks": [0, 8], "labels": ["before", "first week", "after"]}`: a number cut into named phases;
  each break is the first value of the next phase;
- `{"series": "steps", "column": "count", "take": "sum", "minutes": [-60, 0]}`: what an imported series holds around the
  prompt: from an hour before it up to it, its own moment excluded. `"from": "answered_at"` counts from the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from ema_server.common.errors import DomainError
from ema_server.reports.variables import Variable

MINUTE = 60_000_000  # microseconds
LONGEST = 7 * 24 * 60  # minutes


class InvalidColumn(DomainError):
    code = "invalid_column"


class SeriesSource(Protocol):
    """Of each person, the moments (microseconds since 1970 UTC, in order) and the values of a series' column."""

    def __call__(
        self, name: str, column: str, *, people: Collection[str]
    ) -> Mapping[str, tuple[np.ndarray, np.ndarray]]: ...


def derive(
    frame: pd.DataFrame, rules: Mapping[str, Mapping[str, Any]], series: SeriesSource | None = None
) -> pd.DataFrame:
    """The frame with each derived column added, in the plan's order."""
    frame = frame.copy()
    for name, rule in rules.items():
        if "series" in rule:
            frame[name] = _in_window(name, frame, rule, series)
            continue
        source = str(rule.get("days_since") or rule.get("of"))
        if source not in frame.columns:
            raise InvalidColumn(
                f"columns.{name}: the data have no column {source!r}; there are {', '.join(frame.columns)}."
            )
        frame[name] = _days_since(frame, source) if "days_since" in rule else _phase(frame[source], rule)
    return frame


def derived_variables(variables: Sequence[Variable], rules: Mapping[str, Mapping[str, Any]]) -> list[Variable]:
    """The variables with one more for each rule, as `derive` adds columns."""
    found = {each.name: each for each in variables}
    for name, rule in rules.items():
        if "days_since" in rule:
            found[name] = Variable(name, "number", f"Days since {rule['days_since']}", unit="days", origin="derived")
        elif "series" in rule:
            what = f"{rule.get('take', 'mean')} of {rule['series']}.{rule.get('column')}, {rule.get('minutes')} minutes"
            found[name] = Variable(name, "number", f"{what} from {rule.get('from', 'scheduled_at')}", origin="derived")
        else:
            levels = tuple((label, label) for label in rule.get("labels", ()))
            found[name] = Variable(name, "category", f"Phase of {rule.get('of')}", levels=levels, origin="derived")
    return list(found.values())


def _in_window(name: str, frame: pd.DataFrame, rule: Mapping[str, Any], source: SeriesSource | None) -> np.ndarray:
    """For each prompt, what its person's series holds in the window. Nothing measured is missing, and a count of 0."""
    take, window, moment = _checked_window(name, rule)
    people = list(dict.fromkeys(frame["person"]))
    try:
        held = source(str(rule["series"]), str(rule.get("column")), people=people) if source else {}
    except DomainError as error:
        raise InvalidColumn(f"columns.{name}: {error.detail}") from error
    known = frame[moment].notna().to_numpy()
    at = frame[moment].astype("datetime64[us, UTC]").astype("int64").to_numpy()
    found = np.where(known & (take == "count"), 0.0, np.nan)
    places: dict[Any, Any] = dict(frame.groupby("person", sort=False).indices)
    for person, (times, values) in held.items():
        rows = places[person][known[places[person]]]
        first, last = (np.searchsorted(times, at[rows] + round(minutes * MINUTE), side="left") for minutes in window)
        some = last > first
        found[rows[some]] = _TAKE[take](values, first[some], last[some])
    return found


def _checked_window(name: str, rule: Mapping[str, Any]) -> tuple[str, tuple[float, float], str]:
    take, window, moment = rule.get("take", "mean"), rule.get("minutes"), rule.get("from", "scheduled_at")
    if take not in _TAKE:
        raise InvalidColumn(f"columns.{name}.take: {take!r} is not known; {', '.join(_TAKE)} are accepted.")
    if moment not in ("scheduled_at", "answered_at"):
        raise InvalidColumn(f"columns.{name}.from: {moment!r} is not known; scheduled_at and answered_at are accepted.")
    numbers = window if isinstance(window, list) and all(type(each) in (int, float) for each in window) else []
    if len(numbers) != 2 or not -LONGEST <= numbers[0] < numbers[1] <= LONGEST:
        raise InvalidColumn(
            f"columns.{name}.minutes: {window!r} is no window; [-60, 0] is the hour before; the first is smaller, and "
            f"both lie within {LONGEST} minutes (a week)."
        )
    return take, (numbers[0], numbers[1]), moment


def _segments(of: np.ufunc) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """`of` over each values[first:last], none of which is empty; a window's result depends on what it holds alone."""

    def over(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        if not first.size:
            return np.empty(0)
        found: np.ndarray = of.reduceat(np.append(values, 0.0), np.column_stack([first, last]).ravel())[::2]
        return found

    return over


_TAKE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "sum": _segments(np.add),
    "mean": lambda values, first, last: _segments(np.add)(values, first, last) / (last - first),
    "min": _segments(np.minimum),
    "max": _segments(np.maximum),
    "last": lambda values, first, last: values[last - 1],
    "count": lambda values, first, last: (last - first).astype(float),
}


def _days_since(frame: pd.DataFrame, event: str) -> pd.Series:
    """Whole days from each person's own event to the local day of the prompt; negative before it."""
    days = frame["scheduled_local"].dt.normalize() - pd.to_datetime(frame[event], format="%Y-%m-%d")
    return pd.Series(days.dt.days.astype(float))


def _phase(values: pd.Series, rule: Mapping[str, Any]) -> pd.Series:
    edges = [-np.inf, *rule["breaks"], np.inf]
    if len(rule["labels"]) != len(edges) - 1:
        raise InvalidColumn(
            f"labels: {len(rule['breaks'])} breaks make {len(edges) - 1} phases, {len(rule['labels'])} labels given."
        )
    phases = pd.cut(values, edges, right=False, labels=rule["labels"])
    return phases.astype(object).where(values.notna(), None)
