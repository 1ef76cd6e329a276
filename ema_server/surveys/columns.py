"""What a questionnaire becomes in the data: its columns, and the values of one row."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from ema_server.surveys.answers import NO_FACTS, counted
from ema_server.surveys.document import Item, Scale, Survey
from ema_server.surveys.kinds import KINDS, minutes_of
from ema_server.surveys.scores import bounds, scores
from ema_server.surveys.texts import Text, in_language

ColumnKind = Literal["number", "flag", "category", "date"]
Cell = float | str | None

MIDNIGHT = "minutes after midnight"
MINUTES = "minutes"

# The names of the rows themselves (reports.dataset); an item of such a name would overwrite one.
RESERVED = frozenset(
    {
        "person", "questionnaire", "survey_version", "day", "slot", "wave", "rule", "scheduled_at", "scheduled_local",
        "zone", "utc_offset_minutes", "expires_at", "started_at", "answered_at", "received_at", "latency_minutes",
        "status", "used", "held_items", "reissues", "repeats", "practice", "test_person", "event", "weekend", "hour",
        "sin24", "cos24", "sin_year", "cos_year", "site", "arm", "dyad", "role", "study", "prompt", "item", "value",
        "and", "or", "not", "in", "true", "false", "within", "between", "within_day", "between_days",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the data. `levels` are the values that have a name, in order, with their names."""

    name: str
    item: str
    kind: ColumnKind
    label: str
    levels: tuple[tuple[str | int, str], ...] = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""
    scale: bool = False
    source: Mapping[str, str] = field(default_factory=dict)


def columns(survey: Survey) -> list[Column]:
    """The columns in the order in which they are asked, then the scales. Sealed items have none."""
    found = [column for item in survey.items for column in _columns_of(item, survey)]
    return found + [_of_scale(scale, survey) for scale in survey.scales]


def values(survey: Survey, answers: Mapping[str, Any], facts: Mapping[str, Any] = NO_FACTS) -> dict[str, Cell]:
    """One row: each column's value for these answers, as far as they count; NaN or None where there is none."""
    kept = counted(survey, answers, facts)
    row: dict[str, Cell] = {}
    for item in survey.items:
        if not item.sealed:
            _put(row, item, kept.get(item.name))
    row.update(scores(survey, kept))
    return row


def option_column(item: Item, place: int) -> str:
    """The column of one option of several: the item's name with the option's value. It follows from the value alone, so
    that versions that list the options otherwise fill the same columns."""
    return f"{item.name}__{_in_a_name(str(item.options[place].value))}"


def _in_a_name(value: str) -> str:
    """A value as a name may hold it; letters that have no place there are told apart by a digest."""
    if re.fullmatch(r"[A-Za-z0-9_]{1,40}", value):
        return value
    bare = "".join(each for each in unicodedata.normalize("NFKD", value) if not unicodedata.combining(each))
    bare = re.sub(r"^-(?=\d)", "minus_", bare)
    name = re.sub(r"[^A-Za-z0-9]+", "_", bare).strip("_")[:30]
    return name if bare.isascii() and name and len(value) <= 30 else f"{name}_{_digest(value)}".lstrip("_")


def _digest(value: str) -> str:
    return blake2b(value.encode(), digest_size=3).hexdigest()


def _put(row: dict[str, Cell], item: Item, value: Any) -> None:
    column = KINDS[item.type].column
    if column == "flags":
        for place, option in enumerate(item.options):
            row[option_column(item, place)] = math.nan if value is None else float(option.value in value)
    elif column in {"category", "date"}:
        row[item.name] = None if value is None else str(value)
    elif item.type == "time":
        row[item.name] = math.nan if value is None else float(minutes_of(value))
    elif column:
        row[item.name] = math.nan if value is None else float(value)


def _columns_of(item: Item, survey: Survey) -> list[Column]:
    kind = KINDS[item.type].column
    if item.sealed or not kind:
        return []

    def words(text: Text) -> str:
        return in_language(text, None, survey.languages)

    label = words(item.text)
    levels: tuple[tuple[str | int, str], ...]
    if kind == "flags":
        return [
            Column(option_column(item, place), item.name, "flag", f"{label}: {words(option.label)}", source=item.source)
            for place, option in enumerate(item.options)
        ]
    if kind == "category":
        levels = tuple((str(option.value), words(option.label)) for option in item.options)
        return [Column(item.name, item.name, "category", label, levels, source=item.source)]
    if kind == "date":
        return [Column(item.name, item.name, "date", label, source=item.source)]
    if kind == "flag":
        levels = tuple(
            (number, words(item.labels[key])) for key, number in (("false", 0), ("true", 1)) if key in item.labels
        )
        return [Column(item.name, item.name, "flag", label, levels, 0.0, 1.0, source=item.source)]
    low, high, unit = _limits(item)
    levels = tuple(sorted((_whole(key), words(text)) for key, text in item.labels.items() if _is_whole(key)))
    return [Column(item.name, item.name, "number", label, levels, low, high, unit, source=item.source)]


def _limits(item: Item) -> tuple[float | None, float | None, str]:
    if item.type == "time":
        low, high = (minutes_of(item.range[0]), minutes_of(item.range[1])) if item.range else (0, 1439)
        return float(low), float(high), MIDNIGHT
    unit = MINUTES if item.type == "duration" else item.unit
    return (float(item.range[0]), float(item.range[1]), unit) if item.range else (None, None, unit)


def _of_scale(scale: Scale, survey: Survey) -> Column:
    low, high = bounds(survey, scale) or (None, None)
    title = in_language(scale.title, None, survey.languages)
    return Column(scale.key, scale.key, "number", title, (), low, high, scale=True, source=scale.source)


def _is_whole(key: str) -> bool:
    return float(key).is_integer()


def _whole(key: str) -> int:
    return int(float(key))
