"""The same model as R code, to be checked elsewhere: base R and one package, lme4 where it can fit the model."""

from __future__ import annotations

import re

import numpy as np

from analysis.design import Design
from analysis.errors import SpecError
from analysis.factors import Factor, is_nested
from analysis.serial import AR1, CAR1
from analysis.spec import SplitColumn, TimedColumn, plain_names, rename_words

SYNTACTIC = re.compile(r"[A-Za-z][\w.]*", re.ASCII)


def r_code(
    design: Design,
    *,
    weights: str | None,
    offset: str | None,
    call: str,
    package: str = "lme4",
    before: tuple[str, ...] = (),
) -> str:
    """R code that makes the model's columns in a data frame `frame` and fits it; lags before incomplete rows go.

    call : the package's call with {} where its formula goes;  before : lines that make the outcome
    """
    also = [name for name in (weights, offset) if name]
    return "\n".join(
        [
            f"library({package})",
            *before,
            *_made(design, also),
            f"fit <- {call.format(_translated(design, design.spec.formula))}",
        ]
    )


def nlme_code(design: Design, residual: AR1 | CAR1, reml: bool) -> str:
    """The same for nlme's lme; independent blocks of random terms become pdBlocked, joint factors a column of their own.

    Several factors stand outermost first, as lme nests them. Raises SpecError where they are not nested.
    """
    spec = design.spec
    assert design.lent is not None
    time, parts = residual.columns(design.lent)
    lines = ["library(nlme)", *_made(design, [time, *parts])]
    names: list[str] = []
    seen: list[str] = []
    random = []
    ordered = sorted(design.factors, key=lambda each: len(each.levels))
    for outer, factor in zip([ordered[0], *ordered[:-1]], ordered, strict=True):
        new = [name for name in factor.group if name not in seen]
        if names and not is_nested(factor, outer):
            raise SpecError(f"nlme::lme takes nested factors only, and {factor.name!r} is crossed with {outer.name!r}.")
        names.append(new[0] if len(new) == 1 else f"the_group{len(names) or ''}")
        if len(new) != 1:
            lines.append(f"{r_column(names[-1])} <- interaction({', '.join(map(r_column, factor.group))}, drop = TRUE)")
        blocks = [f"~ {_translated(design, text)}" for text in _terms_of(design, factor)]
        own = blocks[0] if len(blocks) == 1 else f"pdBlocked(list({', '.join(blocks)}))"
        random.append(f"{_symbol(names[-1])} = {own}")
        seen = [*seen, *factor.group]
    inside = [name for name in parts if name not in seen]
    series = inside[0] if inside else ""
    if len(inside) > 1:
        series = "the_series"
        lines.append(f"{r_column(series)} <- interaction({', '.join(map(r_column, inside))}, drop = TRUE)")
    within = "/".join(map(_symbol, [*names, *([series] if series else [])]))
    kind = "corAR1" if isinstance(residual, AR1) else "corCAR1"
    lines += [
        f"fit <- lme({_translated(design, f'{spec.outcome} ~ {spec.fixed}')}, data = frame,",
        f"  random = list({', '.join(random)}),",
        f"  correlation = {kind}(form = ~ {_symbol(time)} | {within}),",
        f'  method = "{"REML" if reml else "ML"}", na.action = na.omit)',
    ]
    return "\n".join(lines)


def _terms_of(design: Design, factor: Factor) -> list[str]:
    """The texts of one factor's independent blocks of random terms."""
    ends, out, start = np.cumsum(design.blocks), [], 0
    for terms, end in zip(design.random_terms, ends, strict=True):
        if factor.terms.start <= start < factor.terms.stop:
            out.append(terms.prepared.text)
        start = int(end)
    return out


def _names(design: Design) -> dict[str, str]:
    """Columns that the formula makes → what they are called in R."""
    made: list[SplitColumn | TimedColumn] = [*design.splits, *design.occasions.columns]
    return {column.name: f"{column.column}_{column.kind}" for column in made}


def _translated(design: Design, formula: str) -> str:
    """Formula text as R reads it."""
    for name in _names(design):
        formula = formula.replace(f"`{name}`", name)
    formula = rename_words(formula, {name: _symbol(own) for name, own in _names(design).items()})
    return re.sub(r"\bC\(([^(),]+)\)", r"factor(\1)", re.sub(r"\bnp\.", "", formula))


def _made(design: Design, also: list[str]) -> list[str]:
    """The lines that make the formula's columns; `also` are further columns that a row must have."""
    group = design.group
    person = r_column(group[0]) if len(group) == 1 else f"interaction({', '.join(map(r_column, group))}, drop = TRUE)"
    made: list[SplitColumn | TimedColumn] = [*design.splits, *design.occasions.columns]
    names = _names(design)
    lines = _lags(design, person, names)
    if made:
        parts = (design.fixed_terms, *design.random_terms)
        used = [*plain_names(design.spec.outcome), *(name for part in parts for name in part.prepared.columns)]
        used += [name for term in design.spec.random for name in term.group]
        used += [design.occasions.day] if design.occasions.columns and design.occasions.day else []
        used += also
        listed = ", ".join(f'"{names.get(name, name)}"' for name in dict.fromkeys(used))
        lines.append(f"frame <- frame[complete.cases(frame[, c({listed})]), ]")
    for name in dict.fromkeys(column.column for column in made if column.kind not in ("lag", "lag_within")):
        lines += _parts(name, [column for column in made if column.column == name], person, design.occasions.day)
    return lines


def _lags(design: Design, person: str, names: dict[str, str]) -> list[str]:
    made = design.occasions
    lags = [column for column in made.columns if column.is_lag]
    if not lags or made.day is None or made.prompt is None:
        return []
    day, prompt = r_column(made.day), r_column(made.prompt)
    lines = [
        f'moment <- function(prompt) paste({person}, {day}, prompt, sep = "|")',
        f"before <- match(moment({prompt} - 1), moment({prompt}))",
        f"before[is.na({person}) | is.na({day}) | is.na({prompt})] <- NA",
    ]
    for column in lags:
        x = r_column(column.column)
        usual = f" - ave({x}, {person}, FUN = function(v) mean(v, na.rm = TRUE))"
        lines.append(f"{r_column(names[column.name])} <- {x}[before]{usual if column.kind == 'lag_within' else ''}")
    return lines


def _parts(name: str, made: list[SplitColumn | TimedColumn], person: str, day: str | None) -> list[str]:
    """The column's parts on the rows that are left."""
    x = r_column(name)
    lines = [f"usual <- ave({x}, {person})"]
    if day is not None and any(column.kind in ("within_day", "between_days") for column in made):
        lines.append(f"of_day <- ave({x}, {person}, {r_column(day)})")
    values = {
        "within": f"{x} - usual",
        "between": f"usual - mean(usual[!duplicated({person})])",
        "within_day": f"{x} - of_day",
        "between_days": "of_day - usual",
    }
    return lines + [f"{r_column(f'{name}_{c.kind}')} <- {values[c.kind]}" for c in made if c.kind in values]


def r_column(name: str) -> str:
    return f'frame[["{name}"]]'


def _symbol(name: str) -> str:
    """A column's name inside an R formula."""
    return name if SYNTACTIC.fullmatch(name) else f"`{name}`"
