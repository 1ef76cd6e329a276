"""The analysis plan of an imported study: one outcome on one predictor, within and between persons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ema_server.common.errors import DomainError
from ema_server.imports.judging import Plan
from ema_server.imports.times import DAY, MINUTE
from ema_server.surveys.columns import Column, columns
from ema_server.surveys.document import Survey

OFTEN = 3  # prompts a day from which on the hours can make a curve
MANY_PEOPLE = 200  # from here on Satterthwaite's degrees of freedom are as good as Kenward and Roger's


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
    prompts = _prompts(plan, form.name)
    often = prompts.a_day
    yes_or_no = found[outcome].kind == "flag"
    notes = [
        "Imported after the study had ended: the plan was written when the data were known.",
        *([] if plan.has_clock else ["The file holds no clock time, so neither weekday nor hour is a term."]),
    ]
    terms = [f"within({predictor})", f"between({predictor})", *_time_terms(plan, prompts)]
    people = f"(1 + within({predictor}) | person)"  # without the slopes' spread the interval would be too narrow
    if often > 1 and not yes_or_no and not plan.learned.waves:  # of two waves each has a day 1
        people += " + (1 | person:day)"
    df = "kenward-roger" if plan.learned.people < MANY_PEOPLE else "satterthwaite"
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
                "formula": f"{outcome} ~ {' + '.join([*terms, people])}",
                **({"family": "binomial"} if yes_or_no else {"family": "gaussian", "reml": True, "df": df}),
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


@dataclass(frozen=True, slots=True)
class _Prompts:
    """When a questionnaire was asked: most often how many times a day, and on which days and weekdays at all."""

    a_day: int
    days: set[int]
    weekends: set[bool]


def _prompts(plan: Plan, form: str) -> _Prompts:
    number = next(n for n, each in enumerate(plan.forms) if each.name == form)
    learned = plan.learned
    last: dict[tuple[int, int], int] = {}
    dates = set()
    for nth, placed in enumerate(learned.placed):
        if placed and learned.form[nth] == number:
            key = (learned.person[nth], learned.day[nth])
            last[key] = max(last.get(key, 1), learned.slot[nth])
            dates.add((learned.utc[nth] + learned.offset[nth] * MINUTE) // DAY)
    counts = Counter(last.values())
    return _Prompts(
        max(counts, key=lambda number: (counts[number], number), default=1),
        {day for _, day in last},
        {(day + 3) % 7 >= 5 for day in dates},  # 1 January 1970 was a Thursday
    )


def _time_terms(plan: Plan, prompts: _Prompts) -> list[str]:
    """The day, the weekend and the time of day, as far as they differ: of a daily rhythm that outcome and predictor
    share, nothing may be left to their association."""
    terms = ["day"] if len(prompts.days) > 1 else []
    if plan.has_clock and len(prompts.weekends) > 1:
        terms.append("weekend")
    if plan.has_clock and prompts.a_day >= OFTEN:
        return [*terms, "sin24", "cos24"]
    # A slot that was counted from the rows that are there is no time of day.
    return [*terms, "C(slot)"] if prompts.a_day > 1 and "slot" in plan.map.cells else terms


def _missing(plan: Plan, outcome: str, predictor: str) -> str:
    lines = []
    for form in plan.forms:
        lines.append(f"{form.name} has {', '.join(_numbers(form.survey)) or 'no number'}")
    for option, name in (("--outcome", outcome), ("--predictor", predictor)):
        if not any(name in _numbers(form.survey) for form in plan.forms):
            return f"{option}: {name!r} is no number that any questionnaire asks; {'; '.join(lines)}."
    return f"--outcome {outcome} and --predictor {predictor} stand in different questionnaires; {'; '.join(lines)}."
