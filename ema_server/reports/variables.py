"""What a column of the data is: its name, what it holds, what it means and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Kind = Literal["text", "category", "number", "yesno", "whole", "flag", "moment", "local", "date"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One column. Its kind decides its type in every frame, whatever rows that frame holds:

    `text` and `category` are texts, `number` a float and `yesno` 1.0 or 0.0 (NaN where there is none), `whole` an integer
    and `flag` true or false (always there), `moment` a time in UTC, `local` a wall time without a zone, `date` a text
    like 2026-03-02.
    """

    name: str
    kind: Kind
    label: str
    levels: tuple[tuple[str | int, str], ...] = ()  # value → label, in order; of a number, those that have a label
    low: float | str | None = None
    high: float | str | None = None
    unit: str = ""
    origin: str = ""  # "prompt", "person", "item", "scale" or "derived"
    questionnaire: str = ""
    asked_as: str = ""  # the item's type
    texts: Mapping[str, str] = field(default_factory=dict)  # language → the item as it was asked; "" where there is one
    source: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    condition: str = ""  # of an item: the expressions under which it is asked; nothing where it always is


DTYPES: Mapping[Kind, Any] = {
    "text": "str",
    "category": "str",
    "number": "float64",
    "yesno": "float64",
    "whole": "int64",
    "flag": "bool",
    "moment": "datetime64[us, UTC]",
    "local": "datetime64[us]",
    "date": "str",
}


def typed(frame: pd.DataFrame, variables: Sequence[Variable]) -> pd.DataFrame:
    """The frame's columns in the variables' order, each of its variable's type, whatever its rows happen to hold."""
    return pd.DataFrame({each.name: _typed(frame[each.name], each.kind) for each in variables}, index=frame.index)


def empty(variables: Sequence[Variable]) -> pd.DataFrame:
    return pd.DataFrame({each.name: pd.Series([], dtype=DTYPES[each.kind]) for each in variables})


def _typed(column: pd.Series, kind: Kind) -> pd.Series:
    return column if str(column.dtype) == DTYPES[kind] else column.astype(DTYPES[kind])
