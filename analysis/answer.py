"""What an answer to a question looks like: its sentences first, then its tables, as text and in a notebook."""

from __future__ import annotations

import textwrap
from abc import ABC, abstractmethod
from html import escape

import numpy as np
import pandas as pd

from analysis.summary_html import BOX, QUIET
from analysis.summary_html import table as html_table
from analysis.summary_text import WIDTH, decimals
from analysis.summary_text import table as text_table
from analysis.words import interval, number, p_value

SHOWN = 20
"""Rows of a table that are shown; the table itself has them all."""
PROBABILITIES = ("p_value", "q_value")


class Answer(ABC):
    """The shared face of what `benchmark`, `variance_components`, `pseudobulk` and `mediate` return."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What was asked."""

    @property
    @abstractmethod
    def sentences(self) -> tuple[str, ...]:
        """What the numbers say, in plain words; the first is the finding."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """How the numbers were made and what limits them."""

    @property
    @abstractmethod
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are shown, by their heads."""

    @property
    def sentence(self) -> str:
        return " ".join(self.sentences)

    def __str__(self) -> str:
        lines = [self.title, "", *textwrap.wrap(self.sentence, WIDTH)]
        for head, frame in self.tables.items():
            lines += ["", *text_table(head, cells(frame)), *_more(frame)]
        lines += ["", *(line for note in self.notes for line in textwrap.wrap(note, WIDTH))]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        shown = "".join(
            html_table(head, cells(frame)) + "".join(f'<div style="{QUIET}">{line}</div>' for line in _more(frame))
            for head, frame in self.tables.items()
        )
        said = "".join(f'<div style="margin:6px 0">{escape(sentence)}</div>' for sentence in self.sentences)
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes)
        return (
            f'<div style="{BOX}"><div style="font-size:16px;font-weight:650">{escape(self.title)}</div>{said}{shown}'
            f'<div style="{QUIET};font-size:12px;margin-top:8px">{notes}</div></div>'
        )


def cells(frame: pd.DataFrame) -> list[list[str]]:
    """Heads, then the first rows, as words: three digits of a column's largest number, yes or no, p to three decimals."""
    part = frame.iloc[:SHOWN]
    columns = [_words(str(name), part[name]) for name in part.columns]
    heads = ["", *(str(name).replace("_", " ") for name in part.columns)]
    return [heads, *([_label(label), *row] for label, row in zip(part.index, zip(*columns, strict=True), strict=True))]


def with_limits(frame: pd.DataFrame, value: str, lower: str, upper: str) -> list[str]:
    """A column with its limits as words, "1.66 (0.48 to 3.47)", to three digits of the largest value."""
    part = frame[[value, lower, upper]].to_numpy(dtype=float)
    finite = np.abs(part[:, 0])[np.isfinite(part[:, 0])]
    whole = bool((part[np.isfinite(part)] == np.rint(part[np.isfinite(part)])).all())
    places = 0 if whole else decimals(float(finite.max(initial=0.0)))
    return [
        number(at, places) + (f" ({interval(low, high, places)})" if np.isfinite([low, high]).all() else "")
        for at, low, high in part
    ]


def _words(name: str, column: pd.Series) -> list[str]:
    if name in PROBABILITIES:
        return [p_value(float(value)) for value in column]
    if column.dtype == bool:
        return ["yes" if value else "no" for value in column]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return [str(value) for value in column]
    values = column.to_numpy(dtype=float)
    finite = np.abs(values[np.isfinite(values)])
    whole = bool((finite == np.rint(finite)).all())
    places = 0 if whole else decimals(float(finite.max(initial=0.0)))
    return ["∞" if value == np.inf else number(float(value), places) for value in values]


def _label(label: object) -> str:
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _more(frame: pd.DataFrame) -> list[str]:
    return [f"  … and {len(frame) - SHOWN:,} more rows"] if len(frame) > SHOWN else []
