"""The columns that questionnaires give, over all their versions, and the answers of one version put into them.

A column is there if any version gives it, and the newest one describes it, with the levels and the range of all. Where an
item changed its type, a number stays one if the newest version asks for one (what was no number is missing), and
anything else becomes a text that holds every version's values as they are; the codebook says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ema_server.reports.variables import Kind, Variable
from ema_server.studies.models import Study
from ema_server.surveys.columns import Column, columns, values
from ema_server.surveys.document import Survey
from ema_server.surveys.texts import Text

_KINDS: Mapping[str, Kind] = {"number": "number", "flag": "yesno", "category": "category", "date": "date"}


class HasFacts(Protocol):
    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Asked:
    variables: list[Variable]
    surveys: Mapping[int, Survey]

    def cells(self, rows: int) -> Cells:
        return Cells(self, rows)


class Cells:
    """The items of some rows, column by column, empty until an answer is put there."""

    def __init__(self, asked: Asked, rows: int) -> None:
        self._surveys = asked.surveys
        self._numbers = {each.name for each in asked.variables if each.kind in {"number", "yesno"}}
        self.columns: dict[str, list[Any]] = {
            each.name: [math.nan if each.name in self._numbers else None] * rows for each in asked.variables
        }

    def put(self, row: int, version: int, answers: Mapping[str, Any], prompt: HasFacts) -> None:
        """One version's answers, as far as they count; the prompt's facts are asked for where a condition needs them. What
        another questionnaire asks under the same name is another column's matter."""
        survey = self._surveys.get(version)
        if survey is None:
            return
        facts = prompt.facts if survey.facts else {}
        for name, value in values(survey, answers, facts).items():
            column = self.columns.get(name)
            if column is not None:
                column[row] = _number(value) if name in self._numbers else _text(value)


def asked_columns(study: Study, *, questionnaire: str | None) -> Asked:
    """The columns of the plan's questionnaire (None: of all), in the order in which they are asked."""
    found: dict[str, Variable] = {}
    surveys = {}
    for version in study.survey_versions.order_by("questionnaire", "number"):
        if questionnaire in (None, version.questionnaire):
            survey = surveys[version.pk] = version.survey
            conditions = _conditions(version.document)
            for column in columns(survey):
                variable = _variable(column, survey, version.questionnaire, conditions.get(column.item, ""))
                known = found.get(column.name)
                found[column.name] = _together(known, variable, version.number) if known else variable
    return Asked(list(found.values()), surveys)


def _conditions(document: Mapping[str, Any]) -> dict[str, str]:
    """Under which expressions, its page's and its own, each item is asked."""
    of_pages = {page["key"]: page.get("show_if") for page in document.get("pages", ())}
    found = {}
    for item in document["items"]:
        both = [each for each in (of_pages.get(item.get("page")), item.get("show_if")) if each]
        found[item["name"]] = both[0] if len(both) == 1 else " and ".join(f"({each})" for each in both)
    return found


def _variable(column: Column, survey: Survey, questionnaire: str, condition: str) -> Variable:
    item = None if column.scale else survey.by_name[column.item]
    text: Text = item.text if item else next(scale.title for scale in survey.scales if scale.key == column.name)
    return Variable(
        column.name,
        _KINDS[column.kind],
        column.label,
        levels=column.levels,
        low=column.low,
        high=column.high,
        unit=column.unit,
        origin="item" if item else "scale",
        questionnaire=questionnaire,
        asked_as=item.type if item else "scale",
        texts={"": text} if isinstance(text, str) else dict(text),
        source=column.source or survey.source,
        condition="" if column.scale else condition,
    )


def _together(older: Variable, newer: Variable, number: int) -> Variable:
    """The newer description, with the levels and the range of both."""
    before = f"before version {number}"
    if older.questionnaire != newer.questionnaire:
        before = f"in {older.questionnaire}"
    notes = [older.note]
    if older.asked_as != newer.asked_as:
        notes.append(f"Asked as {older.asked_as} {before}.")
    elif (older.low, older.high, older.unit) != (newer.low, newer.high, newer.unit):
        notes.append(f"Ran {_range(older)} {before}; the numbers are as they were given.")
    if older.label != newer.label:
        notes.append(f"{before.capitalize()}: “{older.label}”.")
    if older.condition != newer.condition:
        notes.append(f"Asked {f'where {older.condition}' if older.condition else 'always'} {before}.")
    note = " ".join(each for each in notes if each)
    if older.kind != newer.kind:
        numeric = {"number", "yesno"}
        kind: Kind = "text" if newer.kind not in numeric else "number"
        return replace(newer, kind=kind, note=note, levels=() if kind == "text" else newer.levels, low=None, high=None)
    known = {str(value) for value, _ in newer.levels}
    levels = newer.levels + tuple(each for each in older.levels if str(each[0]) not in known)
    return replace(
        newer, note=note, levels=levels, low=_end(min, older.low, newer.low), high=_end(max, older.high, newer.high)
    )


def _range(variable: Variable) -> str:
    ends = "freely" if variable.low is None else f"from {variable.low:g} to {variable.high:g}"
    return f"{ends} ({variable.unit})" if variable.unit else ends


def _end(which: Any, one: Any, other: Any) -> Any:
    return None if one is None or other is None else which(one, other)


def _number(value: float | str | None) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return math.nan
    return math.nan if value is None else value


def _text(value: float | str | None) -> str | None:
    if isinstance(value, float):
        return None if math.isnan(value) else repr(value).removesuffix(".0")
    return value
