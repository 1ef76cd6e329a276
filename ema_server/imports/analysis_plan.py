"""The analysis plan of an imported study: one outcome on one predictor, within and between persons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ema_server.common.errors import DomainError
from ema_server.imports.judging import Plan
from ema_server.surveys.columns import Column, columns
from ema_server.surveys.document import Survey

OFTEN = 3  # prompts a day from which on the time of day is a term


class CannotBeAnalysed(DomainError):
    code = "cannot_be_analysed"
    status = 400


def analysis_plan(plan: Plan, *, outcome: str, predictor: str) -> dict[str, Any]:
    """The plan's document. Raises CannotBeAnalysed naming what the data hold instead."""
    form = next((form for form in plan.forms if {outcome, predictor} <= _numbers(form.survey).keys()), None)
    if form is None:
        raise CannotBeAnalysed(_missing(plan, outcome, predictor))
    if outcome == predictor:
        raise CannotBeAnalysed(f"--predictor: {predictor!r} is the outcome already.")
    found = _numbers(form.survey)
    often = _prompts_a_day(plan, form.name)
    terms = [f"within({predictor})", f"between({predictor})", "day"]
    notes = ["Imported after the study had ended: the plan was written when the data were known."]
    if plan.has_clock:
        terms.append("weekend")
        terms += ["sin24", "cos24"] if often >= OFTEN else []
    else:
        notes.append("The file holds no clock time, so neither weekday nor time of day is a term.")
    yes_or_no = found[outcome].kind == "flag"
    return {
        "schema": "ema-plan/1",
        "mode": "final",
        "questionnaire": form.name,
        "occasion": "moment" if often > 1 else "day",
        "prompts_per_day": often,
        "late_cutoff_minutes": None,
        "columns": {},
        "notes": notes,
        "models": [
            {
                "key": "main",
                "title": f"{_said(found[outcome])} on {_said(found[predictor])}",
                "role": "primary",
                "formula": f"{outcome} ~ {' + '.join(terms)} + (1 {'' if yes_or_no else f'+ within({predictor}) '}| person)",
                **(
                    {"family": "binomial"} if yes_or_no else {"family": "gaussian", "reml": True, "df": "satterthwaite"}
                ),
                "outcome": _variable(found[outcome]),
                "predictor": {
                    **_variable(found[predictor]),
                    "ambient": form.survey.by_name[found[predictor].item].ambient,
                },
            }
        ],
    }


def _numbers(survey: Survey) -> Mapping[str, Column]:
    return {column.name: column for column in columns(survey) if column.kind in {"number", "flag"} and not column.scale}


def _variable(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.name,
        "label": _said(column),
        "unit": column.unit or "points",
        "axis": _said(column),
    }
    if column.low is not None and column.high is not None:
        found["range"] = [column.low, column.high]
    return found


def _said(column: Column) -> str:
    return column.name.replace("_", " ")


def _prompts_a_day(plan: Plan, form: str) -> int:
    """The most common number of the last prompt of a day."""
    number = next(n for n, each in enumerate(plan.forms) if each.name == form)
    learned = plan.learned
    last: dict[tuple[int, int], int] = {}
    for nth, placed in enumerate(learned.placed):
        if placed and learned.form[nth] == number:
            key = (learned.person[nth], learned.day[nth])
            last[key] = max(last.get(key, 1), learned.slot[nth])
    counts = list(last.values())
    return max(set(counts), key=counts.count) if counts else 1


def _missing(plan: Plan, outcome: str, predictor: str) -> str:
    lines = []
    for form in plan.forms:
        lines.append(f"{form.name} has {', '.join(_numbers(form.survey)) or 'no number'}")
    for option, name in (("--outcome", outcome), ("--predictor", predictor)):
        if not any(name in _numbers(form.survey) for form in plan.forms):
            return f"{option}: {name!r} is no number that any questionnaire asks; {'; '.join(lines)}."
    return f"--outcome {outcome} and --predictor {predictor} stand in different questionnaires; {'; '.join(lines)}."
