"""What each column holds, counted while its pieces go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ema_server.reports.variables import Variable


@dataclass(slots=True)
class Tally:
    """Of one column: how many values, how many missing, the least and the greatest, and how often each level came."""

    n: int = 0
    missing: int = 0
    least: Any = None
    greatest: Any = None
    levels: Counter[str] = field(default_factory=Counter)

    def add(self, column: pd.Series, variable: Variable) -> None:
        there = column.dropna()
        if variable.kind == "text":
            there = there[there != ""]
        self.n += len(there)
        self.missing += len(column) - len(there)
        if not len(there):
            return
        if variable.kind == "category":
            self.levels.update({str(value): int(n) for value, n in there.value_counts().items()})
        elif variable.kind in {"flag", "yesno"}:
            yes = int((there == 1).sum())
            self.levels.update({"0": len(there) - yes, "1": yes})
        elif variable.kind != "text":
            least, greatest = there.min(), there.max()
            self.least = least if self.least is None else min(self.least, least)
            self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)


class Tallies(dict[str, Tally]):
    """A tally for each variable, by name."""

    def __init__(self, variables: Sequence[Variable]) -> None:
        super().__init__({each.name: Tally() for each in variables})
        self._variables = variables
        self.rows = 0
        self.persons: set[str] = set()

    def add(self, frame: pd.DataFrame) -> None:
        self.rows += len(frame)
        if "person" in frame:
            self.persons.update(frame["person"].unique())
        for each in self._variables:
            self[each.name].add(frame[each.name], each)
