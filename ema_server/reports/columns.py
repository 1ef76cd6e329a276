"""Columns that a plan derives from others: values in, values out.

A plan's `columns` maps a new name to one rule:

- `{"days_since": "treatment_start"}`: days from a date in the person table to the prompt's local day;
- `{"of": "time", "breaks": [0, 8], "labels": ["before", "first week", "after"]}`: a number cut into named phases;
  each break is the first value of the next phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ema_server.common.errors import DomainError
from ema_server.reports.variables import Variable


class InvalidColumn(DomainError):
    code = "invalid_column"


def derive(frame: pd.DataFrame, rules: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The frame with each derived column added, in the plan's order."""
    frame = frame.copy()
    for name, rule in rules.items():
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
        else:
            levels = tuple((label, label) for label in rule.get("labels", ()))
            found[name] = Variable(name, "category", f"Phase of {rule.get('of')}", levels=levels, origin="derived")
    return list(found.values())


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
