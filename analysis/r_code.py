"""The same model as R code, to be checked elsewhere: base R and one package, lme4 where it can fit the model."""

from __future__ import annotations

import re

from analysis.design import Design
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
    group = design.group
    person = r_column(group[0]) if len(group) == 1 else f"interaction({', '.join(map(r_column, group))}, drop = TRUE)"
    made: list[SplitColumn | TimedColumn] = [*design.splits, *design.occasions.columns]
    names = {column.name: f"{column.column}_{column.kind}" for column in made}
    lines = [f"library({package})", *before, *_lags(design, person, names)]
    if made:
        parts = (design.fixed_terms, *design.random_terms)
        used = [*plain_names(design.spec.outcome), *(name for part in parts for name in part.prepared.columns)]
        used += [name for term in design.spec.random for name in term.group]
        used += [name for name in (design.occasions.day if design.occasions.columns else None, weights, offset) if name]
        listed = ", ".join(f'"{names.get(name, name)}"' for name in dict.fromkeys(used))
        lines.append(f"frame <- frame[complete.cases(frame[, c({listed})]), ]")
    for name in dict.fromkeys(column.column for column in made if column.kind not in ("lag", "lag_within")):
        lines += _parts(name, [column for column in made if column.column == name], person, design.occasions.day)
    formula = rename_words(design.spec.formula, {name: _symbol(own) for name, own in names.items()})
    formula = re.sub(r"\bC\(([^(),]+)\)", r"factor(\1)", re.sub(r"\bnp\.", "", formula))
    return "\n".join([*lines, f"fit <- {call.format(formula)}"])


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
