"""A model's summary as text, aligned within 100 columns; and the words of its numbers, which the HTML shares."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from analysis.words import interval, number, p_value

if TYPE_CHECKING:
    from analysis.summary import ModelSummary

WIDTH = 100
NAME = 34
"""Columns of a term's name; a longer one has a line of its own."""


def text(shown: ModelSummary) -> str:
    """Title, what limits the fit, facts, estimates, spread, and how to read them."""
    lines = [shown.title, *_wrapped(shown.formula, "    ")]
    for message in shown.messages:
        lines += ["", *_wrapped(f"Note: {message}", "      ")]
    label = max(len(name) for name, _ in shown.facts)
    lines.append("")
    for name, value in shown.facts:
        lines += _wrapped(f"{name:<{label}}  {value}", " " * (label + 2))
    lines += ["", *table("Estimates", estimate_rows(shown.fixed, with_p=shown.with_p))]
    lines += ["", *table(f"Spread between {shown.who}", spread_rows(shown.spread), last_left=True)]
    lines += ["", *(line for note in shown.notes for line in _wrapped(note, ""))]
    return "\n".join(lines)


def estimate_rows(fixed: pd.DataFrame, *, with_p: bool) -> list[list[str]]:
    """Heads, then a row a term: name, estimate, 95 % interval, SE, df and p, to three digits of the SE."""
    out = [["", "estimate", "95 % interval", "SE", "df", *(["p"] if with_p else [])]]
    for term, row in fixed.iterrows():
        places = decimals(float(row["se"]))
        df = number(float(row["df"]), 1) if math.isfinite(row["df"]) else "∞"
        cells = [
            number(float(row["estimate"]), places),
            interval(float(row["lower"]), float(row["upper"]), places),
            number(float(row["se"]), places),
            df,
        ]
        out.append([str(term), *cells, *([p_value(float(row["p_value"]))] if with_p else [])])
    return out


def spread_rows(spread: pd.DataFrame) -> list[list[str]]:
    """Heads, then a row a random term: name, SD, and its correlations with the terms before it, in words.

    With several grouping factors a term's name is `TERM|GROUP`.
    """
    several = spread.loc[spread["group"] != "residual", "group"].nunique() > 1
    correlated = [name for name in spread.columns if name.startswith("cor ")]
    rows = []
    for _, row in spread.iterrows():
        within = row["group"] == "residual"
        own = f"{row['term']}|{row['group']}" if several else str(row["term"])
        name = ("residual" if several else "residual (rows within each)") if within else own
        said = [
            f"{name.removeprefix('cor ')} {number(row[name], 2)}"
            for name in correlated
            if pd.notna(row[name]) and row[name] != 0.0
        ]
        rows.append([name, number(float(row["sd"]), decimals(float(row["sd"]))), ", ".join(said)])
    heads = ["", "SD", "correlation with"]
    return [heads, *rows] if any(row[2] for row in rows) else [heads[:2], *(row[:2] for row in rows)]


def decimals(size: float) -> int:
    """Decimals that show three digits of a number of this size."""
    if not math.isfinite(size) or size <= 0:
        return 2
    return max(0, min(8, 2 - math.floor(math.log10(size))))


def table(head: str, rows: list[list[str]], *, last_left: bool = False) -> list[str]:
    """Rows of cells as aligned lines: names to the left, numbers to the right."""
    name = min(NAME, max(len(head), *(len(row[0]) + 2 for row in rows)))
    widths = [max(len(row[j]) for row in rows) for j in range(1, len(rows[0]))]
    lines = []
    for place, row in enumerate(rows):
        first = head if place == 0 else f"  {row[0]}"
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths, strict=True)]
        if last_left and len(cells) > 1:
            cells[-1] = row[-1]
        numbers = "   ".join(cells).rstrip()
        if len(first) > name:
            lines.append(first)
            first = ""
        indent = " " * (name + 3 + sum(width + 3 for width in widths[:-1]))
        whole = f"{first:<{name}}   {numbers}".rstrip()
        lines += (
            textwrap.wrap(whole, WIDTH, subsequent_indent=indent, drop_whitespace=True, replace_whitespace=False)
            if len(whole) > WIDTH
            else [whole]
        )
    return lines


def _wrapped(line: str, indent: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
